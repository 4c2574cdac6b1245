"""One server under `paper`, without clock or network."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consensus.adversary.behaviour import Behaviour
from consensus.encoding.unixfs import file_cid
from consensus.protocols.paper.server import ATTEMPTS_AHEAD
from consensus.records.block import Candidate, Turn
from consensus.records.sync import Status
from consensus.records.votes import Vote
from consensus.server.catching_up import ASKED_AT_ONCE
from consensus.server.message import Malformed
from tests.helpers.paper_rig import Bench
from tests.helpers.paper_scene import (
    CLIENTS,
    FIRST,
    FORGE,
    LOSERS,
    MEMBER,
    SEATED,
    SEATS,
    SECOND,
    SERVERS,
    TOY,
)
from tests.helpers.toy import Toy


def test_the_bench_has_who_it_needs() -> None:
    assert len(FORGE.winners) > SEATS
    assert len(LOSERS) > 1
    assert SEATED[0] != 0  # the aggregator of the tests' candidates is no member
    assert 0 not in SEATED


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


def test_a_server_that_is_behind_says_nothing() -> None:
    bench = Bench(MEMBER, TOY)
    bench.server.enter_height(catching_up=True)
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
