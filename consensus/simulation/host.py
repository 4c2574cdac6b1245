"""One server's hands in the simulated world: what it sends, spends and is woken by."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np

from consensus.application import Contents
from consensus.faults.faults import Faults
from consensus.network.clock import Clock
from consensus.network.network import MIB, Network
from consensus.records.block import Block
from consensus.server.edge_server import EdgeServer
from consensus.server.host import Timer
from consensus.server.message import Kind, Message


@dataclass(frozen=True)
class Costs:
    """Simulated seconds of the operations a server is charged for: a fixed part for each, and a
    part per MiB for those whose size matters."""

    seconds: dict[str, float]
    seconds_per_mib: dict[str, float]


class HostingWorld(Protocol):
    """The part of a world that the host of one server uses (`consensus.simulation.world.World`)."""

    env: Clock
    costs: Costs
    faults: Faults | None
    network: Network
    servers: list[EdgeServer]
    randomness: Callable[..., np.random.Generator]

    def at(self, time: float, call: Callable[[], None]) -> None:
        """Call at ``time`` in simulated seconds, or now if that has passed."""
        ...

    def message(self, kind: Kind, body: Any) -> Message:
        """A message to be sent."""
        ...

    def hold(self, index: int, contents: Contents) -> None:
        """Server ``index`` has these contents."""
        ...

    def content_for(self, index: int, link: bytes) -> bytes | None:
        """The content at ``link`` as server ``index`` gets it, or None."""
        ...

    def on_appended(self, index: int, block: Block, at: float) -> None:
        """Server ``index`` has appended ``block`` at simulated second ``at``."""
        ...


class WorldHost:
    """One server's hands in the world (`consensus.server.host.Host`)."""

    def __init__(self, world: HostingWorld, index: int) -> None:
        self._world = world
        self._env = world.env
        self._index = index
        self._faults = world.faults
        self._slows = world.faults is not None and world.faults.slows
        self._skews = world.faults is not None and world.faults.skews
        self._seconds = world.costs.seconds
        self._seconds_per_byte = {
            operation: seconds / MIB for operation, seconds in world.costs.seconds_per_mib.items()
        }
        self.busy_until = 0.0
        """The time at which this server's processor has done all it was charged."""
        self.relay_from: float | None = None
        """The time at which the message in hand may be passed on, if that is before all work on it
        is done."""
        self.up = True
        self.lives = 0
        """Counts its restarts, so that no timer outlives a crash."""

    def now_us(self) -> int:
        now = self._env.now
        clock = round(now * 1e6)
        if self._skews:
            assert self._faults is not None
            clock += self._faults.skew_us(self._index, now)
        return clock

    def charge(self, operation: str, size: int = 0, times: int = 1) -> None:
        seconds = times * self._seconds[operation]
        if size:
            seconds += times * size * self._seconds_per_byte[operation]
        now = self._env.now
        if self._slows:
            assert self._faults is not None
            seconds *= self._faults.slowness(self._index, now)
        busy = self.busy_until
        self.busy_until = (busy if busy > now else now) + seconds

    def may_relay(self) -> None:
        self.relay_from = self.busy_until

    def gossip(self, kind: Kind, body: Any, delay: float = 0.0) -> None:
        if delay > 0.0:
            self._later(delay, partial(self.gossip, kind, body))
            return
        world = self._world
        world.network.gossip(self._index, world.message(kind, body), self.busy_until + delay)

    def send(self, to: Collection[int], kind: Kind, body: Any, delay: float = 0.0) -> None:
        if delay > 0.0:
            self._later(delay, partial(self.send, to, kind, body))
            return
        world = self._world
        world.network.send_many(self._index, to, world.message(kind, body), self.busy_until + delay)

    def _later(self, delay: float, send: Callable[[], None]) -> None:
        """Call ``send`` so long after the work in hand is done: what waits keeps nothing that is
        sent in the meantime."""
        lives = self.lives
        at = max(self.busy_until, self._env.now) + delay
        self._world.at(at, lambda: send() if self.lives == lives and self.up else None)

    def timer(self, microseconds: int, timer: Timer) -> None:
        env = self._env
        env.call_at(env.now + microseconds / 1e6, self._wake, (self.lives, timer))

    def _wake(self, armed: tuple[int, Timer]) -> None:
        lives, timer = armed
        if self.lives == lives and self.up:
            self._world.servers[self._index].on_timer(timer)

    def publish(self, contents: Contents) -> None:
        self._world.hold(self._index, contents)

    def fetch(self, link: bytes) -> bytes | None:
        found = self._world.content_for(self._index, link)
        if found is not None:
            self.charge("store_get", len(found))
            self._world.network.bytes["model"] += len(found)
        return found

    def generator(self, *label: int) -> np.random.Generator:
        return self._world.randomness(self._index, *label)

    def appended(self, block: Block) -> None:
        self._world.on_appended(self._index, block, max(self.busy_until, self._env.now))
