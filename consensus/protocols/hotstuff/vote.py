"""`hotstuff`, the vote of one height: Basic HotStuff (Algorithm 2) of Yin, Malkhi, Reiter, Golan
Gueta and Abraham, "HotStuff: BFT Consensus with Linearity and Responsiveness" (PODC 2019), as pure
functions from a state and what happened to the next state and what is to be done.

Each phase of the paper is one function; one that does not apply returns None, and `_run` runs those
that do until none does. The paper's words are kept: curView, prepareQC, lockedQC, safeNode; n - f
is more than two thirds of the committee's weight. README.md lists the differences.

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
from consensus.protocols.bft.state import NOBODY, closing_of
from consensus.protocols.hotstuff.state import (
    COMMIT,
    LAST,
    PRECOMMIT,
    PREPARE,
    CastVote,
    Decide,
    Effect,
    EnterRound,
    Leave,
    Promises,
    Show,
    State,
    Step,
    Validate,
)
from consensus.records.block import Candidate
from consensus.records.votes import Certificate, Timeout, TimeoutCertificate, Vote

# -- what may be said -----------------------------------------------------------------------------


def follows(context: HeightContext, candidate: Candidate) -> str | None:
    """The reason why a proposal is none that its view allows, or None: from its leader, a new block
    or that of the prepareQC which it carries as m.justify, and, but for the first view, with the
    new-view messages that let its leader begin."""
    (round, step), header, proof = candidate.view, candidate.header, candidate.proof
    if step:
        return "not of a round"
    if candidate.proposer != context.proposer(round):
        return "not its turn"
    closed = candidate.justification
    if (closed is None) != (round == 0) or (closed is not None and closed.attempt != round - 1):
        return "not what begins its view"
    if (proof is None) != (candidate.turn is None):
        return "proposed again without a proof" if proof is None else "a proof of a new value"
    if proof is None:
        return None
    if header.step or header.aggregator != context.proposer(header.attempt):
        return "first proposed out of turn"
    if proof.phase != PREPARE or not header.attempt <= proof.attempt < round:
        return "proof of another view"
    return None if proof.block == header.cid else "proof of another value"


def is_safe(promises: Promises, candidate: Candidate) -> bool:
    """safeNode: true if a proposal extends the block that this server is locked on, which within
    one height is to be that block, or if its prepareQC is of a later view than the lock."""
    locked, proof = promises.locked, candidate.proof
    if locked is None or candidate.header.cid == locked.block:
        return True
    return proof is not None and proof.attempt > locked.attempt


def highest(state: State) -> Certificate | None:
    """highQC: the highest prepareQC among the new-view messages of this view and one's own."""
    known = [] if state.closed is None else [state.closed.lock]
    found = (each for each in (*known, state.promises.prepared) if each is not None)
    return max(found, key=lambda each: each.attempt, default=None)


def is_proven(context: HeightContext, state: State, block: bytes) -> bool:
    """True if a quorum stands behind a block, in some view."""
    named = [*state.promises.locks, *state.certificates.values()]
    if state.closed is not None and state.closed.lock is not None:
        named.append(state.closed.lock)
    return any(each.block == block for each in named) or any(
        each == block and context.committee.approves(tally.weight)
        for (_, _, each), tally in state.votes.items()
    )


# -- what happens ---------------------------------------------------------------------------------


def begin(context: HeightContext, promises: Promises, catching_up: bool = False) -> Step:
    """Begin a height, or enter it again after a crash with the promises made in it: in the view
    that they tell, saying its votes and its last new-view message again. A server that is catching
    up says nothing at all."""
    if catching_up:
        return State(Promises(context.height, proposed=LAST), muted=True), ()
    if promises.height != context.height:
        return State(Promises(context.height)), (EnterRound(0),)
    known = {each.phase: each for each in promises.locks if each.attempt == promises.round}
    effects: tuple[Effect, ...] = (EnterRound(promises.round),)
    left, prepared = promises.left
    if left == promises.round - 1 and left >= 0:
        effects += (Leave(left, prepared),)
    again = tuple(CastVote(*each) for each in promises.said)
    return State(promises, certificates=known), effects + again


def on_proposing(state: State) -> State:
    """Promise to make no second proposal in curView."""
    return changed(state, promises=changed(state.promises, proposed=state.round))


def on_proposal(context: HeightContext, state: State, candidate: Candidate) -> Step:
    """Take in a checked proposal, of which `follows` says nothing bad. More than `MOST_PROPOSALS`
    of a view are kept only with a quorum."""
    round, block = candidate.view[0], candidate.header.cid
    if candidate.proof is not None:
        state = _learn(state, candidate.proof)
    known = state.proposals.get(round, ())
    if any(each.header.cid == block for each in known):
        return state, ()
    if len(known) >= MOST_PROPOSALS and not is_proven(context, state, block):
        return state, ()
    state = changed(state, proposals={**state.proposals, round: (*known, candidate)})
    effects: tuple[Effect, ...] = ()
    if candidate.justification is not None:
        state, effects = _close(state, candidate.justification)
    return _then(context, (state, effects))


def on_judged(
    context: HeightContext, state: State, block: bytes, valid: bool, declined: bool = False
) -> Step:
    """Go on, as it is known whether a block's contents are right; ``declined``: true if this server
    would not have proposed it now, though they are."""
    if declined:
        state = changed(state, declined=state.declined | {block})
    return _run(context, changed(state, valid={**state.valid, block: valid}))


def on_votes(context: HeightContext, state: State, votes: Iterable[Vote]) -> Step:
    """Take in checked votes of members, which this server counts as the leader of their view."""
    for vote in votes:
        key = vote.phase, vote.attempt, vote.block
        tally = state.tally(*key)
        ahead = vote.attempt > state.round + context.ahead
        past = vote.attempt < state.round and vote.phase != COMMIT
        if not (ahead or past or tally.servers >> vote.server & 1):
            tally = tally.add(vote.server, context.weight(vote.server), vote)
            state = changed(state, votes={**state.votes, key: tally})
    return _run(context, state)


def on_certificate(context: HeightContext, state: State, certificate: Certificate) -> Step:
    """Take in a checked prepareQC or precommitQC. One of a later view than curView shows that a
    quorum is in that view, which begins here, too."""
    effects: tuple[Effect, ...] = ()
    if certificate.attempt > state.round:
        state, effects = _enter(state, certificate.attempt, None)
    return _then(context, (_learn(state, certificate), effects))


def on_timeout(context: HeightContext, state: State, timeout: Timeout) -> Step:
    """Count a checked new-view message, as the leader of the view that it is for."""
    round = timeout.attempt
    tally = state.timeouts.get(round, NOBODY)
    if not state.round - 1 <= round <= state.round + context.ahead or (
        tally.servers >> timeout.server & 1
    ):
        return state, ()
    tally = tally.add(timeout.server, context.weight(timeout.server), timeout)
    state = changed(state, timeouts={**state.timeouts, round: tally})
    if not context.committee.approves(tally.weight):
        return state, ()
    return on_closed(context, state, closing_of(timeout, tally))


def on_closed(context: HeightContext, state: State, certificate: TimeoutCertificate) -> Step:
    """Take in 2f + 1 checked new-view messages: the view that they are for begins."""
    return _then(context, _close(state, certificate))


def on_timer(context: HeightContext, state: State, round: int) -> Step:
    """nextView, as the time of a view is up: say so, with prepareQC, to the next leader."""
    if round != state.round or state.decided is not None or state.muted:
        return state, ()
    prepared = state.promises.prepared
    state = changed(state, promises=changed(state.promises, left=(round, prepared)))
    state, effects = _enter(state, round + 1, None)
    if context.weight(context.index):
        effects += (Leave(round, prepared),)
    return _then(context, (state, effects))


def _learn(state: State, certificate: Certificate) -> State:
    """Note a checked certificate: of curView for its phase, and of whatever view as prepareQC if it
    is the highest known."""
    if certificate.attempt == state.round and certificate.phase not in state.certificates:
        known = {**state.certificates, certificate.phase: certificate}
        state = changed(state, certificates=known)
    if certificate.phase == PREPARE and certificate.attempt > state.promises.prepared_round:
        state = changed(state, promises=changed(state.promises, prepared=certificate))
    return state


def _close(state: State, certificate: TimeoutCertificate) -> Step:
    """Note what lets a view begin, and begin it unless it has begun."""
    round = certificate.attempt + 1
    effects: tuple[Effect, ...] = ()
    if round > state.round:
        state, effects = _enter(state, round, certificate)
    elif round == state.round and state.closed is None:
        state = changed(state, closed=certificate)
    return (state if certificate.lock is None else _learn(state, certificate.lock)), effects


def _enter(state: State, round: int, closed: TimeoutCertificate | None) -> Step:
    """Begin a view. Of those before it only what may still decide is kept."""
    entered = changed(
        state,
        promises=changed(state.promises, round=round, said=()),
        votes={
            key: tally for key, tally in state.votes.items() if key[1] >= round or key[0] == COMMIT
        },
        timeouts={left: tally for left, tally in state.timeouts.items() if left >= round - 1},
        certificates={},
        closed=closed,
        shown=frozenset(),
    )
    return entered, (EnterRound(round),)


# -- the phases -----------------------------------------------------------------------------------


def _run(context: HeightContext, state: State) -> Step:
    """Run every phase that applies, until none does."""
    done: tuple[Effect, ...] = ()
    while state.decided is None:
        for phase in (_decide, _lead, _prepare, _precommit, _commit):
            found = phase(context, state)
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


def _decide(context: HeightContext, state: State) -> Step | None:
    """DECIDE, as a leader: n - f commit votes of a view."""
    for (phase, round, block), tally in state.votes.items():
        if phase == COMMIT and context.committee.approves(tally.weight):
            certificate = certificate_of(context.height, phase, round, block, tally)
            return changed(state, decided=certificate), (Decide(certificate),)
    return None


def _lead(context: HeightContext, state: State) -> Step | None:
    """PRE-COMMIT and COMMIT, as a leader: n - f votes of the phase before make its certificate,
    which all members are shown."""
    for (phase, round, block), tally in state.votes.items():
        if phase == COMMIT or round != state.round or phase in state.shown:
            continue
        if context.committee.approves(tally.weight):
            certificate = certificate_of(context.height, phase, round, block, tally)
            state = changed(state, shown=state.shown | {phase})
            return _learn(state, certificate), (Show(certificate),)
    return None


def _prepare(context: HeightContext, state: State) -> Step | None:
    """PREPARE, as a replica: the first proposal of the leader, if it is a safeNode."""
    candidate = next(iter(state.proposals.get(state.round, ())), None)
    if candidate is None or not _may_vote(context, state, PREPARE):
        return None
    if not is_safe(state.promises, candidate):
        return None
    block, proven = candidate.header.cid, candidate.proof is not None
    valid = state.valid.get(block)
    if valid is None:
        asked = state.asked.get(block)
        if asked is not None and asked >= proven:
            return None
        return changed(state, asked={**state.asked, block: proven}), (Validate(candidate, proven),)
    if not valid or (block in state.declined and not proven):
        return None
    return _vote(state, PREPARE, block)


def _precommit(context: HeightContext, state: State) -> Step | None:
    """PRE-COMMIT, as a replica: the prepareQC of curView, which `_learn` has noted."""
    found = state.certificates.get(PREPARE)
    if found is None or not _may_vote(context, state, PRECOMMIT):
        return None
    return _vote(state, PRECOMMIT, found.block)


def _commit(context: HeightContext, state: State) -> Step | None:
    """COMMIT, as a replica: lock the precommitQC of curView. Its prepareQC must be here, as the
    next leaders are told of that one."""
    found = state.certificates.get(PRECOMMIT)
    if found is None or PREPARE not in state.certificates:
        return None
    if not _may_vote(context, state, COMMIT):
        return None
    state = changed(state, promises=changed(state.promises, locked=found))
    return _vote(state, COMMIT, found.block)


def _may_vote(context: HeightContext, state: State, phase: str) -> bool:
    """True if a vote of a phase in curView is this server's to cast, and not cast yet."""
    seated = context.weight(context.index) and not state.muted
    return bool(seated) and not state.promises.has_voted(phase)


def _vote(state: State, phase: str, block: bytes) -> Step:
    said, promises = (phase, state.round, block), state.promises
    promises = changed(promises, said=(*promises.said, said))
    return changed(state, promises=promises), (CastVote(*said),)
