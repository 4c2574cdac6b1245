"""`paper` where it does what it should: its vote, its server, and honest worlds."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consensus.adversary.behaviour import Behaviour
from consensus.encoding.fields import MalformedRecord
from consensus.encoding.unixfs import file_cid
from consensus.faults.faults import Faults
from consensus.faults.kinds import Crash, Fault, Loss, Partition
from consensus.ledger.validity import Head, InvalidBlock
from consensus.protocols.paper import vote as paper
from consensus.protocols.paper.server import ATTEMPTS_AHEAD
from consensus.protocols.paper.vote import Decide, Rules, Say, State, Try, Wait
from consensus.protocols.registry import protocol_of
from consensus.records.block import Block, Candidate, Turn
from consensus.records.genesis import Genesis
from consensus.records.sync import Status
from consensus.records.ticket import tickets_digest
from consensus.records.votes import Vote
from consensus.server.catching_up import ASKED_AT_ONCE
from consensus.server.message import Malformed
from consensus.simulation.results import HeightResult
from tests.helpers.paper_rig import Bench, PaperForge
from tests.helpers.rules import chain_from
from tests.helpers.toy import Toy

SERVERS, SEATS, CLIENTS = 12, 3, 3
TOY = Toy(
    servers=SERVERS, clients=CLIENTS, committee_size=SEATS, protocol="paper", crypto="modelled"
)
FORGE = PaperForge(TOY)
SEATED = FORGE.winners[:SEATS]
LOSERS = [server for server in range(SERVERS) if server not in FORGE.winners]
MEMBER = SEATED[-1]
RULES = Rules(MEMBER, 1, SEATS, 3)
FIRST = FORGE.candidate()
SECOND = FORGE.candidate(aggregator=1)


def test_the_bench_has_who_it_needs() -> None:
    assert len(FORGE.winners) > SEATS
    assert len(LOSERS) > 1
    assert SEATED[0] != 0  # the aggregator of the tests' candidates is no member
    assert 0 not in SEATED


# -- the vote, as pure functions -------------------------------------------------------------------


def fold(state: State, *steps: Callable[[State], paper.Step]) -> tuple[State, list[paper.Effect]]:
    effects: list[paper.Effect] = []
    for step in steps:
        state, more = step(state)
        effects += more
    return state, effects


def arrives(candidate: Candidate) -> Callable[[State], paper.Step]:
    return lambda state: paper.on_candidate(RULES, state, candidate)


def cast(
    candidate: Candidate, servers: Iterable[int], phase: str = "approve"
) -> list[Callable[[State], paper.Step]]:
    votes = [FORGE.vote(candidate, server, phase) for server in servers]

    def hears(vote: Vote) -> Callable[[State], paper.Step]:
        return lambda state: paper.on_vote(RULES, state, vote)

    return [hears(vote) for vote in votes]


def over(slot: tuple[int, int]) -> Callable[[State], paper.Step]:
    return lambda state: paper.on_vote_timer(RULES, state, slot)


def test_a_height_begins_with_a_race() -> None:
    assert paper.begin() == (State(), (Wait((0, 0)),))


def test_after_max_step_candidates_comes_the_next_attempt() -> None:
    slots = [(0, 0)]
    for _ in range(6):
        slots.append(RULES.after(slots[-1]))
    assert slots == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (2, 0)]
    assert Rules(0, 1, 3, 1).after((4, 0)) == (5, 0)


@pytest.mark.parametrize(("size", "needed"), [(1, 1), (2, 2), (3, 3), (4, 3), (6, 5), (20, 14)])
def test_more_than_two_thirds_of_the_seats_agree(size: int, needed: int) -> None:
    rules = Rules(0, 1, size, 3)
    assert [rules.agree(count) for count in (needed - 1, needed)] == [False, True]


def test_the_first_candidate_has_its_slot() -> None:
    state, effects = fold(State(), arrives(FIRST), arrives(SECOND))
    assert effects == [Try(FIRST)]
    assert state.trying is FIRST
    assert state.candidates == {(0, 0): FIRST}


def test_the_next_slot_begins_when_max_vote_duration_is_over_and_not_before() -> None:
    state, _ = fold(State(), arrives(FIRST), over((0, 1)))
    assert state.trying is FIRST
    state, effects = fold(state, over((0, 0)))
    assert (state.slot, state.trying, effects) == ((0, 1), None, [Wait((0, 1))])
    assert fold(state, over((0, 0)), over((0, 1))) == (state, [])  # nothing is voted on


def test_a_candidate_of_a_later_slot_waits_for_its_turn() -> None:
    later = [FORGE.candidate(view=view) for view in ((1, 0), (0, 2))]
    state, effects = fold(State(), arrives(FIRST), *map(arrives, later))
    assert effects == [Try(FIRST)]
    state, effects = fold(state, over((0, 0)))
    assert (state.slot, effects) == ((0, 2), [Try(later[1])])
    state, effects = fold(state, over((0, 2)))
    assert (state.slot, effects) == ((1, 0), [Try(later[0])])


def test_who_waits_for_a_candidate_follows_those_who_have_moved_on() -> None:
    later = FORGE.candidate(view=(7, 1))
    state, effects = fold(State(), arrives(later))
    assert (state.slot, effects) == ((7, 1), [Try(later)])
    state, effects = fold(state, arrives(FIRST), over((7, 1)))
    assert (state.slot, effects) == ((7, 2), [Wait((7, 2))])


@pytest.mark.parametrize(("fit", "phase"), [(True, "approve"), (False, "reject")])
def test_a_member_votes_once_in_a_slot(fit: bool, phase: str) -> None:
    def judged(candidate: Candidate) -> Callable[[State], paper.Step]:
        return lambda state: paper.on_judged(RULES, state, candidate, fit)

    state, effects = fold(State(), arrives(FIRST), judged(FIRST), judged(FIRST), judged(SECOND))
    assert effects == [Try(FIRST), Say(phase, FIRST)]
    assert state.voted == (0, 0)
    state, effects = fold(state, over((0, 0)), judged(FIRST))
    assert effects == [Wait((0, 1))]


def test_only_members_vote() -> None:
    stranger = replace(RULES, index=LOSERS[0])
    state, _ = paper.on_candidate(stranger, State(), FIRST)
    assert paper.on_judged(stranger, state, FIRST, True) == (state, ())


def test_two_thirds_of_the_seats_decide() -> None:
    state, effects = fold(State(), arrives(FIRST), *cast(FIRST, SEATED[:-1]))
    assert effects == [Try(FIRST)]
    state, effects = fold(state, *cast(FIRST, SEATED[-1:]))
    assert [type(effect) for effect in effects] == [Decide]
    decided = effects[0]
    assert isinstance(decided, Decide)
    assert decided.candidate is FIRST
    assert decided.certificate == FORGE.block(FIRST).certificate
    assert fold(state, over((0, 0)), arrives(FORGE.candidate(view=(0, 1))))[1] == []


def test_what_is_no_approval_of_a_member_does_not_count() -> None:
    votes = [
        *cast(FIRST, SEATED[:1], "reject"),
        *cast(FIRST, SEATED[1:]),
        *cast(FIRST, LOSERS),
        *cast(SECOND, FORGE.winners[SEATS:]),
        *cast(FIRST, SEATED[:1]),  # a second vote
    ]
    assert fold(State(), arrives(FIRST), *votes)[1] == [Try(FIRST)]


@settings(deadline=None)
@given(st.permutations(range(4)), st.integers(0, 4))
def test_the_order_of_votes_and_their_candidate_does_not_matter(
    order: list[int], passed: int
) -> None:
    """Not even if the slot is over: an approval counts for as long as the height lasts."""
    happen = [arrives(FIRST), *cast(FIRST, SEATED)]
    steps = [happen[place] for place in order]
    steps.insert(passed, over((0, 0)))
    state, _ = fold(State(), *steps)
    assert state.decided == FORGE.block(FIRST).certificate


def test_the_committee_is_who_announced_first_and_stays_so() -> None:
    order = [5, 2, 9, 0, 7]
    state = State()
    for server in [*order, 2, 9]:
        state, _ = paper.on_ticket(state, FORGE.ticket(server))
    assert [ticket.server for ticket in state.announced] == order
    first = state.committee(RULES)
    assert [ticket.server for ticket in first] == order[:SEATS]
    for attempt in range(3):
        for step in range(RULES.max_step):
            slot = (attempt, step)
            state, _ = fold(state, arrives(FORGE.candidate(view=slot)), over(slot))
    assert state.slot == (3, 0)
    assert state.committee(RULES) == first


# -- one server ------------------------------------------------------------------------------------


def test_a_winner_announces_its_draw_once_it_is_ready() -> None:
    bench = Bench(MEMBER, TOY)
    ((microseconds, _),) = bench.timers("announce")
    assert 0 <= microseconds <= TOY.genesis.parameters.ticket_us / 2
    assert bench.host.sent == []
    bench.wake("announce")
    assert bench.host.sent == [("ticket", FORGE.ticket(MEMBER), None)]
    assert bench.part.state.announced == (FORGE.ticket(MEMBER),)


def test_who_wins_no_seat_says_nothing() -> None:
    assert Bench(LOSERS[0], TOY).timers("announce") == []


@pytest.mark.parametrize(
    ("ticket", "reason"),
    [
        (FORGE.ticket(LOSERS[0]), "ticket wins no seat"),
        (replace(FORGE.ticket(SEATED[0]), server=SEATED[1]), "ticket proof"),
        (replace(FORGE.ticket(SEATED[0]), server=SERVERS), "ticket proof"),
        (replace(FORGE.ticket(SEATED[0]), proof=bytes(80)), "ticket proof"),
        (replace(FORGE.draw(SEATED[0], height=2)[0], height=1), "ticket proof"),
    ],
)
def test_a_ticket_that_wins_nothing_is_refused(ticket: Any, reason: str) -> None:
    bench = Bench(MEMBER, TOY)
    before = bench.state()
    assert bench.server.receive("ticket", ticket, 0) is False
    assert bench.server.refused == {reason: 1}
    assert bench.state() == before


def test_it_competes_once_updates_and_seats_are_there() -> None:
    bench = Bench(MEMBER, TOY)
    bench.hear("update", *FORGE.updates()).hear("ticket", *FORGE.seats()[:-1])
    assert bench.timers("propose") == []
    bench.hear("ticket", FORGE.seats()[-1])
    assert [slot for _, slot in bench.timers("propose")] == [(0, 0)]
    bench.wake("propose")
    (candidate,) = bench.host.all("candidate")
    assert candidate.header.aggregator == MEMBER
    assert candidate.view == (0, 0)
    assert candidate.tickets == FORGE.seats()
    assert candidate.updates == tuple(update.record.digest for update in FORGE.updates())


def test_fewer_members_than_seats_do_once_the_time_to_announce_is_over() -> None:
    toy = Toy(servers=5, clients=2, committee_size=4, protocol="paper", crypto="modelled")
    bench = Bench(0, toy)
    bench.hear("update", *bench.forge.updates())
    bench.hear("ticket", *bench.forge.seats([1, 2]))
    bench.wake("tickets")
    assert bench.timers("propose") == []
    bench.hear("ticket", bench.forge.ticket(3))
    assert len(bench.timers("propose")) == 1
    assert [ticket.server for ticket in bench.wake("propose").host.all("candidate")[0].tickets] == [
        1,
        2,
        3,
    ]


def test_who_hears_a_candidate_proposes_none() -> None:
    bench = Bench(MEMBER, TOY).ready().hear("candidate", FIRST)
    bench.wake("propose")
    assert bench.host.all("candidate") == []
    assert bench.timers("vote") == [(2_000_000, (0, 0))]


def test_after_a_failed_step_it_competes_again() -> None:
    bench = Bench(MEMBER, TOY).ready().hear("candidate", FIRST).wake("vote")
    assert [slot for _, slot in bench.timers("propose")] == [(0, 0), (0, 1)]
    bench.wake("propose", (0, 0))
    assert bench.host.all("candidate") == []  # of a slot that is over
    bench.wake("propose")
    assert [candidate.view for candidate in bench.host.all("candidate")] == [(0, 1)]


def test_votes_go_to_the_committee_and_the_aggregator() -> None:
    bench = Bench(MEMBER, TOY).ready().hear("candidate", FIRST)
    ((kind, vote, to),) = bench.host.sent
    assert (kind, vote) == ("vote", FORGE.vote(FIRST, MEMBER))
    assert to == tuple(sorted({0, *SEATED} - {MEMBER}))


@pytest.mark.parametrize(
    ("changes", "right"),
    [
        ({}, True),
        ({"aggregate_cid": file_cid(b"noise")}, False),
        ({"samples": 1}, False),
        ({"snapshot": file_cid(b"Q")}, False),
        ({"timestamp": 1_000_000 + 2_000_000}, True),
        ({"timestamp": 1_000_000 + 2_000_001}, False),
    ],
)
def test_a_member_approves_what_it_finds_right(changes: dict[str, Any], right: bool) -> None:
    candidate = FORGE.candidate(**changes)
    bench = Bench(MEMBER, TOY).ready().hear("candidate", candidate)
    assert [vote.phase for vote in bench.host.all("vote")] == ["approve" if right else "reject"]


@pytest.mark.parametrize(
    ("candidate", "reason"),
    [
        (replace(FIRST, turn=Turn(0, 0, 0, bytes(64))), "candidate of another protocol"),
        (FORGE.candidate(view=(ATTEMPTS_AHEAD + 1, 0)), "candidate for another attempt"),
        (FORGE.candidate(view=(0, 3)), "candidate header"),
        (FORGE.candidate(signer=1), "candidate header"),
        (FORGE.candidate(parent=file_cid(b"other")), "candidate header"),
        (FORGE.candidate(tickets=FORGE.seats(SEATED[:-1])), "candidate header"),
        (replace(FIRST, tickets=FORGE.seats(reversed(SEATED))), "candidate header"),
        (FORGE.candidate(count=CLIENTS + 1), "candidate header"),
        (FORGE.candidate(updates=bytes(32)), "candidate header"),
    ],
)
def test_a_candidate_that_proves_nothing_is_refused(candidate: Candidate, reason: str) -> None:
    bench = Bench(MEMBER, TOY).ready()
    before = bench.state()
    assert bench.server.receive("candidate", candidate, 0) is False
    assert bench.server.refused == {reason: 1}
    assert bench.state() == before


@pytest.mark.parametrize(
    ("vote", "reason"),
    [
        (FORGE.vote(FIRST, SERVERS, signer=0), "vote by a stranger"),
        (FORGE.vote(FIRST, SEATED[0], chain_id=bytes(32)), "vote by a stranger"),
        (FORGE.vote(FIRST, SEATED[0], phase="cert"), "vote of another protocol"),
        (FORGE.vote(FIRST, SEATED[0], attempt=ATTEMPTS_AHEAD + 1), "vote for another attempt"),
        (FORGE.vote(FIRST, SEATED[0], step=3), "vote beyond MaxStep"),
        (FORGE.vote(FIRST, LOSERS[0]), "vote without a seat"),
        (FORGE.vote(FIRST, SEATED[0], signer=0), "vote signature"),
        (FORGE.vote(FIRST, SEATED[1], phase="reject"), "second vote"),
    ],
)
def test_a_vote_that_is_none_is_refused(vote: Vote, reason: str) -> None:
    bench = Bench(MEMBER, TOY).ready().hear("candidate", FIRST)
    bench.hear("vote", FORGE.vote(FIRST, SEATED[1]))
    before = bench.state()
    assert bench.server.receive("vote", vote, vote.server) is False
    assert bench.server.refused == {reason: 1}
    assert bench.state() == before


def test_what_comes_again_is_not_counted() -> None:
    bench = Bench(MEMBER, TOY).ready().hear("candidate", FIRST, FIRST)
    bench.hear("vote", *[FORGE.vote(FIRST, SEATED[0])] * 2).hear("ticket", *FORGE.seats())
    assert bench.server.refused == {}


@pytest.mark.parametrize("aggregates", [True, False])
def test_the_aggregator_shares_the_block(aggregates: bool) -> None:
    index = 0 if aggregates else MEMBER
    bench = Bench(index, TOY).ready().hear("candidate", FIRST)
    bench.hear("vote", *(FORGE.vote(FIRST, server) for server in SEATED))
    (block,) = bench.host.blocks
    assert block == FORGE.block(FIRST)
    assert bench.server.chain.height == 1
    assert not bench.server.active
    assert bench.host.all("block") == ([block] if aggregates else [])


def test_a_valid_block_is_adopted_whatever_was_voted() -> None:
    bench = Bench(MEMBER, TOY).ready().hear("candidate", FIRST)
    assert len(bench.host.all("vote")) == 1
    assert bench.server.receive("block", FORGE.block(SECOND), 1)
    assert bench.server.chain.head.cid == SECOND.header.cid


def test_who_asks_gets_what_it_may_lack() -> None:
    bench = Bench(MEMBER, TOY).ready().hear("candidate", FIRST)
    bench.hear("vote", FORGE.vote(FIRST, SEATED[0]))
    bench.host.sent.clear()
    held = (SEATED[0],)
    bench.hear("status", Status(0, 0, 0, (), held), sender=9)
    assert {to for _, _, to in bench.host.sent} == {(9,)}
    assert bench.host.all("ticket") == list(FORGE.seats(SEATED[1:]))
    assert bench.host.all("candidate") == [FIRST]
    assert bench.host.all("vote") == []  # whoever cast one says it again
    assert bench.host.all("update") == FORGE.updates()


def test_without_progress_it_says_again_what_it_said_and_asks() -> None:
    bench = Bench(MEMBER, TOY).ready().hear("candidate", FIRST).wake("announce")
    bench.wake("resend")
    bench.host.sent.clear()
    bench.wake("vote").wake("resend")  # a step that passes is no progress
    assert [kind for kind, _, _ in bench.host.sent] == ["ticket", "status"]
    (_, _, to) = bench.host.sent[-1]
    assert len(set(to or ())) == ASKED_AT_ONCE


def test_a_server_that_is_behind_only_looks_on() -> None:
    bench = Bench(MEMBER, TOY)
    bench.server.enter_height(passive=True)
    before = bench.state()
    bench.host.timers.clear()
    vote = FORGE.vote(FIRST, SEATED[0])
    bench.hear("ticket", *FORGE.seats()).hear("candidate", FIRST).hear("vote", vote)
    assert (bench.state(), bench.host.sent, bench.host.timers) == (before, [], [])
    assert bench.server.receive("block", FORGE.block(FIRST), 0)
    assert bench.server.chain.height == 1


def test_a_behaviour_may_hurry_change_its_candidate_and_let_a_step_pass() -> None:
    class Hasty(Behaviour):
        def waits(self, server: Any, what: str, honest: float) -> float:
            return 0.0

        def proposes(self, server: Any, candidate: Candidate) -> Candidate | None:
            return None if candidate.view[1] else SECOND

    behaviour = Hasty()
    bench = Bench(MEMBER, TOY, behaviour).ready()
    assert bench.timers("announce") == bench.timers("propose") == [(0, (0, 0))]
    bench.wake("propose")
    assert bench.host.all("candidate") == [SECOND]
    bench.wake("vote").wake("propose")
    assert bench.host.all("candidate") == [SECOND]


MESSAGES: list[tuple[str, Any]] = [
    *(("ticket", FORGE.ticket(server)) for server in range(SERVERS)),
    *(("candidate", FORGE.candidate(view=view)) for view in ((0, 0), (0, 1), (2, 0), (0, 3))),
    ("candidate", SECOND),
    ("candidate", FORGE.candidate(FORGE.updates([0]))),
    *(
        ("vote", FORGE.vote(candidate, server, phase))
        for candidate in (FIRST, SECOND)
        for server in (*SEATED, LOSERS[0])
        for phase in ("approve", "reject", "soft")
    ),
    *(("update", update) for update in FORGE.updates()),
    ("block", FORGE.block(FIRST)),
    ("block", FORGE.block(SECOND, SEATED[:2])),
    ("status", Status(0, 5, 1)),
    ("ticket", Malformed(b"", "noise")),
    ("vote", Malformed(b"", "noise")),
]
WAKE = ["announce", "tickets", "updates", "resend", "propose", "vote"]


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.one_of(st.sampled_from(MESSAGES), st.sampled_from(WAKE)), max_size=40),
    st.sampled_from([0, MEMBER, LOSERS[0]]),
)
def test_nothing_that_arrives_in_whatever_order_breaks_a_server(
    events: list[tuple[str, Any] | str], index: int
) -> None:
    bench = Bench(index, TOY)
    for event in events:
        if isinstance(event, str):
            bench.wake(event)
        else:
            refused, before = sum(bench.server.refused.values()), bench.state()
            bench.hear(event[0], event[1])
            if sum(bench.server.refused.values()) > refused:
                assert bench.state() == before
    mine = {vote.encoded: vote for vote in bench.host.all("vote") if vote.server == index}
    assert len({(vote.attempt, vote.step) for vote in mine.values()}) == len(mine)
    assert bench.server.chain.height <= 1


# -- blocks ----------------------------------------------------------------------------------------


def resealed(tickets: tuple[Any, ...]) -> Block:
    """A block whose members are these, all of which approve."""
    candidate = FORGE.candidate(tickets=tickets)
    return FORGE.block(candidate, sorted({ticket.server for ticket in tickets}))


@pytest.mark.parametrize(
    ("block", "reason"),
    [
        (FORGE.block(FIRST, SEATED[:2]), "2 of 3 is not more than two thirds"),
        (FORGE.block(FIRST, sorted([*SEATED, LOSERS[0]])), "voted without a seat"),
        (FORGE.block(FIRST, phase="reject"), "of the reject phase"),
        (FORGE.block(FIRST, view=(0, 1)), "another step than it was proposed in"),
        (resealed(FORGE.seats(FORGE.winners[: SEATS + 1])), "more members than seats"),
        (resealed(FORGE.seats(SEATED[:2])), "2 members cannot approve"),
        (resealed(FORGE.seats([SEATED[0], SEATED[1], SEATED[1]])), "two tickets"),
        (resealed(FORGE.seats([*SEATED[:2], LOSERS[0]])), "wins no seat"),
        (resealed((*FORGE.seats(SEATED[:2]), FORGE.draw(MEMBER, 2)[0])), "for another height"),
        (FORGE.block(FORGE.candidate(tickets=FORGE.seats(), signer=1)), "signature is not valid"),
    ],
)
def test_a_block_that_proves_too_little_is_invalid(block: Block, reason: str) -> None:
    with pytest.raises(InvalidBlock, match=reason):
        chain_from(TOY.genesis).append(block)


def test_a_blocks_link_seeds_what_follows() -> None:
    chain = chain_from(TOY.genesis)
    assert chain.head.draws == ()
    chain.append(FORGE.block(FIRST))
    assert chain.head == Head(1, FIRST.header.cid, FIRST.header.timestamp, FIRST.header.cid[-32:])
    following = PaperForge(TOY, chain.head)
    assert following.winners != FORGE.winners
    block = following.block()
    assert block.header.tickets == tickets_digest(block.tickets)
    chain.append(block)


def test_the_paper_knows_no_weighted_committee() -> None:
    node = TOY.genesis.to_node()
    node["parameters"]["committee"] = "weighted"
    genesis = Genesis.from_node(node)
    with pytest.raises(MalformedRecord, match="paper knows only 'fixed'"):
        protocol_of(genesis).check_genesis(genesis)


# -- honest worlds ---------------------------------------------------------------------------------


def check_chain(toy: Toy, results: list[HeightResult]) -> None:
    """What every server holds, checked afresh."""
    replay = chain_from(toy.genesis)
    for result in results:
        replay.append(result.block)
        assert not result.captured
        exact = toy.application.aggregate(
            [update.payload for update in result.updates],
            [update.record.samples for update in result.updates],
        )
        assert file_cid(exact) == result.block.header.aggregate_cid
    for server in toy.world.servers:
        cids = [block.cid for block in server.chain.blocks]
        assert cids == [result.block.cid for result in results][: len(cids)]
    for one, other in pairwise(results):
        assert one.ended == other.began


@pytest.mark.parametrize(
    ("servers", "size", "crypto"),
    [
        (1, 1, "real"),
        (4, 4, "real"),
        (9, 6, "real"),
        (4, 4, "modelled"),
        (9, 6, "modelled"),
        (30, 20, "modelled"),
    ],
)
def test_honest_servers_decide_height_after_height(servers: int, size: int, crypto: str) -> None:
    toy = Toy(servers=servers, clients=5, committee_size=size, protocol="paper", crypto=crypto)
    results = [toy.play() for _ in range(6)]
    check_chain(toy, results)
    assert {server.chain.height for server in toy.world.servers} == {6}
    assert all(len(result.updates) == 5 for result in results)
    assert sum(result.block.header.view == (0, 0) for result in results) > 3
    for result in results:
        assert set(result.refused) <= {"another candidate was first"}
        assert result.evidence == ()
        assert result.malicious_weight == ((0, size),)


def test_stakes_decide_who_may_sit() -> None:
    """One of ten servers has five sixths of the stake: it may always sit, others now and then."""
    toy = Toy(
        servers=10,
        clients=2,
        committee_size=1,
        stakes=[1] * 9 + [45],
        protocol="paper",
        crypto="modelled",
    )
    seats, expected = 0, 0.0
    for _ in range(30):
        winners = PaperForge(toy, toy.world.head).winners
        assert 9 in winners
        expected += 1 / len(winners)
        seats += toy.play().block.tickets[0].server == 9
    assert 0.8 < expected / 30 < 0.95
    assert 0.7 < seats / 30 < 1.0


def test_the_same_seed_gives_the_same_chain_byte_for_byte() -> None:
    def chain(seed: int) -> list[bytes]:
        toy = Toy(
            servers=9, clients=4, seed=seed, committee_size=6, protocol="paper", crypto="modelled"
        )
        return [toy.play().block.encoded for _ in range(3)]

    assert chain(3) == chain(3)
    assert chain(3) != chain(4)


def test_updates_may_be_few_once_the_deadline_has_passed() -> None:
    toy = Toy(servers=4, clients=3, quota=5, update_us=3_000_000, protocol="paper")
    results = [toy.play() for _ in range(2)]
    check_chain(toy, results)
    assert all(result.ended - result.began > 3.0 for result in results)


@pytest.mark.parametrize(
    "faults",
    [
        [Crash(servers=(2,), from_=1.0, until=6.0, lost_tail=1)],
        [Partition(groups=((0, 1), (2, 3, 4, 5, 6)), from_=0.8, until=6.0)],
        [Loss(rate=0.2, until=6.0)],
    ],
)
def test_servers_that_fell_behind_catch_up(faults: list[Fault]) -> None:
    toy = Toy(
        servers=7,
        clients=4,
        seed=2,
        committee_size=5,
        protocol="paper",
        crypto="modelled",
        faults=Faults(faults, 7, np.random.default_rng(0)),
    )
    results = [toy.play() for _ in range(12)]
    check_chain(toy, results)
    assert toy.world.faults is not None
    assert sum(toy.world.faults.fired.values()) > 0
    assert {server.chain.height for server in toy.world.servers} == {12}
