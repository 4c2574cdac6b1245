"""`bft`, the vote of one height: pure functions from a state and what happened to the next state
and what is to be done.

Nothing here knows a clock, a key or a network. The edge server (`consensus.protocols.bft.server`)
checks signatures, tells these functions what arrived, and does what the returned effects say.
States and effects are frozen: what a function is not content with leaves the very same state
behind.

A *view* is (attempt, step): the turn of one aggregator, its leader, before the committee of the
attempt. PROTOCOL.md has the rules in words, and why they are safe and live.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from consensus.protocols.bft.state import (
    ATTEMPTS_AHEAD,
    BLANK,
    NEVER,
    NOBODY,
    AwaitLocks,
    CastVote,
    Decide,
    Effect,
    Enter,
    HeightContext,
    Promises,
    SendTimeout,
    Settle,
    ShowLock,
    ShowTimeoutCertificate,
    State,
    Step,
    Tally,
    Validate,
    _with,
    blank_at,
    certificate_of,
    closing_of,
)
from consensus.records.block import Candidate
from consensus.records.view import View
from consensus.records.votes import Certificate, Timeout, TimeoutCertificate, Vote

# -- rules ----------------------------------------------------------------------------------------


def follows(context: HeightContext, candidate: Candidate) -> str | None:
    """The reason why a candidate is not what its view allows, or None: it needs the certificate
    that closed the view before; if that carries a lock, the locked block is proposed again, and
    nothing else; if not, a new one."""
    justification, view = candidate.justification, candidate.view
    if candidate.proposer != context.leader(view):
        return "not its turn"
    if candidate.proof is not None:
        return "proof of another protocol"
    if justification is None:
        return None if view == (0, 0) and candidate.turn is None else "no justification"
    near = view[0] - justification.attempt in (0, 1)  # else no committee of it is formed
    if not near or context.next_view(justification) != view:
        return "justification of another view"
    if justification.lock is None:
        return None if candidate.turn is None else "proposed again without a lock"
    header = candidate.header
    if candidate.turn is not None and (
        header.view >= view or header.aggregator != context.leader(header.view)
    ):
        return "first proposed out of turn"
    return None if header.cid == justification.lock.block else "not the locked block"


def contradicted(state: State, candidate: Candidate) -> bool:
    """True if this server knows a lock on another block, higher than the one that justifies the
    candidate: somebody may have decided that block."""
    if not state.promises.locks:
        return False
    justification, block = candidate.justification, candidate.header.cid
    base = (
        justification.lock.view
        if justification is not None and justification.lock is not None
        else (-1, 0)
    )
    return any(
        lock.block != block and base < lock.view <= candidate.view for lock in state.promises.locks
    )


def lacking(
    context: HeightContext, state: State, certificate: TimeoutCertificate
) -> Certificate | None:
    """The lock that those lack who enter a view by ``certificate``: the highest of the views before
    that this server knows, if it is higher than the one that the certificate carries, and it has
    not shown it yet; else None."""
    view = context.next_view(certificate)
    before = (lock for lock in state.promises.locks if lock.view < view)
    lock, carried = max(before, key=lambda lock: lock.name, default=None), certificate.lock
    if lock is None or (carried is not None and lock.view <= carried.view):
        return None
    return None if (view, lock.name) in state.shown else lock


# -- what happens ---------------------------------------------------------------------------------


def begin(context: HeightContext, promises: Promises, catching_up: bool = False) -> Step:
    """Begin a height, or enter it again after a restart with the promises made in it. A server
    that is catching up says nothing at all."""
    if catching_up:
        promises = _with(BLANK.promises, height=context.height, proposed=NEVER, left=NEVER)
        state = _with(BLANK, promises=promises, timed_out=NEVER)
    elif promises.height == context.height:
        state = _with(BLANK, promises=promises)
    else:
        state = blank_at(context.height)
    return state, (Enter(state.view),)


def on_proposing(state: State) -> State:
    """Promise to propose no second block in the view in progress, whatever befalls it."""
    return _with(state, promises=_with(state.promises, proposed=state.view))


def on_candidate(context: HeightContext, state: State, candidate: Candidate) -> Step:
    """Take in a checked candidate, of which `follows` says nothing bad."""
    effects: tuple[Effect, ...] = ()
    if candidate.justification is not None:
        state, effects = on_closed(context, state, candidate.justification)
    view = candidate.view
    known = state.candidates.get(view)
    if known is not None:
        if known.header.cid == candidate.header.cid:
            return state, effects
        state, more = on_equivocated(context, state, view)
        return state, effects + more
    if view < state.view:
        return state, effects
    state = _with(state, candidates={**state.candidates, view: candidate})
    if view != state.view:
        return state, effects
    state, more = _consider(context, state)
    return state, effects + more


def on_judged(context: HeightContext, state: State, block: bytes, valid: bool) -> Step:
    """Go on, as the contents of a block were found right, or wrong."""
    if state.valid.get(block) is valid:
        return state, ()
    return _act(context, _with(state, valid={**state.valid, block: valid}))


def on_declined(context: HeightContext, state: State, view: View) -> Step:
    """Leave a view whose block came at the wrong time (as this server's clock and tickets have it),
    or without a ticket: no reason to refuse it when others have locked it."""
    return _leave(context, state) if view == state.view else (state, ())


def on_equivocated(context: HeightContext, state: State, view: View) -> Step:
    """Note that the leader of a view has signed two proposals."""
    if view in state.equivocated:
        return state, ()
    return _act(context, _with(state, equivocated=state.equivocated | {view}))


def on_vote(context: HeightContext, state: State, vote: Vote) -> Step:
    """Count a checked vote of a member, its first in this phase and view. Whoever votes for another
    block than the one that is locked in that view is shown the lock."""
    view = (vote.attempt, vote.step)
    for lock in state.promises.locks:
        if lock.view == view and lock.block != vote.block:
            state, reply = _show(state, lock, vote.server)
            state, effects = _count(context, state, vote, view)
            return state, reply + effects
    return _count(context, state, vote, view)


def _count(context: HeightContext, state: State, vote: Vote, view: View) -> Step:
    """Count a vote, and do what is due then."""
    if vote.attempt > state.view[0] + ATTEMPTS_AHEAD or (
        vote.phase == "soft" and (view < state.view or view <= state.promises.cert)
    ):
        return state, ()
    key = (vote.phase, view, vote.block)
    tally = state.votes.get(key, NOBODY)
    if tally.servers >> vote.server & 1:
        return state, ()
    tally = tally.add(vote.server, context.weight(vote.attempt, vote.server), vote)
    state = _with(state, votes={**state.votes, key: tally})
    if vote.phase == "cert":
        committee = context.sortition(vote.attempt).committee
        if state.decided is None and committee.approves(tally.weight):
            certificate = certificate_of(context, key, tally)
            return _with(state, decided=certificate), (Decide(certificate),)
        return state, ()
    return _act(context, state) if view == state.view else (state, ())


def on_timeout(context: HeightContext, state: State, timeout: Timeout) -> Step:
    """Count a checked timeout, its lock included."""
    if timeout.lock is not None:
        state = _learn(state, timeout.lock)
    view = timeout.view
    over = timeout.attempt < state.view[0] if timeout.everyone else view < state.view
    if over or timeout.attempt > state.view[0] + ATTEMPTS_AHEAD:
        return state, ()
    key = (view, timeout.everyone)
    tally = state.timeouts.get(key, NOBODY)
    if tally.servers >> timeout.server & 1:
        return state, ()
    weight = (
        context.stakes[timeout.server]
        if timeout.everyone
        else context.weight(timeout.attempt, timeout.server)
    )
    tally = tally.add(timeout.server, weight, timeout)
    state = _with(state, timeouts={**state.timeouts, key: tally})
    committee = context.sortition(timeout.attempt).committee
    if timeout.everyone:
        enough = 3 * tally.weight >= 2 * context.stake
    else:
        enough = committee.approves(tally.weight)
    if enough:
        certificate = closing_of(timeout, tally)
        state, effects = on_closed(context, state, certificate)
        return state, (ShowTimeoutCertificate(certificate), *effects)
    if not timeout.everyone and view == state.view and committee.holds_back(tally.weight):
        return _leave(context, state)  # an honest member gave up: two thirds are out of reach
    return _act(context, state)


def on_closed(context: HeightContext, state: State, certificate: TimeoutCertificate) -> Step:
    """Go on to the view after a checked timeout certificate, with the lock that it carries; one
    that carries less than this server knows is answered with its lock, whatever view it is in
    itself: others enter by that certificate."""
    if certificate.lock is not None:
        state = _learn(state, certificate.lock)
    view = context.next_view(certificate)
    state, reply = _show(state, lacking(context, state, certificate), view)
    if view <= state.view:
        return state, reply
    effects: list[Effect] = [Enter(view), *reply]
    if context.settles and context.weight(view[0], context.index):
        effects.append(AwaitLocks(view))
    state = _with(
        state,
        view=view,
        justification=certificate,
        settling=None,
        settled=False,
        listened=False,
        votes={
            key: tally for key, tally in state.votes.items() if key[0] == "cert" or key[1] >= view
        },
        timeouts={
            key: tally
            for key, tally in state.timeouts.items()
            if key[0] >= view or (key[1] and key[0][0] == view[0])
        },
    )
    state, more = _consider(context, state)
    return state, (*effects, *more)


def on_lock(context: HeightContext, state: State, lock: Certificate) -> Step:
    """Learn a checked soft certificate that somebody showed."""
    return _act(context, _learn(state, lock))


def on_view_timer(context: HeightContext, state: State, view: View) -> Step:
    """Leave a view whose time is over."""
    return _leave(context, state) if view == state.view else (state, ())


def on_settle_timer(context: HeightContext, state: State, view: View) -> Step:
    """Go on, as a lock has settled, if `_act` finds that nothing contradicts it."""
    if view != state.settling or state.settled:
        return state, ()
    return _act(context, _with(state, settled=True))


def on_listen_timer(context: HeightContext, state: State, view: View) -> Step:
    """Go on, as whoever had a lock to show in a view has shown it."""
    if view != state.view or state.listened:
        return state, ()
    return _act(context, _with(state, listened=True))


def on_recovery_timer(context: HeightContext, state: State, view: View) -> Step:
    """Give up all of an attempt (which its first step stands for): the view's time has long been
    over, and its committee has not closed it."""
    end = (view[0] + 1, -1)
    if view != state.view or state.timed_out >= end:
        return state, ()
    return _left(state, end, (view[0], 0), True)


# -- votes and timeouts that change nothing else -------------------------------------------------


def is_at_rest(context: HeightContext, state: State) -> bool:
    """True if nothing is due in the view in progress: a further vote or timeout has no effect but
    to be counted, as long as those like it are below the quorum."""
    return _act(context, state)[0] is state


def with_tallies(state: State, **tallies: Mapping[Any, Tally]) -> State:
    """The state with these ``votes`` or ``timeouts``."""
    return _with(state, **tallies)


# -- steps shared by them -------------------------------------------------------------------------


def _consider(context: HeightContext, state: State) -> Step:
    """Look at the candidate of the view in progress, if it is here."""
    candidate = state.candidates.get(state.view)
    if candidate is None:
        return state, ()
    if candidate.header.cid in state.valid:
        return _act(context, state)
    return state, (Validate(candidate),)


def _act(context: HeightContext, state: State) -> Step:
    """Cast whatever vote is due in the view in progress."""
    view, promises = state.view, state.promises
    candidate = state.candidates.get(view)
    if candidate is None or state.decided is not None or not context.weight(view[0], context.index):
        return state, ()
    if promises.left >= view:
        return _leave(context, state)
    block = candidate.header.cid
    valid = state.valid.get(block)
    if view in state.equivocated or valid is False or contradicted(state, candidate):
        return _leave(context, state)
    if not valid:
        return state, ()
    effects: list[Effect] = []
    if promises.soft < view:
        if context.settles and view != (0, 0) and not state.listened:
            return state, ()
        promises = _with(promises, soft=view)
        state = _with(state, promises=promises)
        effects.append(CastVote("soft", view, block))
    key = ("soft", view, block)
    tally = state.votes.get(key)
    if tally is None or promises.cert >= view:
        return state, tuple(effects)
    if not context.sortition(view[0]).committee.approves(tally.weight):
        return state, tuple(effects)
    if not any(lock.name == (*view, block) for lock in promises.locks):
        state = _learn(state, certificate_of(context, key, tally))
    # Above five sixths nobody can come to another lock, though half the committee be malicious.
    certain = context.sortition(view[0]).committee.overwhelms(tally.weight)
    if context.settles and not state.settled and not certain:
        if state.settling != view:
            state = _with(state, settling=view)
            effects.append(Settle(view))
        return state, tuple(effects)
    state = _with(state, promises=_with(state.promises, cert=view))
    return state, (*effects, CastVote("cert", view, block))


def _leave(context: HeightContext, state: State) -> Step:
    """Give up the view in progress, as a member."""
    view = state.view
    if state.timed_out >= view or not context.weight(view[0], context.index):
        return state, ()
    return _left(state, view, view, False)


def _left(state: State, end: View, view: View, everyone: bool) -> Step:
    """Promise to vote in no view up to ``end`` any more, and to name no other lock in a timeout of
    ``view``; say so."""
    promises = state.promises
    if all(told[:2] != (view, everyone) for told in promises.told):
        lock = promises.named_lock(view, everyone)
        name = None if lock is None else lock.name
        promises = _with(promises, told=(*promises.told, (view, everyone, name)))
    if promises.left < end:
        promises = _with(promises, left=end)
    return _with(state, promises=promises, timed_out=end), (SendTimeout(view, everyone),)


def _show(state: State, lock: Certificate | None, why: View | int) -> Step:
    """Show a lock, once for each reason: to the server ``why`` that votes against it, or to all
    that enter the view ``why``."""
    if lock is None or (why, lock.name) in state.shown:
        return state, ()
    to = why if isinstance(why, int) else None
    return _with(state, shown=state.shown | {(why, lock.name)}), (ShowLock(lock, to),)


def _learn(state: State, lock: Certificate) -> State:
    """Remember a lock."""
    promises = state.promises
    if any(known.name == lock.name for known in promises.locks):
        return state
    return _with(state, promises=_with(promises, locks=(*promises.locks, lock)))
