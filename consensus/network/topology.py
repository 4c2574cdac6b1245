"""The graph of edge servers: links, latencies and shortest paths.

A `Topology` is the graph as it was laid out. An `Overlay` is the set of links in use at a time,
with detours around servers that relay nothing and around cut links, as the neighbours in a gossip
overlay make them. Shortest paths are computed for an origin when first asked for: at 1,000 servers
all of them would be a million entries, of which a run may use few.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from heapq import heappop, heappush
from math import inf
from typing import Self

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import dijkstra, minimum_spanning_tree

#: Up to this many servers plain Python is faster than handing a graph to SciPy.
SMALL = 32


@dataclass(frozen=True, slots=True)
class Tree:
    """The shortest paths from one server to all others."""

    children: list[tuple[int, ...]]
    """children[server]: the servers to which ``server`` passes the origin's messages on."""
    seconds: array[float]
    """float64[servers]: latency of the path to each server in seconds; infinite if there is no
    path."""
    hops: array[int]
    """uint16[servers]: number of links on that path."""


@dataclass(frozen=True, eq=False)
class Topology:
    """A connected graph of servers with latencies."""

    regions: np.ndarray
    """int64[servers]: the region of each server."""
    latency: np.ndarray
    """float64[servers, servers]: seconds over a direct link between two servers, symmetric. Also
    set for pairs without a link, which may get one as a detour."""
    neighbours: Sequence[Sequence[int]]
    """neighbours[server]: the servers linked to ``server``, ascending; links go both ways."""
    overlay: Overlay = field(init=False, repr=False)
    """The links as laid out, with all servers relaying; its shortest paths are kept once
    computed."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "overlay", Overlay(self))

    @classmethod
    def generate(
        cls,
        generator: np.random.Generator,
        servers: int,
        regions: int,
        links_per_server: int,
        within_ms: float,
        between_ms: float,
    ) -> Self:
        """Draw a connected graph of servers in regions.

        Each server is linked to its ``links_per_server`` nearest and along a minimum spanning tree,
        which keeps the graph connected. The base latency of a pair is ``within_ms`` or
        ``between_ms`` milliseconds times a factor drawn from [0.5, 1.5). Raises ValueError for a
        latency that is not above zero.
        """
        if min(within_ms, between_ms) <= 0.0:
            raise ValueError(
                f"latencies are above zero: {within_ms} ms within a region and "
                f"{between_ms} ms between regions are not"
            )
        region = regions_of(servers, regions)
        same = region[:, None] == region[None, :]
        factor = np.triu(generator.uniform(0.5, 1.5, (servers, servers)), 1)
        latency = (factor + factor.T) * np.where(same, within_ms, between_ms) / 1000.0
        links = [*spanning_tree(latency), *_nearest(latency, links_per_server)]
        return cls(region, latency, _both_ways(servers, links))

    @classmethod
    def complete(cls, generator: np.random.Generator, servers: int, latency_ms: float) -> Self:
        """A graph with a link between every two servers, in one region."""
        return cls.generate(generator, servers, 1, servers - 1, latency_ms, latency_ms)

    @classmethod
    def ring(cls, generator: np.random.Generator, servers: int, latency_ms: float) -> Self:
        """A ring: every server linked with the one before and the one after it, in one region."""
        pairs = cls.generate(generator, servers, 1, 0, latency_ms, latency_ms)
        links = ((server, (server + 1) % servers) for server in range(servers))
        return cls(pairs.regions, pairs.latency, _both_ways(servers, links))

    @property
    def servers(self) -> int:
        """Number of servers."""
        return len(self.neighbours)

    @property
    def links(self) -> int:
        """Number of links."""
        return sum(map(len, self.neighbours)) // 2


class Overlay:
    """The links in use while some servers relay nothing and some pairs are cut from each other.

    A server that does not relay is no inner node of any path: it sends and receives over links to
    relaying servers only. If the relaying servers are not connected without it, the cheapest links
    that connect them are opened (a minimum spanning tree over all latencies, in which existing
    links come first); likewise a link from a server without a relaying neighbour to the nearest
    relaying one. No link is used in a cut direction, and none is opened between a pair that is cut
    in either direction; servers that cannot be reached under these rules stay unreached.
    """

    def __init__(
        self,
        topology: Topology,
        relays: Sequence[bool] | None = None,
        cut: np.ndarray | None = None,
    ) -> None:
        """``relays[server]``: true if it passes messages on (by default all do). ``cut``:
        bool[servers, servers], true where the row's server cannot reach the column's."""
        servers = range(topology.servers)
        self._relays = [True] * len(servers) if relays is None else list(relays)
        self._numbers = list(servers)  # one int object per server, shared by all trees
        self._trees: dict[int, Tree] = {}
        neighbours = topology.neighbours
        if relays is not None or cut is not None:
            neighbours = _mended(topology, self._relays, cut)
        latency = topology.latency
        self.links: list[dict[int, float]] = []
        """links[server]: latency in seconds by linked server."""
        for server in servers:
            others = neighbours[server]
            if cut is not None:
                others = [other for other in others if not cut[server, other]]
            self.links.append(dict(zip(others, latency[server, others].tolist(), strict=True)))

    def tree(self, origin: int) -> Tree:
        """The shortest paths from ``origin``."""
        tree = self._trees.get(origin)
        if tree is None:
            small = len(self.links) <= SMALL
            seconds, parents = self._walk(origin) if small else self._search(origin)
            tree = self._trees[origin] = self._tree(seconds, parents)
        return tree

    def _walk(self, origin: int) -> tuple[list[float], list[int]]:
        """Dijkstra's algorithm: seconds from ``origin``, and each server's parent (-1 if none)."""
        seconds = [inf] * len(self.links)
        parents = [-1] * len(self.links)
        seconds[origin] = 0.0
        ahead = [(0.0, origin)]
        while ahead:
            so_far, server = heappop(ahead)
            if so_far > seconds[server] or not (self._relays[server] or server == origin):
                continue
            for other, latency in self.links[server].items():
                there = so_far + latency
                if there < seconds[other]:
                    seconds[other] = there
                    parents[other] = server
                    heappush(ahead, (there, other))
        return seconds, parents

    def _search(self, origin: int) -> tuple[list[float], list[int]]:
        """Dijkstra's algorithm by SciPy, which is faster for many servers."""
        sources, targets, latencies = self._arrays
        servers = len(self.links)
        if not all(self._relays):
            used = np.asarray(self._relays)[sources] | (sources == origin)
            sources, targets, latencies = sources[used], targets[used], latencies[used]
        starts = np.searchsorted(sources, np.arange(servers + 1))
        graph = csr_array((latencies, targets, starts), shape=(servers, servers))
        seconds, parents = dijkstra(graph, indices=np.array([origin]), return_predecessors=True)
        return seconds[0].tolist(), parents[0].tolist()

    @cached_property
    def _arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """All links by source: int32 source and target, float64 seconds."""
        sources = np.repeat(np.arange(len(self.links)), [len(links) for links in self.links])
        targets = np.array([other for links in self.links for other in links], np.int32)
        latencies = np.array([value for links in self.links for value in links.values()])
        return sources, targets, latencies

    def _tree(self, seconds: list[float], parents: list[int]) -> Tree:
        children: list[list[int] | None] = [None] * len(parents)
        hops = array("H", [0]) * len(parents)
        for server in sorted(self._numbers, key=seconds.__getitem__):  # a parent comes first
            parent = parents[server]
            if parent < 0:
                continue  # the origin, or out of reach
            hops[server] = hops[parent] + 1
            siblings = children[parent]
            if siblings is None:
                children[parent] = [server]
            else:
                siblings.append(server)
        return Tree(
            [() if found is None else tuple(sorted(found)) for found in children],
            array("d", seconds),
            hops,
        )


def regions_of(servers: int, regions: int) -> np.ndarray:
    """The region of each server (int64[servers]): they take turns."""
    return np.arange(servers) % regions


def spanning_tree(latency: np.ndarray) -> list[tuple[int, int]]:
    """The links of a minimum spanning tree over all pairs (Prim's algorithm; SciPy's for many
    servers)."""
    servers = len(latency)
    if servers > SMALL:
        found = minimum_spanning_tree(csr_array(latency)).tocoo()
        return list(zip(found.row.tolist(), found.col.tolist(), strict=True))
    rows = latency.tolist()
    links = []
    outside = list(range(1, servers))
    nearest = [
        (seconds, 0) for seconds in rows[0]
    ]  # (seconds, nearest server of the tree) for each server
    while outside:
        server = min(outside, key=nearest.__getitem__)
        outside.remove(server)
        links.append((nearest[server][1], server))
        row = rows[server]
        for other in outside:
            if row[other] < nearest[other][0]:
                nearest[other] = (row[other], server)
    return links


def _nearest(latency: np.ndarray, count: int) -> list[tuple[int, int]]:
    """Links from every server to its ``count`` nearest others."""
    servers = len(latency)
    order = np.argsort(latency, axis=1, kind="stable")[:, : count + 1].tolist()
    # The first entry is the server itself, at distance 0.
    return [(server, other) for server in range(servers) for other in order[server][1:]]


def _both_ways(servers: int, links: Iterable[tuple[int, int]]) -> list[list[int]]:
    """Neighbours of every server, ascending; links to oneself and repeated ones are dropped."""
    found: list[set[int]] = [set() for _ in range(servers)]
    for one, other in links:
        if one != other:
            found[one].add(other)
            found[other].add(one)
    return [sorted(neighbours) for neighbours in found]


def _mended(
    topology: Topology, relays: Sequence[bool], cut: np.ndarray | None
) -> Sequence[Sequence[int]]:
    """The topology's neighbours together with the links that `Overlay` opens."""
    everyone = range(topology.servers)
    relaying = np.asarray(relays)
    if not relaying.any():  # nobody relays: every two servers are linked
        return [[other for other in everyone if other != server] for server in everyone]
    latency = topology.latency
    if cut is not None:
        latency = np.where(cut | cut.T, inf, latency)
    opened = _joints(latency, _parts(topology.neighbours, relays, latency))
    for server in np.flatnonzero(~relaying).tolist():
        if not any(relays[o] and latency[server, o] < inf for o in topology.neighbours[server]):
            opened.append((server, int(np.argmin(np.where(relaying, latency[server], inf)))))
    if not opened:
        return topology.neighbours
    laid = ((server, other) for server in everyone for other in topology.neighbours[server])
    return _both_ways(topology.servers, [*laid, *opened])


def _joints(latency: np.ndarray, parts: list[np.ndarray]) -> list[tuple[int, int]]:
    """The cheapest links that join the parts as far as possible (Prim's algorithm over the
    parts)."""
    joints: list[tuple[int, int]] = []
    if len(parts) == 1:
        return joints
    part_of = np.empty(len(latency), np.int64)
    nearest = np.full(len(latency), inf)  # seconds to each server that is not joined yet ...
    nearest_from = np.empty(len(latency), np.int64)  # ... and the server it is nearest to
    outside = np.zeros(len(latency), bool)
    for index, part in enumerate(parts):
        part_of[part] = index
        outside[part] = True
    left = list(range(len(parts)))
    joined = left[0]
    while True:
        left.remove(joined)
        if not left:
            return joints
        part = parts[joined]
        outside[part] = False
        best = np.argmin(latency[part], axis=0)
        seconds = latency[part[best], np.arange(len(latency))]
        closer = seconds < nearest
        nearest[closer], nearest_from[closer] = seconds[closer], part[best[closer]]
        server = int(np.argmin(np.where(outside, nearest, inf)))
        if not outside[server] or nearest[server] == inf:
            joined = left[0]  # the rest is out of reach: join it among itself

            continue
        joints.append((int(nearest_from[server]), server))
        joined = int(part_of[server])


def _parts(
    neighbours: Sequence[Sequence[int]], relays: Sequence[bool], latency: np.ndarray
) -> list[np.ndarray]:
    """The connected components of the relaying servers, over links that are open both ways."""
    seen = [not relay for relay in relays]
    parts = []
    for start in range(len(neighbours)):
        if seen[start]:
            continue
        seen[start] = True
        part = [start]
        for server in part:  # grows as it is walked
            for other in neighbours[server]:
                if not seen[other] and latency[server, other] < inf:
                    seen[other] = True
                    part.append(other)
        parts.append(np.array(part))
    return parts
