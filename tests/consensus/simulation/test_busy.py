"""Work takes its time: a busy server reacts later, also after the height in which it was busy."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from tests.helpers.toy import COSTS, Toy


def toy_of(**more: Any) -> Toy:
    return Toy(servers=5, clients=4, crypto="modelled", **more)


def test_a_busy_servers_clock_and_timers_are_those_of_when_it_is_done() -> None:
    world = toy_of().world
    host = world.hosts[2]
    assert host.now_us() == 0
    host.charge("verify", times=50_000)
    assert host.now_us() == 5_000_000
    host.timer(250_000, ("resend", 1, 0, 0))
    assert max(entry[0] for entry in world.env.queue) == 5.25
    world.env.run(until=6.0)
    assert host.now_us() == 6_000_000, "and later those of now"


def test_a_leader_proposes_when_it_has_checked_the_updates(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last of four comes after 0.13 s; each takes 0.5 s to check, one after the other."""
    quick = toy_of().play()
    assert quick.block.header.timestamp < 600_000, "tickets are collected for 0.5 s"
    monkeypatch.setitem(COSTS.seconds, "check_update", 0.5)
    slow = [toy_of(compiled=compiled).play() for compiled in (True, False)]
    assert slow[0].block.encoded == slow[1].block.encoded
    assert slow[0].block.header.timestamp >= 2_100_000
    assert slow[0].ended == slow[1].ended > quick.ended + 1.5


def test_when_a_ticket_came_is_when_it_was_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    """On both networks, also where nobody hears of it: later candidates are judged by that."""
    monkeypatch.setitem(COSTS.seconds, "vrf_verify", 0.02)
    since = []
    for compiled in (True, False):
        toy = toy_of(compiled=compiled)
        toy.play()
        for server in toy.world.servers:
            toy.world.network.heard(server.index)
            held = server.participant.tickets.held
            since.append([at for _, at in held.values()])
            others = sorted(at for index, (_, at) in held.items() if index != server.index)
            assert len(others) == 4
            gaps = [late - early for early, late in pairwise(others)]
            assert min(gaps) >= 20_000, "one after the other"
    assert since[:5] == since[5:]


def test_work_is_not_forgotten_when_a_height_begins() -> None:
    toy = toy_of()
    toy.play()
    ended = toy.world.env.now
    toy.world.hosts[3].charge("verify", times=70_000)
    result = toy.play()
    assert result.began == ended
    assert result.appended[3] > ended + 7.0
    assert min(result.appended.values()) > ended + 7.0, "all wait for the update handed in there"
    untouched = toy_of()
    untouched.play()
    assert untouched.play().ended < ended + 3.0
