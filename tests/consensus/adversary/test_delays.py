"""Delays that an adversary chooses: within the bound, by its strategy, and only between honest
servers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consensus.adversary.composed import Composed
from consensus.adversary.delays import DELAYS, Held, Schedule
from consensus.network.held import HeldNetwork
from consensus.registry import import_parts
from consensus.simulation.adversary import Adversary
from consensus.simulation.observer import Observer
from tests.helpers.toy import Toy

import_parts("consensus.adversary.delaying")

BOUND = 0.3
Heard = dict[tuple[int, int, str], list[tuple[float, float]]]
"""By origin, receiver and kind: when each message was said, and when it was received."""


def schedule(name: str, malicious: Any = frozenset({5}), seed: int = 0) -> Schedule:
    found = Schedule(DELAYS[name], 6, malicious, BOUND)
    found.begin(np.random.default_rng(seed))
    return found


@pytest.mark.parametrize("name", DELAYS)
@given(seed=st.integers(0, 1000), work=st.lists(st.floats(0.0, 0.6), min_size=20, max_size=40))
def test_nothing_is_held_beyond_the_bound(name: str, seed: int, work: list[float]) -> None:
    found = schedule(name, seed=seed)
    held = Held()
    for count, busy in enumerate(work):
        origin, to = count % 6, (count + 1 + count // 6) % 6
        kind = ("vote", "candidate", "lock")[count % 3]
        at = found.received(10.0, 10.0 + busy, origin, to, kind, None)
        assert at >= 10.0 + busy
        if 5 in (origin, to):
            assert at == 10.0 + busy
            continue
        assert at <= 10.0 + max(busy, BOUND)
        held.greatest = max(held.greatest, at - 10.0)
        held.messages += at > 10.0 + busy
        held.seconds += at - (10.0 + busy)
    assert (found.held.greatest, found.held.messages) == (held.greatest, held.messages)
    assert found.held.seconds == pytest.approx(held.seconds)


def test_halves_are_two_and_drawn_anew() -> None:
    found = schedule("halves")
    late = {
        (origin, to): found.received(0.0, 0.0, origin, to, "vote", None) == BOUND
        for origin in range(5)
        for to in range(5)
    }
    for one in range(5):
        for other in range(5):
            for third in range(5):
                if late[one, other] and late[other, third]:
                    assert not late[one, third], "there are two sides"
    sides = set()
    for seed in range(20):
        again = schedule("halves", seed=seed)
        sides.add(tuple(again.received(0.0, 0.0, 0, to, "vote", None) for to in range(5)))
    assert len(sides) > 5


def test_an_unknown_strategy_is_told_with_those_known() -> None:
    with pytest.raises(ValueError, match="'slow' is not one of last_moment, shuffle, "):
        DELAYS.named("slow")


# -- on a network ----------------------------------------------------------------------------------


class Listening(Observer):
    """An observer that notes nothing; the network is listened to."""


def heard_on(name: str | None, malicious: dict[int, Any], **more: Any) -> tuple[Toy, Heard]:
    """A world, and what its servers received at three heights of it."""
    held = None if name is None else Schedule(DELAYS[name], 7, malicious, BOUND)
    adversary = Adversary(
        Listening(),
        schedule=held,
        delay_stream=lambda height: np.random.default_rng([3, height]),
    )
    toy = Toy(malicious=malicious, schedule=held, observer=adversary, compiled=False, **more)
    received: Heard = {}
    network = toy.world.network
    plain = network._receive

    def receive(server: int, message: Any, origin: int) -> float | None:
        times = received.setdefault((origin, server, message.kind), [])
        times.append((message.held_from, network.env.now))
        return plain(server, message, origin)

    network._receive = receive
    for _ in range(3):
        toy.play()
    return toy, received


@pytest.mark.parametrize("name", DELAYS)
def test_honest_messages_come_within_the_bound_wherever_they_pass(name: str) -> None:
    """No hop of gossip adds to what was held before: links take some 40 ms here, and D is 300."""
    toy, received = heard_on(name, {6: Composed(["spam"])}, crypto="modelled")
    assert isinstance(toy.world.network, HeldNetwork)
    honest = [
        at - said
        for (origin, to, _), times in received.items()
        for said, at in times
        if 6 not in (origin, to)
    ]
    assert len(honest) > 300
    assert max(honest) <= BOUND + 1e-9
    own = [
        at - said
        for (origin, to, _), times in received.items()
        for said, at in times
        if 6 in (origin, to)
    ]
    assert own
    if name == "last_moment":
        assert np.median(honest) == pytest.approx(BOUND)
        assert np.median(own) < BOUND / 2


def test_what_is_passed_on_again_is_not_held_again() -> None:
    """Servers that have a message already pass on what they know instead, for those behind them."""
    malicious = {index: Composed(["preempt"]) for index in (1, 3, 5)}
    toy, received = heard_on("last_moment", malicious, crypto="modelled")
    assert any(said < 0 for times in received.values() for said, _ in times)
    network = toy.world.network
    assert isinstance(network, HeldNetwork)
    assert isinstance(network._holding, Schedule)
    assert network._holding.held.greatest == pytest.approx(BOUND)


def test_what_is_sent_is_the_same_but_for_the_time() -> None:
    plain, _ = heard_on(None, {}, crypto="modelled")
    late, _ = heard_on("last_moment", {}, crypto="modelled")
    assert late.world.head.height == plain.world.head.height == 3
    assert late.world.env.now > plain.world.env.now + 2 * BOUND
    for kind in ("update", "candidate", "vote"):
        sent, usual = late.world.network.bytes[kind], plain.world.network.bytes[kind]
        assert sent == pytest.approx(usual, rel=0.25), kind


@pytest.mark.parametrize("protocol", ["bft", "tendermint", "paper"])
def test_every_protocol_goes_on_under_every_strategy(protocol: str) -> None:
    for name in DELAYS:
        toy, _ = heard_on(
            name, {6: Composed(["equivocate_votes"])}, crypto="modelled", protocol=protocol
        )
        assert toy.world.head.height == 3


def test_delays_are_drawn_from_their_own_stream() -> None:
    """The same delays, whatever the network draws; others with another stream."""
    one, first = heard_on("shuffle", {}, crypto="modelled")
    again, second = heard_on("shuffle", {}, crypto="modelled")
    assert first == second
    assert one.world.head == again.world.head


def test_for_malicious_helps_blocks_of_the_adversary() -> None:
    """Their candidates, and the votes for them, are on time; those of honest leaders are late."""
    late: dict[bool, list[float]] = {True: [], False: []}
    malicious = {index: Composed(["spam"]) for index in (5, 6)}
    toy, received = heard_on("for_malicious", malicious, crypto="modelled")
    proposers = {
        block.height: block.header.aggregator for block in toy.world.servers[0].chain.blocks
    }
    assert len(proposers) == 3
    for (origin, to, kind), times in received.items():
        if kind == "candidate" and not {origin, to} & malicious.keys():
            late[True] += [at - said for said, at in times]
        elif kind == "update" and not {origin, to} & malicious.keys():
            late[False] += [at - said for said, at in times]
    assert min(late[True]) == pytest.approx(BOUND)
    assert max(late[False]) < BOUND
