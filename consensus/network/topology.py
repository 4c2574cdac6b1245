"""The graph of edge servers: links, latencies and shortest paths.

A `Topology` is the graph as it was laid out. An `Overlay` is the set of links in use at a time,
with detours around servers that relay nothing and around cut links, as the neighbours in a gossip
overlay make them. Shortest paths are computed for an origin when first asked for: at 1,000 servers
all of them would be a million entries, of which a run may use few.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from heapq import heappop, heappush
from math import inf
from typing import Self

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import dijkstra

#: Up to this many servers plain Python is faster than handing a graph to SciPy.
SMALL = 32

#: Rows of a matrix over pairs of servers that are worked on at once: the matrix is the largest
#: array there is, so nothing of its size is made beside it.
BLOCK = 256


@dataclass(frozen=True)
class Tree:
    """The shortest paths from one server to all others."""

    parents: array[int]
    """int32[servers]: the server before each on its path; -1 for the origin, and where there is no
    path."""
    seconds: array[float]
    """float64[servers]: latency of the path to each server in seconds; infinite if there is no
    path."""
    hops: array[int]
    """uint16[servers]: number of links on that path."""

    @cached_property
    def children(self) -> list[tuple[int, ...]]:
        """children[server]: the servers to which ``server`` passes the origin's messages on,
        ascending."""
        found: list[list[int] | None] = [None] * len(self.parents)
        for server, parent in enumerate(self.parents):
            if parent < 0:
                continue
            siblings = found[parent]
            if siblings is None:
                found[parent] = [server]
            else:
                siblings.append(server)
        return [() if one is None else tuple(one) for one in found]


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
        latency = generator.uniform(0.5, 1.5, (servers, servers))
        _mirror(latency)
        for rows in _blocks(servers):
            same = region[rows, None] == region[None, :]
            latency[rows] *= np.where(same, within_ms, between_ms)
            latency[rows] /= 1000.0
        links = [*spanning_tree(latency), *_nearest(latency, links_per_server)]
        return cls(region, latency, _both_ways(servers, links))

    @classmethod
    def measured(cls, placement: np.ndarray, seconds: np.ndarray, links_per_server: int) -> Self:
        """The graph of servers in regions between which latencies were measured.

        Links as in `generate`; of pairs that are equally near, those of lower numbers come first.
        ``placement``: int64[servers], the region of each server. ``seconds``: float64[regions,
        regions], one way, symmetric and above zero, also between two servers of one region.
        """
        servers = len(placement)
        latency = np.empty((servers, servers))
        for rows in _blocks(servers):
            latency[rows] = seconds[placement[rows, None], placement[None, :]]
        np.fill_diagonal(latency, 0.0)
        links = [*spanning_tree(latency), *_nearest(latency, links_per_server)]
        return cls(placement, latency, _both_ways(servers, links))

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
        self.latency = latency = topology.latency
        """float64[servers, servers]: seconds over a direct link, as `Topology.latency`."""
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
            tree = self._trees[origin] = self._walk(origin) if small else self._search(origin)
        return tree

    def _walk(self, origin: int) -> Tree:
        """The shortest paths by Dijkstra's algorithm."""
        seconds = array("d", [inf]) * len(self.links)
        parents = array("i", [-1]) * len(self.links)
        hops = array("H", [0]) * len(self.links)
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
                    hops[other] = hops[server] + 1
                    heappush(ahead, (there, other))
        return Tree(parents, seconds, hops)

    def _search(self, origin: int) -> Tree:
        """The shortest paths by SciPy, which is faster for many servers."""
        graph = self._graph if self._relays[origin] else self._links_of(origin)
        seconds, before = dijkstra(graph, indices=np.array([origin]), return_predecessors=True)
        parents = np.maximum(before[0], -1)
        hops = np.zeros(len(parents), np.uint16)
        ancestors = parents
        while (further := ancestors >= 0).any():
            hops += further
            ancestors = np.where(further, parents[ancestors], -1)
        return Tree(
            array("i", parents.astype(np.int32).tobytes()),
            array("d", seconds[0].tobytes()),
            array("H", hops.tobytes()),
        )

    @cached_property
    def _graph(self) -> csr_array:
        """The links from relaying servers, float64[servers, servers] seconds."""
        return self._links_of(None)

    def _links_of(self, origin: int | None) -> csr_array:
        """The links from relaying servers and from ``origin``."""
        out = [
            links if self._relays[server] or server == origin else {}
            for server, links in enumerate(self.links)
        ]
        starts = np.cumsum([0, *map(len, out)])
        targets = np.array([other for links in out for other in links], np.int32)
        latencies = np.array([value for links in out for value in links.values()])
        return csr_array((latencies, targets, starts), shape=(len(out), len(out)))


def regions_of(servers: int, regions: int) -> np.ndarray:
    """The region of each server (int64[servers]): they take turns."""
    return np.arange(servers) % regions


def _blocks(servers: int) -> Iterator[slice]:
    """The rows of a matrix over pairs of servers, `BLOCK` at a time."""
    return (slice(row, min(row + BLOCK, servers)) for row in range(0, servers, BLOCK))


def _mirror(pairs: np.ndarray) -> None:
    """Overwrite the numbers below the diagonal by those above it, and the diagonal by 0."""
    for rows in _blocks(len(pairs)):
        pairs[rows.stop :, rows] = pairs[rows, rows.stop :].T
        upper = np.triu(pairs[rows, rows], 1)
        pairs[rows, rows] = upper + upper.T


def spanning_tree(latency: np.ndarray) -> list[tuple[int, int]]:
    """The links of a minimum spanning tree over all pairs (Prim's algorithm)."""
    servers = len(latency)
    if servers > SMALL:
        return _joints(latency, list(np.arange(servers)[:, None]))
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


def _nearest(latency: np.ndarray, count: int) -> Iterator[tuple[int, int]]:
    """Links from every server to its ``count`` nearest others."""
    count = min(count, len(latency) - 1)
    for rows in _blocks(len(latency)):
        block = latency[rows]
        furthest = np.partition(block, count, axis=1)[:, count]  # itself, at distance 0, is first
        for server, row, most in zip(range(rows.start, rows.stop), block, furthest, strict=True):
            near = np.flatnonzero(row <= most)
            order = near[np.argsort(row[near], kind="stable")]
            yield from ((server, other) for other in order[1 : count + 1].tolist())


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
