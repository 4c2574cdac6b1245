"""The network: every server once, along shortest paths, and every delay accounted for."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
import simpy
from hypothesis import given, settings
from hypothesis import strategies as st

from consensus.network import MIB, Message, Network, Topology


def line() -> Topology:
    """Servers 0 - 1 - 2: 10 ms from 0 to 1, 20 ms from 1 to 2, no link from 0 to 2."""
    latency = np.array([[0.0, 0.010, 0.5], [0.010, 0.0, 0.020], [0.5, 0.020, 0.0]])
    return Topology(np.zeros(3, np.int64), latency, [[1], [0, 2], [1]])


class Log:
    """A network whose servers note what they receive and pass it on ``work`` seconds later."""

    def __init__(
        self,
        topology: Topology,
        bandwidth: float = 1.0,
        jitter: float = 0.0,
        seed: int = 0,
        work: float = 0.0,
        refusing: frozenset[int] = frozenset(),
    ) -> None:
        self.env = simpy.Environment()
        self.arrivals: list[tuple[float, int, Any]] = []

        def receive(server: int, message: Message, origin: int) -> float | None:
            self.arrivals.append((self.env.now, server, message.body))
            return None if server in refusing else self.env.now + work

        self.network = Network(self.env, topology, bandwidth, jitter, receive)
        self.network.begin(np.random.default_rng(seed))


def times(log: Log) -> dict[tuple[int, Any], float]:
    log.env.run()
    return {(server, body): at for at, server, body in log.arrivals}


def test_latency_transmission_and_work_add_up() -> None:
    """A 0.1 MiB message at 1 MiB/s: 0.1 s on each link, the latency of each, 0.5 s of work."""
    log = Log(line(), work=0.5)
    log.network.gossip(0, Message("block", "b", MIB // 10), at=1.0)
    found = times(log)
    hop = (MIB // 10) / MIB
    assert found[1, "b"] == pytest.approx(1.0 + hop + 0.010)
    assert found[2, "b"] == pytest.approx(1.0 + hop + 0.010 + 0.5 + hop + 0.020)
    assert log.network.bytes == {"block": 2 * (MIB // 10)}


def test_messages_queue_at_the_egress() -> None:
    """Server 1 sends to 0 and 2, one after the other, then the second message behind the first."""
    log = Log(line())
    hop = 0.25
    for body in "ab":
        log.network.gossip(1, Message("vote", body, MIB // 4), at=0.0)
    found = times(log)
    assert found[0, "a"] == pytest.approx(1 * hop + 0.010)
    assert found[2, "a"] == pytest.approx(2 * hop + 0.020)
    assert found[0, "b"] == pytest.approx(3 * hop + 0.010)
    assert found[2, "b"] == pytest.approx(4 * hop + 0.020)


def test_messages_queue_at_the_ingress() -> None:
    """Servers 0 and 2 send to 1 at once: the second is through a transmission after the first."""
    log = Log(line())
    hop = 0.25
    log.network.gossip(0, Message("vote", "a", MIB // 4), at=0.0)
    log.network.gossip(2, Message("vote", "b", MIB // 4), at=0.0)
    found = times(log)
    assert found[1, "a"] == pytest.approx(hop + 0.010)
    assert found[1, "b"] == pytest.approx(2 * hop + 0.010), "not hop + 0.020: the link is busy"


def test_a_message_leaves_no_sooner_than_told() -> None:
    log = Log(line())
    log.network.gossip(0, Message("vote", "a", 0), at=3.0)
    assert times(log)[1, "a"] == pytest.approx(3.010)


def test_who_refuses_passes_nothing_on() -> None:
    log = Log(line(), refusing=frozenset([1]))
    log.network.gossip(0, Message("vote", "a", 100), at=0.0)
    assert set(times(log)) == {(1, "a")}
    assert log.network.bytes == {"vote": 100}


def test_jitter_stretches_latency_by_its_mean() -> None:
    delays = []
    for seed in range(2000):
        log = Log(line(), jitter=0.5, seed=seed)
        log.network.gossip(0, Message("vote", "a", 0), at=0.0)
        delays.append(times(log)[1, "a"])
    assert min(delays) >= 0.010
    assert np.mean(delays) == pytest.approx(0.015, rel=0.05)


def test_what_is_in_flight_when_a_height_begins_is_void() -> None:
    log = Log(line())
    log.network.gossip(0, Message("vote", "old", MIB), at=0.0)
    log.env.run(until=0.5)
    log.network.begin(np.random.default_rng(1))
    log.network.gossip(0, Message("vote", "new", 0), at=0.5)
    assert times(log)[1, "new"] == pytest.approx(0.510), "queues are empty again"
    assert {body for _, _, body in log.arrivals} == {"new"}


topologies = st.builds(
    lambda seed, servers, regions, links: Topology.generate(
        np.random.default_rng(seed), servers, regions, links, 5.0, 60.0
    ),
    st.integers(0, 10**6),
    st.integers(1, 25),
    st.integers(1, 5),
    st.integers(1, 30),
)


@settings(max_examples=40, deadline=None)
@given(topologies, st.data())
def test_gossip_reaches_every_other_server_exactly_once(
    topology: Topology, data: st.DataObject
) -> None:
    servers = topology.servers
    origin = data.draw(st.integers(0, servers - 1))
    log = Log(topology, jitter=0.3)
    log.network.gossip(origin, Message("block", "b", 1000), at=0.0)
    log.env.run()
    reached = Counter(server for _, server, _ in log.arrivals)
    assert reached == {server: 1 for server in range(servers) if server != origin}
    assert log.network.bytes["block"] == 1000 * (servers - 1)


def shortest(latency: np.ndarray, linked: np.ndarray) -> np.ndarray:
    """All-pairs shortest paths by Floyd and Warshall, apart from the code under test."""
    far = np.where(linked, latency, np.inf)
    np.fill_diagonal(far, 0.0)
    for middle in range(len(far)):
        far = np.minimum(far, far[:, middle, None] + far[None, middle, :])
    return far


@settings(max_examples=25, deadline=None)
@given(topologies)
def test_the_tree_of_an_origin_follows_shortest_paths(topology: Topology) -> None:
    servers = topology.servers
    linked = np.zeros((servers, servers), bool)
    for server, neighbours in enumerate(topology.neighbours):
        linked[server, neighbours] = True
    assert np.array_equal(linked, linked.T)
    assert linked.sum() // 2 == topology.links
    assert not linked.diagonal().any()
    far = shortest(topology.latency, linked)
    for origin in range(servers):
        log = Log(topology)
        log.network.gossip(origin, Message("vote", "v", 0), at=0.0)
        log.env.run()
        for at, server, _ in log.arrivals:
            assert at == pytest.approx(far[origin, server])


def test_a_topology_is_fixed_by_its_generator() -> None:
    def make(seed: int) -> Topology:
        return Topology.generate(np.random.default_rng(seed), 12, 3, 2, 5.0, 40.0)

    one, same, other = make(1), make(1), make(2)
    assert np.array_equal(one.latency, same.latency)
    assert one.neighbours == same.neighbours
    assert not np.array_equal(one.latency, other.latency)


def test_latencies_go_by_region() -> None:
    topology = Topology.generate(np.random.default_rng(0), 12, 3, 2, 5.0, 400.0)
    assert topology.regions.tolist() == [0, 1, 2] * 4
    assert np.array_equal(topology.latency, topology.latency.T)
    same = topology.regions[:, None] == topology.regions[None, :]
    apart = ~np.eye(12, dtype=bool)
    within, between = topology.latency[same & apart], topology.latency[~same]
    assert 0.0025 <= within.min() <= within.max() < 0.0075
    assert 0.2 <= between.min() <= between.max() < 0.6


def test_more_links_than_servers_is_everyone_linked() -> None:
    assert Topology.generate(np.random.default_rng(0), 5, 2, 99, 5.0, 40.0).links == 10


def test_one_server_gossips_with_nobody() -> None:
    log = Log(Topology.generate(np.random.default_rng(0), 1, 1, 2, 5.0, 40.0))
    log.network.gossip(0, Message("vote", "v", 10), at=0.0)
    log.env.run()
    assert log.arrivals == []
    assert log.network.bytes == {}


@pytest.mark.parametrize(("within", "between"), [(0.0, 40.0), (5.0, 0.0), (-1.0, 40.0)])
def test_a_latency_of_nothing_is_refused(within: float, between: float) -> None:
    """A weight of zero is no link to the shortest paths: its servers would be cut off."""
    with pytest.raises(ValueError, match="above zero"):
        Topology.generate(np.random.default_rng(0), 5, 2, 2, within, between)


def test_the_same_stream_gives_the_same_times() -> None:
    def play(seed: int) -> list[tuple[float, int, Any]]:
        topology = Topology.generate(np.random.default_rng(3), 15, 3, 2, 5.0, 40.0)
        log = Log(topology, jitter=0.2, seed=seed)
        for origin in range(15):
            log.network.gossip(origin, Message("vote", origin, 200), at=0.001 * origin)
        log.env.run()
        return log.arrivals

    assert play(1) == play(1)
    assert play(1) != play(2)
