"""The proposals of one server under `bft`: made, recomputed, voted for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from consensus.adversary.behaviour import Behaviour
from consensus.application import Contents
from consensus.encoding.unixfs import file_cid
from consensus.records.block import Candidate
from consensus.records.sync import Want
from tests.helpers.bft_rig import (
    BYSTANDER,
    CLIENTS,
    FORGE,
    LEADER,
    MEMBER,
    MEMBERS,
    ORDER,
    SERVERS,
    TOY,
    Bench,
    snapshot,
)
from tests.helpers.bft_scene import (
    CANDIDATE,
    LATE,
    LOCK,
    SECOND,
    TWICE,
    UPDATES,
    WRONG,
    closed,
    own_vote,
)

# -- proposing -------------------------------------------------------------------------------------


def test_the_leader_proposes_the_aggregate_of_all_it_has() -> None:
    bench = Bench(LEADER).ready()
    [candidate] = bench.said("candidate")
    expected = FORGE.candidate(timestamp=bench.host.now)
    assert candidate == expected
    assert bench.host.whom("candidate") == [None], "gossiped"
    assert bench.host.published[0].aggregate == TOY.application.aggregate(
        [update.payload for update in UPDATES], [update.record.samples for update in UPDATES]
    )
    assert ("store_put", 8, 1) in bench.host.charged
    assert ("sign", 0, 1) in bench.host.charged
    assert bench.said("vote") == [own_vote(LEADER, candidate)]


@pytest.mark.parametrize("server", range(SERVERS))
def test_only_the_leader_proposes(server: int) -> None:
    assert bool(Bench(server).ready().said("candidate")) == (server == LEADER)


def test_nothing_is_proposed_before_tickets_and_updates_are_in() -> None:
    bench = Bench(LEADER).tickets().updates()
    assert bench.said("candidate") == []
    bench.wake("tickets")
    assert len(bench.said("candidate")) == 1
    bench = Bench(LEADER).tickets().wake("tickets").updates(UPDATES[:2])
    assert bench.said("candidate") == []
    bench.updates(UPDATES[2:])
    assert len(bench.said("candidate")) == 1


def test_a_leader_that_lacks_draws_waits_for_one_more() -> None:
    bench = Bench(LEADER).tickets([s for s in range(SERVERS) if s != LEADER][:3])
    bench.updates().wake("tickets")
    assert bench.said("candidate") == [], "four draws of six seats"
    late = next(s for s in range(SERVERS) if s not in bench.part.tickets_held())
    bench.tickets([late]).wake("asked")
    [candidate] = bench.said("candidate")
    assert [ticket.server for ticket in candidate.tickets] == sorted(bench.part.tickets_held())


def test_updates_are_sufficient_after_their_deadline_however_few() -> None:
    bench = Bench(LEADER).tickets().wake("tickets").updates(UPDATES[:1])
    assert bench.said("candidate") == []
    bench.wake("updates")
    assert bench.said("candidate")[0].header.count == 1


def test_no_update_at_all_is_never_sufficient() -> None:
    bench = Bench(LEADER).tickets().wake("tickets").wake("updates")
    assert bench.said("candidate") == []
    bench.updates(UPDATES[:1])
    assert len(bench.said("candidate")) == 1


def test_two_updates_of_a_client_are_passed_on_but_not_aggregated() -> None:
    bench = Bench(LEADER).tickets().updates(TWICE).wake("tickets")
    assert bench.said("candidate") == [], "the quota is not reached"
    bench.wake("updates")
    [candidate] = bench.said("candidate")
    assert candidate.updates == tuple(update.record.digest for update in FORGE.updates([1, 2]))


def test_the_clock_never_sets_a_block_back() -> None:
    bench = Bench(LEADER, start=False)
    bench.host.now = -5
    bench.server.enter_height()
    bench.ready()
    assert bench.said("candidate")[0].header.timestamp == FORGE.head.timestamp + 1


def test_a_leader_proposes_once() -> None:
    bench = Bench(LEADER).ready().updates([SECOND]).wake("tickets").wake("updates")
    bench.votes(bench.said("candidate")[0], MEMBERS[:2])
    assert len(bench.said("candidate")) == 1


def test_the_next_leader_proposes_when_the_view_is_closed() -> None:
    bench = Bench(ORDER[1]).ready()
    assert bench.said("candidate") == []
    why = closed()
    bench.hear("closure", why)
    [candidate] = bench.said("candidate")
    assert candidate == FORGE.candidate(view=(0, 1), justification=why, timestamp=bench.host.now)


def test_a_locked_block_is_proposed_again_and_nothing_else() -> None:
    bench = Bench(ORDER[1]).ready().hear("candidate", CANDIDATE)
    why = closed((0, 0), LOCK)
    bench.hear("closure", why)
    [candidate] = bench.said("candidate")
    assert candidate == FORGE.again(CANDIDATE, (0, 1), why)


def test_a_leader_without_the_locked_block_asks_its_voters_for_it() -> None:
    bench = Bench(ORDER[1]).ready()
    why = closed((0, 0), LOCK)
    bench.hear("closure", why)
    assert bench.said("candidate") == [], "nothing else may be proposed"
    asked = bench.host.whom("status")[-1]
    assert asked == tuple(server for server, _ in LOCK.signatures)
    bench.hear("candidate", CANDIDATE)
    assert bench.said("candidate") == [FORGE.again(CANDIDATE, (0, 1), why)]


# -- voting ----------------------------------------------------------------------------------------


def test_a_member_recomputes_and_votes_for_what_is_right() -> None:
    bench = Bench().ready()
    assert bench.server.receive("candidate", CANDIDATE, LEADER)
    assert bench.said("vote") == [own_vote(MEMBER)], "with what it was proposed"
    assert bench.host.whom("vote") == [
        tuple(server for server in FORGE.sortition().committee.weights if server != MEMBER)
    ]
    assert ("aggregate", 8 * CLIENTS, 1) in bench.host.charged
    assert bench.host.published[0].aggregate, "what it approves of it provides"


@pytest.mark.parametrize("off", [-1, 1])
def test_a_sum_of_samples_is_exact(off: int) -> None:
    wrong = FORGE.candidate(samples=CANDIDATE.header.samples + off)
    bench = Bench().ready().hear("candidate", wrong)
    assert bench.said("vote") == []


def test_a_candidate_may_go_on_before_its_draws_are_verified() -> None:
    """Its signatures are checked first; the many draws while it travels on."""
    bench = Bench().hear("candidate", CANDIDATE)
    charged = [operation for operation, _, _ in bench.host.charged]
    assert charged.index("may relay") == charged.index("verify") + 1
    assert bench.host.charged[charged.index("may relay") + 1] == ("vrf_verify", 0, SERVERS - 1)


def test_a_leader_without_a_seat_gets_the_votes_too() -> None:
    """It passes the block on."""
    attempt, step = next(
        (attempt, step)
        for attempt in range(50)
        for step in range(3)
        if FORGE.order(attempt)[step] not in FORGE.members(attempt)
    )
    member = FORGE.members(attempt)[0]
    why = FORGE.closing((attempt, step - 1) if step else (attempt - 1, 2))
    candidate = FORGE.candidate(view=(attempt, step), justification=why)
    bench = Bench(member).ready().hear("candidate", candidate).wake("listen")
    [to] = bench.host.whom("vote")
    assert to is not None
    assert candidate.proposer in to
    assert set(to) == {*FORGE.members(attempt), candidate.proposer} - {member}


def test_who_has_no_seat_does_not_vote() -> None:
    bench = Bench(BYSTANDER).ready().hear("candidate", CANDIDATE).wake("view")
    assert bench.said("vote") == bench.said("timeout") == []


@pytest.mark.parametrize("name", WRONG)
def test_a_member_leaves_the_view_of_what_is_wrong(name: str) -> None:
    bench = Bench().ready().updates([SECOND])
    assert bench.server.receive("candidate", WRONG[name], LEADER)
    assert bench.said("vote") == []
    assert bench.said("timeout") == [FORGE.timeout(MEMBER)]
    assert bench.host.whom("timeout") == [None], "gossiped"


def test_a_candidate_without_an_update_is_never_right() -> None:
    bench = Bench().ready().wake("updates")
    bench.hear("candidate", FORGE.candidate(count=0, listed=UPDATES))
    assert bench.said("vote") == []


UNTIMELY: dict[str, Candidate] = {
    "far ahead": FORGE.candidate(timestamp=3_000_001),
    "a ticket left out": FORGE.candidate(
        tickets=FORGE.tickets(server for server in range(SERVERS) if server != LATE)
    ),
}


@pytest.mark.parametrize("name", UNTIMELY)
def test_a_member_declines_what_comes_at_the_wrong_time(name: str) -> None:
    candidate = UNTIMELY[name]
    bench = Bench().ready()
    if name != "far ahead":
        bench.host.now += 500_000
    bench.hear("candidate", candidate)
    assert bench.said("vote") == []
    assert bench.said("timeout") == [FORGE.timeout(MEMBER)]
    again = FORGE.again(candidate, (0, 1), closed((0, 0), FORGE.lock(candidate)))
    bench.hear("candidate", again).wake("listen")
    assert bench.phases() == ["soft"], "others found it timely, and locked it"


def test_a_ticket_may_have_missed_its_recorder() -> None:
    """One that came within the collecting time here may have come after it there."""
    bench = Bench().tickets(s for s in range(SERVERS) if s != LATE).updates()
    bench.host.now += 500_000
    bench.wake("tickets").tickets([LATE])
    bench.host.now += 499_999
    bench.hear("candidate", UNTIMELY["a ticket left out"])
    assert bench.phases() == ["soft"]


def test_clocks_may_differ_by_a_voting_time() -> None:
    bench = Bench().ready().hear("candidate", FORGE.candidate(timestamp=3_000_000))
    assert bench.phases() == ["soft"]


def test_few_updates_are_right_once_they_are_late() -> None:
    few = FORGE.candidate(FORGE.updates([0, 1]))
    bench = Bench().ready().hear("candidate", few)
    assert bench.said("vote") == bench.said("timeout") == [], "right, perhaps, but not yet"
    bench.wake("updates")
    assert bench.said("vote") == [own_vote(MEMBER, few)]
    assert Bench().ready().wake("updates").hear("candidate", few).phases() == ["soft"]


def test_a_candidate_with_one_of_two_updates_is_still_voted_for() -> None:
    """Its leader had not seen the other; this member saw it first."""
    bench = Bench().tickets().updates([SECOND, *UPDATES]).wake("tickets").wake("updates")
    bench.hear("candidate", CANDIDATE)
    assert bench.phases() == ["soft"]


def test_a_vote_waits_for_an_update_and_asks_for_it() -> None:
    bench = Bench().tickets().updates(UPDATES[:1]).wake("tickets").hear("candidate", CANDIDATE)
    assert bench.said("vote") == []
    assert bench.fired("want") == [(125_000, (0, 0))], "the gossip may be about to bring it"
    bench.wake("want")
    missing = Want(1, tuple(update.record.digest for update in UPDATES[1:]))
    assert bench.said("want") == [missing]
    [to] = bench.host.whom("want")
    assert to is not None
    assert to[0] == LEADER
    assert len(set(to)) == len(to) >= 2
    assert set(to) <= set(MEMBERS) - {MEMBER}
    assert bench.fired("want")[1:] == [(500_000, (0, 0))]
    bench.updates(UPDATES[1:2]).wake("want")
    assert bench.said("want")[1] == Want(1, (UPDATES[2].record.digest,))
    bench.updates(UPDATES[2:])
    assert bench.said("vote") == [own_vote(MEMBER)]
    bench.wake("want")
    assert len(bench.said("want")) == 2


def test_a_member_without_others_wants_updates_of_who_proposed_them() -> None:
    bench = Bench().tickets().hear("candidate", CANDIDATE)
    bench.part.members = lambda attempt: []  # type: ignore[method-assign]
    bench.wake("want")
    assert bench.host.whom("want") == [(LEADER,)]


def test_updates_that_others_lack_are_sent_to_them() -> None:
    bench = Bench().updates()
    digests = tuple(update.record.digest for update in UPDATES)
    assert not bench.server.receive("want", Want(1, (*digests, bytes(32))), 5)
    assert bench.said("update") == UPDATES
    assert bench.host.whom("update") == [(5,)] * CLIENTS
    for height in (2, 3):
        bench.hear("want", Want(height, digests), sender=5)
    assert len(bench.said("update")) == CLIENTS
    bench.hear("want", Want(1, (bytes(32),) * 2 * CLIENTS + digests), sender=5)
    assert len(bench.said("update")) == CLIENTS, "no more than twice the quota at a time"


def test_a_candidate_waits_for_its_view() -> None:
    bench = Bench().ready()
    why = closed()
    second = FORGE.candidate(view=(0, 1), justification=why)
    assert bench.server.receive("candidate", second, ORDER[1])
    assert bench.view == (0, 1), "which it brings"
    assert bench.said("vote") == []
    bench.wake("listen")
    assert bench.said("vote") == [own_vote(MEMBER, second)], "once locks have been shown"
    assert bench.said("closure") == [why], "nobody stays behind for long"


def test_one_candidate_of_a_view_is_enough() -> None:
    bench = Bench().ready().hear("candidate", CANDIDATE)
    before = snapshot(bench.server)
    assert not bench.server.receive("candidate", CANDIDATE, LEADER)
    assert not bench.server.receive("candidate", replace(CANDIDATE), 3)
    assert snapshot(bench.server) == before
    assert bench.server.refused == {}


# -- malicious servers -----------------------------------------------------------------------------


class Noisy(Behaviour):
    """Proposes another aggregate, and approves of whatever others propose."""

    def contents(self, honest: Contents, generator: np.random.Generator) -> Contents:
        return Contents(generator.bytes(8))

    def verdict(self, honest: bool, draws: Callable[[], np.random.Generator]) -> bool:
        return True


def test_a_malicious_leader_proposes_what_it_likes_and_its_allies_vote_for_it() -> None:
    bench = Bench(LEADER, behaviour=Noisy()).ready()
    [candidate] = bench.said("candidate")
    assert candidate.header.aggregate_cid != CANDIDATE.header.aggregate_cid
    assert candidate.updates == CANDIDATE.updates
    assert file_cid(bench.host.published[0].aggregate) == candidate.header.aggregate_cid
    honest = Bench().ready().hear("candidate", candidate)
    assert honest.said("vote") == []
    assert len(honest.said("timeout")) == 1
    ally = Bench(behaviour=Noisy()).ready().hear("candidate", candidate)
    assert ally.phases() == ["soft"]


class Tossing(Behaviour):
    """Approves by the toss of a coin, but of its own block as an honest server would."""

    def __init__(self) -> None:
        super().__init__()
        self.tossed: list[float] = []

    def verdict(self, honest: bool, draws: Callable[[], np.random.Generator]) -> bool:
        self.tossed.append(draws().random())
        return honest


def test_a_decision_has_draws_of_its_own_which_are_made_where_they_are_asked_for() -> None:
    tossing, ally = Tossing(), Bench(behaviour=Noisy()).ready()
    bench = Bench(behaviour=tossing).ready().hear("candidate", CANDIDATE)
    label = (1, 0, 0, 1)  # height, attempt, step, and what is drawn
    assert tossing.tossed == [bench.host.generator(*label).random()]
    made: list[tuple[int, ...]] = []
    ally.host.generator = lambda *label: made.append(label)  # type: ignore[method-assign, assignment]
    assert ally.hear("candidate", CANDIDATE).phases() == ["soft"]
    assert made == []


class Mute(Behaviour):
    """Leads without a word, and hears no votes."""

    def proposes(self, server: Any, candidate: Candidate) -> Candidate | None:
        return None

    def hears(self, server: Any, kind: str, body: Any, sender: int) -> bool:
        return kind != "vote"


def test_a_malicious_leader_may_let_its_turn_pass() -> None:
    bench = Bench(LEADER, behaviour=Mute()).ready()
    assert bench.said("candidate") == []
    bench.hear("candidate", CANDIDATE).votes(CANDIDATE).votes(CANDIDATE, phase="cert")
    assert bench.host.blocks == []
    bench.hear("block", FORGE.block())
    assert len(bench.host.blocks) == 1


def test_a_ticket_that_is_listed_twice_is_charged_twice() -> None:
    """What comes is not judged yet."""
    bench = Bench()
    bench.tickets([LEADER])
    mine, known, other = (
        FORGE.ticket(server) for server in (bench.server.index, LEADER, BYSTANDER)
    )
    tickets = bench.part.tickets
    assert tickets.unknown((known, other, other, mine)) == 2 + (mine.server not in tickets.held)
    assert tickets.unknown(()) == 0
