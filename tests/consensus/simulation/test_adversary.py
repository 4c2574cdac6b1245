"""Servers that an adversary corrupts once it has seen something: whom, when, and within its
budget."""

from __future__ import annotations

import json
from math import inf
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consensus.adversary.behaviour import Behaviour, Circle
from consensus.adversary.composed import Composed
from consensus.adversary.corruption import TARGETS, Budget
from consensus.adversary.when import HEIGHTS, SECONDS
from consensus.records.block import Block
from consensus.records.votes import Vote
from consensus.registry import import_parts
from consensus.simulation.adversary import Adversary, Corruption
from consensus.simulation.checkpoint import Standing
from consensus.simulation.observer import Observer
from consensus.simulation.recorder import Recorder
from consensus.simulation.results import HeightResult
from tests.helpers.incentives import RULE, STAKE
from tests.helpers.toy import Toy
from tests.helpers.worlds import check_invariants, crash, struck

import_parts("consensus.adversary.targets")

SERVERS = 7
Turned = tuple[str, int, int, float]


class Noting(Observer):
    """An observer that notes who is turned, and what is proposed."""

    def __init__(self) -> None:
        self.turned: list[Turned] = []
        """(what, server, height, simulated second)."""
        self.proposed: list[tuple[int, int, float]] = []
        """(height, proposer, simulated second)."""
        self.voted: dict[tuple[int, int], float] = {}
        """The simulated second of a server's first vote, by (height, server)."""

    def corrupted(self, server: int, height: int, at: float) -> None:
        self.turned.append(("corrupted", server, height, at))

    def released(self, server: int, height: int, at: float) -> None:
        self.turned.append(("released", server, height, at))

    def sent(self, server: int, kind: str, body: Any, at: float) -> None:
        if kind == "candidate" and body.proposer == server:
            self.proposed.append((body.header.height, server, at))
        if kind == "vote" and body.server == server:
            self.voted.setdefault((body.height, server), at)


class Scene:
    """A small world with an adversary that corrupts its servers."""

    def __init__(
        self,
        strategy: str,
        behaviours: tuple[str, ...] = ("spam",),
        malicious: dict[int, Behaviour] | None = None,
        budget: Budget | None = None,
        observer: Observer | None = None,
        **more: Any,
    ) -> None:
        self.malicious = {} if malicious is None else malicious
        self.noting = Noting()
        circle = Circle(frozenset(self.malicious), (0,) * SERVERS)
        for behaviour in self.malicious.values():
            assert isinstance(behaviour, Composed)
            behaviour.join(circle)
        target = TARGETS[strategy]
        self.corruption = Corruption(target, behaviours, budget or Budget(), circle)
        self.adversary = Adversary(
            observer or self.noting,
            self.corruption,
            lambda height: np.random.default_rng([5, height]),
        )
        more = {"crypto": "modelled", "servers": SERVERS, **more}
        self.toy = Toy(malicious=self.malicious, observer=self.adversary, compiled=False, **more)
        self.results: list[HeightResult] = []

    def play(self, heights: int) -> Scene:
        """So many heights, with the acts of the adversary in each one's result."""
        for _ in range(heights):
            result = self.toy.play()
            result.adversary = self.adversary.account()
            self.results.append(result)
        return self

    @property
    def blocks(self) -> list[Block]:
        return [result.block for result in self.results]

    def members(self, height: int, attempt: int = 0) -> set[int]:
        """The committee of an attempt at a height that has been played."""
        world = self.toy.world
        head = world.servers[0].chain.heads[height - 1]
        return {*world.checks.sortition(world.genesis, head, attempt).committee.weights}


# -- whom -----------------------------------------------------------------------------------------


def test_members_are_corrupted_as_soon_as_the_committee_is_known() -> None:
    scene = Scene("members", budget=Budget(at_once=2, hold=1), committee_size=3).play(6)
    for height in range(1, 7):
        turned = {
            s for what, s, at, _ in scene.noting.turned if (what, at) == ("corrupted", height)
        }
        assert len(turned) == 2
        assert turned <= scene.members(height)
    assert [result.malicious_weight[0] for result in scene.results] == [(2, 3)] * 6


def test_a_delay_lets_the_committee_get_away() -> None:
    """Who turns a height later has no more seats than by chance."""
    late = Scene("members", budget=Budget(2, delay=1, unit=HEIGHTS, hold=1), committee_size=3).play(
        8
    )
    seats = [bad for result in late.results for bad, _ in result.malicious_weight]
    assert {at - 1 for what, _, at, _ in late.noting.turned if what == "corrupted"}
    assert sum(seats) < 2 * len(seats)


def test_the_proposer_is_corrupted_before_it_proposes_and_says_nothing() -> None:
    scene = Scene("proposer", ("silent",), budget=Budget(at_once=1, hold=1)).play(4)
    first = [height for what, _, height, _ in scene.noting.turned if what == "corrupted"]
    assert first == [1, 2, 3, 4]
    turned = {(h, s) for what, s, h, _ in scene.noting.turned if what == "corrupted"}
    proposers = {(block.height, block.header.aggregator) for block in scene.blocks}
    assert not turned & proposers
    assert all(block.certificate.view != (0, 0) for block in scene.blocks)


def test_voters_are_corrupted_once_their_votes_are_seen() -> None:
    scene = Scene("voters", budget=Budget(at_once=1, hold=1), committee_size=3).play(4)
    turned = [(height, server) for what, server, height, _ in scene.noting.turned]
    assert {height for height, _ in turned} >= {1, 2, 3, 4}
    for what, server, height, at in scene.noting.turned:
        if what == "corrupted":
            assert scene.noting.voted[height, server] <= at
            assert server in scene.members(height)


def test_proposers_are_corrupted_one_after_the_other_as_views_pass() -> None:
    scene = Scene("proposer", ("silent",), budget=Budget(at_once=2, hold=1)).play(2)
    for height in (1, 2):
        turned = [
            (s, at) for what, s, h, at in scene.noting.turned if (what, h) == ("corrupted", height)
        ]
        assert len(turned) == 2
        assert turned[0][1] == scene.results[height - 1].began
        assert turned[1][1] > turned[0][1], "the second is known once the first gave up its turn"


def test_without_turns_whoever_proposes_is_corrupted() -> None:
    scene = Scene(
        "proposer", ("spam",), budget=Budget(at_once=2, delay=0.05, hold=1), protocol="paper"
    ).play(3)
    for what, server, height, at in scene.noting.turned:
        if what == "corrupted":
            assert any(
                (h, s) == (height, server) and at >= said + 0.05
                for h, s, said in scene.noting.proposed
            )
    assert scene.noting.turned


def test_without_draws_that_are_known_members_are_corrupted_as_they_announce_themselves() -> None:
    scene = Scene(
        "members", ("late_votes",), budget=Budget(at_once=2, hold=1), protocol="paper"
    ).play(3)
    turned = [each for each in scene.noting.turned if each[0] == "corrupted"]
    assert len(turned) == 6
    began = {height + 1: result.began for height, result in enumerate(scene.results)}
    assert all(at > began[height] for _, _, height, at in turned)


def test_the_most_stake_is_corrupted_first() -> None:
    scene = Scene("stake", budget=Budget(at_once=3), stakes=[3, 9, 1, 9, 4, 2, 8]).play(1)
    assert [server for _, server, _, _ in scene.noting.turned] == [1, 3, 6]
    assert scene.results[0].adversary is not None
    assert scene.results[0].adversary.stake == pytest.approx(26 / 36)


def test_stake_that_moves_counts_as_it_is() -> None:
    """Whom it corrupts under incentives, and what share of the stake that tells."""
    budget = Budget(at_once=1, hold=1)
    more = {"stakes": [STAKE] * SERVERS, "incentives": RULE}
    scene = Scene("stake", ("spam",), budget=budget, **more).play(12)
    world = scene.toy.world
    heads = max((server.chain.heads for server in world.servers), key=len)
    found = []
    for _, server, height, _ in (each for each in scene.noting.turned if each[0] == "corrupted"):
        held, after = (heads[at].held(world.genesis) for at in (height - 1, height))
        assert held[server] == max(held)
        account = scene.results[height - 1].adversary
        assert account is not None
        assert account.stake == after[server] / sum(after)
        found.append(server)
    assert len(found) == 12
    assert len(set(found)) > 1, "stake did not move enough"


def test_whom_a_lot_takes_changes_with_the_height() -> None:
    scene = Scene("random", budget=Budget(at_once=1, hold=1)).play(8)
    assert len({server for what, server, _, _ in scene.noting.turned}) > 3


# -- how many, and for how long -------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(
    strategy=st.sampled_from(sorted(TARGETS)),
    at_once=st.integers(1, 2),
    in_all=st.one_of(st.just(inf), st.integers(1, 6)),
    delay=st.sampled_from([0.0, 0.3, 1.0, 5.0]),
    hold=st.sampled_from([1, 2, inf]),
    unit=st.sampled_from([SECONDS, HEIGHTS]),
    protocol=st.sampled_from(["bft", "tendermint"]),
    own=st.sampled_from([(), (0,)]),
    every=st.sampled_from([1, 1, 0, 3]),
)
def test_the_budget_is_kept(
    strategy: str,
    at_once: int,
    in_all: float,
    delay: float,
    hold: float,
    unit: str,
    protocol: str,
    own: tuple[int, ...],
    every: int,
) -> None:
    """At no time more than ``at_once``, nor more than ``in_all`` in all; nobody who is malicious
    anyway; nobody longer than it is held; and the world's rules hold."""
    delay = float(round(delay)) if unit == HEIGHTS else delay
    budget = Budget(at_once, in_all, delay, unit, hold)
    malicious: dict[int, Behaviour] = {server: Composed(["stale"]) for server in own}
    more = {"protocol": protocol, "clients": 2, "meets_every": every}
    scene = Scene(strategy, ("late_votes",), malicious, budget, **more).play(5)
    now: dict[int, int] = {}
    for what, server, height, at in scene.noting.turned:
        assert server not in own
        if what == "released":
            assert height == now.pop(server) + hold
            continue
        assert server not in now
        now[server] = height
        assert len(now) <= at_once
        began = scene.results[height - 1].began
        assert (
            at == began if delay == 0 and unit == HEIGHTS and strategy == "stake" else at >= began
        )
        if unit == HEIGHTS:
            assert height > delay
        else:
            assert at >= scene.results[0].began + delay
    turned = [each for each in scene.noting.turned if each[0] == "corrupted"]
    assert len(turned) <= in_all
    assert scene.malicious.keys() == {*own, *now}
    for server in scene.toy.world.servers:
        assert (server.behaviour is not None) == (server.index in scene.malicious)
    accounts = [result.adversary for result in scene.results if result.adversary is not None]
    assert sum(account.turned for account in accounts) == len(turned)
    assert accounts[-1].corrupted == len(now)
    check_honest(scene, apart=int(every != 1))


def check_honest(scene: Scene, apart: int) -> None:
    """The invariants of worlds, but that a server accused may be honest by now."""
    for result in scene.results:
        result.evidence = ()
    check_invariants(scene.toy, scene.results, apart)


def test_those_who_are_chosen_are_spent_of_the_budget() -> None:
    scene = Scene("stake", budget=Budget(at_once=3, in_all=2, delay=0.3)).play(3)
    assert [server for _, server, _, _ in scene.noting.turned] == [0, 1]


def test_a_server_that_was_released_votes_and_is_waited_for() -> None:
    scene = Scene("members", ("silent",), budget=Budget(at_once=1, in_all=1, hold=2)).play(5)
    (_, server, _, _), (what, again, height, _) = scene.noting.turned
    assert (what, again, height) == ("released", server, 3)
    voters = [{voter for voter, _ in block.certificate.signatures} for block in scene.blocks]
    assert server not in voters[0] | voters[1]
    assert any(server in each for each in voters[2:])
    assert all(server in result.appended for result in scene.results[3:])
    assert scene.toy.world.network._relays[server]


def test_corrupted_servers_are_one_circle_with_those_that_were_malicious() -> None:
    malicious: dict[int, Behaviour] = {0: Composed(["stale"])}
    scene = Scene("stake", ("hide_quorum",), malicious, Budget(at_once=2)).play(2)
    assert set(scene.malicious) == {0, 1, 2}
    for behaviour in scene.malicious.values():
        assert behaviour.colluders == {0, 1, 2}
        assert set(behaviour.circle.servers) == {0, 1, 2}
    assert len({id(behaviour.circle) for behaviour in scene.malicious.values()}) == 1


def test_messages_of_its_own_servers_tell_the_adversary_nothing() -> None:
    """A corrupted server's invented views make it corrupt nobody."""
    scene = Scene("proposer", ("lie_status", "spam"), budget=Budget(at_once=5)).play(1)
    height = scene.toy.world.head.height + 1
    scene.corruption.begin(scene.toy.world, np.random.default_rng(0), scene.noting)
    before = scene.corruption.standing()
    own = next(iter(scene.malicious))
    far = Vote(bytes(32), height, 0, 2, "soft", bytes(36), own, bytes(64))
    scene.corruption.see(own, "vote", far, scene.toy.world.env.now)
    assert scene.corruption.standing() == before
    honest = next(s for s in range(SERVERS) if s not in scene.malicious)
    scene.corruption.see(honest, "vote", far, scene.toy.world.env.now)
    assert scene.corruption.standing() != before


def test_servers_that_crash_may_be_corrupted() -> None:
    faults = struck(SERVERS, crash(1, 2, from_=1.0, until=4.0))
    scene = Scene("stake", ("withhold",), budget=Budget(3, delay=2.0, hold=2), faults=faults).play(
        6
    )
    assert scene.toy.world.head.height == 6
    assert len(scene.noting.turned) > 3


# -- what is kept ---------------------------------------------------------------------------------


def test_the_same_seed_corrupts_the_same_servers() -> None:
    one, other = (
        Scene("members", budget=Budget(2, delay=0.2, hold=2), committee_size=4).play(4)
        for _ in range(2)
    )
    assert one.noting.turned == other.noting.turned
    assert one.toy.world.head == other.toy.world.head


def test_the_state_between_heights_can_be_written_and_read() -> None:
    scene = Scene("members", budget=Budget(3, delay=0.5, hold=3)).play(4)
    standing = scene.adversary.standing(scene.toy.world.standing())
    assert standing.corrupted is not None
    assert standing.corrupted.turned
    again = Standing.from_node(json.loads(json.dumps(standing.to_node())))
    assert again == standing
    with pytest.raises(ValueError, match="there are 2 servers"):
        again.check(2, 4)
    for broken in (
        {"since": [[1, -1]]},
        {"chosen": [[0, "soon"]]},
        {"chosen": [[0, 10**400]]},
        {"turned": None},
    ):
        node = standing.to_node()
        node["corrupted"].update(broken)
        with pytest.raises((ValueError, TypeError)):
            Standing.from_node(node)


def test_a_world_without_adversary_stands_as_before() -> None:
    assert (
        "corrupted" not in Toy(servers=4, clients=2, crypto="modelled").world.standing().to_node()
    )


def test_the_timeline_tells_who_was_corrupted_when() -> None:
    malicious: dict[int, Behaviour] = {}
    recorder = Recorder(SERVERS, malicious)
    scene = Scene("stake", ("spam",), malicious, Budget(2, hold=1), recorder)
    told = []
    for _ in range(2):
        result = scene.toy.play()
        line = recorder.decided(result)
        told.append(
            [(e.kind, e.server) for e in line.events if e.kind in ("corrupted", "released")]
        )
    assert told[0] == [("corrupted", 0), ("corrupted", 1)]
    assert told[1] == [("released", 0), ("released", 1), ("corrupted", 0), ("corrupted", 1)]


def test_an_unknown_strategy_is_told_with_those_known() -> None:
    with pytest.raises(ValueError, match="'leader' is not one of stake, random, members, proposer"):
        TARGETS.named("leader")
