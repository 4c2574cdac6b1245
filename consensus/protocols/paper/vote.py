"""`paper`, the vote of one height: Algorithm 2 as it is written, weaknesses included, as pure
functions from a state and what happened to the next state and what is to be done.

Nothing here knows a clock, a key or a network; the edge server (`consensus.protocols.paper.server`)
checks what arrives, tells these functions, and does what the returned effects say. States and
effects are frozen. README.md says where Algorithm 2 leaves something open, how it is read here, and
which test shows what each weakness leads to; `consensus.protocols.bft.vote` is the same with the
weaknesses closed.

A *slot* is (attempt, step): the turn of whichever candidate arrives first. There is one vote per
server and slot, no lock, and nothing that a server would remember after a crash.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from consensus.records.block import Candidate
from consensus.records.ticket import Ticket
from consensus.records.view import View
from consensus.records.votes import Certificate, Vote


@dataclass(frozen=True)
class HeightContext:
    """Knowledge that one server has of a height before it begins."""

    index: int
    height: int
    size: int
    """Seats of the committee."""
    max_step: int
    """MaxStep: candidates tried before the committee is formed anew."""

    def after(self, slot: View) -> View:
        """The slot after a failed one (lines 16 and 17)."""
        attempt, step = slot
        return (attempt, step + 1) if step + 1 < self.max_step else (attempt + 1, 0)

    def agree(self, members: int) -> bool:
        """True if so many are *more than* two thirds of the seats (line 12)."""
        return 3 * members > 2 * self.size


@dataclass(frozen=True, slots=True)
class State:
    """The point that one server has reached in a height."""

    slot: View = (0, 0)
    trying: Candidate | None = None
    """The candidate before the committee; None while the server waits for one."""
    announced: tuple[Ticket, ...] = ()
    """Tickets of those who may sit, in the order in which this server heard of them."""
    candidates: Mapping[View, Candidate] = field(default_factory=dict)
    """By slot: the candidate that arrived first."""
    voted: View = (-1, 0)
    """The last slot that it voted in."""
    votes: Mapping[View, Mapping[int, Vote]] = field(default_factory=dict)
    """By slot and server: its first vote."""
    decided: Certificate | None = None

    def committee(self, context: HeightContext) -> tuple[Ticket, ...]:
        """The first to announce, as this server heard them. A failed attempt changes neither the
        draws nor who announced first, so a committee formed anew (line 17) is the same."""
        return self.announced[: context.size]


# -- what is to be done ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Wait:
    """Begin a slot without a candidate: compete to propose one."""

    slot: View


@dataclass(frozen=True)
class Try:
    """Put a candidate before its committee: start MaxVoteDuration, and judge it as a member."""

    candidate: Candidate


@dataclass(frozen=True)
class Say:
    """Sign a vote on a candidate and send it to the committee."""

    phase: str
    candidate: Candidate


@dataclass(frozen=True)
class Decide:
    """Append a candidate: it is the validated block."""

    candidate: Candidate
    certificate: Certificate


Effect = Wait | Try | Say | Decide
Step = tuple[State, tuple[Effect, ...]]


# -- what happens ---------------------------------------------------------------------------------


def begin() -> Step:
    """Begin a height, or enter it again after a restart: nothing of it is remembered."""
    state = State()
    return state, (Wait(state.slot),)


def on_ticket(state: State, ticket: Ticket) -> Step:
    """Take in a checked announcement, the first of its server."""
    if any(known.server == ticket.server for known in state.announced):
        return state, ()
    return replace(state, announced=(*state.announced, ticket)), ()


def on_candidate(context: HeightContext, state: State, candidate: Candidate) -> Step:
    """Take in a checked candidate: the first to arrive has its slot, others for it are void.

    Whoever waits for a candidate takes one of a later slot, too: others have moved on.
    """
    slot = candidate.view
    if slot in state.candidates:
        return state, ()
    state = replace(state, candidates={**state.candidates, slot: candidate})
    if state.decided is not None:
        return state, ()
    if state.trying is None and slot >= state.slot:
        state, effects = _take(state, candidate)
    else:
        effects = ()
    state, more = _count(context, state, slot)
    return state, effects + more


def on_judged(context: HeightContext, state: State, candidate: Candidate, valid: bool) -> Step:
    """Vote as a member that has found a candidate right, or wrong (line 11)."""
    slot = candidate.view
    if (
        state.trying is not candidate
        or state.decided is not None
        or state.voted >= slot
        or context.index not in candidate.seated
    ):
        return state, ()
    return replace(state, voted=slot), (Say("approve" if valid else "reject", candidate),)


def on_vote(context: HeightContext, state: State, vote: Vote) -> Step:
    """Count a checked vote. Votes count for as long as the height lasts, also when their slot is
    over (line 12 knows no other block that may have been approved meanwhile)."""
    slot = (vote.attempt, vote.step)
    cast = state.votes.get(slot, {})
    if vote.server in cast:
        return state, ()
    state = replace(state, votes={**state.votes, slot: {**cast, vote.server: vote}})
    return _count(context, state, slot)


def on_vote_timer(context: HeightContext, state: State, slot: View) -> Step:
    """Go on to the next step, as MaxVoteDuration has passed, and after MaxStep of them to a
    committee formed anew (lines 14-17)."""
    if slot != state.slot or state.trying is None or state.decided is not None:
        return state, ()
    state = replace(state, slot=context.after(slot), trying=None)
    waiting = [later for later in state.candidates if later >= state.slot]
    if waiting:
        return _take(state, state.candidates[min(waiting)])
    return state, (Wait(state.slot),)


# -- steps shared by them -------------------------------------------------------------------------


def _take(state: State, candidate: Candidate) -> Step:
    return replace(state, slot=candidate.view, trying=candidate), (Try(candidate),)


def _count(context: HeightContext, state: State, slot: View) -> Step:
    """Decide a slot's candidate if more than two thirds of the seats approve (lines 12-13)."""
    candidate = state.candidates.get(slot)
    if candidate is None or state.decided is not None:
        return state, ()
    block, seated = candidate.header.cid, candidate.seated
    approvals = [
        (server, vote.signature)
        for server, vote in state.votes.get(slot, {}).items()
        if vote.phase == "approve" and vote.block == block and server in seated
    ]
    if not context.agree(len(approvals)):
        return state, ()
    certificate = Certificate(context.height, *slot, "approve", block, tuple(sorted(approvals)))
    return replace(state, decided=certificate), (Decide(candidate, certificate),)
