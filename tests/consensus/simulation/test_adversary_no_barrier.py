"""Servers that an adversary corrupts where each goes on by itself: heights are those of the first
honest one."""

from __future__ import annotations

from collections import Counter
from functools import partial
from typing import Any

import numpy as np
import pytest

from consensus.adversary.behaviour import Behaviour
from consensus.adversary.composed import Composed
from consensus.adversary.corruption import TARGETS, Budget, Known
from consensus.adversary.when import HEIGHTS
from consensus.records.block import Candidate
from consensus.records.ticket import Ticket
from consensus.simulation.observer import Observer
from tests.consensus.simulation.test_adversary import SERVERS, Scene
from tests.helpers.toy import Toy
from tests.helpers.worlds import cut, struck


def turned(scene: Scene, height: int) -> dict[int, float]:
    """The seconds at which servers turned at a height."""
    return {
        server: at
        for what, server, its, at in scene.noting.turned
        if (what, its) == ("corrupted", height)
    }


@pytest.mark.parametrize("every", [0, 3])
def test_members_are_corrupted_as_the_first_honest_server_has_the_block_before(every: int) -> None:
    budget = Budget(2, hold=1)
    scene = Scene("members", budget=budget, committee_size=3, meets_every=every).play(7)
    for height in range(1, 8):
        found = turned(scene, height)
        assert len(found) == 2
        assert set(found) <= scene.members(height)
        assert set(found.values()) == {scene.results[height - 1].began}
    assert [result.malicious_weight[0] for result in scene.results] == [(2, 3)] * 7
    assert {server.chain.height for server in scene.toy.world.servers} == {6, 7}


@pytest.mark.parametrize("strategy", ["members", "proposer"])
def test_what_slower_servers_say_tells_nothing_of_the_height_that_the_first_is_at(
    strategy: str,
) -> None:
    """Under the paper's protocol, whose members announce themselves."""
    toy = Toy(protocol="paper", crypto="modelled", servers=4)
    candidates: list[Candidate] = []
    tickets: list[Ticket] = []

    class Looking(Observer):
        def sent(self, server: int, kind: str, body: Any, at: float) -> None:
            if kind == "candidate" and body.proposer == server:
                candidates.append(body)
            if kind == "ticket" and body.server == server:
                tickets.append(body)

    for host in toy.world.hosts:
        host._observer = Looking()
    toy.play()
    world = toy.world
    heads = world.servers[0].chain.heads
    for head, news in ((heads[0], True), (heads[1], False)):
        known = Known(
            world.genesis,
            world.protocol,
            head,
            partial(world.checks.sortition, world.genesis, head),
        )
        target = TARGETS[strategy](known, np.random.default_rng(0))
        if strategy == "members":
            found = [target.on_message(each.server, "ticket", each) for each in tickets]
            expected = [(each.server,) for each in tickets]
        else:
            found = [target.on_message(each.proposer, "candidate", each) for each in candidates]
            expected = [(each.proposer,) for each in candidates]
        assert expected
        assert [tuple(each) for each in found] == (expected if news else [()] * len(expected))


def test_a_server_that_turns_misbehaves_at_once_wherever_it_stands() -> None:
    """Most turn before they have the block that begins the height; all malicious ones are one
    circle."""
    malicious: dict[int, Behaviour] = {6: Composed(["late_votes"])}
    scene = Scene("random", ("censor",), malicious, Budget(1, hold=1), meets_every=0)
    world, corrupted, looked = scene.toy.world, scene.noting.corrupted, []

    def look(server: int) -> None:
        circle = scene.malicious[server].circle  # type: ignore[attr-defined]
        looked.append((world.network._relays[server], set(circle.servers) == circle.members))

    def note(server: int, height: int, at: float) -> None:
        corrupted(server, height, at)
        world.at(at + 1e-6, lambda: look(server))

    scene.noting.corrupted = note  # type: ignore[method-assign]
    scene.play(6)
    assert len(looked) == 6
    assert set(looked) == {(False, True)}


def test_heights_are_counted_by_the_first_server() -> None:
    """A server that is far behind is released when the others have played so many heights."""
    faults = struck(SERVERS, cut(0, until=1000.0))
    budget = Budget(1, in_all=1, delay=2, unit=HEIGHTS, hold=3)
    scene = Scene("stake", ("late_votes",), budget=budget, faults=faults, meets_every=0, quota=4)
    scene.play(8)
    began = [result.began for result in scene.results]
    assert scene.noting.turned == [("corrupted", 0, 3, began[2]), ("released", 0, 6, began[5])]
    assert scene.toy.world.servers[0].chain.height < 3
    assert scene.toy.world.servers[0].behaviour is None


def test_what_a_server_says_that_turns_as_a_height_begins_is_counted() -> None:
    scene = Scene("random", ("spam",), budget=Budget(2, hold=1), meets_every=0).play(6)
    total = sum((result.gossip_bytes for result in scene.results), Counter())
    assert total == +scene.toy.world.network.bytes
    assert sum(result.gossip_messages for result in scene.results) == scene.toy.world.messages


def test_clients_may_go_to_a_server_that_has_turned() -> None:
    """It is no crash, after which they would look for another one."""
    budget = Budget(1, delay=0.3, hold=1)
    scene = Scene("random", ("late_votes",), budget=budget, meets_every=0)
    for _ in range(6):
        scene.play(1)
        starts = scene.toy.world._pace._starts  # type: ignore[attr-defined]
        assert set(starts._ready) == set(range(SERVERS))
    seconds = [at for _, _, _, at in scene.noting.turned]
    assert not set(seconds) <= {result.began for result in scene.results}, "all turned at once"


def test_a_circle_has_its_members_alone_where_servers_never_meet() -> None:
    scene = Scene("random", ("hide_quorum",), budget=Budget(2, hold=2), meets_every=0)
    met = 0
    for _ in range(8):
        scene.play(1)
        circle = next(iter(scene.malicious.values())).circle  # type: ignore[attr-defined]
        assert set(circle.servers) <= set(scene.malicious) == circle.members
        met += set(circle.servers) == circle.members
    assert met > 4
