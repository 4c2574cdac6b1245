"""Costs of the network: laying out servers, gossip, messages to single servers (make bench)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import simpy

from consensus.network import Message, Network, Topology

Benchmark = Any
"""pytest-benchmark's fixture."""

VOTE = Message("vote", None, 250)


def topology(servers: int) -> Topology:
    return Topology.generate(np.random.default_rng(0), servers, 5, 3, 5.0, 60.0)


def network(graph: Topology) -> Network:
    made = Network(simpy.Environment(), graph, 12.5, 0.1, lambda server, message, origin: 0.0)
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
        net = network(graph)
        for message in range(messages):
            net.gossip(message % servers, VOTE, 0.0)
        net.env.run()

    benchmark.pedantic(gossip, rounds=5, warmup_rounds=1)


def test_messages_to_a_committee(benchmark: Benchmark) -> None:
    """30,000 deliveries: 100 members of 1,000 servers each tell the 100 three times."""
    graph = topology(1000)
    members = list(range(0, 1000, 10))

    def tell() -> None:
        net = network(graph)
        for _ in range(3):
            for member in members:
                net.send_many(member, members, VOTE, 0.0)
        net.env.run()

    benchmark.pedantic(tell, rounds=5, warmup_rounds=1)
