"""Draws that malicious servers show to some alone: an honest leader asks for what it lacks."""

from __future__ import annotations

from dataclasses import replace

import pytest

from consensus.adversary.behaviour import Circle
from consensus.adversary.composed import Composed
from consensus.ledger.committee import ATTEMPTS_FORESEEN, all_announce
from consensus.protocols.bft import tickets
from tests.helpers import bft_rig as rig
from tests.helpers.bft_rig import FORGE, LEADER, MEMBERS, Bench
from tests.helpers.toy import Toy

SERVERS, SEATS, BAD = 30, 20, 29
OTHER = next(server for server in MEMBERS if server != LEADER)
ALL_BUT_ONE = [server for server in range(rig.SERVERS) if server not in (LEADER, OTHER)]


def leader() -> Bench:
    """A leader that lacks one draw, and could propose but for that."""
    return Bench(LEADER).tickets(ALL_BUT_ONE).updates().wake("tickets")


@pytest.mark.parametrize("protocol", ["bft", "tendermint", "hotstuff"])
def test_one_server_that_splits_its_draw_costs_no_view(protocol: str) -> None:
    """The server leads none of these heights, and half of all members have its draw early."""
    ledger = {"protocol": protocol, "crypto": "modelled", "committee_size": SEATS}
    one = Composed(["split_tickets"], circle=Circle(frozenset({BAD})))
    toy = Toy(SERVERS, 3, 3, {BAD: one}, **ledger)  # type: ignore[arg-type]
    blocks = [toy.play(300.0).block for _ in range(4)]
    assert one.acted["split_tickets"] >= len(blocks)
    assert BAD not in [block.header.aggregator for block in blocks]
    assert [block.certificate.view for block in blocks] == [(0, 0)] * len(blocks)
    assert [len(block.tickets) for block in blocks] == [SERVERS] * len(blocks)


def test_a_leader_that_lacks_a_draw_asks_the_members_and_waits_for_answers() -> None:
    bench = leader()
    assert bench.said("candidate") == []
    [asked] = bench.said("status")
    assert asked.tickets == tuple(sorted([LEADER, *ALL_BUT_ONE]))
    assert bench.fired("asked") == [(bench.server.parameters.ticket_us // 4, (0, 0))]
    bench.tickets([OTHER])
    [candidate] = bench.said("candidate")
    assert len(candidate.tickets) == rig.SERVERS
    bench.wake("asked")
    assert len(bench.said("candidate")) == 1


def test_a_leader_proposes_without_a_draw_that_nobody_shows_it() -> None:
    bench = leader().wake("asked")
    [candidate] = bench.said("candidate")
    assert OTHER not in [ticket.server for ticket in candidate.tickets]
    assert len(bench.said("status")) == 1


@pytest.mark.parametrize("protocol", ["bft", "tendermint", "hotstuff"])
def test_a_server_that_is_down_costs_no_view_where_views_are_short(protocol: str) -> None:
    """The others ask for its draw at every height, a quarter of whose time is longer than a view;
    it leads none of these."""
    times = {"ticket_us": 8_000_000, "vote_us": 1_000_000, "settle_us": 100_000}
    down = Composed(["silent"], circle=Circle(frozenset({8})))
    ledger = {"protocol": protocol, "crypto": "modelled", "committee_size": 6, **times}
    toy = Toy(9, 3, 3, {8: down}, **ledger)  # type: ignore[arg-type]
    blocks = [toy.play(300.0).block for _ in range(4)]
    assert [len(block.tickets) for block in blocks] == [8] * len(blocks)
    assert [block.certificate.view for block in blocks] == [(0, 0)] * len(blocks)


def test_an_answer_to_an_earlier_view_is_none() -> None:
    assert leader().wake("asked", (0, 1)).said("candidate") == []


def test_a_leader_with_all_draws_asks_nobody() -> None:
    bench = Bench(LEADER).ready()
    assert bench.said("status") == []
    assert len(bench.said("candidate")) == 1


def test_nobody_is_asked_where_only_the_best_draws_are_announced(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tickets, "all_announce", lambda genesis: False)
    assert len(leader().said("candidate")) == 1


def test_nobody_lacks_the_draw_of_a_server_without_stake() -> None:
    bench = leader()
    assert bench.part.tickets.may_lack_some()
    stakes = tuple(int(server != OTHER) for server in range(rig.SERVERS))
    bench.server.genesis = FORGE.toy.genesis.with_stakes(stakes)
    assert not bench.part.tickets.may_lack_some()


def test_all_announce_where_about_as_many_are_expected() -> None:
    genesis = FORGE.toy.genesis
    plausible = ATTEMPTS_FORESEEN * (2 * genesis.parameters.committee_size + 20)
    for count, expected in ((plausible, True), (plausible + 1, False)):
        servers = tuple(genesis.servers[0] for _ in range(count))
        assert all_announce(replace(genesis, servers=servers)) == expected


def test_an_asked_member_sends_draws_before_the_votes_of_views_gone_by() -> None:
    """An answer may be no longer than its allowance."""
    bench = Bench().ready().hear("candidate", FORGE.candidate())
    status = replace(leader().said("status")[0], attempt=0, step=0)
    kinds = [kind for kind, _ in bench.part.help(status)]
    assert "ticket" in kinds
    assert "vote" in kinds
    assert kinds.index("ticket") < kinds.index("vote")
