"""Promises that outlive a crash, and that no sequence of events breaks."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from consensus.protocols.bft import vote as bft
from consensus.protocols.bft.state import (
    CastVote,
    Decide,
    Enter,
    Promises,
    SendTimeout,
    State,
)
from consensus.records.view import View
from tests.helpers.bft_run import (
    BLOCK,
    BYSTANDER,
    CONTEXT,
    HEIGHT,
    SERVERS,
    TWIN,
    C,
    Run,
    again,
    candidate,
    closing,
    context_of,
    lock,
    sortition,
    timeout,
    vote,
)

# -- promises --------------------------------------------------------------------------------------

SWORN = Promises(HEIGHT, (0, 1), (0, 0), (0, 0), (lock(C),))


def test_promises_outlive_a_restart_within_the_height() -> None:
    state, effects = bft.begin(CONTEXT, SWORN)
    assert state == State(SWORN)
    assert state.promises is SWORN
    assert effects == (Enter((0, 0)),)


def test_promises_of_another_height_say_nothing_about_this_one() -> None:
    for height in (0, HEIGHT - 1, HEIGHT + 1):
        state, _ = bft.begin(CONTEXT, replace(SWORN, height=height))
        assert state.promises == Promises(HEIGHT)


def test_after_a_restart_nothing_is_voted_for_twice() -> None:
    first = Run().propose().votes(range(6))
    assert [say.phase for say in first.did(CastVote)] == ["soft", "cert"]
    second = Run(CONTEXT, first.state.promises).propose(TWIN).votes(range(6), TWIN)
    second.votes(range(6)).on("settle_timer", (0, 0))
    assert second.did(CastVote) == []
    third = Run(CONTEXT, first.state.promises).propose().votes(range(6))
    assert third.did(CastVote) == []


def test_after_a_restart_a_view_that_was_left_stays_left() -> None:
    first = Run().on("view_timer", (0, 0))
    second = Run(CONTEXT, first.state.promises).propose().votes(range(6))
    assert second.did(CastVote) == []
    assert second.did(SendTimeout) == [SendTimeout((0, 0), False)], "and that is said once more"
    assert second.unmoved("view_timer", (0, 0))


def test_after_a_restart_a_timeout_is_said_again() -> None:
    """The crash may have come before it reached anybody, and nobody else can say it."""
    first = Run().on("view_timer", (0, 0))
    second = Run(CONTEXT, first.state.promises).on("view_timer", (0, 0))
    assert second.last == (SendTimeout((0, 0), False),)
    assert second.unmoved("view_timer", (0, 0))
    first = Run(BYSTANDER).on("recovery_timer", (0, 0))
    second = Run(BYSTANDER, first.state.promises).on("recovery_timer", (0, 0))
    assert second.last == (SendTimeout((0, 0), True),)
    assert second.unmoved("recovery_timer", (0, 0))
    assert second.state.promises == first.state.promises


def test_a_leader_proposes_once_a_crash_notwithstanding() -> None:
    run = Run().on("closed", closing((0, 0)))
    state = bft.on_proposing(run.state)
    assert state.promises == replace(run.state.promises, proposed=(0, 1))
    again, _ = bft.begin(CONTEXT, state.promises)
    assert again.promises.proposed == (0, 1)


def test_who_is_catching_up_says_nothing_at_all() -> None:
    run = Run(CONTEXT)
    run.take(bft.begin(CONTEXT, Promises(HEIGHT), catching_up=True))
    run.propose().votes(range(6)).timeouts([2, 3, 4])
    for what in ("view_timer", "settle_timer", "recovery_timer"):
        run.on(what, (0, 0))
    run.on("closed", closing((0, 0))).propose(again(C, (0, 1), closing((0, 0), lock(C))))
    assert run.did(CastVote) == run.did(SendTimeout) == []
    assert run.state.promises.proposed > (2**62, 0)
    run.votes(range(5), phase="cert")
    assert len(run.did(Decide)) == 1


def test_after_a_restart_a_soft_vote_may_still_be_followed_by_its_cert_vote() -> None:
    first = Run().propose()
    second = Run(CONTEXT, first.state.promises).propose().votes(range(6))
    assert second.did(CastVote) == [CastVote("cert", (0, 0), BLOCK)]


def test_after_a_restart_a_lock_still_binds() -> None:
    first = Run().propose().votes([1, 2, 3, 4, 5])
    second = Run(CONTEXT, first.state.promises).propose(candidate((0, 1), closing((0, 0))))
    assert second.did(CastVote) == []


# -- any sequence of events ------------------------------------------------------------------------

VIEWS: list[View] = [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1)]
FIRSTS = [candidate(view, salt=salt) for view in VIEWS for salt in (0, 1)]
LOCKS = [lock(of) for of in FIRSTS]
CLOSINGS = [
    closing(view, held, everyone)
    for view, everyone in [((0, 0), False), ((0, 1), False), ((0, 2), False), ((0, 0), True)]
    for held in [None, *(held for held in LOCKS if held.view <= view)]
]
CANDIDATES = [
    of
    for why in [None, *CLOSINGS]
    for first in FIRSTS
    for of in [replace(first, justification=why), *(again(first, v, why) for v in VIEWS[1:])]
    if bft.follows(CONTEXT, of) is None
]
events = st.one_of(
    st.tuples(st.just("candidate"), st.sampled_from(CANDIDATES)),
    st.tuples(st.just("judged"), st.sampled_from([f.header.cid for f in FIRSTS]), st.just(True)),
    st.builds(
        lambda server, of, phase, view: ("vote", vote(server, of, phase, view)),
        st.integers(0, SERVERS - 1),
        st.sampled_from(FIRSTS),
        st.sampled_from(["soft", "cert"]),
        st.none() | st.sampled_from(VIEWS),
    ),
    st.builds(
        lambda server, view, held, everyone: (
            "timeout",
            timeout(server, (view[0], 0) if everyone else view, held, everyone),
        ),
        st.integers(0, SERVERS - 1),
        st.sampled_from(VIEWS),
        st.none() | st.sampled_from(LOCKS),
        st.booleans(),
    ),
    st.tuples(st.just("closed"), st.sampled_from(CLOSINGS)),
    st.tuples(st.just("lock"), st.sampled_from(LOCKS)),
    st.tuples(st.sampled_from(["equivocated", "declined"]), st.sampled_from(VIEWS)),
    st.tuples(
        st.sampled_from(["view_timer", "settle_timer", "recovery_timer"]), st.sampled_from(VIEWS)
    ),
    st.tuples(st.just("restart")),
    st.tuples(
        st.just("quorum"),
        st.integers(0, 7),
        st.sampled_from([6, 5, 4, 0]),
        st.sampled_from([0, 0, 4, 5]),
    ),
)


def quorum(state: State, which: int, soft: int, cert: int) -> list[tuple[Any, ...]]:
    """The events of a view that goes well, or nearly: a candidate, its judgement, its votes."""
    ahead = [of for of in CANDIDATES if of.view >= state.view and of.view > state.promises.left]
    if not ahead:
        return []
    of = sorted(ahead, key=lambda of: of.view)[which % min(8, len(ahead))]
    members = list(sortition(of.view[0]).committee.weights)
    found: list[tuple[Any, ...]] = [("candidate", of), ("judged", of.header.cid, True)]
    found += [("vote", vote(server, of)) for server in members[:soft]]
    return found + [("vote", vote(server, of, "cert")) for server in members[:cert]]


@settings(deadline=None, max_examples=300)
@given(st.lists(events, min_size=5, max_size=60), st.booleans(), st.integers(0, SERVERS - 1))
def test_no_sequence_of_events_makes_a_server_break_its_promises(
    sequence: list[tuple[Any, ...]], settles: bool, index: int
) -> None:
    context = context_of(index, settles)
    run = Run(context)
    said: dict[tuple[str, View], bytes] = {}
    judged: set[bytes] = set()
    left: View = (-1, 0)
    entered: View = (0, 0)
    for event in sequence:
        if event[0] == "restart":
            run = Run(context, run.state.promises)
            entered = (0, 0)
            continue
        steps = quorum(run.state, *event[1:]) if event[0] == "quorum" else [event]
        for step in steps:
            if step[0] == "judged":
                judged.add(step[1])
            if step[0] == "vote" and not context.weight(step[1].attempt, step[1].server):
                continue  # the server has refused it
            before = run.state
            run.on(*step)
            promises = run.state.promises
            # What was promised is never taken back, ...
            assert promises.soft >= before.promises.soft
            assert promises.cert >= before.promises.cert
            assert promises.left >= before.promises.left
            assert set(promises.locks) >= set(before.promises.locks)
            for effect in run.last:
                if isinstance(effect, CastVote):
                    # ... each phase says one thing per view, from a seat, in the view in progress,
                    key = (effect.phase, effect.view)
                    assert key not in said
                    said[key] = effect.block
                    assert effect.view == run.state.view
                    assert context.weight(effect.view[0], index)
                    # ... and nothing once the view was left,
                    assert effect.view > left
                    # ... and of what was found right, proposed there, and not contradicted
                    assert effect.block in judged
                    of = run.state.candidates[effect.view]
                    assert of.header.cid == effect.block
                    assert not bft.contradicted(run.state, of)
                    assert getattr(promises, effect.phase) == effect.view
                    if effect.phase == "cert":
                        names = [held.name for held in promises.locks]
                        assert (*effect.view, effect.block) in names
                elif isinstance(effect, SendTimeout):
                    end = (effect.view[0] + 1, -1) if effect.everyone else effect.view
                    assert promises.left >= end
                    left = max(left, end)
                elif isinstance(effect, Enter):
                    assert effect.view > entered
                    entered = effect.view
    assert len([e for e in run.effects if isinstance(e, Decide)]) <= 1
