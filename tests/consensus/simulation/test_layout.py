"""The layout of servers: facts of a topology and of faults, places to draw, the form in JSON."""

from __future__ import annotations

import json
from collections import Counter
from math import dist
from typing import Any

import numpy as np
import pytest

from consensus.faults.faults import Faults, fault_from_node
from consensus.network.topology import Topology
from consensus.simulation.checked_json import BadTimeline
from consensus.simulation.layout import FaultFacts, Layout, Malice, positions
from consensus.simulation.timeline import Named


def faults_of(*nodes: Any, servers: int = 8) -> Faults:
    return Faults([fault_from_node(node) for node in nodes], servers, np.random.default_rng(0))


TOPOLOGY = Topology.generate(np.random.default_rng(0), 8, 2, 2, 5.0, 40.0)
LAYOUT = Layout.of(
    TOPOLOGY.regions.tolist(),
    [100 + index for index in range(8)],
    {3: (Malice("silent"), Malice("spam", 4, 9))},
    TOPOLOGY,
    faults_of(
        {"partition": [[0], [3, 5]], "from": 2, "until": 6, "one_way": True},
        {"delay": 0.05, "servers": [1, 2]},
        {"crash": [4], "from": 1, "until": 2, "lost_tail": 3},
        {"eclipse": [6], "sees": [1, 2], "from": 1, "until": 2},
    ),
)


def test_servers_links_and_latencies_are_those_of_the_topology() -> None:
    assert [server.region for server in LAYOUT.servers] == [0, 1] * 4
    assert [server.stake for server in LAYOUT.servers] == list(range(100, 108))
    assert LAYOUT.links is not None
    assert len(LAYOUT.links) == TOPOLOGY.links
    for link in LAYOUT.links:
        assert link.other in TOPOLOGY.neighbours[link.one]
        assert link.latency_us == round(1e6 * TOPOLOGY.latency[link.one, link.other])
    within, between = LAYOUT.latencies_us[0]
    pairs = [(0, 2), (0, 4), (0, 6), (2, 4), (2, 6), (4, 6)]
    mean = sum(TOPOLOGY.latency[pair] for pair in pairs) / 6
    assert within == round(1e6 * mean)
    assert between == LAYOUT.latencies_us[1][0] == round(1e6 * TOPOLOGY.latency[::2, 1::2].mean())
    alone = Layout.of([0, 7], [1, 1], {}, Topology.complete(np.random.default_rng(0), 2, 5.0), None)
    assert alone.latencies_us[0][0] is None, "a region of one server has no pair"
    assert Layout.of([0, 1], [1, 1], {}, None, None).links is None


def test_malice_lasts_for_its_heights() -> None:
    assert LAYOUT.servers[2].malicious_at(5) == ()
    told = [LAYOUT.servers[3].malicious_at(height) for height in (1, 3, 4, 9, 10)]
    assert told == [("silent",), ("silent",), ("silent", "spam"), ("silent", "spam"), ("silent",)]


def test_faults_are_told_with_their_servers_and_options() -> None:
    partition, delay, crash, eclipse = LAYOUT.faults
    assert partition == FaultFacts(
        "partition",
        2_000_000,
        6_000_000,
        Named(),
        (Named.of([0]), Named.of([3, 5])),
        "one_way True",
    )
    assert (delay.name, delay.until_us, delay.servers) == ("delay", None, Named.of([1, 2]))
    assert delay.options == "seconds 0.05"
    assert crash.options == "lost_tail 3"
    assert eclipse.options == "sees 1, 2"
    assert [partition.active(at, at) for at in (1_999_999, 2_000_000, 5_999_999, 6_000_000)] == [
        *(False, True, True, False)
    ]
    assert partition.active(0, 2_000_000)
    assert delay.active(10**12, 10**12)


@pytest.mark.parametrize("servers", [1, 2, 7, 12, 13, 300])
@pytest.mark.parametrize("regions", [1, 2, 5, 40])
def test_places_are_apart_within_the_square_and_near_their_region(
    servers: int, regions: int
) -> None:
    region = [index % regions for index in range(servers)]
    places = positions(region)
    assert all(0.0 <= value <= 1.0 for place in places for value in place)
    assert len(set(places)) == servers
    if regions > 1 and servers > regions:
        middles = {
            name: np.mean([p for p, r in zip(places, region, strict=True) if r == name], axis=0)
            for name in set(region)
        }
        sizes = Counter(region)
        for place, own in zip(places, region, strict=True):
            if min(sizes.values()) > 2:
                nearest = min(middles, key=lambda name: dist(middles[name], place))
                assert nearest == own


def test_a_layout_is_read_back() -> None:
    assert Layout.from_node(json.loads(json.dumps(LAYOUT.to_node()))) == LAYOUT


def changed(place: list[Any], value: Any) -> Any:
    node = json.loads(json.dumps(LAYOUT.to_node()))
    there = node
    for key in place[:-1]:
        there = there[key]
    there[place[-1]] = value
    return node


@pytest.mark.parametrize(
    ("place", "value", "told"),
    [
        (["servers"], None, "layout.servers: "),
        (["servers", 0], [0, 1], "server: expected 3 values"),
        (["servers", 0, 0], -1, "server.region: "),
        (["servers", 0, 1], float("nan"), "server.stake: "),
        (["servers", 0, 2], [["x"] * 3] * 101, "malicious: "),
        (["servers", 3, 2, 0, 1], "1", "malicious: "),
        (["links", 0], [0, 8, 5], "link: expected two servers"),
        (["links", 0], [1, 1, 5], "link: expected two servers"),
        (["links", 0], [0, 1, -5], "link: "),
        (["links"], [[0, 1, 5]] * 20_001, "links: "),
        (["latencies"], [[1, 2]], "latencies: expected a row for each region"),
        (["latencies", 0], [1], "row: expected 2 values"),
        (["latencies", 0, 0], 0.5, "latencies: "),
        (["faults", 0, "name"], "x" * 201, "fault.name: "),
        (["faults", 0], {}, "fault: expected a map"),
        (["faults", 0, "servers"], [0], "fault.servers: "),
        (["faults", 0, "groups"], [[1, [0]]] * 101, "groups: "),
        (["faults", 0, "until"], -1, "fault.until: "),
    ],
)
def test_what_is_no_layout_is_told_in_a_line(place: list[Any], value: Any, told: str) -> None:
    with pytest.raises(BadTimeline) as error:
        Layout.from_node(changed(place, value))
    assert str(error.value).startswith(told)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 250
