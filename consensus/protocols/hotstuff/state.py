"""The frozen state of one height under `hotstuff`, and the effects that its functions return."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from consensus.protocols.bft.state import NOBODY, Tally
from consensus.records.block import Candidate
from consensus.records.votes import NIL, Certificate, TimeoutCertificate

PREPARE: Final = "prepare"
PRECOMMIT: Final = "precommit"
COMMIT: Final = "commit"
PHASES: Final = (PREPARE, PRECOMMIT, COMMIT)
"""The phases of a view, in their order."""

LAST: Final = 2**63
"""Later than any view."""


@dataclass(frozen=True)
class Promises:
    """The part of the state that survives a crash: it is written down before anything that follows
    from it is sent. A member signs one vote a phase in a view, and none in a view that it has left.
    """

    height: int = 0
    round: int = 0
    """curView."""
    proposed: int = -1
    """The last view it proposed in."""
    said: tuple[tuple[str, int, bytes], ...] = ()
    """Its votes of curView, as (phase, view, block), the oldest first."""
    prepared: Certificate | None = None
    """prepareQC, the highest that it knows."""
    locked: Certificate | None = None
    """lockedQC: the precommitQC of the last view it cast a commit vote in."""
    left: tuple[int, Certificate | None] = (-1, None)
    """The last view that it left as its time was up, and the prepareQC that it then named: the same
    after a crash, though it may know a higher one by then."""

    @property
    def voted(self) -> bytes:
        """The block of its vote to prepare in curView, which must be had after a crash; `NIL` if
        there is none."""
        return next((block for phase, _, block in self.said if phase == PREPARE), NIL)

    def has_voted(self, phase: str) -> bool:
        """True if it has cast its vote of a phase in curView."""
        return any(each == phase for each, _, _ in self.said)

    @property
    def prepared_round(self) -> int:
        """The view of prepareQC; -1 if there is none."""
        return -1 if self.prepared is None else self.prepared.attempt

    @property
    def locks(self) -> tuple[Certificate, ...]:
        """The certificates whose blocks must be had after a crash: to propose them again."""
        return tuple(each for each in (self.prepared, self.locked) if each is not None)


@dataclass(frozen=True)
class State:
    """The point that one server has reached in a height."""

    promises: Promises
    muted: bool = False
    """True if it says nothing in this height: it is catching up."""
    proposals: Mapping[int, tuple[Candidate, ...]] = field(default_factory=dict)
    """By view: its leader's proposals, the first one first."""
    valid: Mapping[bytes, bool] = field(default_factory=dict)
    """By block: true if its contents were found right."""
    declined: frozenset[bytes] = frozenset()
    """Blocks that this server would not have proposed yet, or any more: the time or a ticket is not
    right as it sees them. No reason to refuse a block with a prepareQC."""
    asked: Mapping[bytes, bool] = field(default_factory=dict)
    """Blocks whose validity was asked for (`Validate`); True: whatever this server would have
    proposed."""
    votes: Mapping[tuple[str, int, bytes], Tally] = field(default_factory=dict)
    """By phase, view and block: the votes for it as a leader."""
    timeouts: Mapping[int, Tally] = field(default_factory=dict)
    """By the view that was left: the new-view messages to it as the leader of the next."""
    certificates: Mapping[str, Certificate] = field(default_factory=dict)
    """By phase: the prepareQC and precommitQC of curView that it knows."""
    closed: TimeoutCertificate | None = None
    """2f + 1 new-view messages of the view before curView, if it knows so many."""
    shown: frozenset[str] = frozenset()
    """The phases of curView whose certificates it has made, and shown, as its leader."""
    decided: Certificate | None = None

    @property
    def round(self) -> int:
        """curView."""
        return self.promises.round

    def tally(self, phase: str, round: int, block: bytes) -> Tally:
        """The votes of a phase and view for a block."""
        return self.votes.get((phase, round, block), NOBODY)


@dataclass(frozen=True)
class EnterRound:
    """A view has begun: start its timer; its leader proposes."""

    round: int


@dataclass(frozen=True)
class Validate:
    """Find out whether the contents of a proposal are right, and say so (`on_judged`)."""

    candidate: Candidate
    proven: bool
    """True if a quorum stands behind it, so that its contents alone count."""


@dataclass(frozen=True)
class CastVote:
    """Sign a vote and send it to the leader of its view."""

    phase: str
    round: int
    block: bytes


@dataclass(frozen=True)
class Leave:
    """Sign a new-view message and send it to the leader of the view after ``round``."""

    round: int
    prepared: Certificate | None
    """The highest prepareQC known when the view was left."""


@dataclass(frozen=True)
class Show:
    """Send the members a certificate that this server has made as their leader."""

    certificate: Certificate


@dataclass(frozen=True)
class Decide:
    """Append the block: it is decided."""

    certificate: Certificate


Effect = EnterRound | Validate | CastVote | Leave | Show | Decide
Step = tuple[State, tuple[Effect, ...]]
