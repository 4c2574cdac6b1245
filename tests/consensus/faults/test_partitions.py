"""Partitions and eclipses: who hears whom while they last."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consensus.network.clock import Clock
from consensus.network.network import Network
from consensus.network.topology import Topology
from consensus.server.message import Message
from tests.helpers.fault_scene import LATENCY, Scene, faults_of, mesh, row, within


@pytest.mark.parametrize("gossip", [False, True])
def test_partition(gossip: bool) -> None:
    scene = Scene({"partition": [[0, 1], [2, 3]], "from": 2, "until": 8}, gossip=gossip)
    apart = {
        key
        for key, sent in scene.sent.items()
        if within(sent, 2, 8) and (key[0] < 2) != (key[1] < 2)
    }
    assert scene.unheard() == apart
    assert scene.faults.fired == {"partition": len(apart)}


@pytest.mark.parametrize("gossip", [False, True])
def test_one_way_partition(gossip: bool) -> None:
    scene = Scene({"partition": [[0, 1]], "one_way": True, "from": 2}, gossip=gossip)
    unheard = {key for key, sent in scene.sent.items() if sent >= 2 and key[0] >= 2 and key[1] < 2}
    assert scene.unheard() == unheard
    assert scene.faults.fired == {"partition": len(unheard)}


def test_servers_in_no_group_are_one_more() -> None:
    scene = Scene({"partition": [[0], [1]]}, servers=5)
    groups = [0, 1, 2, 2, 2]
    assert scene.unheard() == {k for k in scene.sent if groups[k[0]] != groups[k[1]]}


def test_a_share_is_split_off() -> None:
    sizes = Counter()
    for seed in range(50):
        scene = faults_of({"partition": 0.4}, servers=10, seed=seed)
        [partition] = scene.faults
        [off] = partition.groups  # type: ignore[attr-defined]
        assert len(off) == 4
        sizes.update(off)
    assert len(sizes) == 10, "any server may be"


def test_what_is_on_its_way_when_a_partition_begins_is_lost() -> None:
    """Sent at 1.995, it would arrive at 2.005."""
    env = Clock()
    heard: list[float] = []
    faults = faults_of({"partition": [[0], [1]], "from": 2, "until": 3}, servers=2)
    network = Network(env, mesh(2), 1.0, 0.0, lambda s, m, o: heard.append(env.now), faults)
    network.begin(np.random.default_rng(0))
    for at in (1.985, 1.995, 2.5, 2.995, 3.0):
        network.send(0, 1, Message("note", at, 0), at)
        network.gossip(0, Message("note", at, 0), at)
    env.run()
    assert heard == pytest.approx([1.995] * 2 + [3.010] * 2)
    assert faults.fired == {"partition": 6}


def test_a_group_goes_on_among_itself() -> None:
    """0 - 1 - 2 - 3: with 1 split off, a link from 0 to 2 is opened, and closed afterwards."""
    scene = Scene(
        {"partition": [[1]], "from": 2, "until": 8}, topology=row(4), gossip=True, until=12.0
    )
    assert scene.unheard() == {
        key for key, sent in scene.sent.items() if within(sent, 2, 8) and 1 in key[:2]
    }
    times = scene.times
    for key, sent in scene.sent.items():
        if {key[0], key[1]} == {0, 2} and key in times:
            hops = 1 if within(sent, 2, 8) else 2
            assert times[key][0] == pytest.approx(sent + hops * LATENCY)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_gossip_in_a_partition_reaches_just_the_group(data: st.DataObject) -> None:
    """Any topology, any groups and silent servers; one way: the first group is not heard."""
    servers = data.draw(st.integers(2, 12))
    group = data.draw(st.lists(st.integers(0, 2), min_size=servers, max_size=servers))
    one_way = data.draw(st.booleans())
    silent = set() if one_way else data.draw(st.sets(st.integers(0, servers - 1)))
    origin = data.draw(st.integers(0, servers - 1))
    groups = [[s for s in range(servers) if group[s] == g] for g in range(3) if g in group]
    topology = Topology.generate(
        np.random.default_rng(data.draw(st.integers(0, 99))), servers, 2, 1, 5.0, 50.0
    )
    heard: Counter[int] = Counter()
    env = Clock()
    faults = faults_of({"partition": groups, "one_way": one_way}, servers=servers)

    def receive(server: int, message: Message, origin: int) -> float | None:
        heard[server] += 1
        return None if server in silent else env.now

    network = Network(env, topology, 1.0, 0.1, receive, faults)
    network.begin(np.random.default_rng(0))
    for server in silent:
        network.set_relaying(server, False)
    # A silent server finds one that relays in its group, or speaks to all itself if there is none
    # anywhere; in a group of silent ones only, nobody passes anything on.
    mute = {s for s in range(servers) if group[s] == group[origin]} <= silent
    network.gossip(origin, Message("note", 0, 10), 0.0)
    env.run()
    cut = {s for s in range(servers) if group[s] != group[origin]}
    if one_way and origin not in groups[0]:
        cut = set()
    expected = {s: 1 for s in range(servers) if s not in cut and s != origin}
    if mute and len(silent) < servers:
        assert heard.keys() <= expected.keys()
    else:
        assert heard == expected
    assert faults.fired["partition"] == len(cut)


@pytest.mark.parametrize("gossip", [False, True])
@pytest.mark.parametrize("topology", [mesh(6), row(6)], ids=["mesh", "row"])
@pytest.mark.parametrize("sees", [{0, 1}, {3, 5}])
def test_eclipse(gossip: bool, topology: Topology, sees: set[int]) -> None:
    """Server 4 hears two others only, whoever is between, and only they hear it; the others go
    on as if it were not there (in a row 5 is then linked past it)."""
    scene = Scene(
        {"eclipse": 4, "sees": list(sees), "from": 2, "until": 8},
        servers=6,
        gossip=gossip,
        topology=topology,
    )
    hidden = {
        key
        for key, sent in scene.sent.items()
        if within(sent, 2, 8) and 4 in key[:2] and not sees & set(key[:2])
    }
    assert scene.unheard() == hidden
    fired = scene.faults.fired["eclipse"]
    if gossip:  # what was stopped once is passed on to nobody, and so not stopped again
        assert len(hidden) / 2 <= fired <= len(hidden)
    else:
        assert fired == len(hidden)


def test_who_sees_nobody_is_alone() -> None:
    scene = Scene({"eclipse": [1, 2]}, gossip=True)
    assert scene.unheard() == {key for key in scene.sent if {1, 2} & set(key[:2])}
