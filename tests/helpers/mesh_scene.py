"""Servers that gossip over a mesh, or along trees, to be measured and tested."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from consensus.faults.faults import Faults, fault_from_node
from consensus.network.clock import Clock
from consensus.network.mesh import Mesh, MeshNetwork
from consensus.network.network import Network
from consensus.network.peers import Degrees
from consensus.network.topology import Topology
from consensus.network.traced import Book
from consensus.network.traced_mesh import TracedMeshNetwork
from consensus.server.message import Message

BANDWIDTH = 119.2
"""MiB/s of every server, 1 Gbit/s."""


def anywhere(servers: int, seed: int = 0, least: float = 0.010, most: float = 0.150) -> Topology:
    """Everyone linked with everyone, over latencies drawn uniformly, in seconds."""
    drawn = np.triu(np.random.default_rng((seed, 1)).uniform(least, most, (servers, servers)), 1)
    others = [[o for o in range(servers) if o != server] for server in range(servers)]
    return Topology(np.zeros(servers, np.int64), drawn + drawn.T, others)


class MeshScene:
    """Servers that note when they hear what, and pass on all that they hear."""

    def __init__(
        self,
        topology: Topology,
        *faults: dict[str, Any],
        mesh: bool = True,
        degrees: Degrees | None = None,
        seed: int = 0,
        silent: Sequence[int] = (),
        jitter: float = 0.0,
        book: Book | None = None,
    ) -> None:
        """``silent``: servers that are up and pass nothing on; ``book``: of all deliveries over a
        mesh."""
        servers = topology.servers
        self.env = Clock()
        self.up = [True] * servers
        self.sent: dict[Any, tuple[int, float]] = {}
        """By body: its origin, and when it was sent."""
        self.heard: dict[Any, dict[int, float]] = {}
        """By body: the seconds from its sending to the first hearing of each server."""
        self.told: Counter[tuple[Any, int]] = Counter()
        """(body, server): number of times that the server was handed it."""
        self.damaged = 0
        """Number of messages that were handed to servers with another body than was sent."""
        found = [fault_from_node(node) for node in faults]
        drawn = Faults(found, servers, np.random.default_rng((seed, 2))) if found else None
        parts = self.env, topology, BANDWIDTH, jitter, self._receive, drawn
        if mesh:
            made = Mesh(
                lambda *label: np.random.default_rng((seed, 3, *label)), degrees or Degrees()
            )
            more: dict[str, Any] = {"mesh": made, "is_up": lambda s: self.up[s]}
            self.network: Network = (
                MeshNetwork(*parts, **more)
                if book is None
                else TracedMeshNetwork(*parts, **more, book=book)
            )
        else:
            self.network = Network(*parts)
        self.network.begin(np.random.default_rng((seed, 4)))
        for server in silent:
            self.network.set_relaying(server, False)

    def _receive(self, server: int, message: Message, origin: int) -> float | None:
        if not self.up[server]:
            return None
        if message.body not in self.sent:
            self.damaged += 1
            return None
        self.told[message.body, server] += 1
        first = self.heard[message.body]
        if server in first:
            return None
        first[server] = self.env.now - self.sent[message.body][1]
        return self.env.now

    def speak(self, origin: int, at: float, body: Any, size: int = 1000) -> None:
        """Let a server gossip a message at a time."""
        self.sent[body], self.heard[body] = (origin, at), {}

        def gossip(_: object) -> None:
            if self.up[origin]:
                self.network.gossip(origin, Message("note", body, size), at)

        self.env.call_at(at, gossip, None)

    def set_up(self, server: int, at: float, up: bool) -> None:
        """Let a server go down, or come back, at a time."""

        def change(_: object) -> None:
            self.up[server] = up
            self.network.set_relaying(server, up)

        self.env.call_at(at, change, None)

    def play(self, until: float) -> None:
        """Let the clock run to a time in seconds."""
        self.env.run(until=until)

    def delivered(self, bodies: Sequence[Any], servers: Sequence[int]) -> float:
        """The share of deliveries to ``servers`` that took place, origins left out."""
        wanted = [(body, s) for body in bodies for s in servers if s != self.sent[body][0]]
        return sum(server in self.heard[body] for body, server in wanted) / len(wanted)

    def seconds(self, bodies: Sequence[Any]) -> np.ndarray:
        """The seconds of all deliveries of ``bodies``."""
        return np.array([s for body in bodies for s in self.heard[body].values()])
