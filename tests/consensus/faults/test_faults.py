"""All kinds of fault: together, by seed, in their time only, from a config, and a new one."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from consensus.faults.faults import FAULTS, Faults, fault_from_node
from consensus.faults.kinds import Fault, MessageFault
from consensus.network.clock import Clock
from consensus.network.network import Network
from consensus.server.message import Message
from tests.helpers.fault_scene import STEP, Scene, faults_of, mesh, note, within

EVERY = [
    {"loss": 0.1},
    {"delay": 0.05},
    {"reorder": 0.2, "seconds": 0.3},
    {"duplicate": 0.2},
    {"replay": 0.2, "after": 1.0},
    {"bit_flip": 0.1},
    {"bandwidth": 0.5, "servers": 0.5},
    {"partition": 0.4},
    {"eclipse": 3, "sees": 0.3},
    {"crash": [2], "lost_tail": 2},
    {"churn": 0.5, "down": 1.0, "until": 9},
    {"slow": 10, "servers": 0.3},
    {"skew": -2.5, "servers": 1},
    {"missing_content": 0.5},
]
"""One of each."""


def test_every_fault_is_listed() -> None:
    assert [next(iter(node)) for node in EVERY] == list(FAULTS)


@pytest.mark.parametrize("gossip", [False, True])
def test_all_faults_at_once_and_the_same_seed_the_same_trace(gossip: bool) -> None:
    nodes = [{**node, "from": 1, "until": 4} for node in EVERY]

    def play(seed: int) -> tuple[list[Any], Counter[str]]:
        scene = Scene(*nodes, servers=6, seed=seed, body=note, gossip=gossip, until=6.0, size=99)
        return scene.heard, scene.faults.fired

    heard, fired = play(1)
    assert {"loss", "delay", "reorder", "duplicate", "replay", "bit_flip"} <= fired.keys()
    assert {"bandwidth", "partition", "eclipse"} <= fired.keys()
    assert (heard, fired) == play(1)
    assert (heard, fired) != play(2)


def test_each_fault_keeps_to_its_own_time() -> None:
    """Also while another one is active."""
    scene = Scene(
        {"loss": 0.5, "from": 2, "until": 4},
        {"duplicate": 0.5, "from": 3, "until": 6},
        {"bandwidth": 0.5, "from": 0, "until": 8},
    )
    lost = {scene.sent[key] for key in scene.unheard()}
    twice = {scene.sent[key] for key, times in scene.times.items() if len(times) > 1}
    assert 2.0 <= min(lost) < 2.2 < 3.8 < max(lost) < 4.0
    assert 3.0 <= min(twice) < 3.2 < 5.8 < max(twice) < 6.0


def test_what_strikes_is_drawn_from_the_stream_of_the_height() -> None:
    """So that a run that is resumed at a height is struck as it would have been."""

    def play(seed: int) -> list[float]:
        env = Clock()
        heard: list[float] = []
        faults = faults_of({"loss": 0.5}, {"delay": 0.1}, servers=2, seed=seed)
        network = Network(env, mesh(2), 1.0, 0.1, lambda s, m, o: heard.append(env.now), faults)
        network.begin(np.random.default_rng(0))
        for number in range(seed + 1):
            network.send(0, 1, Message("note", number, 0), 0.0)
        env.run()
        heard.clear()
        network.begin(np.random.default_rng(1))
        for number in range(50):
            network.send(0, 1, Message("note", number, 0), 9.0)
        env.run()
        return heard

    assert play(1) == play(2)
    assert 15 < len(play(1)) < 35


@pytest.mark.parametrize("node", EVERY, ids=[next(iter(node)) for node in EVERY])
def test_a_fault_strikes_in_its_time_only(node: dict[str, Any]) -> None:
    """Nothing that is sent before or after it, or asked then, differs from a world without."""
    calm = Scene(servers=6, until=6.0, size=99)
    scene = Scene({**node, "from": 2, "until": 4}, servers=6, until=6.0, size=99)
    assert scene.faults.healed_at == 4.0
    calm_times, times = calm.times, scene.times
    for key, sent in scene.sent.items():
        if not within(sent, 1.9, 4.5):  # queues may still be longer for a while
            assert times[key] == calm_times[key]
    for now in (1.9, 4.0):
        assert scene.faults.slowness(1, now) == 1.0
        assert scene.faults.skew_us(1, now) == 0
        assert not scene.faults.content_lost(1, b"link", now)
    assert all(2.0 <= event.time <= 4.0 for event in scene.faults.lifecycle(99.0))


def test_when_everything_is_healed() -> None:
    assert faults_of().healed_at == 0.0
    assert faults_of({"loss": 0.1, "until": 5}, {"slow": 2, "until": 70}).healed_at == 70.0
    assert faults_of({"loss": 0.1}, {"slow": 2, "until": 70}).healed_at == float("inf")


@pytest.mark.parametrize("share", [0.01, 0.34, "1/3", 0.5, 1.0])
def test_a_share_of_the_servers_is_drawn(share: Any) -> None:
    drawn = Counter()
    for seed in range(60):
        [fault] = faults_of({"crash": share}, servers=10, seed=seed).faults
        assert isinstance(fault.servers, tuple)  # type: ignore[attr-defined]
        drawn.update(fault.servers)  # type: ignore[attr-defined]
    expected = {0.01: 1, 0.34: 3, "1/3": 3, 0.5: 5, 1.0: 10}[share]
    assert drawn.total() == 60 * expected, "one at least"
    assert len(drawn) == 10


def test_faults_that_were_placed_can_be_played_again() -> None:
    """Their servers are named, so fewer of them may be played with the same servers (to find out
    which of them it takes)."""
    placed = faults_of(*EVERY, servers=9, seed=5)
    again = Faults(placed.faults[3:], 9, np.random.default_rng(77))
    assert again.faults == placed.faults[3:]


# -- config ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("node", "message"),
    [
        ({}, "exactly one of loss, delay"),
        ({"los": 0.1}, "did you mean loss"),
        ({"loss": 0.1, "delay": 1.0}, "exactly one of loss.*got loss, delay"),
        ({"loss": 0.1, "form": 3}, "loss: there is no option 'form', allowed are from, until"),
        ({"loss": 0.1, "rate": 0.1}, "no option 'rate'"),
        ({"loss": 2}, "loss: expected a share, above 0 and at most 1, got 2"),
        ({"loss": True}, "loss: expected a share"),
        ({"loss": "1/0"}, "loss: expected a share"),
        ({"loss": "nan"}, "loss: expected a share"),
        ({"loss": 10**400}, "loss: expected a share"),
        ({"loss": 0.1, "from": -1}, "loss: from: expected a time"),
        ({"loss": 0.1, "from": 3, "until": 2}, r"loss: until \(2 s\) must be later than from"),
        ({"loss": 0.1, "from": float("inf")}, "must be later"),
        ({"delay": 0}, "delay: expected seconds, above 0"),
        ({"slow": 0.5}, "slow: expected a factor, at least 1"),
        ({"bandwidth": 0}, "bandwidth: expected a share"),
        ({"crash": -1}, "crash: expected indices"),
        ({"crash": [0, 0]}, "crash: a server stands twice"),
        ({"crash": []}, "crash: expected servers, got none"),
        ({"crash": [0.5]}, "crash: expected indices"),
        ({"crash": None}, "crash: expected a server, a list of servers, or a share"),
        ({"crash": 1, "lost_tail": 1.5}, "crash: lost_tail: expected a number of blocks"),
        ({"churn": 0.1}, "churn: say until when"),
        ({"partition": 1.0}, "the share that is split off, between 0 and 1"),
        ({"partition": [[0, 1], [1]]}, "partition: a server stands twice"),
        ({"partition": [[0], []]}, "none of them empty"),
        ({"partition": [0, 1]}, "partition: expected lists of servers"),
        ({"partition": 0.5, "one_way": 1}, "one_way: expected true or false"),
        ({"skew": float("inf")}, "skew: expected seconds"),
        (["loss", 0.1], "a fault is a map"),
        (None, "a fault is a map"),
    ],
)
def test_a_wrong_fault_is_refused_and_told_what_is_allowed(node: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fault_from_node(node)


@pytest.mark.parametrize(
    "node", [{"crash": 4}, {"partition": [[0, 4]]}, {"eclipse": 0, "sees": [9]}, {"loss": 0.1,
    "servers": [1, 4]}],
)  # fmt: skip
def test_a_server_that_does_not_exist_is_refused(node: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"there is no server \d, they go from 0 to 3"):
        faults_of(node, servers=4)


junk = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 10) | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=6,
)
options = st.sampled_from(
    ["from", "until", "servers", "sees", "seconds", "after", "down", "lost_tail", "one_way", "x"]
)


@settings(max_examples=300)
@example("churn", 1.0, {"until": 5, "servers": []})
@given(st.sampled_from(list(FAULTS)), junk, st.dictionaries(options, junk, max_size=2))
def test_a_node_is_a_fault_or_refused(name: str, value: Any, more: dict[str, Any]) -> None:
    """Nothing else is ever raised, and what is built can be played."""
    try:
        fault = fault_from_node({name: value, **more})
    except ValueError:
        return
    assert fault_from_node({name: value, **more}) == fault
    assert isinstance(fault, FAULTS[name])
    assert fault.from_ < fault.until
    placed = Faults([fault], 12, np.random.default_rng(0))
    placed.lifecycle(1.0)
    placed.copies(0, 1, 0, Message("note", None, 1), 0.5, 0.6)


def test_a_config_reads_as_documented() -> None:
    text = '[{"partition": [[0, 1], [2, 3]], "from": 40, "until": 70}, {"partition": 0.4}]'
    both, share = (fault_from_node(node) for node in json.loads(text))
    assert (both.groups, both.from_, both.until) == (((0, 1), (2, 3)), 40.0, 70.0)
    assert (share.groups, share.one_way) == (0.4, False)


# -- a fault of one's own -------------------------------------------------------------------------


def test_a_new_kind_of_fault_is_a_few_lines() -> None:
    """Every second message to a server is lost, say."""

    @dataclass(frozen=True, kw_only=True)
    class Stutter(MessageFault):
        NAME = "stutter"
        MAIN = "servers"

        def befall(self, copies: list[Any], leave: float, draw: Callable[[], float]) -> list[Any]:
            return [] if round(leave / STEP) % 2 else copies

    faults: Sequence[Fault] = [Stutter(servers=(0,))]
    scene = Scene()
    env = Clock()
    heard: list[int] = []
    network = Network(
        env, mesh(2), 1.0, 0.0, lambda s, m, o: heard.append(m.body),
        Faults(faults, 2, np.random.default_rng(0)),
    )  # fmt: skip
    network.begin(np.random.default_rng(0))
    for tick in range(6):
        network.send(0, 1, Message("note", tick, 0), tick * STEP)
    env.run()
    assert heard == [0, 2, 4]
    assert replace(faults[0], from_=1.0).active(1.0)
    assert not scene.faults.fired
