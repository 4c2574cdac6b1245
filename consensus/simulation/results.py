"""The arrivals that a height of the simulated world begins with, its result, and its failures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from consensus.application import Contents
from consensus.encoding.cid import cid_text
from consensus.ledger.stakes import Stakes
from consensus.ledger.updates import SignedUpdate
from consensus.records.block import Block
from consensus.records.evidence import Evidence


class Stalled(RuntimeError):
    """A height that makes no more progress; the message says how far it got."""

    def __init__(
        self,
        message: str,
        height: int,
        attempts: int,
        malicious_weight: tuple[tuple[int, int], ...] = (),
    ) -> None:
        """``attempts``: number of committees that the furthest honest server tried, the last
        included; ``malicious_weight``: their weights, as in `HeightResult` (``bft`` only)."""
        super().__init__(message)
        self.height = height
        self.attempts = attempts
        self.malicious_weight = malicious_weight


class Forked(RuntimeError):
    """Two decided blocks at one height; the message names the height and both blocks."""

    def __init__(self, height: int, first: bytes, second: bytes) -> None:
        """``first`` and ``second``: the links of the blocks."""
        super().__init__(
            f"height {height}: servers appended different blocks (a fork): "
            f"{cid_text(first)} and {cid_text(second)}"
        )
        self.height = height
        self.blocks = (first, second)


@dataclass(frozen=True)
class Arrival:
    """A client's update on its way to ``server``, where it arrives at ``time`` (simulated seconds).

    ``update`` is called on arrival, so that the update may be computed in the meantime.
    """

    time: float
    server: int
    update: Callable[[], SignedUpdate]


@dataclass(frozen=True)
class Inquiry:
    """A client's question to ``server`` at ``time`` (simulated seconds): which updates of the
    height it has, for a client whose next message depends on them."""

    time: float
    server: int
    answered: Callable[[float, Callable[[SignedUpdate], bool]], Sequence[Arrival | Inquiry]]
    """Maps the time and the server's answers, True for an update that it has, to what the client
    does next: what it sends, and what it asks then."""


@dataclass
class HeightResult:
    """Result of one height: the decided block, its contents and updates, attempts, messages and
    bytes."""

    block: Block
    """The decided block, with the certificate of the first server that had it."""
    contents: Contents
    updates: tuple[SignedUpdate, ...]
    """The aggregated updates in their order. Of a captured block these are the updates that its
    candidate lists, which its model need not be the aggregate of."""
    captured: bool
    """True if the block's aggregate is not that of its updates: the committee was captured."""
    began: float
    """Simulated second at which the height began."""
    ended: float
    appended: dict[int, float] = field(default_factory=dict)
    """Simulated second at which a server appended the block, by server; servers that did so after
    the end of the height are left out."""
    gossip_bytes: Counter[str] = field(default_factory=Counter)
    """Bytes between servers by kind of message, every hop counted."""
    gossip_messages: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    """Number of messages that honest servers refused, by reason."""
    evidence: tuple[Evidence, ...] = ()
    """Evidence, held by honest servers, against servers that signed contradictory messages."""
    malicious_weight: tuple[tuple[int, int], ...] = ()
    """(malicious weight, total weight) of every attempt's committee; under ``paper`` only of the
    committee that approved the block, as each aggregator names its own."""
    closed_by_all: int = 0
    """Number of attempts closed by timeouts of all servers, as their own committees could not close
    them."""
    caught_up: int = 0
    """Number of blocks of earlier heights that servers appended during this one."""
    stakes: Stakes | None = None
    """The stake after the block; None in a chain without incentives."""
    malicious_stake: int = 0
    """Stake of the malicious servers after the block; 0 in a chain without incentives."""
