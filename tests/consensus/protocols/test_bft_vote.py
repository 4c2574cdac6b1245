"""The vote of one height, rule by rule: pure functions, so no keys, no clock and no network."""

from __future__ import annotations

from typing import Any

import pytest

from consensus.protocols.bft.state import (
    ATTEMPTS_AHEAD,
    AwaitLocks,
    CastVote,
    Decide,
    Enter,
    Promises,
    SendTimeout,
    Settle,
    State,
    Validate,
)
from consensus.records.votes import Certificate
from tests.helpers.bft_run import (
    BLOCK,
    BYSTANDER,
    HEIGHT,
    TWIN,
    C,
    Run,
    again,
    candidate,
    closing,
    context_of,
    lock,
    timeout,
    vote,
)

# -- the ways through a view -----------------------------------------------------------------------


def test_a_height_begins_in_its_first_view() -> None:
    run = Run()
    assert run.effects == [Enter((0, 0))]
    assert run.state == State(Promises(HEIGHT))


def test_a_candidate_is_judged_then_voted_for_then_certified_then_decided() -> None:
    run = Run().on("candidate", C)
    assert run.last == (Validate(C),)
    run.on("judged", BLOCK, True)
    assert run.last == (CastVote("soft", (0, 0), BLOCK),)
    assert run.state.promises.soft == (0, 0)
    run.votes([0, 1, 2, 3, 4, 5])
    assert run.did(CastVote) == [CastVote("soft", (0, 0), BLOCK), CastVote("cert", (0, 0), BLOCK)]
    assert run.state.promises.cert == (0, 0)
    run.votes([5, 3, 1, 0], phase="cert")
    assert run.did(Decide) == []
    run.votes([2], phase="cert")
    signed = tuple((server, bytes([server] * 64)) for server in (0, 1, 2, 3, 5))
    certificate = Certificate(HEIGHT, 0, 0, "cert", BLOCK, signed)
    assert run.last == (Decide(certificate),)
    assert run.state.decided == certificate
    run.votes([4], phase="cert")
    assert len(run.did(Decide)) == 1


def test_who_has_no_seat_judges_but_votes_never() -> None:
    run = Run(BYSTANDER).propose().votes(range(6)).on("view_timer", (0, 0))
    assert run.did(Validate) == [Validate(C)]
    assert run.did(CastVote) == run.did(SendTimeout) == []
    run.votes(range(5), phase="cert")
    assert len(run.did(Decide)) == 1, "but it sees what is decided"


def test_one_soft_vote_per_view() -> None:
    run = Run().propose()
    for event in [
        ("candidate", C),
        ("judged", BLOCK, True),
        ("vote", vote(0, C)),
        ("timeout", timeout(0)),
        ("lock", lock(C)),
        ("settle_timer", (0, 0)),
    ]:
        run.on(*event)
    assert [say.phase for say in run.did(CastVote)] == ["soft"]


def test_what_comes_first_does_not_matter() -> None:
    """Votes before their candidate, candidate before its judgement: the votes wait."""
    run = Run().votes([0, 2, 3, 4, 5])
    assert run.did(CastVote) == []
    run.propose(valid=None)
    assert run.did(CastVote) == []
    run.on("judged", BLOCK, True)
    assert run.did(CastVote) == [CastVote("soft", (0, 0), BLOCK)]
    run.votes([1])
    assert [say.phase for say in run.did(CastVote)] == ["soft", "cert"]


def test_a_block_may_be_decided_before_its_candidate_comes() -> None:
    run = Run().votes(range(5), phase="cert")
    assert [effect.certificate.block for effect in run.did(Decide)] == [BLOCK]
    run.propose()
    assert run.did(CastVote) == [], "what is decided needs no more votes"


def test_certificate_votes_that_come_late_decide() -> None:
    """More than two thirds certified it, though this server left the view long ago."""
    run = Run().votes([0, 2, 3], phase="cert").on("view_timer", (0, 0))
    for view in [(0, 0), (0, 1), (0, 2)]:
        run.on("closed", closing(view))
    assert run.state.view == (1, 0)
    run.votes([4, 5], phase="cert")
    assert [effect.certificate.view for effect in run.did(Decide)] == [(0, 0)]


def test_votes_of_attempts_to_come_are_kept_and_no_further() -> None:
    far = candidate((ATTEMPTS_AHEAD, 0))
    run = Run().votes(range(6), far, "cert")
    assert len(run.did(Decide)) == 1
    beyond = candidate((ATTEMPTS_AHEAD + 1, 0))
    assert Run().unmoved("vote", vote(1, beyond, "cert"))
    assert Run().unmoved("vote", vote(1, beyond))


def test_two_thirds_and_no_more_neither_lock_nor_decide() -> None:
    run = Run(context_of(settles=False)).propose().votes([1, 2, 3, 4])
    assert (run.state.promises.locks, len(run.did(CastVote))) == ((), 1)
    run.votes([1, 2, 3, 4], phase="cert")
    assert run.state.decided is None
    run.votes([5], phase="cert")
    assert run.state.decided is not None


def test_votes_for_another_block_do_not_count() -> None:
    run = Run(context_of(settles=False)).propose().votes([1, 2, 3]).votes([0, 4, 5], TWIN)
    assert run.did(CastVote) == [CastVote("soft", (0, 0), BLOCK)]
    run.votes([1, 2, 3, 4], phase="cert").votes([0, 5], TWIN, phase="cert")
    assert run.did(Decide) == []


def test_votes_for_another_view_do_not_count() -> None:
    run = Run(context_of(settles=False)).propose().votes([1, 2, 3])
    for server in (0, 4, 5):
        run.on("vote", vote(server, C, "soft", (0, 1)))
        run.on("vote", vote(server, C, "cert", (0, 1)))
    run.votes([1, 2], phase="cert")
    assert [say.phase for say in run.did(CastVote)] == ["soft"]
    assert run.did(Decide) == []


# -- settling --------------------------------------------------------------------------------------


def test_an_overwhelming_lock_is_certified_at_once() -> None:
    run = Run().propose().votes([0, 1, 2, 3, 4, 5])
    assert run.did(CastVote)[-1] == CastVote("cert", (0, 0), BLOCK)


def test_a_narrow_lock_settles_first() -> None:
    run = Run().propose().votes([1, 2, 3, 4, 5])
    assert run.last == (Settle((0, 0)),)
    assert run.state.promises.lock is not None, "but it is known, and told when it leaves"
    assert [say.phase for say in run.did(CastVote)] == ["soft"]
    run.on("settle_timer", (0, 0))
    assert run.last == (CastVote("cert", (0, 0), BLOCK),)
    assert run.unmoved("settle_timer", (0, 0))


def test_the_last_vote_may_come_while_a_lock_settles() -> None:
    run = Run().propose().votes([1, 2, 3, 4, 5]).votes([0])
    assert run.last == (CastVote("cert", (0, 0), BLOCK),)
    assert len(run.did(Settle)) == 1
    assert run.unmoved("settle_timer", (0, 0)) or run.on("settle_timer", (0, 0)).last == ()


def test_a_lock_settles_once() -> None:
    run = Run().propose().votes([1, 2, 3, 4, 5])
    run.on("lock", lock(C)).on("judged", BLOCK, True).on("timeout", timeout(0))
    assert run.did(Settle) == [Settle((0, 0))]


def test_in_later_attempts_locks_settle_alike() -> None:
    why = closing((0, 2))
    of = candidate((1, 0), why)
    run = Run(context_of(2)).propose(of).votes([1, 2, 3, 4, 5], of)
    assert run.did(Settle) == [Settle((1, 0))]
    assert run.did(CastVote) == [CastVote("soft", (1, 0), of.header.cid)]
    run.votes([6], of)
    assert run.did(CastVote)[-1] == CastVote("cert", (1, 0), of.header.cid)


def test_in_later_views_members_listen_for_locks_before_they_vote() -> None:
    """Whoever certified another block shows its lock meanwhile: then it gets no vote."""
    of = candidate((0, 1), closing((0, 0)))
    heard = Run().on("candidate", of).on("judged", of.header.cid, True)
    assert heard.did(AwaitLocks) == [AwaitLocks((0, 1))]
    assert heard.did(CastVote) == []
    assert heard.unmoved("listen_timer", (0, 0)), "of another view"
    heard.on("listen_timer", (0, 1))
    assert heard.last == (CastVote("soft", (0, 1), of.header.cid),)
    assert heard.unmoved("listen_timer", (0, 1))
    heard.votes(range(6), of).on("closed", closing((0, 1)))
    assert heard.did(AwaitLocks) == [AwaitLocks((0, 1)), AwaitLocks((0, 2))]
    assert not heard.state.listened, "anew in every view"
    shown = Run().on("candidate", of).on("judged", of.header.cid, True).on("lock", lock(C))
    assert shown.last == (SendTimeout((0, 1), False),)
    assert shown.on("listen_timer", (0, 1)).did(CastVote) == []


def test_nobody_listens_in_the_first_view_or_without_a_seat_or_where_locks_do_not_settle() -> None:
    of = candidate((0, 1), closing((0, 0)))
    assert Run().propose().did(AwaitLocks) == []
    assert Run(BYSTANDER).on("candidate", of).did(AwaitLocks) == []
    run = Run(context_of(settles=False)).on("candidate", of).on("judged", of.header.cid, True)
    assert run.did(AwaitLocks) == []
    assert run.last == (CastVote("soft", (0, 1), of.header.cid),)


def test_the_settle_time_of_another_view_says_nothing() -> None:
    run = Run().propose().votes([1, 2, 3, 4, 5])
    assert run.unmoved("settle_timer", (0, 1))
    of = again(C, (0, 1), closing((0, 0), lock(C)))
    run.propose(of).votes([1, 2, 3, 4, 5], of)
    assert run.did(Settle) == [Settle((0, 0)), Settle((0, 1))]
    assert run.unmoved("settle_timer", (0, 0))
    assert Run().unmoved("settle_timer", (0, 0))


def test_without_settling_a_lock_is_certified_at_once() -> None:
    run = Run(context_of(settles=False)).propose().votes([1, 2, 3, 4, 5])
    assert run.last == (CastVote("cert", (0, 0), BLOCK),)
    assert run.did(Settle) == []


@pytest.mark.parametrize(
    "event",
    [
        ("equivocated", (0, 0)),
        ("candidate", TWIN),
        ("lock", lock(TWIN)),
        ("timeout", timeout(4, (0, 0), lock(TWIN))),
        ("judged", BLOCK, False),
        ("view_timer", (0, 0)),
    ],
    ids=lambda event: event[0],
)
def test_what_contradicts_a_settling_lock_keeps_it_from_being_certified(event: Any) -> None:
    run = Run().propose().votes([1, 2, 3, 4, 5]).on(*event)
    assert SendTimeout((0, 0), False) in run.did(SendTimeout)
    run.on("settle_timer", (0, 0)).votes([0])
    assert [say.phase for say in run.did(CastVote)] == ["soft"]


# -- what changes nothing --------------------------------------------------------------------------


def test_what_is_known_changes_nothing() -> None:
    run = Run().propose().votes([2, 3]).votes([2], phase="cert").timeouts([4], held=lock(C))
    run.timeouts([4], everyone=True)
    for event in [
        ("candidate", C),
        ("judged", BLOCK, True),
        ("vote", vote(2, C)),
        ("vote", vote(2, C, "cert")),
        ("timeout", timeout(4)),
        ("timeout", timeout(4, held=lock(C))),
        ("timeout", timeout(4, everyone=True)),
        ("lock", lock(C)),
    ]:
        assert run.unmoved(*event), event


def test_what_is_over_changes_nothing() -> None:
    run = Run().on("closed", closing((0, 2)))
    for event in [
        ("candidate", C),
        ("vote", vote(2, C)),
        ("timeout", timeout(4)),
        ("timeout", timeout(4, everyone=True)),
        ("closed", closing((0, 1))),
        ("view_timer", (0, 2)),
        ("settle_timer", (0, 0)),
        ("recovery_timer", (0, 2)),
    ]:
        assert run.unmoved(*event), event


def test_a_server_remembers_nothing_of_views_that_are_over_but_cert_votes() -> None:
    run = Run().votes([2, 3]).votes([4], phase="cert").timeouts([2]).timeouts([2], everyone=True)
    run.on("closed", closing((0, 0)))
    assert set(run.state.votes) == {("cert", (0, 0), BLOCK)}
    assert set(run.state.timeouts) == {((0, 0), True)}
    run.on("closed", closing((0, 2)))
    assert set(run.state.timeouts) == set()


def test_states_are_frozen() -> None:
    with pytest.raises(AttributeError):
        Run().state.view = (9, 9)  # type: ignore[misc]
