"""Servers that count, react and speak on a `Network` or on a `CompiledNetwork`, to be compared."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pytest

from consensus.faults.faults import Faults, fault_from_node
from consensus.network.clock import Clock
from consensus.network.compiled import CompiledNetwork
from consensus.network.intake import UPDATES, ServerInbox
from consensus.network.network import Network
from consensus.network.topology import Topology
from consensus.server.message import Message
from consensus.server.unheard import IGNORED, LANES, Credit, Fit, Inbox, NoInbox, Taken
from consensus.simulation.unheard import Judge

KINDS = ("update", "ticket", "vote", "note")
"""By lane: the kind of its messages."""
CREDITS = (0, 1, 2, 5, 40, IGNORED)


class Body(NamedTuple):
    """What a message says to `Servers`."""

    number: int
    lane: int = 0
    ground: int = 0
    name: int = 0
    weight: int = 1
    seconds: float = 0.0
    fit: bool = True
    replies: int = 0
    """Number of messages that follow from it, one from the other."""


class Sending(NamedTuple):
    """A message that somebody sends; to all where ``to`` is None."""

    at: float
    origin: int
    to: tuple[int, ...] | None
    size: int
    body: Body


class Change(NamedTuple):
    """What befalls the network: a server that ceases to relay, or begins; a new epoch for -1."""

    at: float
    server: int
    relays: bool = False


@dataclass
class Server:
    """What one server remembers."""

    credits: list[tuple[int, int]]
    """By lane: ground and weight."""
    seen: set[int] = field(default_factory=set)
    heard: int = 0


class Servers:
    """Servers, and what has come to them. It is the judge of what they need not hear of, too."""

    def __init__(
        self,
        topology: Topology,
        compiled: bool,
        jitter: float = 0.0,
        faults: Iterable[dict[str, Any]] = (),
        seed: int = 0,
        credits: Sequence[int] = CREDITS,
    ) -> None:
        """``credits`` are those that servers have, one after the other."""
        self.env = Clock()
        self.seed, self.weights = seed, credits
        self.count = topology.servers
        self.heard: list[tuple[float, int, Any]] = []
        """(seconds, server, what), in this order."""
        self.counted: dict[tuple[int, bool], list[tuple[float, int, int]]] = {}
        """By server, True for updates: (seconds, number, origin; -1 where that is not told)."""
        self.unheard = 0
        """Number of messages that were taken in unheard."""
        self.delays: list[list[float]] = []
        """The longest delays of each epoch before this one."""
        self.servers = [Server([(0, self._weight(s, 0))] * LANES) for s in range(self.count)]
        nodes = list(map(fault_from_node, faults))
        struck = Faults(nodes, self.count, np.random.default_rng(seed)) if nodes else None
        parts = (self.env, topology, 1.0, jitter, self._receive, struck)
        self.network = self.make_network(compiled, *parts)
        self.faults = struck
        self.begin()

    def make_network(self, compiled: bool, *parts: Any) -> Network:
        """The network of these parts."""
        return CompiledNetwork(*parts, unheard=self) if compiled else Network(*parts)

    def begin(self) -> None:
        """Begin an epoch, of which nobody has seen a message."""
        for server in range(self.count):
            self._look(server)
        self.delays.append(list(self.network.delays))
        self.seed += 1
        for server in self.servers:
            server.seen.clear()
        self.network.begin(np.random.default_rng(self.seed))

    def play(self, plan: Iterable[Sending | Change]) -> Servers:
        """All of a plan, and whatever follows."""
        for each in plan:
            self.env.call_at(each.at, self._do, each)
        self.env.run()
        for server in range(self.count):
            self._look(server)
        return self

    def came_to(self) -> dict[str, Any]:
        """All that is to be the same on both networks."""
        network = self.network
        assert network._generator is not None
        return {
            "heard": self.heard,
            "counted": self.counted,
            "busy": list(network.busy_until),
            "delays": [*self.delays, list(network.delays)],
            "egress": list(network._egress_free),
            "ingress": list(network._ingress_free),
            "bytes": +network.bytes,
            "fired": +(self.faults.fired if self.faults else Counter[str]()),
            "next draw": network._generator.random(),
            "next number": next(self.env.numbers),
            "servers": self.servers,
        }

    # -- what servers do --------------------------------------------------------------------------

    def _weight(self, server: int, heard: int) -> int:
        return self.weights[(5 * server + heard) % len(self.weights)]

    def _do(self, each: Sending | Change) -> None:
        if isinstance(each, Sending):
            self._look(each.origin)
            self._send(each.origin, each.to, each.body, each.size, self.env.now)
        elif each.server < 0:
            self.begin()
        else:
            self.network.set_relaying(each.server, each.relays)

    def _send(
        self, origin: int, to: tuple[int, ...] | None, body: Body, size: int, at: float
    ) -> None:
        said, timed = max(at, self.env.now), body.number % 4 != 3
        message = Message(KINDS[body.lane], body, size, said=said, timed=timed)
        if to is None:
            self.network.gossip(origin, message, at)
        else:
            self.network.send_many(origin, to, message, at)

    def _look(self, server: int) -> Inbox:
        """Take in what came unheard."""
        self.network.heard(server)
        inbox = self.network.inbox(server)
        if not isinstance(self.network, CompiledNetwork):
            assert isinstance(inbox, NoInbox)
            assert not inbox.waiting()
            assert inbox.updates() == ((), ())
            return inbox
        assert isinstance(inbox, ServerInbox)
        waiting, log = inbox.waiting(), self.network._intake._logged_at[UPDATES, server]
        times = log[:waiting].tolist()
        names, found = inbox.updates()
        assert names == [body.name for body, _ in found]
        assert len(found) == waiting
        assert inbox.waiting() == 0
        for at, (body, origin) in zip(times, found, strict=True):
            self._count(server, body, at, origin)
        self.unheard += waiting
        return inbox

    def _count(self, server: int, body: Body, at: float, origin: int) -> None:
        mine = self.servers[server]
        ground, left = mine.credits[body.lane]
        assert ground == body.ground
        assert left >= body.weight
        assert body.name not in mine.seen
        mine.seen.add(body.name)
        mine.credits[body.lane] = (ground, left - body.weight)
        entry = (at, body.number, origin if body.lane == 0 else -1)
        self.counted.setdefault((server, body.lane == 0), []).append(entry)

    def _receive(self, server: int, message: Message, origin: int) -> float | None:
        inbox = self._look(server)
        body, now, mine = message.body, self.env.now, self.servers[server]
        busy = self.network.busy_until
        if message.timed:
            self.network.took_in(server, message, max(busy[server], now))
        if not isinstance(body, Body):
            self.heard.append((now, server, type(body).__name__))
            return None
        ground, left = mine.credits[body.lane]
        if body.fit and ground == body.ground:
            if left == IGNORED:
                return None
            if left >= body.weight and body.name not in mine.seen:
                busy[server] = max(busy[server], now) + body.seconds
                self._count(server, body, busy[server], origin)
                inbox.note(body.name)
                return busy[server]
        return self._react(server, body, message.size, inbox)

    def _react(self, server: int, body: Body, size: int, inbox: ServerInbox | None) -> float | None:
        """Hear a message: work, change one's mind about what need not be heard, perhaps speak."""
        now, mine, busy = self.env.now, self.servers[server], self.network.busy_until
        self.heard.append((now, server, body.number))
        mine.heard += 1
        busy[server] = max(busy[server], now) + 0.002
        if mine.heard % 5 == 0:  # a height begins
            mine.seen.clear()
            inbox.clear()
        mine.seen.add(body.name)
        inbox.note(body.name)
        grounds = (mine.heard // 3) % 2
        mine.credits = [(grounds, self._weight(server + lane, mine.heard)) for lane in range(LANES)]
        if body.replies and (body.number + server) % max(3, self.count // 3) == 1:
            number = body.number * 31 + server + 1000
            follows = body._replace(number=number, replies=body.replies - 1, name=number % 7)
            to = None if body.lane == 0 else tuple(range(0, self.count, 2))
            self._send(server, to, follows, size, busy[server])
        return None if (body.number + server) % 4 == 0 else now

    # -- the judge --------------------------------------------------------------------------------

    def fit(self, sender: int, message: Message) -> tuple[Fit, float] | None:
        body = message.body
        if not isinstance(body, Body) or not body.fit:
            return None
        return Fit(body.lane, body.ground, body.name, body.weight, "work"), body.seconds

    def credits(self, server: int) -> Iterator[Credit]:
        for lane, (ground, weight) in enumerate(self.servers[server].credits):
            if weight:
                yield Credit(lane, ground, weight)

    def take_in(self, server: int, taken: Iterable[Taken]) -> None:
        for lane, body, _, at in taken:
            assert lane == body.lane
            self._count(server, body, at, -1)
            self.unheard += 1


def on_both(
    topology: Topology, plan: Sequence[Sending | Change], **more: Any
) -> tuple[Servers, Servers]:
    """A plan on the readable network and on the compiled one."""
    plain, compiled = (Servers(topology, which, **more).play(plan) for which in (False, True))
    return plain, compiled


def count_unheard(patch: pytest.MonkeyPatch) -> Counter[str]:
    """The number of messages that servers of worlds take in unheard from here on, by kind."""
    found: Counter[str] = Counter()
    take_in, updates = Judge.take_in, ServerInbox.updates

    def counting(judge: Judge, server: int, taken: Iterable[Taken]) -> None:
        taken = list(taken)
        found.update(KINDS[min(lane, 2)] for lane, *_ in taken)
        take_in(judge, server, taken)

    def counting_updates(inbox: ServerInbox) -> tuple[list[Any], list[tuple[Any, int]]]:
        taken = updates(inbox)
        found["update"] += len(taken[1])
        return taken

    patch.setattr(Judge, "take_in", counting)
    patch.setattr(ServerInbox, "updates", counting_updates)
    return found
