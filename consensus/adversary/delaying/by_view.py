"""Strategies of delays that go by the view that a message helps, or gives up."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np

from consensus.adversary.delays import Delays, delays
from consensus.records.block import Candidate
from consensus.records.view import View
from consensus.records.votes import Timeout, TimeoutCertificate, Vote


@delays("against_leader")
class AgainstLeader(Delays):
    """Candidates and votes take all of D; what gives a leader's view up is on time."""

    meaning = "candidates and votes take all of D, what gives the view up is on time"

    def share(self, origin: int, to: int, kind: str, body: Any) -> float:
        return 1.0 if kind in ("candidate", "vote") else 0.0


@delays("for_malicious")
class ForMalicious(Delays):
    """Views led by malicious servers are helped, those of honest ones hindered.

    What is about an honest leader's block takes all of D, and what gives a malicious leader's view
    up, too; all else is on time.
    """

    meaning = "what helps blocks of honest leaders, or gives up malicious ones, takes all of D"

    def __init__(
        self, generator: np.random.Generator, servers: int, malicious: Collection[int]
    ) -> None:
        super().__init__(generator, servers, malicious)
        self._proposers: dict[bytes, int] = {}
        """By block: the first server that was seen to propose it."""
        self._leaders: dict[View, int] = {}
        """By view: the first server that was seen to propose in it."""

    def share(self, origin: int, to: int, kind: str, body: Any) -> float:
        if isinstance(body, Candidate):
            self._proposers.setdefault(body.header.cid, body.proposer)
            self._leaders.setdefault(body.view, body.proposer)
            return self._against(body.proposer)
        if isinstance(body, Vote):
            return self._against(self._proposers.get(body.block))
        if isinstance(body, Timeout | TimeoutCertificate):
            return 1.0 if self._leaders.get((body.attempt, body.step)) in self.malicious else 0.0
        return 0.0

    def _against(self, proposer: int | None) -> float:
        return 0.0 if proposer in self.malicious else 1.0
