"""The vote of one height, rule by rule: pure functions, so no keys, no clock and no network."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consensus.encoding.unixfs import file_cid
from consensus.ledger.committee import Committee
from consensus.ledger.validity import Sortition
from consensus.protocols.bft import vote as bft
from consensus.protocols.bft.state import (
    ATTEMPTS_AHEAD,
    AwaitLocks,
    CastVote,
    Decide,
    Enter,
    HeightContext,
    Promises,
    SendTimeout,
    Settle,
    ShowLock,
    ShowTimeoutCertificate,
    State,
    Step,
    Validate,
)
from consensus.records.block import Candidate, Header, Turn
from consensus.records.view import View
from consensus.records.votes import Certificate, Timeout, TimeoutCertificate, Vote

# Seven servers, of which six sit: in attempt a all but server a - 1. Five of six are more than
# two thirds, six more than five sixths, three more than a third; five of seven are two thirds of
# all stake. In attempt a servers a, a + 1 and a + 2 lead.
SERVERS, HEIGHT, STEPS = 7, 4, 3


def sortition(attempt: int) -> Sortition:
    members = [(attempt + i) % SERVERS for i in range(6)]
    return Sortition(Committee(dict.fromkeys(members, 1), 6), tuple(members[:STEPS]))


def seat_of(
    index: int = 1, settles: bool = True, stakes: Sequence[int] = (1,) * SERVERS
) -> HeightContext:
    return HeightContext(index, HEIGHT, tuple(stakes), sortition, settles)


SEAT = seat_of()
BYSTANDER = seat_of(6)


def leader(view: View) -> int:
    return sortition(view[0]).order[view[1]]


def header(view: View = (0, 0), salt: int = 0, aggregator: int | None = None) -> Header:
    return Header(
        bytes(32),
        HEIGHT,
        *view,
        1_000 + salt,
        file_cid(b"parent"),
        leader(view) if aggregator is None else aggregator,
        bytes(32),
        bytes(32),
        1,
        1,
        file_cid(b"model"),
        None,
    )


def candidate(
    view: View = (0, 0),
    why: TimeoutCertificate | None = None,
    salt: int = 0,
    aggregator: int | None = None,
) -> Candidate:
    """A new block."""
    return Candidate(header(view, salt, aggregator), bytes(64), (), (), why)


def again(
    first: Candidate, view: View, why: TimeoutCertificate | None, server: int | None = None
) -> Candidate:
    """``first``'s block in a later view."""
    turn = Turn(*view, leader(view) if server is None else server, bytes(64))
    return replace(first, justification=why, turn=turn)


def vote(server: int, of: Candidate, phase: str = "soft", view: View | None = None) -> Vote:
    view = of.view if view is None else view
    return Vote(bytes(32), HEIGHT, *view, phase, of.header.cid, server, bytes([server] * 64))


def lock(of: Candidate, view: View | None = None) -> Certificate:
    view = of.view if view is None else view
    members = sorted(sortition(view[0]).committee.weights)[:5]
    signed = tuple((server, bytes([server] * 64)) for server in members)
    return Certificate(HEIGHT, *view, "soft", of.header.cid, signed)


def timeout(
    server: int, view: View = (0, 0), held: Certificate | None = None, everyone: bool = False
) -> Timeout:
    return Timeout(bytes(32), HEIGHT, *view, everyone, server, bytes([server] * 64), held)


def closing(
    view: View = (0, 0), held: Certificate | None = None, everyone: bool = False
) -> TimeoutCertificate:
    """What closes a view; its first signer holds ``held``."""
    members = sorted(sortition(view[0]).committee.weights)[:5]
    entries = tuple(
        (server, held.name if held is not None and server == members[0] else None, bytes(64))
        for server in members
    )
    return TimeoutCertificate(HEIGHT, *view, everyone, entries, held)


C = candidate()
BLOCK = C.header.cid
TWIN = candidate(salt=1)
"""The same leader's other proposal of the same view."""


class Run:
    """One server's way through a height, event by event."""

    def __init__(self, seat: HeightContext = SEAT, promises: Promises | None = None) -> None:
        self.seat = seat
        self.state, self.last = bft.begin(seat, promises or Promises())
        self.effects: list[bft.Effect] = list(self.last)

    def take(self, step: Step) -> Run:
        self.state, self.last = step
        self.effects += self.last
        return self

    def on(self, what: str, *arguments: Any) -> Run:
        return self.take(getattr(bft, f"on_{what}")(self.seat, self.state, *arguments))

    def propose(self, of: Candidate = C, fit: bool | None = True) -> Run:
        """``of`` comes, when all locks have been shown, and is judged, unless ``fit`` is None."""
        self.on("candidate", of).on("listen_timer", of.view)
        return self if fit is None else self.on("judged", of.header.cid, fit)

    def votes(self, servers: Iterable[int], of: Candidate = C, phase: str = "soft") -> Run:
        for server in servers:
            self.on("vote", vote(server, of, phase))
        return self

    def timeouts(
        self,
        servers: Iterable[int],
        view: View = (0, 0),
        held: Certificate | None = None,
        everyone: bool = False,
    ) -> Run:
        for server in servers:
            self.on("timeout", timeout(server, view, held, everyone))
        return self

    def did(self, kind: type) -> list[Any]:
        return [effect for effect in self.effects if isinstance(effect, kind)]

    def unmoved(self, what: str, *arguments: Any) -> bool:
        """Whether an event leaves the very same state behind, and nothing to do."""
        state, effects = getattr(bft, f"on_{what}")(self.seat, self.state, *arguments)
        return state is self.state and effects == ()


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
    run.propose(fit=None)
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
    run = Run(seat_of(settles=False)).propose().votes([1, 2, 3, 4])
    assert (run.state.promises.locks, len(run.did(CastVote))) == ((), 1)
    run.votes([1, 2, 3, 4], phase="cert")
    assert run.state.decided is None
    run.votes([5], phase="cert")
    assert run.state.decided is not None


def test_votes_for_another_block_do_not_count() -> None:
    run = Run(seat_of(settles=False)).propose().votes([1, 2, 3]).votes([0, 4, 5], TWIN)
    assert run.did(CastVote) == [CastVote("soft", (0, 0), BLOCK)]
    run.votes([1, 2, 3, 4], phase="cert").votes([0, 5], TWIN, phase="cert")
    assert run.did(Decide) == []


def test_votes_for_another_view_do_not_count() -> None:
    run = Run(seat_of(settles=False)).propose().votes([1, 2, 3])
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
    run = Run(seat_of(2)).propose(of).votes([1, 2, 3, 4, 5], of)
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
    run = Run(seat_of(settles=False)).on("candidate", of).on("judged", of.header.cid, True)
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
    run = Run(seat_of(settles=False)).propose().votes([1, 2, 3, 4, 5])
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
    run = Run().propose(fit=False)
    assert run.last == (SendTimeout((0, 0), False),)
    assert run.did(CastVote) == []


def test_a_member_declines_what_comes_at_the_wrong_time_but_not_for_ever() -> None:
    """Others may have had the time right, and locked it: then it is voted for after all."""
    run = Run().propose(fit=None).on("declined", (0, 0))
    assert run.last == (SendTimeout((0, 0), False),)
    assert run.unmoved("declined", (0, 0))
    assert run.unmoved("declined", (0, 1)), "of another view"
    run.propose(again(C, (0, 1), closing((0, 0), lock(C))))
    assert run.did(CastVote) == [CastVote("soft", (0, 1), BLOCK)]
    run = Run().propose(fit=False).propose(again(C, (0, 1), closing((0, 0), lock(C))), fit=None)
    assert run.did(CastVote) == [], "what is wrong stays wrong"


def test_a_member_leaves_a_two_faced_leader_at_once() -> None:
    run = Run().propose().on("candidate", TWIN)
    assert run.last == (SendTimeout((0, 0), False),)
    assert run.state.candidates[0, 0] == C, "the first stands"
    assert run.unmoved("candidate", TWIN)
    run = Run().on("equivocated", (0, 0)).propose()
    assert run.did(SendTimeout) == [SendTimeout((0, 0), False)]
    assert run.did(CastVote) == []


def test_a_leader_is_two_faced_in_its_own_view_only() -> None:
    run = Run().propose().on("equivocated", (0, 1)).votes(range(6))
    assert [say.phase for say in run.did(CastVote)] == ["soft", "cert"]
    of = candidate((0, 1), closing((0, 0)))
    run.propose(of, fit=None)
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
    assert (run.state.view, run.state.why) == ((0, 1), certificate)
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
    assert SEAT.next_view(closing(view, everyone=everyone)) == after
    run = Run().on("closed", closing(view, everyone=everyone))
    assert run.last == (Enter(after), AwaitLocks(after))


def test_fewer_leaders_than_maxstep_take_one_turn_each() -> None:
    two = replace(SEAT, sortition=lambda attempt: replace(sortition(attempt), order=(3, 4)))
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
    run = Run(seat_of(stakes=stakes)).timeouts(range(5), everyone=True)
    assert run.did(ShowTimeoutCertificate) == []
    run.timeouts([5], everyone=True)
    assert [closed.certificate.everyone for closed in run.did(ShowTimeoutCertificate)] == [True]
    assert run.state.view == (1, 0)
    run = Run(seat_of(stakes=stakes)).timeouts([6, 0, 1], everyone=True)
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
        assert promises.told(view, False) == expected
    assert promises.told((0, 0), True) == locks[0], "any of the attempt's"
    assert promises.told((1, 0), True) == locks[2]
    assert Promises(HEIGHT, locks=(locks[2],)).told((1, 0), False) is None
    assert Promises(HEIGHT, locks=(locks[2],)).told((0, 0), True) is None


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
        candidate(why=closing((0, 0))),
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
    assert bft.follows(SEAT, of) == reason


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
    run = Run(seat_of(settles=False)).propose().votes(range(6))
    of = again(C, (0, 1), closing((0, 0), held))
    run.propose(of, fit=None)
    assert run.did(Validate) == [Validate(C)], "once found right, it is right"
    assert run.did(CastVote)[-1] == CastVote("soft", (0, 1), BLOCK)
    run.votes(range(6), of)
    assert run.did(CastVote)[-1] == CastVote("cert", (0, 1), BLOCK)


def test_a_candidate_brings_what_closed_the_view_before() -> None:
    why = closing((0, 2))
    run = Run(seat_of(2)).on("candidate", candidate((1, 0), why))
    assert [type(effect) for effect in run.last] == [Enter, AwaitLocks, Validate]
    assert (run.state.view, run.state.why) == ((1, 0), why)


def test_a_candidate_of_a_past_view_is_no_candidate() -> None:
    run = Run().on("closed", closing((0, 0)))
    assert run.unmoved("candidate", C)


# -- promises --------------------------------------------------------------------------------------

SWORN = Promises(HEIGHT, (0, 1), (0, 0), (0, 0), (lock(C),))


def test_promises_outlive_a_restart_within_the_height() -> None:
    state, effects = bft.begin(SEAT, SWORN)
    assert state == State(SWORN)
    assert state.promises is SWORN
    assert effects == (Enter((0, 0)),)


def test_promises_of_another_height_say_nothing_about_this_one() -> None:
    for height in (0, HEIGHT - 1, HEIGHT + 1):
        state, _ = bft.begin(SEAT, replace(SWORN, height=height))
        assert state.promises == Promises(HEIGHT)


def test_after_a_restart_nothing_is_voted_for_twice() -> None:
    first = Run().propose().votes(range(6))
    assert [say.phase for say in first.did(CastVote)] == ["soft", "cert"]
    second = Run(SEAT, first.state.promises).propose(TWIN).votes(range(6), TWIN)
    second.votes(range(6)).on("settle_timer", (0, 0))
    assert second.did(CastVote) == []
    third = Run(SEAT, first.state.promises).propose().votes(range(6))
    assert third.did(CastVote) == []


def test_after_a_restart_a_view_that_was_left_stays_left() -> None:
    first = Run().on("view_timer", (0, 0))
    second = Run(SEAT, first.state.promises).propose().votes(range(6))
    assert second.did(CastVote) == []
    assert second.did(SendTimeout) == [SendTimeout((0, 0), False)], "and that is said once more"
    assert second.unmoved("view_timer", (0, 0))


def test_after_a_restart_a_timeout_is_said_again() -> None:
    """The crash may have come before it reached anybody, and nobody else can say it."""
    first = Run().on("view_timer", (0, 0))
    second = Run(SEAT, first.state.promises).on("view_timer", (0, 0))
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
    again, _ = bft.begin(SEAT, state.promises)
    assert again.promises.proposed == (0, 1)


def test_who_only_looks_on_says_nothing_at_all() -> None:
    run = Run(SEAT)
    run.take(bft.begin(SEAT, Promises(HEIGHT), looks_on=True))
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
    second = Run(SEAT, first.state.promises).propose().votes(range(6))
    assert second.did(CastVote) == [CastVote("cert", (0, 0), BLOCK)]


def test_after_a_restart_a_lock_still_binds() -> None:
    first = Run().propose().votes([1, 2, 3, 4, 5])
    second = Run(SEAT, first.state.promises).propose(candidate((0, 1), closing((0, 0))))
    assert second.did(CastVote) == []


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
    if bft.follows(SEAT, of) is None
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
    seat = seat_of(index, settles)
    run = Run(seat)
    said: dict[tuple[str, View], bytes] = {}
    judged: set[bytes] = set()
    left: View = (-1, 0)
    entered: View = (0, 0)
    for event in sequence:
        if event[0] == "restart":
            run = Run(seat, run.state.promises)
            entered = (0, 0)
            continue
        steps = quorum(run.state, *event[1:]) if event[0] == "quorum" else [event]
        for step in steps:
            if step[0] == "judged":
                judged.add(step[1])
            if step[0] == "vote" and not seat.weight(step[1].attempt, step[1].server):
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
                    assert seat.weight(effect.view[0], index)
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
