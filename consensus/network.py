"""The network between edge servers: gossip along shortest paths, and messages to single servers.

A message that is gossiped reaches every server along the tree of shortest paths from its origin:
each server passes it on to its children once it has checked it. One event per delivery, no
process per message. Every server has one egress and one ingress queue of finite bandwidth, so load
shows as delay. All timing lives here: senders and receivers know none.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from heapq import heappush
from typing import Any, ClassVar

import numpy as np
import simpy

from consensus.topology import Overlay, Topology

__all__ = ["MIB", "Message", "Network", "Topology"]

MIB = 2**20


@dataclass(frozen=True, slots=True)
class Message:
    """What travels: a record, what kind it is, and how many bytes its encoding has."""

    kind: str
    body: Any
    size: int


class _Delivery:
    """The arrival of a message at a server: of SimPy's events, what its loop looks at.

    A run makes tens of millions of these, each with one callback that never fails.
    """

    __slots__ = ("callbacks", "epoch", "message", "origin", "server")

    _ok: ClassVar[bool] = True

    def __init__(
        self,
        callbacks: Sequence[Callable[[_Delivery], None]],
        epoch: int,
        server: int,
        message: Message,
        origin: int,
    ) -> None:
        self.callbacks = callbacks
        self.epoch = epoch
        self.server = server
        self.message = message
        self.origin = origin


class Network:
    """Messages among servers on a SimPy clock."""

    #: How many jitter draws are made at a time.
    _DRAWS: ClassVar[int] = 4096

    def __init__(
        self,
        env: simpy.Environment,
        topology: Topology,
        bandwidth_mib_per_s: float,
        jitter: float,
        receive: Callable[[int, Message, int], float | None],
    ) -> None:
        """``receive(server, message, origin)`` handles a delivery and returns the time from which
        the message may be passed on, or None if it is not worth passing on (what came to one
        server alone is not passed on in any case). ``jitter`` is the mean of the exponential
        factor by which the latency of a hop, or of a whole route, is stretched."""
        servers = topology.servers
        self.env = env
        self.topology = topology
        self.epoch = 0
        self.bytes: Counter[str] = Counter()
        """Bytes sent between servers, by kind of message, every hop counted."""
        self._seconds_per_byte = 1.0 / (bandwidth_mib_per_s * MIB)
        self._jitter = jitter
        self._receive = receive
        self._egress_free = [env.now] * servers
        self._ingress_free = [env.now] * servers
        self._relays = [True] * servers
        self._overlay: Overlay | None = topology.overlay
        self._generator: np.random.Generator | None = None
        self._draws: list[float] = []
        self._queue: list[Any] = env._queue
        self._pass_on = [self._arrive]
        self._hand_over = [self._deliver]

    def begin(self, generator: np.random.Generator) -> None:
        """Begin anew: what is still in flight is void, queues are empty, and jitter is drawn from
        ``generator`` from here on. Comes before any message; a height or a whole run may follow."""
        self.epoch += 1
        self._generator = generator
        self._draws = []
        now = self.env.now
        self._egress_free = [now] * len(self._egress_free)
        self._ingress_free = [now] * len(self._ingress_free)

    def set_relaying(self, server: int, relays: bool) -> None:
        """Whether ``server`` passes on what others say: one that is down or silent does not, and
        its neighbours route around it from here on."""
        if self._relays[server] != relays:
            self._relays[server] = relays
            self._overlay = None

    @property
    def overlay(self) -> Overlay:
        """The links in use now."""
        if self._overlay is None:
            if all(self._relays):
                self._overlay = self.topology.overlay
            else:
                self._overlay = Overlay(self.topology, self._relays)
        return self._overlay

    def gossip(self, origin: int, message: Message, at: float) -> None:
        """Send ``message`` from ``origin`` to every other server, leaving at time ``at``."""
        self._forward(origin, origin, message, at)

    def send(self, origin: int, to: int, message: Message, at: float) -> None:
        """Send ``message`` to one server along the shortest path, leaving at time ``at``."""
        self.send_many(origin, (to,), message, at)

    def send_many(
        self, origin: int, recipients: Sequence[int], message: Message, at: float
    ) -> None:
        """Send ``message`` to each of ``recipients`` along the shortest path to it, one after the
        other, leaving at time ``at``; the origin itself is left out.

        The servers on the way only route: they spend a transmission time each but stand in no
        queue, and the message is neither shown to them nor stopped by them.
        """
        tree = (self._overlay or self.overlay).tree(origin)
        seconds, hops = tree.seconds, tree.hops
        draws = self._draws
        if len(draws) < len(recipients):
            draws = self._refill(len(recipients))
        env, jitter, size = self.env, self._jitter, message.size
        transmission = size * self._seconds_per_byte
        queue, number, callbacks, epoch = self._queue, env._eid, self._hand_over, self.epoch
        free = self._ingress_free
        leave = max(self._egress_free[origin], at, env.now)
        links = 0
        for to in recipients:
            away = hops[to]
            if not away:
                continue  # the origin, or out of reach
            links += away
            leave += transmission
            arrive = leave + seconds[to] * (1.0 + jitter * draws.pop())
            if away > 1:
                arrive += (away - 1) * transmission
            ready = free[to] + transmission
            if arrive > ready:
                ready = arrive
            free[to] = ready
            event = _Delivery(callbacks, epoch, to, message, origin)
            heappush(queue, (ready, 1, next(number), event))
        self._egress_free[origin] = leave
        self.bytes[message.kind] += size * links

    def _forward(self, server: int, origin: int, message: Message, at: float) -> None:
        overlay = self._overlay or self.overlay
        children = overlay.tree(origin).children[server]
        if not children:
            return
        draws = self._draws
        if len(draws) < len(children):
            draws = self._refill(len(children))
        env, jitter, size = self.env, self._jitter, message.size
        transmission = size * self._seconds_per_byte
        queue, number, callbacks, epoch = self._queue, env._eid, self._pass_on, self.epoch
        latency, free = overlay.links[server], self._ingress_free
        leave = max(self._egress_free[server], at, env.now)
        for child in children:
            leave += transmission
            arrive = leave + latency[child] * (1.0 + jitter * draws.pop())
            # The queue at the receiver is entered in the order of sending, not of arrival: one
            # event per delivery instead of two, for a difference of at most a transmission time.
            ready = free[child] + transmission
            if arrive > ready:
                ready = arrive
            free[child] = ready
            event = _Delivery(callbacks, epoch, child, message, origin)
            heappush(queue, (ready, 1, next(number), event))
        self._egress_free[server] = leave
        self.bytes[message.kind] += size * len(children)

    def _arrive(self, delivery: _Delivery) -> None:
        if delivery.epoch != self.epoch:
            return
        at = self._receive(delivery.server, delivery.message, delivery.origin)
        if at is not None:
            self._forward(delivery.server, delivery.origin, delivery.message, at)

    def _deliver(self, delivery: _Delivery) -> None:
        if delivery.epoch == self.epoch:
            self._receive(delivery.server, delivery.message, delivery.origin)

    def _refill(self, needed: int) -> list[float]:
        """Draw jitter for the next messages, in one go: a draw at a time costs ten times more."""
        assert self._generator is not None, "begin() comes before any message"
        fresh = self._generator.standard_exponential(max(needed, self._DRAWS))
        self._draws[:0] = fresh.tolist()
        return self._draws
