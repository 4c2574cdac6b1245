"""The frozen state of one height under `tendermint`, and the effects that its functions return."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from consensus.protocols.bft.state import NOBODY, Tally
from consensus.records.block import Candidate
from consensus.records.votes import NIL, Certificate

PROPOSE: Final = 0
PREVOTE: Final = 1
PRECOMMIT: Final = 2
"""The values of step_p, in their order (line 3)."""

STEPS: Final = ("propose", "prevote", "precommit")
"""The steps' names, which are those of their timers and, of the last two, of their votes."""

Said = tuple[int, bytes]
"""(round, id(v)); (-1, `NIL`) before the first."""
NEVER: Final[Said] = (-1, NIL)
LAST: Final = 2**63
"""Later than any round."""


@dataclass(frozen=True)
class Promises:
    """The part of the state that survives a crash: it is written down before anything that follows
    from it is sent. A member signs one prevote and one precommit a round."""

    height: int = 0
    round: int = 0
    """round_p."""
    proposed: int = -1
    """The last round it proposed in."""
    said: tuple[tuple[str, int, bytes], ...] = ()
    """All its votes of the height, as (phase, round, block), the oldest first. Those of earlier
    rounds too: where nobody else has them any more, others may wait for them in such a round."""
    locked: Said = NEVER
    """(lockedRound_p, lockedValue_p)."""
    valid: Certificate | None = None
    """validRound_p and validValue_p: the prevotes that make the value valid; None: -1 and nil."""

    @property
    def prevote(self) -> Said:
        """Its last prevote."""
        return self._last(STEPS[PREVOTE])

    @property
    def voted(self) -> bytes:
        """The block of its last prevote, which must be had after a crash."""
        return self.prevote[1]

    @property
    def precommit(self) -> Said:
        """Its last precommit."""
        return self._last(STEPS[PRECOMMIT])

    def _last(self, phase: str) -> Said:
        found = (each[1:] for each in reversed(self.said) if each[0] == phase)
        return next(found, NEVER)

    @property
    def valid_round(self) -> int:
        """validRound_p."""
        return -1 if self.valid is None else self.valid.attempt

    @property
    def locks(self) -> tuple[Certificate, ...]:
        """The proofs whose blocks must be had after a crash: to propose them again."""
        return () if self.valid is None else (self.valid,)


@dataclass(frozen=True)
class State:
    """The point that one server has reached in a height, its message log included."""

    promises: Promises
    step: int = PROPOSE
    """step_p."""
    proposals: Mapping[int, tuple[Candidate, ...]] = field(default_factory=dict)
    """By round: its proposer's proposals, the first one first."""
    valid: Mapping[bytes, bool] = field(default_factory=dict)
    """valid(v) by block, where it is known."""
    declined: frozenset[bytes] = frozenset()
    """Blocks that this server would not have proposed yet, or any more: the time or a ticket is not
    right as it sees them. No reason to refuse a block with a proof of lock."""
    asked: Mapping[bytes, bool] = field(default_factory=dict)
    """Blocks whose validity was asked for (`Validate`); True: whatever this server would have
    proposed."""
    votes: Mapping[tuple[str, int, bytes], Tally] = field(default_factory=dict)
    """By phase, round and block."""
    heard: Mapping[tuple[str, int], Tally] = field(default_factory=dict)
    """By phase and round: all who voted, for whatever block."""
    furthest: Mapping[int, int] = field(default_factory=dict)
    """By member: the latest round that it said anything in."""
    scheduled: frozenset[tuple[str, int]] = frozenset()
    """The timers that were scheduled, by name and round."""
    shown: int = -1
    """The round of the last proof of lock that it has shown."""
    decided: Certificate | None = None

    @property
    def round(self) -> int:
        """round_p."""
        return self.promises.round

    def tally(self, phase: str, round: int, block: bytes) -> Tally:
        """The votes of a phase and round for a block."""
        return self.votes.get((phase, round, block), NOBODY)


@dataclass(frozen=True)
class StartRound:
    """A round has begun (line 11): its proposer proposes."""

    round: int


@dataclass(frozen=True)
class Schedule:
    """Start the timer of a step of a round: OnTimeoutPropose, -Prevote or -Precommit (lines 21, 35
    and 48)."""

    what: str
    """One of `STEPS`."""
    round: int


@dataclass(frozen=True)
class Validate:
    """Find out whether a proposed value is valid, and say so (`on_judged`)."""

    candidate: Candidate
    proven: bool
    """True if a quorum stands behind it, so that its contents alone count."""


@dataclass(frozen=True)
class CastVote:
    """Sign a vote and send it to the committee."""

    phase: str
    round: int
    block: bytes


@dataclass(frozen=True)
class ShowProof:
    """Show a proof of lock to members that may lack it."""

    proof: Certificate
    to: tuple[int, ...]


@dataclass(frozen=True)
class Decide:
    """Append the block: it is decided (line 51)."""

    certificate: Certificate


Effect = StartRound | Schedule | Validate | CastVote | ShowProof | Decide
Step = tuple[State, tuple[Effect, ...]]
