"""Costs of the network: laying out servers, gossip, messages to single servers (make bench-all)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from consensus.faults.faults import Faults, fault_from_node
from consensus.network.clock import Clock
from consensus.network.network import Network
from consensus.network.topology import Topology
from consensus.server.message import Message

Benchmark = Any
"""pytest-benchmark's fixture."""

VOTE = Message("vote", None, 250)


def speak(net: Network, messages: int) -> None:
    """Gossip, ten messages at a time."""
    servers = net.topology.servers
    for message in range(messages):
        net.gossip(message % servers, VOTE, 0.0)
        if message % 10 == 9:
            net.env.run()


def topology(servers: int) -> Topology:
    return Topology.generate(np.random.default_rng(0), servers, 5, 3, 5.0, 60.0)


def network(graph: Topology, faults: Faults | None = None) -> Network:
    env = Clock()
    made = Network(env, graph, 12.5, 0.1, lambda server, message, origin: 0.0, faults)
    made.begin(np.random.default_rng(0))
    return made


@pytest.mark.parametrize("servers", [4, 16, 100, 1000])
def test_lay_out_servers(benchmark: Benchmark, servers: int) -> None:
    benchmark(topology, servers)


@pytest.mark.parametrize("servers", [4, 16, 100, 1000])
def test_the_shortest_paths_of_an_origin(benchmark: Benchmark, servers: int) -> None:
    overlay = topology(servers).overlay

    def grow() -> None:
        overlay._trees.clear()
        overlay.tree(0)

    benchmark(grow)


@pytest.mark.parametrize(("servers", "messages"), [(4, 10_000), (100, 300), (1000, 30)])
def test_gossip(benchmark: Benchmark, servers: int, messages: int) -> None:
    """About 30,000 deliveries, the trees at hand."""
    graph = topology(servers)

    def gossip() -> None:
        speak(network(graph), messages)

    benchmark.pedantic(gossip, rounds=5, warmup_rounds=1)


def test_messages_to_a_committee(benchmark: Benchmark) -> None:
    """30,000 deliveries: 100 members of 1,000 servers each tell the 100 three times."""
    graph = topology(1000)
    members = list(range(0, 1000, 10))

    def tell() -> None:
        net = network(graph)
        for _ in range(3):
            for member in members:
                net.send_many(member, members, VOTE, net.env.now)
                net.env.run()

    benchmark.pedantic(tell, rounds=5, warmup_rounds=1)


@pytest.mark.parametrize(
    "nodes",
    [
        [{"loss": 0.01, "from": 1e6}],
        [{"loss": 0.01}],
        [{"partition": 0.3}],
        [{"loss": 0.01}, {"delay": 0.1}, {"reorder": 0.1}, {"duplicate": 0.01}],
    ],
    ids=["none now", "loss", "partition", "four"],
)
def test_gossip_under_faults(benchmark: Benchmark, nodes: list[dict[str, Any]]) -> None:
    """30,000 deliveries among four servers, less those lost."""
    graph = topology(4)

    def gossip() -> None:
        faults = Faults([fault_from_node(node) for node in nodes], 4, np.random.default_rng(0))
        speak(network(graph, faults), 10_000)

    benchmark.pedantic(gossip, rounds=5, warmup_rounds=1)


def test_prepare_a_scenario(benchmark: Benchmark) -> None:
    """Topology, five faults and network of four servers, and the paths in a partition."""
    nodes = [
        {"loss": 0.1},
        {"delay": 0.1},
        {"partition": 0.4, "until": 5.0},
        {"crash": [1]},
        {"slow": 3},
    ]
    kinds = [fault_from_node(node) for node in nodes]

    def prepare() -> None:
        net = network(topology(4), Faults(kinds, 4, np.random.default_rng(0)))
        for origin in range(4):
            net.gossip(origin, VOTE, 0.0)

    benchmark(prepare)
