"""The network: every server once, along shortest paths, and every delay accounted for."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consensus.faults.faults import Faults
from consensus.faults.kinds import Loss, Partition
from consensus.network import topology as topology_module
from consensus.network.clock import Clock
from consensus.network.network import MIB, Network
from consensus.network.topology import Overlay, Topology
from consensus.server.message import Message


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
        faults: Faults | None = None,
    ) -> None:
        self.env = Clock()
        self.arrivals: list[tuple[float, int, Any]] = []
        self.origins: set[tuple[Any, int]] = set()

        def receive(server: int, message: Message, origin: int) -> float | None:
            self.arrivals.append((self.env.now, server, message.body))
            self.origins.add((message.body, origin))
            return None if server in refusing else self.env.now + work

        self.network = Network(self.env, topology, bandwidth, jitter, receive, faults)
        self.network.begin(np.random.default_rng(seed))


def times(log: Log) -> dict[tuple[int, Any], float]:
    log.env.run()
    return {(server, body): at for at, server, body in log.arrivals}


def played(log: Log) -> list[tuple[float, int, Any]]:
    log.env.run()
    return log.arrivals


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


def test_what_waits_at_the_ingress_is_served_in_order_of_arrival() -> None:
    """Server 2 is twice as far from 1 as server 0: what it sends a little earlier holds nothing
    up."""
    log = Log(line())
    log.network.gossip(2, Message("vote", "far", 0), at=0.0)
    log.network.gossip(0, Message("vote", "near", 0), at=0.005)
    assert [(server, body) for _, server, body in sorted(played(log)) if server == 1] == [
        (1, "near"),
        (1, "far"),
    ]
    assert times(log)[1, "near"] == pytest.approx(0.015)


def test_a_message_leaves_no_sooner_than_now() -> None:
    """Who was free long ago and speaks now does not speak in the past."""
    log = Log(line())
    log.env.run(until=2.0)
    log.network.gossip(0, Message("vote", "a", 0), at=0.5)
    log.network.send(0, 1, Message("vote", "b", 0), at=0.5)
    found = times(log)
    assert found[1, "a"] == found[1, "b"] == pytest.approx(2.010)


def test_a_message_leaves_no_sooner_than_told() -> None:
    log = Log(line())
    log.network.gossip(0, Message("vote", "a", 0), at=3.0)
    assert times(log)[1, "a"] == pytest.approx(3.010)


def test_who_refuses_passes_nothing_on() -> None:
    log = Log(line(), refusing=frozenset([1]))
    log.network.gossip(0, Message("vote", "a", 100), at=0.0)
    assert set(times(log)) == {(1, "a")}
    assert log.network.bytes == {"vote": 100}


def test_a_receiver_learns_who_sent_a_message() -> None:
    log = Log(line())
    for origin in range(3):
        log.network.gossip(origin, Message("vote", f"from {origin}", 10), at=0.0)
    log.network.send(2, 0, Message("want", "alone", 10), at=0.0)
    played(log)
    expected = {("from 0", 0), ("from 1", 1), ("from 2", 2), ("alone", 2)}
    assert log.origins == expected, "not who passed it on"


# -- messages to single servers -------------------------------------------------------------------


def test_a_message_to_one_server_is_for_it_alone() -> None:
    """From 0 to 2 by way of 1: the latency of both links and a transmission on each; both hops
    are counted, and server 1 sees nothing of it."""
    log = Log(line())
    log.network.send(0, 2, Message("want", "w", MIB // 10), at=1.0)
    found = times(log)
    hop = (MIB // 10) / MIB
    assert found == {(2, "w"): pytest.approx(1.0 + 2 * hop + 0.010 + 0.020)}
    assert log.network.bytes == {"want": 2 * (MIB // 10)}


def test_messages_to_several_servers_queue_like_any_other() -> None:
    """Server 1 sends to 0 and 2 one after the other; both have then to receive a broadcast."""
    log = Log(line())
    hop = 0.25
    log.network.send_many(1, [0, 1, 2], Message("vote", "a", MIB // 4), at=0.0)
    log.network.gossip(1, Message("vote", "b", MIB // 4), at=0.0)
    found = times(log)
    assert found == {
        (0, "a"): pytest.approx(1 * hop + 0.010),
        (2, "a"): pytest.approx(2 * hop + 0.020),
        (0, "b"): pytest.approx(3 * hop + 0.010),
        (2, "b"): pytest.approx(4 * hop + 0.020),
    }
    assert log.network.bytes == {"vote": 4 * (MIB // 4)}, "nothing is sent to oneself"


def test_what_came_to_one_server_is_not_passed_on() -> None:
    log = Log(line())
    log.network.send(0, 1, Message("want", "w", 10), at=0.0)
    assert {server for _, server, _ in played(log)} == {1}


def test_a_message_to_one_server_is_void_in_the_next_height() -> None:
    log = Log(line())
    log.network.send(0, 2, Message("want", "old", MIB), at=0.0)
    log.env.run(until=0.5)
    log.network.begin(np.random.default_rng(1))
    assert played(log) == []


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
    assert times(log)[1, "new"] == pytest.approx(1.010), "what was sent still leaves the queue"
    assert {body for _, _, body in log.arrivals} == {"new"}


def test_queues_and_work_outlast_a_height_and_can_be_restored() -> None:
    def played_on(log: Log) -> list[tuple[float, int, Any]]:
        log.network.begin(np.random.default_rng(1))
        for origin in (0, 2):
            log.network.send(origin, 1, Message("vote", f"of {origin}", 100), at=log.env.now)
        return played(log)

    before = Log(line())
    for origin, at in ((0, 0.0), (2, 0.0), (0, 0.5)):
        before.network.send(origin, 1, Message("vote", "large", MIB), at=at)
    before.network.busy_until[1] = 7.25
    before.env.run(until=1.1)
    backlog = before.network.backlog()
    (first, egress, _, _), (second, _, ingress, busy) = backlog
    assert (first, second, busy) == (0, 1, 7.25)
    assert egress == pytest.approx(2.0), "two MiB, at a MiB a second"
    assert ingress == pytest.approx(2.01), "what came from 2 waits for what came from 0"
    after = Log(line())
    after.env.run(until=1.1)
    after.network.restore(backlog)
    assert after.network.backlog() == backlog
    found = played_on(after)
    assert found == played_on(before)[-2:]
    assert min(at for at, _, _ in found) > 2.0, "both wait"
    after.env.run(until=8.0)
    assert after.network.backlog() == (), "all is done"


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
        assert {server: at for at, server, _ in log.arrivals} == pytest.approx(
            {other: far[origin, other] for other in range(servers) if other != origin}
        )
        log = Log(topology)
        log.network.send_many(origin, range(servers), Message("vote", "v", 0), at=0.0)
        log.env.run()
        assert {server: at for at, server, _ in log.arrivals} == pytest.approx(
            {other: far[origin, other] for other in range(servers) if other != origin}
        )


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 40), st.integers(0, 4), st.data())
def test_few_and_many_servers_are_treated_alike(
    seed: int, servers: int, links: int, data: st.DataObject
) -> None:
    """Plain Python for few servers and SciPy for many: the same links, the same paths."""

    def make(small: int) -> tuple[list[list[int]], list[Any]]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(topology_module, "SMALL", small)
            made = Topology.generate(np.random.default_rng(seed), servers, 3, links, 5.0, 60.0)
            overlay = Overlay(made, relays)
            trees = [overlay.tree(origin) for origin in range(servers)]
        paths = [(tree.children, tree.hops, tree.seconds) for tree in trees]
        return [list(found) for found in made.neighbours], paths

    relays = data.draw(st.lists(st.booleans(), min_size=servers, max_size=servers))
    assert make(0) == make(1000)


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


def test_no_links_asked_for_leaves_a_spanning_tree() -> None:
    assert Topology.generate(np.random.default_rng(0), 20, 2, 0, 5.0, 40.0).links == 19


def test_everyone_linked_and_a_ring() -> None:
    complete = Topology.complete(np.random.default_rng(0), 6, 10.0)
    assert complete.links == 15
    ring = Topology.ring(np.random.default_rng(0), 6, 10.0)
    assert ring.neighbours[0] == [1, 5]
    assert ring.neighbours[3] == [2, 4]
    assert np.array_equal(ring.latency, complete.latency), "only the links differ"
    for servers in (1, 2, 3):
        both = Topology.ring(np.random.default_rng(0), servers, 10.0)
        assert both.links == servers * (servers - 1) // 2


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


# -- servers that pass nothing on -----------------------------------------------------------------


def reached(log: Log) -> Counter[int]:
    return Counter(server for _, server, _ in played(log))


def test_a_silent_server_is_routed_around() -> None:
    """Without server 1 nothing links 0 and 2: the link between them is opened."""
    log = Log(line())
    log.network.set_relaying(1, False)
    log.network.gossip(0, Message("vote", "a", 0), at=0.0)
    found = times(log)
    assert found == {(1, "a"): pytest.approx(0.010), (2, "a"): pytest.approx(0.5)}
    log = Log(line())
    log.network.set_relaying(1, False)
    log.network.send(0, 2, Message("vote", "b", 0), at=0.0)
    assert times(log) == {(2, "b"): pytest.approx(0.5)}
    log.network.set_relaying(1, True)
    log.network.send(0, 2, Message("vote", "c", 0), at=1.0)
    assert times(log)[2, "c"] == pytest.approx(1.030), "back as it was"


def test_a_silent_server_can_still_speak() -> None:
    log = Log(line())
    log.network.set_relaying(1, False)
    log.network.gossip(1, Message("vote", "a", 0), at=0.0)
    assert times(log) == {(0, "a"): pytest.approx(0.010), (2, "a"): pytest.approx(0.020)}


@settings(max_examples=60, deadline=None)
@given(topologies, st.data())
def test_gossip_reaches_everyone_around_the_silent(topology: Topology, data: st.DataObject) -> None:
    """Whoever is silent: every server once, by way of servers that relay only."""
    servers = topology.servers
    silent = data.draw(st.sets(st.integers(0, servers - 1)))
    origin = data.draw(st.integers(0, servers - 1))
    log = Log(topology, refusing=frozenset(silent))  # they are asked to pass on nothing
    for server in silent:
        log.network.set_relaying(server, False)
    log.network.gossip(origin, Message("block", "b", 10), at=0.0)
    assert reached(log) == {server: 1 for server in range(servers) if server != origin}


@settings(max_examples=40, deadline=None)
@given(topologies, st.data())
def test_the_cheapest_links_are_opened_and_no_more(topology: Topology, data: st.DataObject) -> None:
    """Against Kruskal's algorithm over the servers that relay, existing links first."""
    servers = topology.servers
    relays = data.draw(st.lists(st.booleans(), min_size=servers, max_size=servers))
    relaying = [server for server in range(servers) if relays[server]]
    part = {server: server for server in relaying}
    pairs = [(one, other) for one in relaying for other in relaying if one < other]
    pairs.sort(
        key=lambda pair: (pair[1] not in topology.neighbours[pair[0]], topology.latency[pair])
    )
    opened = set()
    for one, other in pairs:
        if part[one] != part[other]:
            old, new = part[one], part[other]
            part = {server: new if of == old else of for server, of in part.items()}
            if other not in topology.neighbours[one]:
                opened.add((one, other))
    overlay = Overlay(topology, relays)
    found = {
        (one, other)
        for one, other in pairs
        if other in overlay.links[one] and other not in topology.neighbours[one]
    }
    assert found == opened
    for server in set(range(servers)) - set(relaying):
        ahead = [other for other in overlay.links[server] if relays[other]]
        laid = [other for other in topology.neighbours[server] if relays[other]]
        if relaying and not laid:
            assert ahead == [min(relaying, key=lambda other: topology.latency[server, other])]
        elif relaying:
            assert ahead == laid


# -- faults ---------------------------------------------------------------------------------------


def test_a_network_without_a_fault_at_the_time_is_as_one_without_faults() -> None:
    """Before a fault begins and after it ends nothing differs, to the bit."""

    def play(faults: Faults | None) -> list[tuple[float, int, Any]]:
        topology = Topology.generate(np.random.default_rng(3), 10, 2, 2, 5.0, 40.0)
        log = Log(topology, jitter=0.2, faults=faults)
        for origin in range(10):
            log.network.gossip(origin, Message("vote", origin, 200), at=0.0)
        log.env.run(until=10.0)
        for origin in range(10):
            log.network.gossip(origin, Message("vote", origin, 200), at=0.0)
        return played(log)

    faults = [Loss(rate=1.0, from_=5.0, until=9.0), Partition(groups=0.5, from_=4.0, until=6.0)]
    disturbed = Faults(faults, 10, np.random.default_rng(0))
    assert play(disturbed) == play(None)
    assert not disturbed.fired


def test_one_beginning_suffices() -> None:
    """A run that never begins anew delivers everything, however long it takes."""
    log = Log(line())
    for second in range(100):
        log.network.gossip(0, Message("vote", second, 10), at=float(second))
    assert len(played(log)) == 200
