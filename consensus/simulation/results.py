"""The input of a height of the simulated world, its result, and its failures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from consensus.application import Contents
from consensus.encoding.cid import cid_text
from consensus.ledger.evidence import Evidence
from consensus.ledger.updates import SignedUpdate
from consensus.records.block import Block


class Stalled(RuntimeError):
    """A height that no longer makes progress; the message says how far it came."""

    def __init__(
        self,
        message: str,
        height: int,
        attempts: int,
        malicious_weight: tuple[tuple[int, int], ...] = (),
    ) -> None:
        """``attempts``: the committees that the furthest honest server tried, the last included;
        ``malicious_weight``: theirs, as in `HeightResult` (``bft`` only)."""
        super().__init__(message)
        self.height = height
        self.attempts = attempts
        self.malicious_weight = malicious_weight


class Forked(RuntimeError):
    """Two validated blocks at one height; the message names the height and both."""

    def __init__(self, height: int, first: bytes, second: bytes) -> None:
        """``first`` and ``second``: the blocks' links."""
        super().__init__(
            f"height {height}: servers appended different blocks (a fork): "
            f"{cid_text(first)} and {cid_text(second)}"
        )
        self.height = height
        self.blocks = (first, second)


@dataclass(frozen=True)
class Arrival:
    """A client's update on its way: it reaches ``server`` at ``time`` (simulated seconds).

    The update itself is asked for when it arrives, so that it may be computed in the meantime.
    """

    time: float
    server: int
    update: Callable[[], SignedUpdate]


@dataclass
class HeightResult:
    """The result of one height."""

    block: Block
    """The validated block, with the certificate of the first server that had it."""
    contents: Contents
    updates: tuple[SignedUpdate, ...]
    """The aggregated updates in their order (none of a captured block's claim is believed: these
    are those its candidate lists)."""
    captured: bool
    """True if the block's aggregate is not that of its updates: the committee was captured."""
    began: float
    """Simulated seconds."""
    ended: float
    appended: dict[int, float] = field(default_factory=dict)
    """The time at which each server appended the block, of those that did before the height was
    over."""
    gossip_bytes: Counter[str] = field(default_factory=Counter)
    """Bytes between servers by kind of message, every hop counted."""
    gossip_messages: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    """Messages that honest servers turned away, by reason."""
    evidence: tuple[Evidence, ...] = ()
    """Proof that honest servers hold of servers that said two things at once."""
    malicious_weight: tuple[tuple[int, int], ...] = ()
    """The malicious members' weight and the total of every attempt's committee (``paper``: of the
    one that approved the block, as each aggregator names its own)."""
    closed_by_all: int = 0
    """Attempts that all servers together gave up, as their committees could not."""
    caught_up: int = 0
    """Blocks of earlier heights that servers which were behind appended meanwhile."""
