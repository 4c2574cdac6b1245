"""`tendermint`, the vote of one height: Algorithm 1 of Buchman, Kwon and Milosevic, "The latest
gossip on BFT consensus" (arXiv 1807.04938), as pure functions from a state and what happened to the
next state and what is to be done.

Each ``upon`` rule of the paper is one function, named after its first line; a rule that does not
apply returns None, and `_run` runs those that do until none does. The paper's symbols are kept:
h_p, round_p, step_p, lockedValue_p, lockedRound_p, validValue_p, validRound_p; f + 1 is more than a
third of the committee's weight, 2f + 1 more than two thirds. README.md lists the differences.

Nothing here knows a clock, a key or a network. States and effects are frozen: what a function is
not content with leaves the very same state behind.
"""

from __future__ import annotations

from collections.abc import Iterable

from consensus.protocols.bft.standing import (
    MOST_PROPOSALS,
    HeightContext,
    certificate_of,
    changed,
)
from consensus.protocols.bft.state import NOBODY
from consensus.protocols.tendermint.state import (
    LAST,
    PRECOMMIT,
    PREVOTE,
    PROPOSE,
    STEPS,
    CastVote,
    Decide,
    Effect,
    Promises,
    Schedule,
    ShowProof,
    StartRound,
    State,
    Step,
    Validate,
)
from consensus.records.block import Candidate
from consensus.records.votes import NIL, Vote

# -- what may be said -----------------------------------------------------------------------------


def follows(context: HeightContext, candidate: Candidate) -> str | None:
    """The reason why a proposal is none that its round allows, or None: <PROPOSAL, h, r, v, vr>
    from proposer(h, r), where vr = -1 goes with a new value, and any other with the 2f + 1 prevotes
    of round vr, and only those, for a value that was proposed before (lines 15-19)."""
    (round, step), header, proof = candidate.view, candidate.header, candidate.proof
    if step or candidate.justification is not None:
        return "not of a round"
    if candidate.proposer != context.proposer(round):
        return "not its turn"
    if (proof is None) != (candidate.turn is None):
        return "proposed again without a proof" if proof is None else "a proof of a new value"
    if proof is None:
        return None
    if header.step or header.aggregator != context.proposer(header.attempt):
        return "first proposed out of turn"
    if not header.attempt <= proof.attempt < round:
        return "proof of another round"
    return None if proof.block == header.cid else "proof of another value"


def has_quorum(context: HeightContext, state: State, phase: str, round: int, block: bytes) -> bool:
    """True if 2f + 1 votes of a phase and round are for ``block``."""
    return context.committee.approves(state.tally(phase, round, block).weight)


def is_proven(context: HeightContext, state: State, block: bytes) -> bool:
    """True if a quorum stands behind a block, in some round."""
    return any(
        named == block and context.committee.approves(tally.weight)
        for (_, _, named), tally in state.votes.items()
    )


# -- what happens ---------------------------------------------------------------------------------


def begin(context: HeightContext, promises: Promises, catching_up: bool = False) -> Step:
    """Begin a height (lines 1-10), or enter it again after a crash with the promises made in it:
    in the round and step that they tell, saying all its votes again. A server that is catching up
    says nothing at all."""
    if catching_up:
        said = tuple((phase, LAST, NIL) for phase in STEPS[1:])
        muted = Promises(context.height, 0, LAST, said)
        return State(muted, PRECOMMIT, shown=LAST), ()
    if promises.height != context.height:
        promises = Promises(context.height)
    round = promises.round
    state, effects = _start(State(promises), round)
    step = max((STEPS.index(phase) for phase, at, _ in promises.said if at == round), default=0)
    again = tuple(CastVote(*each) for each in promises.said)
    return changed(state, step=step), effects + again


def on_proposing(state: State) -> State:
    """Promise to make no second proposal in round_p (line 19)."""
    return changed(state, promises=changed(state.promises, proposed=state.round))


def on_proposal(context: HeightContext, state: State, candidate: Candidate) -> Step:
    """Take in a checked PROPOSAL, of which `follows` says nothing bad; the prevotes of its proof
    are taken in before. More than `MOST_PROPOSALS` of a round are kept only with a quorum."""
    round, block = candidate.view[0], candidate.header.cid
    known = state.proposals.get(round, ())
    if any(each.header.cid == block for each in known):
        return state, ()
    if len(known) >= MOST_PROPOSALS and not is_proven(context, state, block):
        return state, ()
    state = changed(state, proposals={**state.proposals, round: (*known, candidate)})
    state = _heard_of(state, candidate.proposer, round)
    return _run(context, state)


def on_judged(
    context: HeightContext, state: State, block: bytes, valid: bool, declined: bool = False
) -> Step:
    """Go on, as valid(v) is known; ``declined``: true if this server would not have proposed it
    now, though it is valid."""
    if declined:
        state = changed(state, declined=state.declined | {block})
    return _run(context, changed(state, valid={**state.valid, block: valid}))


def on_votes(context: HeightContext, state: State, votes: Iterable[Vote]) -> Step:
    """Take in checked votes of members. What is further ahead than one rotation is only noted as
    having been said (line 55): it will be said again."""
    return _run(context, counted(context, state, votes))


def counted(context: HeightContext, state: State, votes: Iterable[Vote]) -> State:
    """The state with votes in its message log, before any rule is run."""
    for vote in votes:
        state = _count(context, state, vote)
    return state


def _count(context: HeightContext, state: State, vote: Vote) -> State:
    phase, round, server = vote.phase, vote.attempt, vote.server
    state = _heard_of(state, server, round)
    if round > state.round + context.ahead:
        return state
    tally = state.tally(phase, round, vote.block)
    if tally.servers >> server & 1:
        return state
    weight = context.weight(server)
    tally = tally.add(server, weight, vote)
    all_of_it = state.heard.get((phase, round), NOBODY)
    if not all_of_it.servers >> server & 1:
        all_of_it = all_of_it.add(server, weight, vote)
    return changed(
        state,
        votes={**state.votes, (phase, round, vote.block): tally},
        heard={**state.heard, (phase, round): all_of_it},
    )


def on_timer(context: HeightContext, state: State, what: str, round: int) -> Step:
    """Handle OnTimeoutPropose, -Prevote or -Precommit (lines 57-67)."""
    if round != state.round or state.decided is not None:
        return state, ()
    if what == STEPS[PROPOSE] and state.step == PROPOSE:  # 57-60
        return _then(context, _prevote(context, state, NIL))
    if what == STEPS[PREVOTE] and state.step == PREVOTE:  # 61-64
        return _then(context, _precommit(context, state, NIL))
    if what == STEPS[PRECOMMIT]:  # 65-67
        return _then(context, _start_round(context, state, round + 1))
    return state, ()


# -- the rules ------------------------------------------------------------------------------------


def _run(context: HeightContext, state: State) -> Step:
    """Run every rule that applies, until none does."""
    done: tuple[Effect, ...] = ()
    while state.decided is None:
        rules = (_line_49, _line_55, _line_22, _line_28, _line_34, _line_36, _line_44, _line_47)
        for rule in rules:
            found = rule(context, state)
            if found is not None:
                state, effects = found
                done += effects
                break
        else:
            break
    return state, done


def _then(context: HeightContext, step: Step) -> Step:
    """A step, and what follows from it."""
    state, effects = step
    state, more = _run(context, state)
    return state, effects + more


def _start_round(context: HeightContext, state: State, round: int) -> Step:
    """StartRound(round) (lines 11-21): show the proof of validValue_p to members that have not
    precommitted it, so that whoever proposes now knows it."""
    shows: tuple[Effect, ...] = ()
    proof = state.promises.valid
    if proof is not None and proof.attempt > state.shown and context.weight(context.index):
        told = state.tally(STEPS[PRECOMMIT], proof.attempt, proof.block).servers
        lacking = tuple(
            server
            for server in context.committee.weights
            if server != context.index and not told >> server & 1
        )
        shows = (ShowProof(proof, lacking),)
        state = changed(state, shown=proof.attempt)
    state, effects = _start(state, round)
    return state, shows + effects


def _start(state: State, round: int) -> Step:
    """Lines 12-13 and 21; the proposer, too, has only so much time, as getValue() may lack
    updates."""
    name = STEPS[PROPOSE]
    if state.round != round:
        state = changed(state, promises=changed(state.promises, round=round))
    state = changed(state, step=PROPOSE, scheduled=state.scheduled | {(name, round)})
    return state, (StartRound(round), Schedule(name, round))


def _line_22(context: HeightContext, state: State) -> Step | None:
    """Upon <PROPOSAL, h_p, round_p, v, -1> from the proposer while step_p = propose (22-27)."""
    candidate = _first(state)
    if state.step != PROPOSE or candidate is None or candidate.proof is not None:
        return None
    block, (locked_round, locked_value) = candidate.header.cid, state.promises.locked
    if locked_round != -1 and locked_value != block:
        return _prevote(context, state, NIL)
    return _prevote_valid(context, state, candidate, block not in state.declined)


def _line_28(context: HeightContext, state: State) -> Step | None:
    """Upon <PROPOSAL, h_p, round_p, v, vr> and 2f + 1 <PREVOTE, h_p, vr, id(v)> while step_p =
    propose and 0 <= vr < round_p (28-33)."""
    candidate = _first(state)
    if state.step != PROPOSE or candidate is None or candidate.proof is None:
        return None
    block, vr = candidate.header.cid, candidate.proof.attempt
    if not has_quorum(context, state, STEPS[PREVOTE], vr, block):
        return None
    locked_round, locked_value = state.promises.locked
    if locked_round > vr and locked_value != block:
        return _prevote(context, state, NIL)
    return _prevote_valid(context, state, candidate, True)


def _first(state: State) -> Candidate | None:
    """The proposal of round_p that came first."""
    return next(iter(state.proposals.get(state.round, ())), None)


def _prevote_valid(
    context: HeightContext, state: State, candidate: Candidate, timely: bool
) -> Step | None:
    """Lines 23-27 and 29-33, past the lock: prevote by valid(v), once it is known."""
    block = candidate.header.cid
    valid = state.valid.get(block)
    if valid is None:
        return _ask(state, candidate, candidate.proof is not None)
    return _prevote(context, state, block if valid and timely else NIL)


def _ask(state: State, candidate: Candidate, proven: bool) -> Step | None:
    """Ask for valid(v), once as a new value and once as one with a quorum behind it."""
    block = candidate.header.cid
    asked = state.asked.get(block)
    if asked is not None and asked >= proven:
        return None
    return changed(state, asked={**state.asked, block: proven}), (Validate(candidate, proven),)


def _line_34(context: HeightContext, state: State) -> Step | None:
    """Upon 2f + 1 <PREVOTE, h_p, round_p, *> while step_p = prevote for the first time (34-35)."""
    return _schedule(context, state, PREVOTE) if state.step == PREVOTE else None


def _line_36(context: HeightContext, state: State) -> Step | None:
    """Upon <PROPOSAL, h_p, round_p, v, *> and 2f + 1 <PREVOTE, h_p, round_p, id(v)> while valid(v)
    and step_p >= prevote for the first time (36-43).

    The 2f + 1 prevotes of an earlier round, which came late or were shown, also make a value valid,
    if validRound_p is older: its holder may have locked it.
    """
    for (phase, round, block), tally in state.votes.items():
        if phase != STEPS[PREVOTE] or block == NIL:
            continue
        if not state.promises.valid_round < round <= state.round:
            continue
        if round == state.round and state.step < PREVOTE:
            continue
        candidate = _proposal_of(state, block)
        if candidate is None or not context.committee.approves(tally.weight):
            continue
        if block not in state.valid:
            asked = _ask(state, candidate, True)
            if asked is not None:
                return asked
        if not state.valid.get(block):
            continue
        proof = certificate_of(context.height, phase, round, block, tally)
        promises = changed(state.promises, valid=proof)  # 42-43
        if round == state.round and state.step == PREVOTE:  # 37-41
            promises = changed(promises, locked=(round, block))
            return _precommit(context, changed(state, promises=promises), block)
        return changed(state, promises=promises), ()
    return None


def _proposal_of(state: State, block: bytes) -> Candidate | None:
    """A proposal of a block, of whatever round."""
    proposals = (each for some in state.proposals.values() for each in some)
    return next((each for each in proposals if each.header.cid == block), None)


def _line_44(context: HeightContext, state: State) -> Step | None:
    """Upon 2f + 1 <PREVOTE, h_p, round_p, nil> while step_p = prevote (44-46)."""
    if state.step != PREVOTE or not has_quorum(context, state, STEPS[PREVOTE], state.round, NIL):
        return None
    return _precommit(context, state, NIL)


def _line_47(context: HeightContext, state: State) -> Step | None:
    """Upon 2f + 1 <PRECOMMIT, h_p, round_p, *> for the first time (47-48)."""
    return _schedule(context, state, PRECOMMIT)


def _schedule(context: HeightContext, state: State, step: int) -> Step | None:
    """Lines 34-35 and 47-48: the timer of a step, once 2f + 1 have voted in it, for whatever."""
    name, round = STEPS[step], state.round
    heard = state.heard.get((name, round), NOBODY)
    if (name, round) in state.scheduled or not context.committee.approves(heard.weight):
        return None
    return changed(state, scheduled=state.scheduled | {(name, round)}), (Schedule(name, round),)


def _line_49(context: HeightContext, state: State) -> Step | None:
    """Upon 2f + 1 <PRECOMMIT, h_p, r, id(v)> of any round r (49-54). The server waits for the
    PROPOSAL before it appends the block."""
    for (phase, round, block), tally in state.votes.items():
        if phase == STEPS[PRECOMMIT] and block != NIL and context.committee.approves(tally.weight):
            certificate = certificate_of(context.height, phase, round, block, tally)
            return changed(state, decided=certificate), (Decide(certificate),)
    return None


def _line_55(context: HeightContext, state: State) -> Step | None:
    """Upon f + 1 <*, h_p, round, *, *> with round > round_p (55-56): the latest round that f + 1
    members are in or past."""
    weight = 0
    for server, round in sorted(state.furthest.items(), key=lambda each: -each[1]):
        if round <= state.round:
            return None
        weight += context.weight(server)
        if context.committee.holds_back(weight):
            return _start_round(context, state, round)
    return None


# -- steps shared by them -------------------------------------------------------------------------


def _heard_of(state: State, server: int, round: int) -> State:
    """Note that a member has said something in a round."""
    if state.furthest.get(server, -1) >= round:
        return state
    return changed(state, furthest={**state.furthest, server: round})


def _prevote(context: HeightContext, state: State, block: bytes) -> Step:
    """Broadcast <PREVOTE, h_p, round_p, ``block``>, and step_p := prevote; a server that does not
    sit, or has prevoted in the round before a crash, says nothing new."""
    state, promises = changed(state, step=PREVOTE), state.promises
    if promises.prevote[0] >= state.round or not context.weight(context.index):
        return state, ()
    return _vote(state, STEPS[PREVOTE], block)


def _precommit(context: HeightContext, state: State, block: bytes) -> Step:
    """Broadcast <PRECOMMIT, h_p, round_p, ``block``>, and step_p := precommit."""
    state, promises = changed(state, step=PRECOMMIT), state.promises
    if promises.precommit[0] >= state.round or not context.weight(context.index):
        return state, ()
    return _vote(state, STEPS[PRECOMMIT], block)


def _vote(state: State, phase: str, block: bytes) -> Step:
    said, promises = (phase, state.round, block), state.promises
    promises = changed(promises, said=(*promises.said, said))
    return changed(state, promises=promises), (CastVote(*said),)
