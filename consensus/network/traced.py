"""The network whose every delivery is noted, for whoever looks at messages one by one.

It is the readable network, with the same draws, numbers and times; it only sends every message
by way of the faults, where it learns what became of it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from math import inf
from typing import Any, Final, NamedTuple, Protocol, get_args

import numpy as np

from consensus.network.network import Network
from consensus.server.message import Facts, Kind, Message, facts_of

KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
"""The kinds of what servers say."""
LOST: Final = {
    "fault": "a fault of messages or of the network kept it",
    "unreachable": "no open path led there when it was sent",
    "nobody": "it was said, and there was nobody to send it to",
    "down": "the server was down when it came",
    "again": "the server had it already, and dropped this copy",
    "over": "the height was over before it came",
}
"""The reasons why a delivery came to nothing."""
AT_ONCE: Final = 2**16
"""Most finished deliveries that wait for the book."""


class Delivery(NamedTuple):
    """One way of a message from a server to another, and its end."""

    message: int
    """Number of the message among those said at the height, from 0."""
    kind: str
    record_height: int | None
    """`Facts.height`, of what is on its way here: a fault may have altered it ..."""
    attempt: int | None
    """... `Facts.attempt` ..."""
    digest: str
    """... and `Facts.digest`."""
    gossiped: bool
    """True if it goes to all servers, hop by hop; false if straight to one."""
    copy: int
    """0; from 1 on for what a fault added."""
    origin: int
    """The server that said it."""
    sender: int
    """The server that it left: the origin, or one that passes it on."""
    receiver: int | None
    """None for a message that was said to nobody."""
    size: int
    """Bytes of the message."""
    bytes: int
    """Bytes sent for this delivery: the size for every link on its way."""
    said: float
    """Simulated second at which the origin was done with it."""
    sent: float | None
    """Simulated second at which its last byte left the sender; None if it was not sent."""
    received: float | None
    """Simulated second at which the receiver had it out of its ingress queue; None if lost."""
    taken_in: float | None
    """Simulated second at which the receiver took it in; None of one whose delay does not count
    (`Message.timed`)."""
    lost: str | None
    """One of `LOST`; None for one that the receiver got."""
    faults: str
    """Names of the faults that struck it, with commas; empty for none."""


class Book(Protocol):
    """The receiver of finished deliveries (`consensus.simulation.spec.WorldSpec.book`)."""

    def add(self, deliveries: Sequence[Delivery]) -> None:
        """Note deliveries, in the order in which they came to their end."""
        ...


class _OnItsWay(tuple[int, int, Message, int, bool]):
    """A delivery of `Network`, with the place of its `Delivery`."""

    place: int


class TracedNetwork(Network):
    """A `Network` that writes a book of all deliveries."""

    def __init__(self, *parts: Any, book: Book, is_up: Callable[[int], bool], **more: Any) -> None:
        """``parts`` and ``more``: those of the network that it is besides; ``is_up`` tells if a
        server is running."""
        super().__init__(*parts, **more)
        self._hear, self._receive = self._receive, self._note_receipt
        self._book = book
        self._is_up = is_up
        self._on_their_way: dict[int, Delivery] = {}
        self._ended: list[Delivery] = []
        self._scheduled = 0
        self._said = 0
        """Number of messages of this epoch."""
        self._facts: dict[int, tuple[Any, Facts]] = {}
        """By the identity of a body of this epoch, which stays alive."""
        self._arriving = -1
        """Place of the delivery in hand."""
        self._took_in: float | None = None
        """The second at which the message in hand was taken in."""

    @property
    def _calm_until(self) -> float:
        """Never calm: so every message goes by `_disturb`."""
        return -inf

    @_calm_until.setter
    def _calm_until(self, _: float) -> None:
        pass

    def begin(self, generator: np.random.Generator) -> None:
        """Begin a new epoch (`Network.begin`), and a new count of messages."""
        super().begin(generator)
        self.close_epoch()

    def close_epoch(self) -> None:
        """End an epoch: what is on its way will not arrive, and the book gets all that is left."""
        for place in list(self._on_their_way):
            self._end(place, lost="over")
        self.hand_in()
        self._facts.clear()
        self._said = 0

    # -- sending ----------------------------------------------------------------------------------

    def gossip(self, origin: int, message: Message, at: float) -> None:
        """Send ``message`` to every other server (`Network.gossip`)."""
        message.gossiped = True
        self._note_saying(origin, range(self.topology.servers), message)
        super().gossip(origin, message, at)

    def send_many(
        self, origin: int, recipients: Collection[int], message: Message, at: float
    ) -> None:
        """Send ``message`` to each of ``recipients`` (`Network.send_many`)."""
        self._note_saying(origin, recipients, message)
        super().send_many(origin, recipients, message, at)

    def _note_saying(self, origin: int, recipients: Collection[int], message: Message) -> None:
        """Number a message, and note those of ``recipients`` that no way leads to."""
        self._number(message)
        others = [to for to in recipients if to != origin]
        for to in self._out_of_reach(origin, others, message):
            self._lose(self._delivery(origin, origin, to, message), "unreachable")
        if not others:
            self._lose(self._delivery(origin, origin, None, message), "nobody")

    def _number(self, message: Message) -> None:
        """Give a message the next number."""
        message.number = self._said
        self._said += 1

    def _out_of_reach(
        self, origin: int, recipients: Collection[int], message: Message
    ) -> list[int]:
        """The ``recipients`` that no way leads to from ``origin``."""
        hops = self.overlay.tree(origin).hops
        return [to for to in recipients if not hops[to]]

    def _disturb(
        self,
        sender: int,
        receiver: int,
        message: Message,
        origin: int,
        onward: bool,
        leave: float,
        arrive: float,
    ) -> None:
        before = self._faults.fired.copy()
        copies = self._faults.copies(sender, receiver, origin, message, leave, arrive)
        struck = ", ".join(sorted(self._faults.fired - before))
        links = 1 if onward else self.overlay.tree(origin).hops[receiver]
        going = self._delivery(sender, origin, receiver, message)
        going = going._replace(bytes=links * message.size, sent=leave, faults=struck)
        if not copies:
            self._lose(going, "fault")
        for number, copy in enumerate(copies):
            delivery = _OnItsWay((self._begun, receiver, copy.message, origin, onward))
            delivery.place = self._scheduled
            self._scheduled += 1
            height, attempt, digest = self._facts_of(copy.message.body)
            self._on_their_way[delivery.place] = going._replace(
                record_height=height,
                attempt=attempt,
                digest=digest,
                copy=number,
                bytes=0 if number else going.bytes,
                faults=", ".join(filter(None, [struck, copy.counts])),
            )
            self._schedule(copy, delivery)

    # -- receiving --------------------------------------------------------------------------------

    def _arrive(self, delivery: Any) -> None:
        self._arriving = delivery.place
        super()._arrive(delivery)

    def _hand_over(self, delivery: Any) -> None:
        self._arriving = delivery.place
        super()._hand_over(delivery)

    def _note_receipt(self, server: int, message: Message, origin: int) -> float | None:
        """Hand a message to a server, and note that it came."""
        place, self._took_in = self._arriving, None
        lost = None if self._is_up(server) else "down"
        onward_from = self._hear(server, message, origin)
        self._end(place, lost=lost)
        return onward_from

    def took_in(self, server: int, message: Message, at: float) -> None:
        """Note that ``server`` took in a message at ``at`` seconds (`Network.took_in`)."""
        super().took_in(server, message, at)
        self._took_in = at

    # -- the book ---------------------------------------------------------------------------------

    def _delivery(
        self, sender: int, origin: int, receiver: int | None, message: Message
    ) -> Delivery:
        """A delivery that has not been sent."""
        return Delivery(
            message.number,
            message.kind,
            *self._facts_of(message.body),
            message.gossiped,
            0,
            origin,
            sender,
            receiver,
            message.size,
            0,
            message.said,
            None,
            None,
            None,
            None,
            "",
        )

    def _facts_of(self, body: Any) -> Facts:
        found = self._facts.get(id(body))
        if found is not None:
            return found[1]
        facts = facts_of(body)
        if facts.digest:  # else it is made anew as fast
            self._facts[id(body)] = body, facts
        return facts

    def _end(self, place: int, lost: str | None) -> None:
        """Note the end of a delivery on its way."""
        delivery = self._on_their_way.pop(place)
        if lost is None:
            delivery = delivery._replace(received=self.env.now, taken_in=self._took_in)
            self._note(delivery)
        else:
            self._lose(delivery, lost)

    def _lose(self, delivery: Delivery, lost: str) -> None:
        self._note(delivery._replace(lost=lost))

    def _note(self, delivery: Delivery) -> None:
        self._ended.append(delivery)
        if len(self._ended) >= AT_ONCE:
            self.hand_in()

    def hand_in(self) -> None:
        """Give the book the deliveries that have ended."""
        ended, self._ended = self._ended, []
        if ended:
            self._book.add(ended)
