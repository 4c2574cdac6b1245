"""The merchants' market as pages see it: agreement, chain, store, workspaces and jobs.

The portal hosts several merchants' workspaces, each of which could be hosted apart: a job of one
reads chain and store, its own workspace, and nothing of another merchant.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np

from bfedrec.data.interactions import DataError
from bfedrec.merchants.rounds.agreement import Agreement, AgreementError
from bfedrec.merchants.rounds.audit import audit
from bfedrec.merchants.rounds.checks import Refused
from bfedrec.merchants.rounds.member import Member
from bfedrec.web.portal.jobs import Jobs, Task, Tell, left_by_another_life
from bfedrec.web.portal.ledger import Ledger, LedgerReader
from bfedrec.web.portal.lineage import Mark
from bfedrec.web.portal.shop import Shop
from consensus.ethereum.errors import EthereumError
from consensus.ethereum.node import Node
from consensus.ethereum.records import Round
from consensus.ethereum.registry import Registry
from consensus.storage.content import StoreError

TRAIN: Final = "train"
AGGREGATE: Final = "aggregate"


@dataclass(frozen=True)
class Now:
    """The open round."""

    number: int
    merchants: Sequence[str]
    published: Sequence[str]
    attested: Sequence[str]
    needed: int
    """Like attestations that close it."""


@dataclass(frozen=True)
class RefusedModel:
    """A published model that is not averaged."""

    round: int
    who: str
    reason: str


@dataclass(frozen=True)
class Verified:
    """Result of recomputing everything."""

    time: float
    height: int
    marks: Mapping[tuple[int, str], Mark]
    refused: Sequence[RefusedModel] = field(default=())

    @property
    def wrong(self) -> int:
        """Number of models that are not as they should be."""
        return sum(not each.sound for each in self.marks.values())

    @property
    def sound(self) -> bool:
        """True if all are as they should be."""
        return not self.wrong

    @property
    def aggregates(self) -> int:
        """Number of aggregates."""
        return sum(not who for _, who in self.marks)

    @property
    def models(self) -> int:
        """Number of merchants' models."""
        return len(self.marks) - self.aggregates
