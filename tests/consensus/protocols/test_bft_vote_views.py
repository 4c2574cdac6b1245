"""The views of one vote, as pure functions: left, closed, locked, proposed in again."""

from __future__ import annotations

from dataclasses import replace

import pytest

from consensus.protocols.bft import vote as bft
from consensus.protocols.bft.state import (
    ATTEMPTS_AHEAD,
    AwaitLocks,
    CastVote,
    Enter,
    Promises,
    SendTimeout,
    ShowLock,
    ShowTimeoutCertificate,
    State,
    Validate,
)
from consensus.records.block import Candidate
from consensus.records.view import View
from consensus.records.votes import TimeoutCertificate
from tests.helpers.bft_run import (
    BLOCK,
    BYSTANDER,
    CONTEXT,
    HEIGHT,
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

# -- leaving a view --------------------------------------------------------------------------------


def test_a_member_leaves_when_its_time_is_over_and_votes_no_more() -> None:
    run = Run().on("view_timer", (0, 0))
    assert run.last == (SendTimeout((0, 0), False),)
    assert run.state.promises.left == (0, 0)
    run.propose().votes(range(6)).on("settle_timer", (0, 0))
    assert run.did(CastVote) == []
    run = Run().propose().on("view_timer", (0, 0)).votes(range(6))
    assert [say.phase for say in run.did(CastVote)] == ["soft"]


def test_the_time_of_another_view_says_nothing() -> None:
    assert Run().unmoved("view_timer", (0, 1))
    run = Run().on("closed", closing((0, 0)))
    assert run.unmoved("view_timer", (0, 0))


def test_a_member_leaves_at_once_when_contents_are_wrong() -> None:
    run = Run().propose(valid=False)
    assert run.last == (SendTimeout((0, 0), False),)
    assert run.did(CastVote) == []


def test_a_member_declines_what_comes_at_the_wrong_time_but_not_for_ever() -> None:
    """Others may have had the time right, and locked it: then it is voted for after all."""
    run = Run().propose(valid=None).on("declined", (0, 0))
    assert run.last == (SendTimeout((0, 0), False),)
    assert run.unmoved("declined", (0, 0))
    assert run.unmoved("declined", (0, 1)), "of another view"
    run.propose(again(C, (0, 1), closing((0, 0), lock(C))))
    assert run.did(CastVote) == [CastVote("soft", (0, 1), BLOCK)]
    run = Run().propose(valid=False).propose(again(C, (0, 1), closing((0, 0), lock(C))), valid=None)
    assert run.did(CastVote) == [], "what is wrong stays wrong"


def test_a_member_leaves_a_leader_that_equivocates_at_once() -> None:
    run = Run().propose().on("candidate", TWIN)
    assert run.last == (SendTimeout((0, 0), False),)
    assert run.state.candidates[0, 0] == C, "the first stands"
    assert run.unmoved("candidate", TWIN)
    run = Run().on("equivocated", (0, 0)).propose()
    assert run.did(SendTimeout) == [SendTimeout((0, 0), False)]
    assert run.did(CastVote) == []


def test_a_leader_equivocates_in_its_own_view_only() -> None:
    run = Run().propose().on("equivocated", (0, 1)).votes(range(6))
    assert [say.phase for say in run.did(CastVote)] == ["soft", "cert"]
    of = candidate((0, 1), closing((0, 0)))
    run.propose(of, valid=None)
    assert run.did(SendTimeout) == [SendTimeout((0, 1), False)]


def test_more_than_a_third_that_leave_are_joined() -> None:
    run = Run().propose().timeouts([2, 3])
    assert run.did(SendTimeout) == []
    run.timeouts([6])
    assert run.did(SendTimeout) == [], "it has no seat"
    run.timeouts([4])
    assert run.did(SendTimeout) == [SendTimeout((0, 0), False)]


def test_a_bystander_joins_nobody() -> None:
    run = Run(BYSTANDER).timeouts([1, 2, 3])
    assert run.did(SendTimeout) == []


def test_a_third_that_leaves_another_view_is_not_joined() -> None:
    run = Run().timeouts([2, 3, 4, 5], (0, 1))
    assert run.did(SendTimeout) == []


def test_more_than_two_thirds_close_a_view() -> None:
    run = Run().timeouts([5, 2, 0, 3])
    assert run.did(ShowTimeoutCertificate) == []
    run.timeouts([4])
    entries = tuple((server, None, bytes([server] * 64)) for server in (0, 2, 3, 4, 5))
    certificate = TimeoutCertificate(HEIGHT, 0, 0, False, entries, None)
    assert run.last == (ShowTimeoutCertificate(certificate), Enter((0, 1)), AwaitLocks((0, 1)))
    assert (run.state.view, run.state.justification) == ((0, 1), certificate)
    assert run.unmoved("timeout", timeout(1)), "and that is that"


def test_a_view_to_come_is_closed_all_the_same() -> None:
    """A server that slept is carried along by those that did not."""
    run = Run().timeouts([0, 2, 3, 4, 5], (0, 2))
    assert run.state.view == (1, 0)
    run.timeouts([0, 2, 3, 4, 5], (0, 1))
    assert run.state.view == (1, 0)
    assert len(run.did(ShowTimeoutCertificate)) == 1


def test_timeouts_of_attempts_to_come_are_kept_and_no_further() -> None:
    run = Run().timeouts([2, 3, 4, 5, 6], (ATTEMPTS_AHEAD, 0))
    assert run.state.view == (ATTEMPTS_AHEAD, 1)
    assert Run().unmoved("timeout", timeout(4, (ATTEMPTS_AHEAD + 1, 0)))
    assert Run().unmoved("timeout", timeout(4, (ATTEMPTS_AHEAD + 1, 0), everyone=True))


@pytest.mark.parametrize(
    ("view", "everyone", "after"),
    [
        ((0, 0), False, (0, 1)),
        ((0, 1), False, (0, 2)),
        ((0, 2), False, (1, 0)),
        ((0, 0), True, (1, 0)),
        ((3, 0), True, (4, 0)),
        ((3, 2), False, (4, 0)),
    ],
)
def test_the_view_after(view: View, everyone: bool, after: View) -> None:
    assert CONTEXT.next_view(closing(view, everyone=everyone)) == after
    run = Run().on("closed", closing(view, everyone=everyone))
    assert run.last == (Enter(after), AwaitLocks(after))


def test_fewer_leaders_than_maxstep_take_one_turn_each() -> None:
    two = replace(CONTEXT, sortition=lambda attempt: replace(sortition(attempt), order=(3, 4)))
    assert [two.leader((0, step)) for step in range(3)] == [3, 4, None]
    assert two.next_view(closing((0, 0))) == (0, 1)
    assert two.next_view(closing((0, 1))) == (1, 0)


def test_a_view_that_is_over_is_not_entered_again() -> None:
    run = Run().on("closed", closing((0, 1)))
    for view in [(0, 0), (0, 1)]:
        assert run.unmoved("closed", closing(view))


# -- an attempt that its committee cannot close ----------------------------------------------------


def test_everyone_gives_up_an_attempt_whose_time_is_long_over() -> None:
    run = Run().on("closed", closing((0, 0))).on("recovery_timer", (0, 1))
    assert run.last == (SendTimeout((0, 0), True),), "its first step stands for it"
    assert run.state.promises.left == (1, -1)
    run.propose(candidate((0, 1), closing((0, 0)))).on("closed", closing((0, 1)))
    run.propose(candidate((0, 2), closing((0, 1))))
    assert run.did(CastVote) == [], "not in its later views either"
    of = candidate((1, 0), closing((0, 2)))
    run.propose(of)
    assert run.did(CastVote) == [CastVote("soft", (1, 0), of.header.cid)], "but in the next attempt"


def test_a_bystander_gives_an_attempt_up_too() -> None:
    run = Run(BYSTANDER).on("recovery_timer", (0, 0))
    assert run.last == (SendTimeout((0, 0), True),)


def test_the_recovery_time_of_another_view_says_nothing() -> None:
    run = Run().on("closed", closing((0, 0)))
    assert run.unmoved("recovery_timer", (0, 0))


def test_exactly_two_thirds_of_all_stake_close_an_attempt() -> None:
    stakes = (1, 1, 1, 1, 1, 1, 3)
    run = Run(context_of(stakes=stakes)).timeouts(range(5), everyone=True)
    assert run.did(ShowTimeoutCertificate) == []
    run.timeouts([5], everyone=True)
    assert [closed.certificate.everyone for closed in run.did(ShowTimeoutCertificate)] == [True]
    assert run.state.view == (1, 0)
    run = Run(context_of(stakes=stakes)).timeouts([6, 0, 1], everyone=True)
    assert run.did(ShowTimeoutCertificate) == []
    run.timeouts([2], everyone=True)
    assert run.state.view == (1, 0), "stake counts, not servers"


def test_what_everyone_and_what_the_committee_said_are_two_things() -> None:
    run = Run().timeouts([0, 2], everyone=True).timeouts([3, 4])
    run.timeouts([5, 6], everyone=True)
    assert run.did(ShowTimeoutCertificate) == []
    assert run.did(SendTimeout) == []


def test_an_attempt_is_closed_from_any_of_its_steps() -> None:
    run = Run().timeouts([0, 2], everyone=True)
    run.on("closed", closing((0, 0))).on("closed", closing((0, 1)))
    run.timeouts([3, 4, 5], everyone=True)
    assert run.state.view == (1, 0), "those that came before are not forgotten"


# -- locks -----------------------------------------------------------------------------------------


def test_a_timeout_certificate_carries_the_highest_lock() -> None:
    later = candidate((0, 1), closing((0, 0)))
    low, high = lock(C), lock(later)
    run = Run().on("closed", closing((0, 0)))
    run.on("timeout", timeout(2, (0, 1), low)).on("timeout", timeout(3, (0, 1), high))
    run.timeouts([4, 5, 0], (0, 1))
    [closed] = run.did(ShowTimeoutCertificate)
    assert closed.certificate.lock == high
    names = {server: name for server, name, _ in closed.certificate.entries}
    assert names == {0: None, 2: low.name, 3: high.name, 4: None, 5: None}
    assert set(run.state.promises.locks) == {low, high}


def test_the_lock_that_comes_with_a_closed_view_is_learned() -> None:
    held = lock(C)
    for event in [
        ("closed", closing((0, 0), held)),
        ("lock", held),
        ("timeout", timeout(3, (0, 0), held)),
        ("candidate", again(C, (0, 1), closing((0, 0), held))),
    ]:
        run = Run().on(*event)
        assert run.state.promises.lock == held
        assert run.unmoved("lock", held)


def test_a_lock_is_learned_from_what_is_otherwise_old_news() -> None:
    run = Run().on("closed", closing((0, 2)))
    run.on("closed", closing((0, 0), lock(C)))
    assert (run.state.view, run.state.promises.lock) == ((1, 0), lock(C))
    run = Run().on("closed", closing((0, 2))).on("timeout", timeout(2, (0, 1), lock(C)))
    assert run.state.promises.lock == lock(C)


def test_whoever_knows_a_higher_lock_than_a_closing_shows_it() -> None:
    held = lock(C)
    run = Run().on("lock", held).on("closed", closing((0, 0)))
    assert run.last == (Enter((0, 1)), ShowLock(held), AwaitLocks((0, 1)))
    run = Run().on("lock", held).on("closed", closing((0, 0), held))
    assert run.last == (Enter((0, 1)), AwaitLocks((0, 1)))


def test_whoever_has_gone_on_shows_its_lock_to_those_who_lack_it() -> None:
    """Others enter a view by a certificate that this server did not enter it by."""
    held = lock(C)
    run = Run().on("closed", closing((0, 0), held))
    run.on("closed", closing((0, 0)))
    assert run.last == (ShowLock(held),)
    assert run.unmoved("closed", closing((0, 0))), "once for each view"
    run.on("closed", closing((0, 1))).on("closed", closing((0, 2)))
    assert run.did(ShowLock) == [ShowLock(held)] * 3
    assert run.state.view == (1, 0)


def test_the_lock_that_is_shown_is_of_use_in_the_view_that_is_entered() -> None:
    """One of that view or a later one would not speak against what is proposed there."""
    early, late = lock(C), lock(candidate((0, 2), closing((0, 1))))
    run = Run(promises=Promises(HEIGHT, locks=(early, late))).on("closed", closing((0, 2), late))
    assert run.did(ShowLock) == []
    run.on("closed", closing((0, 0))).on("closed", closing((0, 2)))
    assert run.did(ShowLock) == [ShowLock(early), ShowLock(late)]


def test_whoever_votes_against_a_lock_in_its_view_is_shown_it() -> None:
    held = lock(C)
    for phase in ("soft", "cert"):
        run = Run().on("lock", held).on("vote", vote(1, C, phase))
        assert run.did(ShowLock) == [], "it votes for the locked block"
        run.on("vote", vote(2, TWIN, phase)).on("vote", vote(3, TWIN, phase))
        assert run.did(ShowLock) == [ShowLock(held, 2), ShowLock(held, 3)]
        run.on("vote", vote(2, candidate((0, 1), closing((0, 0))), phase))
        assert len(run.did(ShowLock)) == 2, "another view may go another way"
    run = Run().on("lock", held).on("closed", closing((0, 0), held)).on("vote", vote(2, TWIN))
    assert run.did(ShowLock) == [ShowLock(held, 2)], "though the view is over here"


def test_a_view_is_left_with_the_same_lock_after_a_crash() -> None:
    """Two timeouts with different locks would be evidence against an honest server."""
    run = Run().on("view_timer", (0, 0)).on("lock", lock(C))
    promises = run.state.promises
    assert promises.named_lock((0, 0), False) is None
    again = Run(promises=promises).on("view_timer", (0, 0))
    assert again.did(SendTimeout) == [SendTimeout((0, 0), False)]
    assert again.state.promises.named_lock((0, 0), False) is None
    again.on("recovery_timer", (0, 0))
    assert again.state.promises.named_lock((0, 0), True) == lock(C), "never said before"
    held = Run().on("lock", lock(C)).on("view_timer", (0, 0)).state.promises
    assert held.named_lock((0, 0), False) == lock(C)
    assert held.told == (((0, 0), False, lock(C).name),)


def test_a_timeout_names_no_lock_later_than_what_it_closes() -> None:
    """Else what lagging servers put together would be refused by all (`check_no_later`)."""
    locks = tuple(lock(candidate(view)) for view in [(0, 2), (0, 0), (1, 1), (0, 1)])
    promises = Promises(HEIGHT, locks=locks)
    told = {
        (0, 0): locks[1],
        (0, 1): locks[3],
        (0, 2): locks[0],
        (1, 0): locks[0],
        (1, 1): locks[2],
        (5, 0): locks[2],
    }
    for view, expected in told.items():
        assert promises.named_lock(view, False) == expected
    assert promises.named_lock((0, 0), True) == locks[0], "any of the attempt's"
    assert promises.named_lock((1, 0), True) == locks[2]
    assert Promises(HEIGHT, locks=(locks[2],)).named_lock((1, 0), False) is None
    assert Promises(HEIGHT, locks=(locks[2],)).named_lock((0, 0), True) is None


def test_the_highest_lock_is_that_of_the_latest_view() -> None:
    later = candidate((1, 0))
    for locks in [(lock(C), lock(later)), (lock(later), lock(C))]:
        assert Promises(HEIGHT, locks=locks).lock == lock(later)
    assert Promises(HEIGHT).lock is None


# -- which candidates a view allows ----------------------------------------------------------------

HELD = lock(C)
BASTARD = candidate(aggregator=1)
"""What a captured committee may lock: server 1 never led its view."""
FOLLOWS: dict[str, tuple[Candidate, str | None]] = {
    "the first": (C, None),
    "the first, by another": (candidate(aggregator=1), "not its turn"),
    "beyond the last step": (candidate((0, 3), closing((0, 2)), aggregator=3), "not its turn"),
    "the first, with a certificate": (
        candidate(justification=closing((0, 0))),
        "justification of another view",
    ),
    "the first, proposed again": (again(C, (0, 0), None), "no justification"),
    "a later one without a certificate": (candidate((0, 1)), "no justification"),
    "a later attempt without a certificate": (candidate((1, 0)), "no justification"),
    "a later one": (candidate((0, 1), closing((0, 0))), None),
    "a later one by another": (
        candidate((0, 1), closing((0, 0)), aggregator=0),
        "not its turn",
    ),
    "with a certificate of another view": (
        candidate((0, 1), closing((0, 1))),
        "justification of another view",
    ),
    "with a certificate of the view itself": (
        candidate((0, 2), closing((0, 2))),
        "justification of another view",
    ),
    "after the last step": (candidate((1, 0), closing((0, 2))), None),
    "after an attempt that all gave up": (candidate((1, 0), closing((0, 0), None, True)), None),
    "a step skipped": (candidate((1, 0), closing((0, 1))), "justification of another view"),
    "a new block despite a lock": (
        candidate((0, 1), closing((0, 0), HELD)),
        "not the locked block",
    ),
    "another block than the locked": (
        again(TWIN, (0, 1), closing((0, 0), HELD)),
        "not the locked block",
    ),
    "the locked block": (again(C, (0, 1), closing((0, 0), HELD)), None),
    "the locked block, much later": (again(C, (2, 0), closing((1, 2), HELD)), None),
    "the locked block by another": (
        again(C, (0, 1), closing((0, 0), HELD), server=0),
        "not its turn",
    ),
    "a block of that very view, proposed again": (
        again(candidate((0, 1)), (0, 1), closing((0, 0), lock(candidate((0, 1))))),
        "first proposed out of turn",
    ),
    "a block of a later view": (
        again(candidate((1, 0)), (0, 1), closing((0, 0), lock(candidate((1, 0))))),
        "first proposed out of turn",
    ),
    "a block that was never its aggregator's to propose": (
        again(BASTARD, (0, 1), closing((0, 0), lock(BASTARD))),
        "first proposed out of turn",
    ),
    "again without a lock": (
        again(C, (0, 1), closing((0, 0))),
        "proposed again without a lock",
    ),
}


@pytest.mark.parametrize("name", FOLLOWS)
def test_what_a_view_allows(name: str) -> None:
    of, reason = FOLLOWS[name]
    assert bft.follows(CONTEXT, of) == reason


def test_a_lock_on_another_block_contradicts_a_candidate_it_does_not_know() -> None:
    other = candidate((0, 1), closing((0, 0)))
    for held, of, expected in [
        (None, C, False),
        (lock(C), C, False),
        (lock(TWIN), C, True),
        (lock(C), candidate((0, 1), closing((0, 0))), True),
        (lock(C), again(C, (0, 1), closing((0, 0), lock(C))), False),
        # A lock no higher than the one it was proposed with says nothing new ...
        (lock(TWIN), again(C, (0, 1), closing((0, 0), lock(C))), False),
        (lock(C), again(other, (0, 2), closing((0, 1), lock(other))), False),
        # ... a higher one does, ...
        (lock(other), again(C, (0, 2), closing((0, 1), lock(C))), True),
        # ... but not one of a view yet to come.
        (lock(candidate((1, 0))), candidate((0, 1), closing((0, 0))), False),
    ]:
        state = State(Promises(HEIGHT, locks=() if held is None else (held,)))
        assert bft.contradicted(state, of) == expected


def test_a_candidate_that_a_lock_contradicts_gets_no_vote() -> None:
    """Somebody may have decided the locked block."""
    run = Run().on("lock", lock(C)).propose(candidate((0, 1), closing((0, 0))))
    assert run.did(CastVote) == []
    assert run.did(SendTimeout) == [SendTimeout((0, 1), False)]


def test_a_locked_block_is_voted_for_again() -> None:
    held = lock(C)
    run = Run(context_of(settles=False)).propose().votes(range(6))
    of = again(C, (0, 1), closing((0, 0), held))
    run.propose(of, valid=None)
    assert run.did(Validate) == [Validate(C)], "once found right, it is right"
    assert run.did(CastVote)[-1] == CastVote("soft", (0, 1), BLOCK)
    run.votes(range(6), of)
    assert run.did(CastVote)[-1] == CastVote("cert", (0, 1), BLOCK)


def test_a_candidate_brings_what_closed_the_view_before() -> None:
    why = closing((0, 2))
    run = Run(context_of(2)).on("candidate", candidate((1, 0), why))
    assert [type(effect) for effect in run.last] == [Enter, AwaitLocks, Validate]
    assert (run.state.view, run.state.justification) == ((1, 0), why)


def test_a_candidate_of_a_past_view_is_no_candidate() -> None:
    run = Run().on("closed", closing((0, 0)))
    assert run.unmoved("candidate", C)
