"""The network on which an adversary chooses, within a bound, when messages of honest servers are
received.

Links, queues and routes are those of `Network`, to the byte. A message that has come to a server is
passed on from there at once; the server itself receives it when the adversary lets it. So what is
held at one server comes no later to those behind it, and the adversary delays no message by more
than its bound.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, Protocol

from consensus.faults.faults import Faults
from consensus.network.clock import Clock
from consensus.network.network import Network, _Delivery
from consensus.network.topology import Topology
from consensus.server.message import Message


class Holding(Protocol):
    """The part of an adversary that this network asks (`consensus.adversary.delays.Schedule`)."""

    def is_own(self, server: int) -> bool:
        """True for a server of the adversary, whose messages are not held."""
        ...

    def received(
        self, said: float, arrives: float, origin: int, to: int, kind: str, body: Any
    ) -> float:
        """The second at which ``to`` receives a message of ``origin`` that was ``said`` and
        ``arrives`` at these seconds."""
        ...


class HeldNetwork(Network):
    """A `Network` whose messages between honest servers an adversary holds back."""

    def __init__(
        self,
        env: Clock,
        topology: Topology,
        bandwidth_mib_per_s: float,
        jitter: float,
        receive: Callable[[int, Message, int], float | None],
        faults: Faults | None,
        holding: Holding,
    ) -> None:
        super().__init__(env, topology, bandwidth_mib_per_s, jitter, receive, faults)
        self._holding = holding

    def gossip(self, origin: int, message: Message, at: float) -> None:
        """Send ``message`` from ``origin`` to every other server (`Network.gossip`)."""
        message.said = self.env.now
        super().gossip(origin, message, at)

    def send_many(
        self, origin: int, recipients: Collection[int], message: Message, at: float
    ) -> None:
        """Send ``message`` to each of ``recipients`` (`Network.send_many`)."""
        message.said = self.env.now
        super().send_many(origin, recipients, message, at)

    def pass_on(
        self, server: int, origin: int, message: Message, at: float, before: Collection[int]
    ) -> None:
        """Pass ``message`` on (`Network.pass_on`), unless that was done when it came. It is not
        held: what it stands for was."""
        if self._holding.is_own(origin) or self._holding.is_own(server):
            super().pass_on(server, origin, message, at, before)

    def _take(self, delivery: _Delivery) -> None:
        """Pass a message on, and let it be received when the adversary does."""
        begun, server, message, origin, onward = delivery
        now, holding = self.env.now, self._holding
        if message.said < 0 or holding.is_own(origin) or holding.is_own(server):
            super()._take(delivery)
            return
        at = holding.received(message.said, now, origin, server, message.kind, message.body)
        if onward and self._relays[server]:
            self._forward(server, origin, message, now)
        delivery = (begun, server, message, origin, False)
        if at > now:
            self.env.call_at(at, self._release, delivery)
        else:
            super()._take(delivery)

    def _release(self, delivery: _Delivery) -> None:
        """Let a message be received that was held back."""
        if delivery[0] == self._begun:
            super()._take(delivery)
