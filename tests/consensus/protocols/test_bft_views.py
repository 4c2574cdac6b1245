"""The views of one server under `bft`: left, closed, entered; its timers."""

from __future__ import annotations

from dataclasses import replace

import pytest

from consensus.ledger.validity import Sortition
from consensus.records.view import View
from tests.helpers.bft_rig import (
    BYSTANDER,
    FORGE,
    LEADER,
    MEMBER,
    MEMBERS,
    SERVERS,
    Bench,
    snapshot,
)
from tests.helpers.bft_scene import (
    BLOCK,
    CANDIDATE,
    LOCK,
    OTHERS,
    SECOND,
    closed,
)
from tests.helpers.toy import Toy

# -- leaving a view --------------------------------------------------------------------------------


def test_the_first_views_time_begins_when_its_leader_could_have_proposed() -> None:
    bench = Bench().tickets().updates()
    assert bench.fired("view") == []
    bench.wake("tickets")
    assert bench.fired("view") == [(2_000_000, (0, 0))]
    bench.updates([SECOND])
    bench.hear("candidate", CANDIDATE)
    assert len(bench.fired("view")) == 1
    assert Bench().hear("candidate", CANDIDATE).fired("view") == [(2_000_000, (0, 0))]


def test_a_view_that_is_over_is_left_and_with_enough_others_closed() -> None:
    bench = Bench().ready().wake("view")
    assert bench.said("timeout") == [FORGE.timeout(MEMBER)]
    assert bench.fired("recovery") == [(10_000_000, (0, 0))]
    bench.timeouts(OTHERS[:3])
    assert bench.view == (0, 0)
    bench.timeouts(OTHERS[3:4])
    assert bench.view == (0, 1)
    [closure] = bench.said("closure")
    assert closure == FORGE.closing(servers=sorted([MEMBER, *OTHERS[:4]]))
    assert bench.fired("view")[-1] == (2_000_000, (0, 1))


def test_views_last_longer_with_every_attempt() -> None:
    bench = Bench().ready()
    for attempt in range(3):
        for step in range(3):
            bench.hear("closure", closed((attempt, step)))
    lasting: dict[int, set[int]] = {}
    for after, view in bench.fired("view"):
        lasting.setdefault(view[0], set()).add(after)
    assert lasting == {0: {2_000_000}, 1: {3_000_000}, 2: {4_000_000}, 3: {5_000_000}}


def test_a_lock_is_told_on_leaving() -> None:
    bench = Bench().ready().hear("candidate", CANDIDATE).votes(CANDIDATE, OTHERS[:4]).wake("view")
    [timeout] = bench.said("timeout")
    assert timeout.lock == bench.part.durable.promises.lock
    assert timeout.lock is not None
    assert timeout.lock.name == (0, 0, BLOCK)
    assert timeout == FORGE.timeout(MEMBER, lock=timeout.lock)


def verified(bench: Bench, kind: str, body: object) -> int:
    """The number of signatures that a server is charged for what it hears."""
    before = len(bench.host.charged)
    bench.hear(kind, body, sender=OTHERS[0])
    return sum(times for what, _, times in bench.host.charged[before:] if what == "verify")


def test_every_signature_of_a_timeout_a_closure_and_a_lock_costs_its_verification() -> None:
    held = FORGE.lock(CANDIDATE)
    signatures = len(held.signatures)
    members = len(MEMBERS)
    for lock, more in ((None, 0), (held, signatures)):
        locks = {} if lock is None else {MEMBERS[0]: lock}
        closing = FORGE.closing((0, 0), locks=locks)
        timeout = FORGE.timeout(OTHERS[0], lock=lock)
        assert verified(Bench().ready(), "timeout", timeout) == 1 + more
        assert verified(Bench().ready(), "closure", closing) == members + more
        again = FORGE.again(CANDIDATE, (0, 1), closing)
        candidate = again if lock else FORGE.candidate(view=(0, 1), justification=closing)
        assert verified(Bench().ready(), "candidate", candidate) == 2 + members + more
    assert verified(Bench().ready(), "lock", held) == signatures


def test_a_lock_of_a_later_view_is_not_told_of_an_earlier_one() -> None:
    """A server that lags behind hears of it, and must not spoil what closes its own view."""
    second = FORGE.candidate(view=(0, 1), justification=closed())
    held = FORGE.lock(second)
    bench = Bench().ready().hear("timeout", FORGE.timeout(OTHERS[0], (0, 1), lock=held))
    assert bench.part.durable.promises.lock == held
    bench.wake("view")
    assert bench.said("timeout") == [FORGE.timeout(MEMBER)]
    bench.hear("closure", closed())
    bench.wake("view")
    assert bench.said("timeout")[-1] == FORGE.timeout(MEMBER, (0, 1), lock=held)


def test_an_attempt_is_given_up_after_the_recovery_time() -> None:
    bench = Bench(BYSTANDER).ready().wake("view")
    assert bench.said("timeout") == []
    assert bench.fired("recovery") == [(10_000_000, (0, 0))]
    bench.wake("recovery")
    assert bench.said("timeout") == [FORGE.timeout(BYSTANDER, everyone=True)]
    bench.timeouts([s for s in range(SERVERS) if s != BYSTANDER][:4], everyone=True)
    assert bench.view == (1, 0), "five of seven"
    [first, *_] = bench.said("closure")
    assert first.everyone


def test_without_recovery_nobody_gives_an_attempt_up() -> None:
    toy = Toy(servers=4, clients=1, crypto="modelled", recovery_us=0)
    bench = Bench(0, toy).ready().wake("view")
    assert bench.fired("recovery") == []


def test_a_closed_view_is_entered_told_and_done_with() -> None:
    bench = Bench().ready()
    why = closed()
    assert bench.server.receive("closure", why, LEADER)
    assert bench.view == (0, 1)
    assert bench.said("closure") == [why]
    before = snapshot(bench.server)
    assert not bench.server.receive("closure", why, LEADER)
    assert not bench.server.receive("closure", replace(why, step=0), LEADER)
    assert snapshot(bench.server) == before
    assert bench.server.refused == {}


def test_a_lock_that_a_closing_left_out_is_shown() -> None:
    bench = Bench().ready().hear("lock", LOCK)
    assert not bench.server.receive("lock", replace(LOCK), LEADER), "it is known"
    bench.hear("closure", closed())
    assert bench.said("lock") == [LOCK]
    assert bench.host.whom("lock") == [None]


# -- timers ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("what", "height", "view"),
    [
        ("view", 2, (0, 0)),
        ("view", 1, (0, 1)),
        ("view", 1, (1, 0)),
        ("settle", 1, (0, 0)),
        ("settle", 2, (0, 0)),
        ("recovery", 1, (0, 1)),
        ("recovery", 2, (0, 0)),
        ("tickets", 2, (0, 0)),
        ("updates", 2, (0, 0)),
        ("resend", 2, (0, 0)),
        ("relay", 1, (0, 0)),
        ("relay", 2, (0, 0)),
        ("want", 1, (0, 0)),
        ("nonsense", 1, (0, 0)),
    ],
)
def test_a_stale_timer_does_nothing(what: str, height: int, view: View) -> None:
    bench = Bench().ready().hear("candidate", CANDIDATE)
    before, sent = snapshot(bench.server), list(bench.host.sent)
    state, timers = bench.part.state, len(bench.host.timers)
    bench.wake(what, view, height)
    assert bench.part.state is state
    assert snapshot(bench.server) == before
    assert bench.host.sent == sent
    assert len(bench.host.timers) == timers


# -- catching up ----------------------------------------------------------------------------------


def test_a_server_that_is_catching_up_says_nothing_but_follows() -> None:
    bench = Bench(LEADER, start=False)
    bench.server.enter_height(catching_up=True)
    bench.ready().hear("candidate", CANDIDATE).votes(CANDIDATE)
    for what in ("view", "settle", "recovery"):
        bench.wake(what)
    bench.timeouts(MEMBERS[1:5])
    bench.hear("closure", closed())
    assert {kind for kind, _, _ in bench.host.sent} <= {"closure", "status"}
    before = bench.part.durable.promises
    bench.hear("block", FORGE.block())
    assert bench.host.blocks == [FORGE.block()]
    assert bench.part.durable.promises == before, "and promises nothing"


def test_a_server_that_is_catching_up_sees_a_decision_by_votes() -> None:
    bench = Bench(start=False)
    bench.server.enter_height(catching_up=True)
    bench.hear("candidate", CANDIDATE).votes(CANDIDATE, phase="cert")
    assert len(bench.host.blocks) == 1


def test_no_committee_is_formed_for_what_nobody_signed() -> None:
    """Else anybody could have those of as many attempts formed as they like."""
    bench, asked = Bench(), set()

    def formed(attempt: int) -> Sortition:
        asked.add(attempt)
        return FORGE.sortition(attempt)

    bench.part.context = replace(bench.part.context, sortition=formed)
    for attempt in (7, 10**6):
        empty = FORGE.closing((attempt, 0), servers=[])
        bench.hear("closure", empty)
        bench.hear("candidate", FORGE.candidate(view=(attempt, 1), justification=empty))
    assert not asked & {7, 10**6}
    assert bench.server.refused == {"timeout certificate": 2, "candidate: justified by nobody": 2}
