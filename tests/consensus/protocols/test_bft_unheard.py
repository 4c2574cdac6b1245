"""Messages that servers take in unheard under `bft`: which are fit, how many, and what they do."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consensus.ledger.committee import Committee
from consensus.ledger.validity import Sortition
from consensus.protocols.bft import unheard
from consensus.protocols.bft import vote as bft
from consensus.protocols.bft.server import BftParticipant
from consensus.protocols.bft.state import NOBODY, HeightContext, Promises
from consensus.protocols.bft.unheard import CERT, SOFT, TICKETS
from consensus.records.ticket import Ticket
from consensus.records.votes import Vote
from consensus.server.edge_server import EdgeServer
from consensus.server.unheard import ANY_NUMBER, IGNORED, UPDATES, Credit, Fit
from tests.helpers import bft_run
from tests.helpers.bft_rig import BYSTANDER, FORGE, LEADER, MEMBER, MEMBERS, ORDER, Bench
from tests.helpers.bft_run import SERVERS, TWIN, C, Run
from tests.helpers.bft_scene import (
    A_VOTE,
    BLOCK,
    CANDIDATE,
    LOCK,
    OTHERS,
    REFUSED,
    SECOND_CANDIDATE,
    closed,
    own_vote,
)
from tests.helpers.bft_scene import TWIN as OTHER_PROPOSAL
from tests.helpers.fake_inbox import FakeInbox

HEAD = FORGE.head.cid

# -- what is fit ----------------------------------------------------------------------------------


def judged(kind: str, body: Any, bench: Bench | None = None) -> Fit | None:
    return (bench or Bench()).server.fit(kind, body)


def vouched(whose: int, **changes: Any) -> tuple[Bench, Ticket]:
    """A server, and a ticket that was checked for others."""
    bench, ticket = Bench(), replace(FORGE.ticket(whose), **changes)
    _, draw = FORGE.draw(whose)
    bench.server.checks.vouch(FORGE.head.beacon, FORGE.ticket(whose), draw)
    return bench, ticket


@pytest.mark.parametrize(("phase", "lane"), [("soft", SOFT), ("cert", CERT)])
def test_a_members_vote_is_fit(phase: str, lane: int) -> None:
    vote = FORGE.vote(CANDIDATE, OTHERS[0], phase)
    name = (phase, (0, 0), OTHERS[0])
    assert judged("vote", vote) == Fit(lane, (HEAD, (0, 0), BLOCK), name, 1, "verify", 0)
    assert unheard.name_of(vote) == name


def test_a_vote_of_a_later_view_and_attempt_is_fit_within_limits() -> None:
    for view in ((0, 2), (1, 0), (bft.ATTEMPTS_AHEAD, 1)):
        voter = FORGE.members(view[0])[0]
        found = judged("vote", FORGE.vote(CANDIDATE, voter, view=view))
        assert found is not None
        assert found.ground == (HEAD, view, BLOCK)
        weight = FORGE.sortition(view[0]).committee.weights[voter]
        assert found.weight == weight


VOTES = sorted(name for name, (kind, _, _) in REFUSED.items() if kind == "vote")


@pytest.mark.parametrize("name", VOTES)
def test_a_vote_that_is_refused_is_not_fit(name: str) -> None:
    kind, body, _ = REFUSED[name]
    assert judged(kind, body) is None


@pytest.mark.parametrize(
    "vote",
    [
        FORGE.vote(CANDIDATE, OTHERS[0], height=2),
        FORGE.vote(CANDIDATE, OTHERS[0], height=0),
        FORGE.vote(CANDIDATE, OTHERS[0], attempt=bft.ATTEMPTS_AHEAD + 1),
        replace(A_VOTE, signature=bytes(64)),
        replace(A_VOTE, server=BYSTANDER),
    ],
)
def test_more_votes_that_are_not_fit(vote: Vote) -> None:
    assert judged("vote", vote) is None


def test_a_ticket_that_was_vouched_for_is_fit() -> None:
    bench, ticket = vouched(LEADER)
    expected = Fit(TICKETS, HEAD, ("ticket", LEADER), 1, "vrf_verify", 0)
    assert judged("ticket", ticket, bench) == expected


def test_a_ticket_that_nobody_has_checked_is_not_fit() -> None:
    assert judged("ticket", FORGE.ticket(LEADER)) is None
    bench = Bench()
    bench.hear("ticket", FORGE.ticket(LEADER))
    assert judged("ticket", FORGE.ticket(LEADER), bench) is not None, "it has been checked now"


@pytest.mark.parametrize(
    "changes", [{"proof": bytes(80)}, {"server": MEMBER}, {"height": 1}, {"height": 3}]
)
def test_another_ticket_than_that_which_was_vouched_for_is_not_fit(changes: dict[str, Any]) -> None:
    bench, ticket = vouched(LEADER, **changes)
    assert judged("ticket", ticket, bench) is None


def test_timeouts_are_fit() -> None:
    """Of a view those of its members, of an attempt those of all with stake."""
    head, who = FORGE.head.cid, OTHERS[0]
    for view, everyone, lane in (
        ((0, 1), False, unheard.TIMEOUTS),
        ((0, 0), True, unheard.ALL_TIMEOUTS),
    ):
        name = ("timeout", view, everyone, who)
        timeout = FORGE.timeout(who, view, everyone)
        assert judged("timeout", timeout) == Fit(lane, (head, view), name, 1, "verify", 0)
        assert unheard.name_of_timeout(timeout) == name
    assert judged("timeout", FORGE.timeout(BYSTANDER, (0, 0), True)) is not None


@pytest.mark.parametrize(
    "timeout",
    [
        *(body for kind, body, _ in REFUSED.values() if kind == "timeout"),
        FORGE.timeout(OTHERS[0], lock=LOCK),
        FORGE.timeout(BYSTANDER),
        FORGE.timeout(OTHERS[0], (0, 1), True),
        FORGE.timeout(OTHERS[0], (bft.ATTEMPTS_AHEAD + 1, 0)),
        replace(FORGE.timeout(OTHERS[0]), signature=bytes(64)),
        replace(FORGE.timeout(OTHERS[0]), height=2),
        replace(FORGE.timeout(OTHERS[0]), chain_id=bytes(32)),
        replace(FORGE.timeout(OTHERS[0]), server=10**6),
    ],
)
def test_timeouts_that_are_not_fit(timeout: Any) -> None:
    assert judged("timeout", timeout) is None


def test_a_body_under_another_kind_is_not_fit() -> None:
    """Whoever receives it refuses it as malformed."""
    bench, ticket = vouched(LEADER)
    for kind, body in (("ticket", A_VOTE), ("vote", ticket), ("candidate", A_VOTE), ("x", ticket)):
        assert judged(kind, body, bench) is None
    assert judged("update", FORGE.update(0).record, bench) is None


def test_nothing_else_is_fit() -> None:
    for kind, body in (
        ("candidate", CANDIDATE),
        ("timeout", FORGE.timeout(OTHERS[0], lock=LOCK)),
        ("closure", closed()),
        ("lock", LOCK),
        ("block", FORGE.block()),
    ):
        assert judged(kind, body) is None


def test_nothing_of_a_height_that_is_over_is_fit() -> None:
    bench = Bench().ready().hear("candidate", CANDIDATE)
    assert judged("vote", A_VOTE, bench) is not None
    bench.hear("block", FORGE.block())
    assert not bench.server.active
    assert judged("vote", A_VOTE, bench) is None
    bench.server.enter_height()
    assert judged("vote", A_VOTE, bench) is None


# -- what a server need not hear of ---------------------------------------------------------------


def credits_of(bench: Bench) -> dict[int, Credit]:
    """By lane."""
    found = list(bench.server.credits())
    assert len({credit.lane for credit in found}) == len(found)
    return {credit.lane: credit for credit in found}


def votes_left(bench: Bench) -> tuple[int, int] | None:
    """The weight of soft and of cert votes that may come; None where every vote is heard."""
    found = credits_of(bench)
    if SOFT not in found and CERT not in found:
        return None
    assert found[SOFT].ground == found[CERT].ground == (HEAD, bench.view, BLOCK)
    return found[SOFT].weight, found[CERT].weight


def proposed(**more: Any) -> Bench:
    return Bench(**more).ready().hear("candidate", CANDIDATE)


def test_before_a_block_is_known_every_vote_is_heard() -> None:
    assert votes_left(Bench().ready()) is None


def test_a_block_that_a_vote_tells_of_is_known() -> None:
    bench = Bench().ready().hear("vote", own_vote(OTHERS[0]))
    assert votes_left(bench) == (3, 4)


def test_votes_may_come_up_to_two_thirds() -> None:
    """Of six seats; its own vote is one of them."""
    bench = proposed()
    assert bench.phases() == ["soft"]
    for count, voter in enumerate(OTHERS[:3]):
        assert votes_left(bench) == (3 - count, 4)
        bench.votes(CANDIDATE, [voter])
    assert votes_left(bench) == (0, 4)
    bench.votes(CANDIDATE, OTHERS[:3], "cert")
    assert votes_left(bench) == (0, 1)


def test_a_lock_that_settles_waits_for_five_sixths_or_its_timer() -> None:
    bench = proposed().votes(CANDIDATE, OTHERS[:4])
    assert bench.part.state.settling == (0, 0)
    assert votes_left(bench) == (0, 4), "of six five are counted, and six are certain"
    bench.wake("settle")
    assert bench.phases() == ["soft", "cert"]
    assert votes_left(bench) == (ANY_NUMBER, 3), "soft votes are no longer counted"


def test_soft_votes_after_the_cert_vote_are_not_counted() -> None:
    heard, told = (proposed().votes(CANDIDATE, OTHERS[:4]).wake("settle") for _ in range(2))
    vote = FORGE.vote(CANDIDATE, OTHERS[4])
    before = told.part.state.votes
    heard.hear("vote", vote)
    told.server.take_in([(SOFT, vote, None, 1.0)])
    assert told.part.state.votes == heard.part.state.votes == before
    assert told.part.first_votes == heard.part.first_votes


def test_once_a_block_is_decided_that_is_not_here_every_vote_is_heard() -> None:
    bench = Bench().ready().hear("vote", own_vote(OTHERS[0]))
    assert votes_left(bench) == (3, 4)
    bench.votes(CANDIDATE, MEMBERS, "cert")
    assert bench.part.state.decided is not None
    assert bench.server.active
    assert votes_left(bench) is None


def test_who_has_no_seat_counts_as_well() -> None:
    bench = proposed(index=BYSTANDER)
    assert votes_left(bench) == (4, 4)
    bench.votes(CANDIDATE, MEMBERS[:5])
    assert votes_left(bench) == (0, 4)


def test_a_vote_against_a_lock_of_the_view_is_heard() -> None:
    bench = Bench().ready().hear("candidate", OTHER_PROPOSAL).hear("lock", LOCK)
    assert votes_left(bench) is None
    assert proposed().hear("lock", LOCK).part.state.promises.locks
    assert votes_left(proposed().hear("lock", LOCK)) == (3, 4), "a lock on this very block"


def test_after_a_view_was_left_votes_of_the_next_are_heard_until_its_block_is_known() -> None:
    bench = proposed().hear("closure", closed())
    assert bench.view == (0, 1)
    assert votes_left(bench) is None
    bench.hear("candidate", SECOND_CANDIDATE)
    found = credits_of(bench)
    ground = (HEAD, (0, 1), SECOND_CANDIDATE.header.cid)
    assert [found[lane] for lane in (SOFT, CERT)] == [
        Credit(SOFT, ground, 4),
        Credit(CERT, ground, 4),
    ]


def test_who_gave_up_a_view_still_counts() -> None:
    bench = proposed().wake("view")
    assert bench.said("timeout")
    assert votes_left(bench) == (3, 4)


def test_who_catches_up_counts_as_well() -> None:
    bench = Bench(start=False)
    bench.server.enter_height(catching_up=True)
    bench.hear("candidate", CANDIDATE)
    assert bench.phases() == []
    assert votes_left(bench) == (4, 4)


def test_once_a_block_is_decided_further_votes_for_it_are_nothing() -> None:
    bench = proposed().hear("block", FORGE.block())
    found = credits_of(bench)
    assert found == {lane: Credit(lane, (HEAD, (0, 0), BLOCK), IGNORED) for lane in (SOFT, CERT)}
    vote = FORGE.vote(CANDIDATE, OTHERS[0], "cert")
    before = len(bench.host.sent), len(bench.host.charged), dict(bench.server.refused)
    assert not bench.server.receive("vote", vote, OTHERS[0])
    assert (len(bench.host.sent), len(bench.host.charged), bench.server.refused) == before


def test_the_block_that_decides_in_a_later_view_names_that_view() -> None:
    again = FORGE.again(CANDIDATE, (0, 1), closed((0, 0), LOCK))
    bench = Bench().ready().hear("block", FORGE.block(again, view=(0, 1)))
    assert credits_of(bench)[CERT].ground == (HEAD, (0, 1), BLOCK)


def test_before_the_first_block_a_server_that_takes_no_part_hears_all() -> None:
    assert list(Bench(start=False).server.credits()) == []


def test_tickets_and_updates_are_heard_where_they_are_waited_for() -> None:
    """By the leader that has collected for long enough, and to start the timer of a view."""

    def of(bench: Bench) -> tuple[int, int]:
        found = credits_of(bench)
        assert found[UPDATES].ground == found[TICKETS].ground == HEAD
        return found[UPDATES].weight, found[TICKETS].weight

    for index in (MEMBER, LEADER):
        assert of(Bench(index)) == (ANY_NUMBER, ANY_NUMBER), "tickets are collected"
        waits = 0 if index == LEADER else ANY_NUMBER
        for count in range(3):
            bench = Bench(index).updates(FORGE.updates()[:count]).wake("tickets")
            assert of(bench) == (2 - count, waits), "the third of three may change something"
        assert of(Bench(index).wake("tickets").wake("updates")) == (0, waits), "one suffices"
        assert of(Bench(index).ready()) == (ANY_NUMBER, ANY_NUMBER), "it has proposed, or armed"
    few = Bench(LEADER).updates().wake("tickets")
    assert not few.said("candidate"), "there are too few tickets"
    assert of(few) == (0, 0)


def test_updates_that_a_candidate_lacks_are_heard() -> None:
    bench = Bench().tickets().wake("tickets").hear("candidate", CANDIDATE)
    assert credits_of(bench)[UPDATES].weight == 0
    assert credits_of(bench.updates())[UPDATES].weight == ANY_NUMBER


def test_a_leader_of_a_later_view_hears_every_update() -> None:
    """It may have a locked block to propose again, whose body it lacks."""
    bench = Bench(ORDER[1]).hear("closure", closed((0, 0), LOCK))
    assert bench.view == (0, 1)
    assert credits_of(bench)[UPDATES].weight == 0


# -- taking in ------------------------------------------------------------------------------------


def part_of(server: EdgeServer) -> BftParticipant:
    assert isinstance(server.participant, BftParticipant)
    return server.participant


def test_what_was_taken_in_is_as_if_it_had_been_heard() -> None:
    heard, told = proposed(), proposed()
    votes = [FORGE.vote(CANDIDATE, voter) for voter in OTHERS[:2]]
    votes += [FORGE.vote(CANDIDATE, voter, "cert") for voter in OTHERS[2:5]]
    heard.hear("vote", *votes)
    told.server.take_in([(unheard.LANE_OF[vote.phase], vote, None, 1.0) for vote in votes])
    assert told.part.state == heard.part.state
    assert told.part.first_votes == heard.part.first_votes
    twin = FORGE.vote(OTHER_PROPOSAL, OTHERS[0])
    for bench in (heard, told):
        bench.hear("vote", twin)
        assert [kind for kind, _, _ in bench.server.evidence] == ["vote"]


def test_a_ticket_that_was_taken_in_may_be_passed_on_after_the_block() -> None:
    bench, ticket = vouched(LEADER)
    bench.server.take_in([(TICKETS, ticket, None, 1.0)])
    bench.hear("block", FORGE.block())
    assert bench.server.passes_on("ticket", ticket, LEADER) == ("ticket", ticket, ())


def test_tickets_that_were_taken_in_have_the_time_at_which_they_came() -> None:
    bench, ticket = vouched(LEADER)
    bench.server.take_in([(TICKETS, ticket, None, 1.2345678)])
    assert bench.part.tickets.held[LEADER] == (ticket, 1_234_568)
    assert not bench.server.receive("ticket", ticket, LEADER), "it is here"
    assert bench.server.passes_on("ticket", ticket, LEADER) == ("ticket", ticket, ())


def test_ones_own_vote_that_comes_back_is_not_counted_twice() -> None:
    bench = proposed()
    [mine] = bench.said("vote")
    before = bench.part.state
    bench.server.take_in([(SOFT, mine, None, 1.0)])
    assert bench.part.state.votes == before.votes
    assert votes_left(bench) == (3, 4)


def test_ones_own_ticket_is_known_by_name() -> None:
    bench, inbox = Bench(start=False), FakeInbox()
    bench.server.hear_through(inbox)
    bench.server.enter_height()
    assert inbox.noted == [("ticket", MEMBER)]


def test_what_is_heard_is_noted_by_name() -> None:
    bench, inbox = proposed(), FakeInbox()
    bench.server.hear_through(inbox)
    vote = FORGE.vote(CANDIDATE, OTHERS[0])
    bench.hear("vote", vote, vote, replace(vote, server=OTHERS[1]))
    bench.hear("update", FORGE.update(0, value=5.0))
    fresh, ticket = Bench(), FORGE.ticket(LEADER)
    fresh.server.hear_through(inbox)
    fresh.hear("ticket", ticket, ticket)
    assert inbox.noted == [("soft", (0, 0), OTHERS[0]), ("ticket", LEADER)]


# -- counting -------------------------------------------------------------------------------------


EVENTS = [
    "candidate",
    "judged",
    *["vote"] * 3,
    "lock",
    "timer",
    "timeout",
    "close",
    "agree",
    "agree",
]


@st.composite
def moments(of: st.DrawFn) -> tuple[HeightContext, bft.State]:
    """A server amid a height, of a committee with any weights and some empty seats."""
    weights = of(st.lists(st.integers(0, 4), min_size=SERVERS, max_size=SERVERS))
    total = sum(weights) + of(st.integers(0, 4))

    def sortition(attempt: int) -> Sortition:
        seated = {server: weight for server, weight in enumerate(weights) if weight}
        return Sortition(Committee(seated, max(1, total)), bft_run.sortition(attempt).order)

    index, settles = of(st.integers(0, SERVERS - 1)), of(st.booleans())
    context = HeightContext(index, bft_run.HEIGHT, (1,) * SERVERS, SERVERS, sortition, settles)
    run, servers = Run(context, Promises()), st.integers(0, SERVERS - 1)
    for _ in range(of(st.integers(0, 14))):
        view = run.state.view
        here = [bft_run.candidate(view, salt=salt) for salt in (0, 1)]
        block = of(st.sampled_from([here[0], here[0], here[1]]))
        match of(st.sampled_from(EVENTS)):
            case "candidate":
                run.on("candidate", block)
            case "judged":
                run.on("judged", block.header.cid, of(st.sampled_from([True, True, False])))
            case "vote":
                voter = of(servers)
                if weights[voter]:
                    run.on(
                        "vote", bft_run.vote(voter, block, of(st.sampled_from(["soft", "cert"])))
                    )
            case "lock":
                run.on("lock", bft_run.lock(block))
            case "timer":
                run.on(of(st.sampled_from(["view_timer", "settle_timer", "listen_timer"])), view)
            case "timeout":
                run.on("timeout", bft_run.timeout(of(servers), view))
            case "agree":
                run.propose(block)
                some = of(st.integers(0, SERVERS))
                run.votes([voter for voter in range(some) if weights[voter]], block)
            case "close":
                if view[1] < 1:
                    run.on("closed", bft_run.closing(view))
        for effect in run.last:
            if isinstance(effect, bft.CastVote):  # as the server does at once
                cast = here[0] if effect.block == here[0].header.cid else here[1]
                run.on("vote", bft_run.vote(index, cast, effect.phase))
    return context, run.state


def told(state: bft.State) -> bft.State:
    """A state whose tallies are told in one order, as what they lead to is."""

    def ordered(tallies: Any) -> dict[Any, Any]:
        return {key: (*tally[:2], tally.messages()) for key, tally in tallies.items()}

    return replace(state, votes=ordered(state.votes), timeouts=ordered(state.timeouts))


@settings(max_examples=250, deadline=None)
@given(moments(), st.data())
def test_what_stays_within_the_credits_is_counted_as_if_it_had_been_heard(
    moment: tuple[HeightContext, bft.State], data: st.DataObject
) -> None:
    context, state = moment
    block = data.draw(st.sampled_from([0, 1]).map(lambda s: bft_run.candidate(state.view, salt=s)))
    head: Any = SimpleNamespace(cid=b"head")
    lanes = {
        credit.lane: credit.weight
        for credit in unheard.uncounted(context, state, head, block.header.cid, True)
    }
    votes, timeouts = [], []
    for voter in data.draw(st.permutations(range(SERVERS))):
        for phase in data.draw(st.permutations(["soft", "cert"])):
            weight = context.weight(state.view[0], voter)
            lane = unheard.LANE_OF[phase]
            counted = state.votes.get((phase, state.view, block.header.cid), NOBODY).servers
            if counted >> voter & 1 and voter != context.index:
                continue  # it is known by name
            if weight and lanes.get(lane, 0) >= weight:
                lanes[lane] -= weight
                votes.append(bft_run.vote(voter, block, phase))
        for everyone in data.draw(st.permutations([False, True])):
            view = (state.view[0], 0) if everyone else state.view
            weight = 1 if everyone else context.weight(state.view[0], voter)
            lane = unheard.ALL_TIMEOUTS if everyone else unheard.TIMEOUTS
            if state.timeouts.get((view, everyone), NOBODY).servers >> voter & 1:
                continue
            if weight and lanes.get(lane, 0) >= weight:
                lanes[lane] -= weight
                timeouts.append(bft_run.timeout(voter, view, everyone=everyone))
    expected = state
    said = [*((bft.on_vote, vote) for vote in votes), *((bft.on_timeout, t) for t in timeouts)]
    for hear, message in data.draw(st.permutations(said)):
        expected, effects = hear(context, expected, message)
        assert effects == ()
    state = unheard.count(context, state, votes) if votes else state
    state = unheard.count_timeouts(context, state, timeouts) if timeouts else state
    assert told(state) == told(expected)


def test_the_credit_is_all_that_there_is() -> None:
    """One vote more has an effect."""
    for phase, effect in (("soft", bft.Settle), ("cert", bft.Decide)):
        run = Run().propose(C)
        head: Any = SimpleNamespace(cid=b"head")
        run.votes([1])
        found = unheard.uncounted(run.context, run.state, head, C.header.cid, False)
        left = {credit.lane: credit.weight for credit in found}[unheard.LANE_OF[phase]]
        voters = [0, 2, 3, 4, 5] if phase == "soft" else [0, 1, 2, 3, 4, 5]
        run.votes(voters[:left], phase=phase)
        assert not run.did(effect)
        run.votes(voters[left : left + 1], phase=phase)
        assert run.did(effect)


@pytest.mark.parametrize("what", ["to leave", "to close", "of a bystander", "of everyone"])
def test_the_credit_of_timeouts_is_all_that_there_is(what: str) -> None:
    """Nothing where none is likely; else one more than it has an effect."""
    index = 6 if what == "of a bystander" else 1
    run, everyone = Run(bft_run.context_of(index)), what == "of everyone"
    head: Any = SimpleNamespace(cid=b"head")
    lane = unheard.ALL_TIMEOUTS if everyone else unheard.TIMEOUTS
    assert unheard.uncounted(run.context, run.state, head, None, False) == []
    if what == "to close":
        run.on("view_timer", (0, 0))
    run.timeouts([0], everyone=everyone)
    run.effects.clear()
    found = unheard.uncounted(run.context, run.state, head, None, True)
    (credit,) = [each for each in found if each.lane == lane]
    assert credit.ground == (b"head", (0, 0))
    others = [server for server in range(2, SERVERS) if everyone or server < 6]
    run.timeouts(others[: credit.weight], everyone=everyone)
    assert not run.effects
    run.timeouts(others[credit.weight : credit.weight + 1], everyone=everyone)
    assert run.did(bft.SendTimeout if what == "to leave" else bft.ShowTimeoutCertificate)


def test_timeouts_are_likely_where_there_was_one_at_the_height_before() -> None:
    def told(bench: Bench) -> bool:
        return unheard.TIMEOUTS in {credit.lane for credit in bench.server.credits()}

    bench = Bench()
    assert not told(bench)
    bench.hear("timeout", FORGE.timeout(OTHERS[0]))
    assert told(bench)
    bench.ready().hear("block", FORGE.block())
    bench.server.enter_height()
    assert told(bench)
    bench.server.height += 1
    assert not told(bench)


def test_timeouts_of_an_attempt_are_counted_in_all_its_views() -> None:
    run, head = Run(bft_run.context_of(6)), SimpleNamespace(cid=b"head")
    run.timeouts([0], everyone=True).on("closed", bft_run.closing((0, 0)))
    assert run.state.view == (0, 1)
    found = unheard.uncounted(run.context, run.state, head, None, True)  # type: ignore[arg-type]
    assert [(each.lane, each.ground) for each in found] == [
        (unheard.TIMEOUTS, (b"head", (0, 1))),
        (unheard.ALL_TIMEOUTS, (b"head", (0, 0))),
    ]


def test_blocks_are_told_apart() -> None:
    run = Run().propose(C).votes([1, 2, 3]).votes([0, 4], TWIN)
    head: Any = SimpleNamespace(cid=b"head")
    for block, left in ((C, 1), (TWIN, 2), (bft_run.candidate(salt=9), 4)):
        found = list(unheard.uncounted(run.context, run.state, head, block.header.cid, False))
        assert found[0] == Credit(SOFT, (b"head", (0, 0), block.header.cid), left)
