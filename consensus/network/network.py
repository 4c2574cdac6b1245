"""The network between edge servers: gossip along shortest paths, and messages to single servers.

A gossiped message reaches every server along the tree of shortest paths from its origin: each
server checks it and passes it on to its children. A delivery is one scheduled call, or two if it
has to wait for others; no message has a process. Every server has one egress and one ingress queue
of finite bandwidth, so load shows as delay. All timing is kept here: senders and receivers know
none.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from heapq import heappush
from itertools import count
from math import inf
from typing import Any, ClassVar

import numpy as np

from consensus.faults.faults import Faults
from consensus.faults.kinds import Copy, Cut
from consensus.network.clock import NORMAL, Clock
from consensus.network.peers import MeshStanding
from consensus.network.topology import Overlay, Topology
from consensus.server.message import Message
from consensus.server.unheard import Inbox, NoInbox

MIB = 2**20
CELLS = 12
"""Number of integers shared with compiled loops (`consensus.network.kernels`)."""
LEFT = 1
"""Place of the number of factors of latencies that are left."""

Backlog = tuple[int, float, float, float]
"""A server, and the simulated seconds at which its egress queue, its ingress queue and its
processor are free."""

_Delivery = tuple[int, int, Message, int, Any]
"""A message under way: (the network's epoch when it was sent, receiving server, message, origin,
true if it is to be passed on; a network with other ways of gossip marks its messages here)."""


class Network:
    """The transport of messages among servers, on a simulated clock."""

    #: Jitter factors drawn at a time: _DRAWS_EACH for each server, but at most _DRAWS.
    _DRAWS_EACH: ClassVar[int] = 32
    _DRAWS: ClassVar[int] = 4096

    def __init__(
        self,
        env: Clock,
        topology: Topology,
        bandwidth_mib_per_s: float,
        jitter: float,
        receive: Callable[[int, Message, int], float | None],
        faults: Faults | None = None,
    ) -> None:
        """``receive(server, message, origin)`` handles a delivery. It returns the time in seconds
        from which the message may be passed on, or None if it is not to be passed on; a message
        sent to one server is never passed on. ``jitter`` is the mean of an exponential factor by
        which the latency of a hop, or of a whole route, is stretched."""
        self.env = env
        self.topology = topology
        self._bytes: Counter[str] = Counter()
        self.duplicates: Counter[str] = Counter()
        """``messages`` and ``bytes`` of gossip that came where it had been; none over trees."""
        self._seconds_per_byte = 1.0 / (bandwidth_mib_per_s * MIB)
        self._jitter = jitter
        self._receive = receive
        self._faults = faults or Faults((), topology.servers, np.random.default_rng(0))
        self._throttles = self._faults.throttles
        self.busy_until = array("d", bytes(8 * topology.servers))
        """Simulated second at which each server's processor is done with all work charged so
        far."""
        self.delays = array("d", bytes(8 * topology.servers))
        """By server: the longest time in seconds until it took in a message of this epoch
        (`took_in`)."""
        self._egress_free = array("d", [env.now]) * topology.servers
        self._ingress_free = array("d", [env.now]) * topology.servers
        self._relays = [True] * topology.servers
        self._cuts: tuple[Cut, ...] = ()
        self._overlay: Overlay | None = topology.overlay
        self._change_at = -inf if faults else inf
        self._calm_until = inf
        self._generator: np.random.Generator | None = None
        self._stretches = array("d")
        """Factors of latencies, drawn ahead; the next one is the last of those that are left."""
        self._cells = array("q", bytes(8 * CELLS))
        """Integers shared with compiled loops; `LEFT`: the number of factors that are left."""
        self._begun = 0
        """Epoch counter; messages of an earlier epoch are dropped on arrival."""

    @property
    def bytes(self) -> Counter[str]:
        """Bytes sent between servers, by kind of message; every hop counts."""
        return self._bytes

    def begin(self, generator: np.random.Generator) -> None:
        """Begin a new epoch: drop all messages in flight. What has been sent or received still
        takes its time in the queues, and work that of the processors.

        Jitter and the effects of faults are drawn from ``generator`` from here on. To be called
        before any message is sent; an epoch lasts for one height or for a whole run.
        """
        self._begun += 1
        self._generator = generator
        self._cells[LEFT] = 0
        self._faults.begin(generator)
        now = self.env.now
        for times in self._queues:  # in place: compiled loops look at them
            for server, free in enumerate(times):
                times[server] = max(free, now)
        self.measure_anew()

    def measure_anew(self) -> None:
        """Measure delays from here on, within an epoch of many heights."""
        self.delays[:] = array("d", bytes(8 * len(self.delays)))

    @property
    def _queues(self) -> tuple[array[float], array[float], array[float]]:
        """By server: the seconds at which its egress queue, its ingress queue and its processor are
        free."""
        return self._egress_free, self._ingress_free, self.busy_until

    def backlog(self) -> tuple[Backlog, ...]:
        """The servers some of whose queues are not free yet, in ascending order."""
        now = self.env.now
        waiting = zip(count(), *self._queues, strict=False)
        return tuple(each for each in waiting if max(each[1:]) > now)

    def meshes(self) -> tuple[MeshStanding, ...]:
        """The state of each server's mesh; none over trees."""
        return ()

    def restore(self, backlog: Iterable[Backlog], meshes: Iterable[MeshStanding] = ()) -> None:
        """Let queues be free at the times at which they were in an earlier world, and meshes be as
        they were; to be called before the first epoch."""
        for server, *free in backlog:
            for times, until in zip(self._queues, free, strict=True):
                times[server] = until

    def let_go(self) -> None:
        """Let go of messages that have arrived everywhere, of which an epoch of many heights would
        keep too many; nothing here, where none is kept."""

    def set_relaying(self, server: int, relays: bool) -> None:
        """Set if ``server`` passes on messages of others, as one that is down or silent does not.

        Its neighbours route around it from here on. Messages under way when paths change may miss
        servers or reach them twice.
        """
        if self._relays[server] != relays:
            self._relays[server] = relays
            self._overlay = None

    def heard(self, server: int) -> None:
        """Let ``server``, which is about to do something, know all that it has taken in unheard;
        nothing here, where servers hear of everything."""

    def took_in(self, server: int, message: Message, at: float) -> None:
        """Note that ``server`` took in a `Message.timed` message at ``at`` seconds."""
        delay = at - message.said
        if delay > self.delays[server]:
            self.delays[server] = delay

    def inbox(self, server: int) -> Inbox:
        """The inbox of what ``server`` takes in unheard."""
        return NoInbox()

    @property
    def overlay(self) -> Overlay:
        """The links now in use: the topology's, with detours around silent servers and cut links.

        A gossip overlay of a real network would find the detours after a while; this one has them
        at once.
        """
        now = self.env.now
        if now >= self._change_at:  # a fault of the network has begun or ended since
            faults = self._faults
            self._change_at = faults.next_change(now)
            self._calm_until = now if faults.disturb(now) else self._change_at
            cuts = faults.cuts(now)
            if cuts != self._cuts:
                self._cuts, self._overlay = cuts, None
        if self._overlay is None:
            servers = self.topology.servers
            relays, cut = list(self._relays), None
            for fault in self._cuts:
                pairs = fault.pairs(servers)
                cut = pairs if cut is None else cut | pairs
                for server in fault.hidden:
                    relays[server] = False
            plain = cut is None and all(relays)
            self._overlay = self.topology.overlay if plain else Overlay(self.topology, relays, cut)
        return self._overlay

    # -- sending ----------------------------------------------------------------------------------

    def gossip(self, origin: int, message: Message, at: float) -> None:
        """Send ``message`` from ``origin`` to every other server, leaving at ``at`` seconds (now,
        if that has passed)."""
        message.gossiped = True
        overlay = self.overlay
        if self._cuts:
            tree = overlay.tree(origin)
            away = [
                server for server, hops in enumerate(tree.hops) if not hops and server != origin
            ]
            self._faults.out_of_reach(origin, away, self.env.now)
        self._forward(origin, origin, message, at)

    def send(self, origin: int, to: int, message: Message, at: float) -> None:
        """Send ``message`` to one server along the shortest path, leaving at ``at`` seconds."""
        self.send_many(origin, (to,), message, at)

    def send_many(
        self, origin: int, recipients: Collection[int], message: Message, at: float
    ) -> None:
        """Send ``message`` to each of ``recipients`` along the shortest path, one after the other.

        It leaves at ``at`` seconds; the origin itself is left out. The servers on the way only
        route: each costs a transmission time, but the message waits in no queue there, is not shown
        to these servers and cannot be stopped by them.
        """
        env = self.env
        overlay = self._overlay
        if overlay is None or env.now >= self._change_at:
            overlay = self.overlay
        tree = overlay.tree(origin)
        seconds, hops = tree.seconds, tree.hops
        left = self._cells[LEFT]
        if left < len(recipients):
            left = self._refill(len(recipients))
        stretches = self._stretches
        size, calm_until = message.size, self._calm_until
        queue, number, arrives, begun = env.queue, env.numbers, self._arrive, self._begun
        leave = max(self._egress_free[origin], at, env.now)
        transmission = size * self._seconds_per_byte
        if self._throttles and leave >= calm_until:
            transmission *= self._faults.slowdown(origin, leave)
        links = 0
        for to in recipients:
            away = hops[to]
            if not away:
                if to != origin:
                    self._faults.out_of_reach(origin, (to,), leave)
                continue
            links += away
            leave += transmission
            left -= 1
            arrive = leave + seconds[to] * stretches[left]
            if away > 1:
                arrive += (away - 1) * transmission
            if arrive < calm_until:
                delivery = (begun, to, message, origin, False)
                heappush(queue, (arrive, NORMAL, next(number), arrives, delivery))
            else:
                self._disturb(origin, to, message, origin, False, leave, arrive)
        self._cells[LEFT] = left
        self._egress_free[origin] = leave
        self._bytes[message.kind] += size * links

    def pass_on(
        self, server: int, origin: int, message: Message, at: float, before: Collection[int]
    ) -> None:
        """Pass ``message`` on from ``server`` along the tree of ``origin``, leaving at ``at``
        seconds, but not to those that it was passed on to along the trees of the origins
        ``before``."""
        overlay = self.overlay
        reached = {child for other in before for child in overlay.tree(other).children[server]}
        children = overlay.tree(origin).children[server]
        lacking = [child for child in children if child not in reached]
        self._forward(server, origin, message, at, lacking)

    def _forward(
        self,
        server: int,
        origin: int,
        message: Message,
        at: float,
        children: Sequence[int] | None = None,
    ) -> None:
        """Pass ``message`` on to ``children`` of ``server`` (all)."""
        env = self.env
        overlay = self._overlay
        if overlay is None or env.now >= self._change_at:
            overlay = self.overlay
        if children is None:
            children = overlay.tree(origin).children[server]
        if children:
            self._transmit(server, children, overlay.links[server], message, origin, True, at)

    def _transmit(
        self,
        server: int,
        receivers: Sequence[int],
        latency: Mapping[int, float] | memoryview[float],
        message: Message,
        origin: int,
        onward: Any,
        at: float,
    ) -> None:
        """Send ``message`` to each of ``receivers`` over a direct link, one after the other;
        ``latency``: the seconds of each link; ``onward``: the mark of the deliveries."""
        env = self.env
        left = self._cells[LEFT]
        if left < len(receivers):
            left = self._refill(len(receivers))
        stretches = self._stretches
        size, calm_until = message.size, self._calm_until
        queue, number, arrives, begun = env.queue, env.numbers, self._arrive, self._begun
        leave = max(self._egress_free[server], at, env.now)
        transmission = size * self._seconds_per_byte
        if self._throttles and leave >= calm_until:
            transmission *= self._faults.slowdown(server, leave)
        for receiver in receivers:
            leave += transmission
            left -= 1
            arrive = leave + latency[receiver] * stretches[left]
            if arrive < calm_until:
                delivery = (begun, receiver, message, origin, onward)
                heappush(queue, (arrive, NORMAL, next(number), arrives, delivery))
            else:
                self._disturb(server, receiver, message, origin, onward, leave, arrive)
        self._cells[LEFT] = left
        self._egress_free[server] = leave
        self._bytes[message.kind] += size * len(receivers)

    def _disturb(
        self,
        sender: int,
        receiver: int,
        message: Message,
        origin: int,
        onward: Any,
        leave: float,
        arrive: float,
    ) -> None:
        """Schedule the deliveries that the active faults leave of a message."""
        for copy in self._faults.copies(sender, receiver, origin, message, leave, arrive):
            self._schedule(copy, (self._begun, receiver, copy.message, origin, onward))

    def _schedule(self, copy: Copy, delivery: _Delivery) -> None:
        """Schedule the delivery of a copy."""
        arrives = self._arrive
        if copy.counts is not None:
            arrives = partial(self._arrive_late, copy.counts)
        self.env.call_at(copy.at, arrives, delivery)

    # -- receiving --------------------------------------------------------------------------------

    def _arrive_late(self, fault: str, delivery: _Delivery) -> None:
        """Deliver a message and count the fault that takes effect by its arrival."""
        if delivery[0] == self._begun:
            self._faults.fired[fault] += 1
            self._arrive(delivery)

    def _arrive(self, delivery: _Delivery) -> None:
        """Receive a message at once, or after the messages in the ingress queue."""
        begun, server, message, _, _ = delivery
        if begun != self._begun:
            return
        now = self.env.now
        transmission = message.size * self._seconds_per_byte
        if self._throttles and now >= self._calm_until:
            transmission *= self._faults.slowdown(server, now)
        ready = self._ingress_free[server] + transmission
        if ready > now:
            self._ingress_free[server] = ready
            self.env.call_at(ready, self._hand_over, delivery)
            return
        self._ingress_free[server] = now
        self._hand_over(delivery)

    def _hand_over(self, delivery: _Delivery) -> None:
        """Let a server receive a message that has come through the ingress queue, and pass it on
        from there."""
        begun, server, message, origin, onward = delivery
        if begun != self._begun:
            return
        at = self._receive(server, message, origin)
        if onward and at is not None:
            self._forward(server, origin, message, at)

    def _refill(self, needed: int) -> int:
        """Draw jitter for the next messages together: single draws cost ten times as much.
        Returns the number of factors that are left."""
        assert self._generator is not None, "begin() comes before any message"
        usual = min(self._DRAWS_EACH * self.topology.servers, self._DRAWS)
        fresh = 1.0 + self._jitter * self._generator.standard_exponential(max(needed, usual))
        rest = self._stretches[: self._cells[LEFT]]
        self._stretches = array("d", fresh.tobytes()) + rest
        self._cells[LEFT] = len(self._stretches)
        return len(self._stretches)
