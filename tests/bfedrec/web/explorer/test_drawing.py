"""Positions in drawings of networks."""

from __future__ import annotations

from itertools import combinations
from math import hypot

import numpy as np
import pytest

from bfedrec.web.explorer.drawing import (
    MOST_DRAWN,
    MOST_LINES,
    MOST_LINKS,
    Map,
    network_map,
    severed_links,
)
from consensus.network.topology import Topology
from consensus.simulation.layout import Layout, Link


def layout(servers: int, regions: int, links: int = 3) -> Layout:
    graph = Topology.generate(np.random.default_rng(1), servers, regions, links, 5, 60)
    return Layout.of(graph.regions.tolist(), [1] * servers, {}, graph, None)


def all_within(drawn: Map) -> bool:
    return all(
        drawn.radius <= node.x <= drawn.width - drawn.radius
        and drawn.radius <= node.y <= drawn.height - drawn.radius
        for node in drawn.nodes
    )


@pytest.mark.parametrize(
    ("servers", "regions"),
    [(1, 1), (2, 1), (4, 1), (9, 3), (13, 1), (30, 4), (64, 8), (65, 2), (300, 5), (1000, 1)],
)
def test_servers_stand_apart_within_the_drawing_and_their_region(
    servers: int, regions: int
) -> None:
    drawn = network_map(layout(servers, regions))
    assert len(drawn.nodes) == servers
    assert all_within(drawn)
    nearest = min(
        (hypot(a.x - b.x, a.y - b.y) for a, b in combinations(drawn.nodes, 2)), default=1e9
    )
    assert nearest > 1.9 * drawn.radius
    found = {region.name: region for region in drawn.regions}
    for node in drawn.nodes:
        region = found[node.server.region]
        assert hypot(node.x - region.x, node.y - region.y) <= region.radius - drawn.radius
    for one, other in combinations(drawn.regions, 2):
        assert hypot(one.x - other.x, one.y - other.y) > 0.99 * (one.radius + other.radius)
    assert drawn.labelled == (servers <= 64)


def test_links_lead_from_server_to_server() -> None:
    drawn = network_map(layout(9, 3))
    assert drawn.lines
    assert drawn.paths == {}
    for line in drawn.lines:
        one, other = drawn.nodes[line.link.one], drawn.nodes[line.link.other]
        assert (line.x1, line.y1, line.x2, line.y2) == (one.x, one.y, other.x, other.y)
        same = one.server.region == other.server.region
        assert line.kind == ("within" if same else "between")


def test_many_links_are_one_path_of_each_kind() -> None:
    whole = layout(300, 4)
    assert whole.links is not None
    assert len(whole.links) > MOST_LINES
    drawn = network_map(whole, frozenset(whole.links[:3]))
    assert drawn.lines == ()
    assert sorted(drawn.paths) == ["between", "severed", "within"]
    assert drawn.paths["severed"].count("M") == 3
    assert sum(path.count("M") for path in drawn.paths.values()) == len(whole.links)


def test_too_many_links_and_servers_are_not_drawn() -> None:
    full = layout(120, 1, links=119)
    assert full.links is not None
    assert len(full.links) > MOST_LINKS
    drawn = network_map(full)
    assert (drawn.lines, drawn.paths) == ((), {})
    crowd = Layout.of([0] * (MOST_DRAWN + 5), [1] * (MOST_DRAWN + 5), {}, None, None)
    assert len(network_map(crowd).nodes) == MOST_DRAWN
    far = Layout(crowd.servers, (Link(0, MOST_DRAWN + 1, 5), Link(0, 1, 5)))
    assert [line.link.other for line in network_map(far).lines] == [1]
    assert network_map(Layout(())).nodes == ()


def test_links_are_severed_by_servers_that_are_down_and_by_cuts() -> None:
    whole = layout(6, 1, links=5)
    assert whole.links is not None

    def pairs(links: frozenset[Link]) -> set[tuple[int, int]]:
        return {(link.one, link.other) for link in links}

    assert severed_links(whole, (), []) == frozenset()
    assert pairs(severed_links(whole, [2], [])) == {(0, 2), (1, 2), (2, 3), (2, 4), (2, 5)}
    parts = [{0: 0, 1: 0}, {0: 0, 1: 0, 2: 0, 3: 0, 4: 0}]
    across = {(one, other) for one in (0, 1) for other in (2, 3, 4, 5)}
    assert pairs(severed_links(whole, (), parts)) == across | {(2, 5), (3, 5), (4, 5)}
