"""The network on which an adversary chooses, within a bound, when messages of honest servers are
received.

Links, queues and routes are those of `Network`, to the byte. A message that has come to a server is
passed on from there at once; the server itself receives it when the adversary lets it. So what is
held at one server comes no later to those behind it, and the adversary delays no message by more
than its bound.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Protocol

from consensus.network.network import Network, _Delivery
from consensus.network.traced import TracedNetwork, _OnItsWay
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

    def __init__(self, *parts: Any, holding: Holding, **more: Any) -> None:
        """``parts`` and ``more``: those of the network that it is besides."""
        super().__init__(*parts, **more)
        self._holding = holding

    def gossip(self, origin: int, message: Message, at: float) -> None:
        """Send ``message`` from ``origin`` to every other server (`Network.gossip`)."""
        message.held_from = self.env.now
        super().gossip(origin, message, at)

    def send_many(
        self, origin: int, recipients: Collection[int], message: Message, at: float
    ) -> None:
        """Send ``message`` to each of ``recipients`` (`Network.send_many`)."""
        message.held_from = self.env.now
        super().send_many(origin, recipients, message, at)

    def pass_on(
        self, server: int, origin: int, message: Message, at: float, before: Collection[int]
    ) -> None:
        """Pass ``message`` on (`Network.pass_on`), unless that was done when it came. It is not
        held: what it stands for was."""
        if self._holding.is_own(origin) or self._holding.is_own(server):
            super().pass_on(server, origin, message, at, before)

    def _hand_over(self, delivery: _Delivery) -> None:
        """Pass a message on, and let it be received when the adversary does."""
        begun, server, message, origin, onward = delivery
        if begun != self._begun:
            return
        now, holding = self.env.now, self._holding
        if message.held_from < 0 or holding.is_own(origin) or holding.is_own(server):
            super()._hand_over(delivery)
            return
        said = message.held_from
        at = holding.received(said, now, origin, server, message.kind, message.body)
        if onward and self._relays[server]:
            self._forward(server, origin, message, now)
        here = self._for_here(delivery)
        if at > now:
            self.env.call_at(at, self._release, here)
        else:
            super()._hand_over(here)

    def _for_here(self, delivery: Any) -> Any:
        """The delivery, not to be passed on."""
        return (*delivery[:4], False)

    def _release(self, delivery: Any) -> None:
        """Let a message be received that was held back."""
        super()._hand_over(delivery)


class HeldTracedNetwork(HeldNetwork, TracedNetwork):
    """A `HeldNetwork` that writes a book of all deliveries."""

    def _for_here(self, delivery: Any) -> Any:
        here = _OnItsWay(super()._for_here(delivery))
        here.place = delivery.place
        return here
