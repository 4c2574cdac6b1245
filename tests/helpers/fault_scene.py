"""Servers that speak to each other while faults strike: the bench of the tests of faults."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from consensus.encoding.fields import Record, fields_of, fixed_bytes, integer, names_of
from consensus.faults.faults import Faults, fault_from_node
from consensus.network.clock import Clock
from consensus.network.network import Network
from consensus.network.topology import Topology
from consensus.server.message import Message

LATENCY = 0.010
"""Seconds between any two servers of a `Scene`."""
STEP = 0.1
"""Seconds between the messages of a `Scene`."""


@dataclass(frozen=True)
class Note(Record):
    """A record with little in it."""

    KIND: ClassVar[str] = "note"

    number: int
    text: bytes

    @classmethod
    def from_node(cls, node: Any) -> Self:
        found = fields_of(node, "note", names_of(cls))
        return cls(integer(found["number"], "number"), fixed_bytes(found["text"], "text", 16))


def mesh(servers: int) -> Topology:
    """Everyone linked with everyone, equally far."""
    latency = np.full((servers, servers), LATENCY)
    np.fill_diagonal(latency, 0.0)
    others = [[o for o in range(servers) if o != server] for server in range(servers)]
    return Topology(np.zeros(servers, np.int64), latency, others)


def row(servers: int) -> Topology:
    """0 - 1 - 2 - ...: links between neighbours only."""
    ends = [[o for o in (s - 1, s + 1) if 0 <= o < servers] for s in range(servers)]
    return Topology(np.zeros(servers, np.int64), mesh(servers).latency, ends)


def faults_of(*nodes: dict[str, Any], servers: int = 4, seed: int = 0) -> Faults:
    return Faults([fault_from_node(node) for node in nodes], servers, np.random.default_rng(seed))


class Scene:
    """Servers that speak every tenth of a second while faults strike; who heard what, and when.

    A message's body is (when it was sent, number): the numbers count up.
    """

    def __init__(
        self,
        *nodes: dict[str, Any],
        servers: int = 4,
        seed: int = 0,
        until: float = 10.0,
        topology: Topology | None = None,
        size: int = 0,
        body: Callable[[float, int], Any] = lambda now, number: (now, number),
        gossip: bool = False,
    ) -> None:
        self.env = Clock()
        self.faults = faults_of(*nodes, servers=servers, seed=seed)
        self.heard: list[tuple[float, int, int, Any]] = []
        """(when, by whom, from whom, body)"""
        self.network = Network(
            self.env, topology or mesh(servers), 1.0, 0.0, self._receive, self.faults
        )
        self.network.begin(np.random.default_rng(seed))
        self.sent: dict[tuple[int, int, Any], float] = {}
        """(by whom, from whom, body): when it was sent"""
        number = 0
        for tick in range(round(until / STEP)):
            for origin in range(servers):
                number += 1
                timeout = self.env.timeout(tick * STEP)
                message = Message("note", body(tick * STEP, number), size)

                def speak(_: Any, origin: int = origin, message: Message = message) -> None:
                    now = self.env.now
                    others = [server for server in range(servers) if server != origin]
                    for other in others:
                        self.sent[other, origin, message.body] = now
                    if gossip:
                        self.network.gossip(origin, message, now)
                    else:
                        self.network.send_many(origin, others, message, now)

                timeout.callbacks.append(speak)
        self.env.run()

    def _receive(self, server: int, message: Message, origin: int) -> float | None:
        first = not any(entry[1:] == (server, origin, message.body) for entry in self.heard[-300:])
        self.heard.append((self.env.now, server, origin, message.body))
        return self.env.now if first else None

    @property
    def times(self) -> dict[tuple[int, int, Any], list[float]]:
        """When each message was heard: (by whom, from whom, body) to times."""
        found: dict[tuple[int, int, Any], list[float]] = {}
        for at, server, origin, body in self.heard:
            found.setdefault((server, origin, body), []).append(at)
        return found

    def unheard(self) -> set[tuple[int, int, Any]]:
        return self.sent.keys() - self.times.keys()


def within(sent: float, since: float, until: float) -> bool:
    return since <= sent < until


def note(now: float, number: int) -> Note:
    return Note(number, b"sixteen bytes of")
