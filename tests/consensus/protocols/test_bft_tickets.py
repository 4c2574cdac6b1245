"""The tickets of one server under `bft`: drawn, passed on, sent again."""

from __future__ import annotations

import pytest

from consensus.protocols.bft import tickets
from tests.helpers.bft_rig import (
    BYSTANDER,
    FORGE,
    LEADER,
    MEMBER,
    MEMBERS,
    ORDER,
    Bench,
)
from tests.helpers.forge import Forge
from tests.helpers.toy import Toy

# -- a height begins -------------------------------------------------------------------------------


def test_a_height_begins_with_a_ticket_and_its_deadlines() -> None:
    bench = Bench(BYSTANDER)
    assert bench.said("ticket") == [FORGE.ticket(BYSTANDER)]
    [to] = bench.host.whom("ticket")
    recorders = {*MEMBERS, *ORDER, *FORGE.members(1), *FORGE.order(1)} - {BYSTANDER}
    assert to is not None
    assert set(to) == recorders, "those who may record it in this attempt or the next"
    assert len(to) == len(recorders)
    assert [(after, timer[0]) for after, timer in bench.host.timers] == [
        (20_000_000, "updates"),
        (2_000_000, "resend"),
        (500_000, "tickets"),
    ]
    assert bench.host.charged == [("vrf_prove", 0, 1)]


def test_a_draw_that_can_win_nothing_stays_at_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tickets, "is_worth_announcing", lambda *_: False)
    bench = Bench(LEADER).tickets().updates().wake("tickets")
    assert bench.said("ticket") == []
    [candidate] = bench.said("candidate")
    assert LEADER not in [ticket.server for ticket in candidate.tickets]


def test_a_ticket_is_taken_once_and_passed_on() -> None:
    bench = Bench()
    ticket = FORGE.ticket(LEADER)
    assert bench.server.receive("ticket", ticket, LEADER)
    assert not bench.server.receive("ticket", ticket, LEADER)
    assert bench.part.tickets_held() == tuple(sorted([MEMBER, LEADER]))
    assert bench.server.refused == {}


def test_a_new_attempt_is_told_ones_ticket() -> None:
    """Those who record it there may be others than before."""
    toy = Toy(servers=16, clients=1, committee_size=4, crypto="modelled")
    forge = Forge(toy)
    bench = Bench(0, toy)
    told = set(bench.host.whom("ticket")[0] or ())
    for step in range(3):
        bench.hear("closure", forge.closing((0, step)))
    to = bench.host.whom("ticket")[-1]
    assert to is not None
    recorders = {*forge.members(1), *forge.order(1), *forge.members(2), *forge.order(2)} - {0}
    assert set(to) == recorders - told, "whoever has it is not told again"
