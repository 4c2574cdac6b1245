"""The host of one server in the simulated world: it sends messages, charges time and fires
timers."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np

from consensus.application import Contents
from consensus.faults.faults import Faults
from consensus.ledger import protocol as ledger
from consensus.network.clock import Clock, Entry
from consensus.network.network import MIB, Network
from consensus.records.block import Block
from consensus.records.evidence import Evidence
from consensus.server.edge_server import EdgeServer
from consensus.server.host import Timer
from consensus.server.message import Kind, Message
from consensus.simulation.content_providers import Providers
from consensus.simulation.observer import Observer


@dataclass(frozen=True)
class Costs:
    """Simulated seconds charged to a server for each operation: a fixed part, and a part per MiB
    for operations whose cost grows with size."""

    seconds: dict[str, float]
    seconds_per_mib: dict[str, float]


class HostingWorld(Protocol):
    """The part of a world that the host of one server uses (`consensus.simulation.world.World`)."""

    env: Clock
    costs: Costs
    faults: Faults | None
    network: Network
    observer: Observer
    protocol: ledger.Protocol
    providers: Providers
    servers: list[EdgeServer]
    randomness: Callable[..., np.random.Generator]

    def at(self, time: float, call: Callable[[], None]) -> None:
        """Call ``call`` at ``time`` in simulated seconds, or now if that has passed."""
        ...

    def message(self, kind: Kind, body: Any) -> Message:
        """Return a message to be sent, its size in bytes included."""
        ...

    def hold(self, index: int, contents: Contents) -> None:
        """Note that server ``index`` has these contents."""
        ...

    def on_kept(self, index: int, at: float) -> None:
        """Note that server ``index`` has got an aggregate that it lacked, at simulated second
        ``at``."""
        ...

    def on_appended(self, index: int, block: Block, at: float) -> None:
        """Note that server ``index`` has appended ``block`` at simulated second ``at``."""
        ...


class WorldHost:
    """The host of one server in a world (`consensus.server.host.Host`)."""

    def __init__(self, world: HostingWorld, index: int) -> None:
        self._world = world
        self._env = world.env
        self._index = index
        self._faults = world.faults
        self._observer = world.observer
        self._slows = world.faults is not None and world.faults.slows
        self._skews = world.faults is not None and world.faults.skews
        self._seconds = world.costs.seconds
        self._seconds_per_byte = {
            operation: seconds / MIB for operation, seconds in world.costs.seconds_per_mib.items()
        }
        self._busy_until = world.network.busy_until
        self.relay_from: float | None = None
        """Simulated second at which the message in hand may be passed on; None: once all work on it
        is done."""
        self.up = True
        self.lives = 0
        """Number of restarts; timers set before the last one do not fire."""

    @property
    def busy_until(self) -> float:
        """Simulated second at which this server's processor is done with all work charged so
        far."""
        return self._busy_until[self._index]

    @busy_until.setter
    def busy_until(self, seconds: float) -> None:
        """Set it."""
        self._busy_until[self._index] = seconds

    @property
    def reached(self) -> float:
        """The simulated second that the server has come to: it takes in messages and timers one
        after the other, each once it is done with all work charged so far."""
        busy, now = self._busy_until[self._index], self._env.now
        return busy if busy > now else now

    def now_us(self) -> int:
        """The server's clock in microseconds, skew included, when it is done with all work charged
        so far."""
        now = self.reached
        clock = round(now * 1e6)
        if self._skews:
            assert self._faults is not None
            clock += self._faults.skew_us(self._index, now)
        return clock

    def charge(self, operation: str, size: int = 0, times: int = 1) -> None:
        """Occupy the server's processor for ``times`` operations on ``size`` bytes each
        (`Costs`)."""
        seconds = self.cost(operation, size, times)
        now, index = self._env.now, self._index
        if self._slows:
            assert self._faults is not None
            seconds *= self._faults.slowness(index, now)
        busy = self._busy_until[index]
        self._busy_until[index] = (busy if busy > now else now) + seconds

    def slowness(self) -> float:
        """The factor by which a fault lengthens this server's work now; 1 for none."""
        if not self._slows:
            return 1.0
        assert self._faults is not None
        return self._faults.slowness(self._index, self._env.now)

    def cost(self, operation: str, size: int = 0, times: int = 1) -> float:
        """The seconds that `charge` charges to a server that nothing slows down."""
        seconds = times * self._seconds[operation]
        if size:
            seconds += times * size * self._seconds_per_byte[operation]
        return seconds

    def hears_all(self) -> bool:
        """True if the server may take in nothing unheard (`consensus.network.compiled`)."""
        return self._slows or self._skews or not self.up

    def may_relay(self) -> None:
        """Let the message in hand be passed on once the work charged so far is done."""
        self.relay_from = self.busy_until

    def gossip(self, kind: Kind, body: Any, delay: float = 0.0) -> None:
        """Send a message to all servers by gossip, ``delay`` seconds after the work in hand is
        done; none if the server went down amid that work."""
        if not self.up:
            return
        if delay > 0.0:
            self._later(delay, partial(self.gossip, kind, body))
            return
        message = self._message(kind, body, None, delay)
        self._world.network.gossip(self._index, message, message.said)

    def pass_on_known(self, message: Message, origin: int) -> None:
        """Pass on, in place of a gossiped message that is no news here, what the server has of it,
        once the work in hand is done; nothing in place of one that came to this server alone."""
        if not (message.gossiped and self.up):
            return
        world, index = self._world, self._index
        again = world.servers[index].passes_on(message.kind, message.body, origin)  # type: ignore[arg-type]
        if again is not None:
            kind, body, before = again
            known = message.retold(kind, body)
            world.network.pass_on(index, origin, known, self.busy_until, before)

    def send(self, to: Collection[int], kind: Kind, body: Any, delay: float = 0.0) -> None:
        """Send a message to some servers, ``delay`` seconds after the work in hand is done; none if
        the server went down amid that work."""
        if not self.up:
            return
        if delay > 0.0:
            self._later(delay, partial(self.send, to, kind, body))
            return
        message = self._message(kind, body, to, delay)
        self._world.network.send_many(self._index, to, message, message.said)

    def _message(self, kind: Kind, body: Any, to: Collection[int] | None, delay: float) -> Message:
        """A message that leaves ``delay`` seconds (0, or before) after the work in hand is done,
        and that is shown before anything comes of it."""
        world, now = self._world, self._env.now
        leaves = self._busy_until[self._index] + delay
        if leaves < now:
            leaves = now
        self._show(kind, body, to, leaves)
        message = world.message(kind, body)
        message.said = leaves
        message.timed = (
            kind in world.protocol.timely and world.servers[self._index].behaviour is None
        )
        return message

    def _show(self, kind: Kind, body: Any, to: Collection[int] | None, leaves: float) -> None:
        """Let the observer see a message to all (``to`` is None) or to some that leaves at
        ``leaves`` seconds."""
        self._observer.sent(self._index, kind, body, leaves)

    def _later(self, delay: float, send: Callable[[], None]) -> None:
        """Call ``send`` ``delay`` seconds after the work in hand is done, unless the server crashes
        before. Messages sent in the meantime do not wait for it."""
        lives = self.lives
        self._world.at(
            self.reached + delay, lambda: send() if self.lives == lives and self.up else None
        )

    def timer(self, microseconds: int, timer: Timer) -> None:
        """Fire ``timer`` at the server so many microseconds after the work in hand is done, unless
        it crashes before."""
        self._env.call_at(self.reached + microseconds / 1e6, self._wake, (self.lives, timer))

    def _wake(self, armed: tuple[int, Timer]) -> None:
        lives, timer = armed
        if self.lives == lives and self.up:
            self._world.network.heard(self._index)
            self._world.servers[self._index].on_timer(timer)

    @staticmethod
    def is_void(entry: Entry) -> bool:
        """True if a call of the clock is a timer of a server that will not fire any more."""
        wake, armed = entry[3], entry[4]
        return (
            getattr(wake, "__func__", None) is WorldHost._wake and wake.__self__.lives != armed[0]  # type: ignore[attr-defined]
        )

    def publish(self, contents: Contents) -> None:
        """Offer contents to the other servers."""
        self._world.hold(self._index, contents)

    def stored(self, link: bytes) -> bytes | None:
        """The content at ``link`` in this server's store, if no fault has taken it, or None."""
        found = self._world.providers.get(self._index, link)
        if found is not None and self._faults is not None:
            lost = self._faults.content_lost(self._index, link, self._env.now)
            return None if lost else found
        return found

    def keep(self, height: int, link: bytes, data: bytes) -> None:
        """Put an aggregate that was lacking into this server's store."""
        self._world.providers.keep(self._index, link, data, height)
        self._world.on_kept(self._index, self.reached)

    def generator(self, *label: int) -> np.random.Generator:
        """A generator of this server's random draws, with a stream for each ``label``."""
        return self._world.randomness(self._index, *label)

    def appended(self, block: Block) -> None:
        """Report that the server has appended ``block``."""
        at = self.reached
        self._observer.appended(self._index, block, at)
        self._world.on_appended(self._index, block, at)

    def accused(self, found: Evidence) -> None:
        """Report new evidence."""
        self._observer.accused(self._index, found, self.reached)
