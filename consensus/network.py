"""The network between edge servers: a graph with latencies, and gossip along shortest paths.

A message reaches every server along the tree of shortest paths from its origin: each server
passes it on to its children once it has checked it. One event per delivery, no process per
message. Every server has one egress and one ingress queue of finite bandwidth, so load shows as
delay. All timing lives here: senders and receivers know none.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import simpy
from scipy.sparse import csr_array
from scipy.sparse.csgraph import dijkstra, minimum_spanning_tree
from simpy.events import Event

MIB = 2**20


@dataclass(frozen=True)
class Message:
    """What travels: a record, what kind it is, and how many bytes its encoding has."""

    kind: str
    body: Any
    size: int


@dataclass(frozen=True)
class Topology:
    """A connected graph of servers, with the gossip tree of every origin."""

    regions: np.ndarray
    """int64[servers]: the region of each server."""
    latency: np.ndarray
    """float64[servers, servers]: seconds over a direct link (used only where one exists)."""
    children: list[list[list[int]]]
    """children[origin][server]: whom ``server`` passes origin's messages on to."""
    links: int
    """How many links the graph has."""

    @classmethod
    def generate(
        cls,
        generator: np.random.Generator,
        servers: int,
        regions: int,
        links_per_server: int,
        within_ms: float,
        between_ms: float,
    ) -> Topology:
        """Servers dealt over regions; each linked to its ``links_per_server`` nearest and along a
        minimum spanning tree, which keeps the graph connected. The base latency of a pair is
        ``within_ms`` or ``between_ms`` times a factor drawn from [0.5, 1.5). Raises ValueError
        for a latency that is not above zero."""
        if min(within_ms, between_ms) <= 0.0:
            raise ValueError(
                f"latencies are above zero: {within_ms} ms within a region and "
                f"{between_ms} ms between regions are not"
            )
        region = np.arange(servers) % regions
        same = region[:, None] == region[None, :]
        factor = generator.uniform(0.5, 1.5, (servers, servers))
        factor = np.triu(factor, 1)
        latency = (factor + factor.T) * np.where(same, within_ms, between_ms) / 1000.0
        if servers == 1:
            return cls(region, latency, [[[]]], 0)
        graph = minimum_spanning_tree(csr_array(latency)).toarray() > 0
        nearest = np.argsort(latency + np.diag(np.full(servers, np.inf)), axis=1, kind="stable")
        for server in range(servers):
            graph[server, nearest[server, :links_per_server]] = True
        graph |= graph.T
        np.fill_diagonal(graph, False)  # more links asked for than there are others
        weights = csr_array(np.where(graph, latency, 0.0))
        _, predecessors = dijkstra(weights, directed=False, return_predecessors=True)
        children: list[list[list[int]]] = []
        for origin in range(servers):
            tree: list[list[int]] = [[] for _ in range(servers)]
            for server, parent in enumerate(predecessors[origin].tolist()):
                if parent >= 0:
                    tree[parent].append(server)
            children.append(tree)
        return cls(region, latency, children, int(graph.sum()) // 2)


class _Delivery(Event):
    """The arrival of a message at a server."""

    __slots__ = ("epoch", "message", "origin", "server")

    def __init__(
        self, network: Network, delay: float, server: int, message: Message, origin: int
    ) -> None:
        self.env = env = network.env
        self.callbacks = [network._arrive]
        self._ok = True
        self._value = None
        self._defused = False
        self.server = server
        self.message = message
        self.origin = origin
        self.epoch = network.epoch
        env.schedule(self, delay=delay)


class Network:
    """Gossip among servers on a SimPy clock."""

    #: How many jitter draws are made at a time.
    _DRAWS: ClassVar[int] = 4096

    def __init__(
        self,
        env: simpy.Environment,
        topology: Topology,
        bandwidth_mib_per_s: float,
        jitter: float,
        receive: Callable[[int, Message], float | None],
    ) -> None:
        """``receive(server, message)`` handles a delivery and returns the time from which the
        message may be passed on, or None if it is not worth passing on. ``jitter`` is the mean of
        the exponential factor by which a hop's latency is stretched."""
        self.env = env
        self.topology = topology
        self.epoch = 0
        self.bytes: Counter[str] = Counter()
        """Bytes sent between servers, by kind of message, every hop counted."""
        self._latency: list[list[float]] = topology.latency.tolist()
        self._seconds_per_byte = 1.0 / (bandwidth_mib_per_s * MIB)
        self._jitter = jitter
        self._receive = receive
        self._egress_free = [0.0] * len(topology.children)
        self._ingress_free = [0.0] * len(topology.children)
        self._generator: np.random.Generator | None = None
        self._draws: list[float] = []

    def begin(self, generator: np.random.Generator) -> None:
        """Begin a height: what is still in flight from the one before is void, queues are empty,
        and jitter is drawn from ``generator`` from here on."""
        self.epoch += 1
        self._generator = generator
        self._draws = []
        now = self.env.now
        self._egress_free = [now] * len(self._egress_free)
        self._ingress_free = [now] * len(self._ingress_free)

    def gossip(self, origin: int, message: Message, at: float) -> None:
        """Send ``message`` from ``origin`` to every other server, leaving at time ``at``."""
        self._forward(origin, origin, message, at)

    def _forward(self, server: int, origin: int, message: Message, at: float) -> None:
        children = self.topology.children[origin][server]
        if not children:
            return
        draws = self._draws
        if len(draws) < len(children):
            self._refill(len(children))
        transmission = message.size * self._seconds_per_byte
        now = self.env.now
        leave, free = self._egress_free[server], self._ingress_free
        if at > leave:
            leave = at
        latency, jitter = self._latency[server], self._jitter
        for child in children:
            leave += transmission
            arrive = leave + latency[child] * (1.0 + jitter * draws.pop())
            # The queue at the receiver is entered in the order of sending, not of arrival: one
            # event per delivery instead of two, for a difference of at most a transmission time.
            ready = free[child] + transmission
            if arrive > ready:
                ready = arrive
            free[child] = ready
            _Delivery(self, ready - now, child, message, origin)
        self._egress_free[server] = leave
        self.bytes[message.kind] += message.size * len(children)

    def _arrive(self, delivery: Event) -> None:
        assert isinstance(delivery, _Delivery)
        if delivery.epoch != self.epoch:
            return
        at = self._receive(delivery.server, delivery.message)
        if at is not None:
            self._forward(delivery.server, delivery.origin, delivery.message, at)

    def _refill(self, needed: int) -> None:
        """Draw jitter for the next messages, in one go: a draw at a time costs ten times more."""
        assert self._generator is not None, "begin() comes before any message"
        fresh = self._generator.standard_exponential(max(needed, self._DRAWS))
        self._draws[:0] = fresh.tolist()
