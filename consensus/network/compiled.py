"""The network with messages that nobody reacts to in a compiled loop.

Most messages of a height change nothing that a server does: it checks an update, a draw or a vote,
counts it, perhaps passes it on, and waits for more. Such messages have a heap of their own, beside
the clock's, and `kernels.advance` delivers them without a call in Python: ingress queue, processor,
egress queue, jitter and order are those of `Network`, to the last bit. What a server has taken in
unheard is noted (`Intake`), and it takes it in before it does anything else. It hears of a message
itself if that may change what it does (its credit is used up), if it has had one of the same name,
or if faults may strike the message; then everything is done as in `Network`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from itertools import count
from math import inf
from typing import Any, Final

import numpy as np

from consensus.network import arrays, kernels
from consensus.network.forest import Forest
from consensus.network.intake import Intake, ServerInbox, Unheard
from consensus.network.network import Network
from consensus.server.message import Message

GOSSIPED: Final = ("update", "timeout")
"""The kinds of gossip of which servers need not hear."""


class CompiledNetwork(Network):
    """A `Network` that delivers what servers take in unheard in a compiled loop."""

    def __init__(self, *parts: Any, unheard: Unheard) -> None:
        """``parts``: those of a `Network`; ``unheard``: the judge of what servers need not hear."""
        super().__init__(*parts)
        self._arrays = arrays.Arrays()
        put = self._arrays.put
        self._heap: tuple[np.ndarray, ...] = ()
        self._make_room(1024)
        self.due: Sequence[float] = memoryview(put(arrays.CLOCK, np.full(2, inf)))  # type: ignore[arg-type]
        put(arrays.CELL, np.frombuffer(self._cells, np.int64))
        put(arrays.EGRESS, np.frombuffer(self._egress_free))
        put(arrays.INGRESS, np.frombuffer(self._ingress_free))
        put(arrays.BUSY, np.frombuffer(self.busy_until))
        put(arrays.LATEST, np.frombuffer(self.delays))
        servers = self.topology.servers
        self._intake = Intake(servers, self._arrays, unheard)
        self._forest = Forest(servers, self._arrays)
        self.heard = self._intake.heard  # type: ignore[method-assign]  # spares a call for each
        self.env.feed = self

    @property
    def bytes(self) -> Counter[str]:
        """Bytes sent between servers (`Network.bytes`), those that the loops have counted too."""
        cells, found = self._cells, self._bytes
        for lane, kind in self._intake.kinds.items():
            sent = cells[kernels.SENT + lane]
            if sent:
                found[kind] += sent
                cells[kernels.SENT + lane] = 0
        return found

    def begin(self, generator: np.random.Generator) -> None:
        """Begin a new epoch (`Network.begin`). What servers have not taken in of the one before is
        gone."""
        super().begin(generator)
        self._cells[kernels.SIZE] = 0
        self.due[kernels.NEXT] = inf  # type: ignore[index]
        self._intake.begin()

    def let_go(self) -> None:
        """Let go of messages that have arrived and were taken out (`Network.let_go`)."""
        entries = self._heap[2][: self._cells[kernels.SIZE]]
        self._intake.let_go(set(((entries & 0xFFFFFFFF) >> 2).tolist()))

    def set_relaying(self, server: int, relays: bool) -> None:
        """Set if ``server`` passes on messages of others (`Network.set_relaying`)."""
        super().set_relaying(server, relays)
        self.heard(server)

    def inbox(self, server: int) -> ServerInbox:
        """The inbox of a server."""
        return ServerInbox(self._intake, server)

    # -- sending ----------------------------------------------------------------------------------

    def gossip(self, origin: int, message: Message, at: float) -> None:
        """Send ``message`` from ``origin`` to every other server (`Network.gossip`)."""
        if message.kind in GOSSIPED:
            message.gossiped = True
            self._intake.slot(origin, message)
        super().gossip(origin, message, at)

    def send_many(
        self, origin: int, recipients: Collection[int], message: Message, at: float
    ) -> None:
        """Send ``message`` to each of ``recipients`` (`Network.send_many`)."""
        slot = None if message.kind == "update" else self._intake.slot(origin, message)
        if slot is not None:
            leave = self._leave(origin, at)
            if leave < self._calm_until:
                to = np.array([*recipients], np.int64)
                arguments = leave, *self._forest.paths(origin), to
                if self._loop(kernels.send, slot, arguments, lambda: len(to)):
                    return
        super().send_many(origin, recipients, message, at)

    def _forward(
        self,
        server: int,
        origin: int,
        message: Message,
        at: float,
        children: Sequence[int] | None = None,
    ) -> None:
        slot = self._intake.known(message) if children is None else None
        if slot is not None:
            leave = self._leave(server, at)
            if leave < self._calm_until and self._loop(
                kernels.forward, slot, (server, leave), lambda: self._children(server, origin)
            ):
                return
        super()._forward(server, origin, message, at, children)

    def _leave(self, server: int, at: float) -> float:
        """The time from which ``server`` sends what leaves at ``at``, over the links now in use."""
        overlay = self._overlay
        if overlay is None or self.env.now >= self._change_at:
            overlay = self.overlay
        self._forest.belongs_to(overlay)
        return max(self._egress_free[server], at, self.env.now)

    def _loop(
        self,
        loop: Callable[..., int],
        slot: int,
        arguments: tuple[Any, ...],
        receivers: Callable[[], int],
    ) -> bool:
        """Send a message in a loop; returns False if faults may strike it, and it is not sent."""
        cells, intake = self._cells, self._intake
        cells[kernels.NUMBER] = next(self.env.numbers)
        status = kernels.ROOM
        while status not in (kernels.DONE, kernels.DISTURBED):
            per_byte, calm_until = self._seconds_per_byte, self._calm_until
            status = loop(self._arrays.table, intake.table, slot, per_byte, calm_until, *arguments)
            self._supply(status, receivers, intake.origins[slot])
        self.env.numbers = count(cells[kernels.NUMBER])
        return status == kernels.DONE

    # -- receiving --------------------------------------------------------------------------------

    def advance(self, until: float, number: int) -> bool:
        """Deliver messages up to the entry of the clock that is due at ``until`` (seconds) with
        this number; returns True once a server has heard one, which may have changed what is due.
        """
        env, cells, intake = self.env, self._cells, self._intake
        cells[kernels.NUMBER] = next(env.numbers)
        while True:
            self._forest.belongs_to(self._overlay)
            per_byte, calm_until = self._seconds_per_byte, self._calm_until
            status = kernels.advance(
                self._arrays.table, intake.table, per_byte, calm_until, until, number
            )
            server, slot = cells[kernels.SERVER], cells[kernels.SLOT]
            if status == kernels.OUTDATED:
                intake.ask(server)
            elif status in (kernels.DONE, kernels.RECEIVED):
                break
            else:
                env.now = self.due[kernels.NOW]
                self._supply_forward(status, server, intake.origins[slot])
        env.numbers = count(cells[kernels.NUMBER])
        if status == kernels.DONE:
            return False
        env.now = self.due[kernels.NOW]
        onward = bool(cells[kernels.ONWARD])
        delivery = (self._begun, server, intake.messages[slot], intake.origins[slot], onward)
        self._hand_over(delivery)
        return True

    # -- what the loops need ----------------------------------------------------------------------

    def _supply(self, status: int, receivers: Callable[[], int], origin: int) -> None:
        """Supply what a loop lacks to send a message of ``origin`` to so many."""
        if status == kernels.JITTER:
            self._refill(receivers())
        elif status == kernels.ROOM:
            self._make_room(2 * len(self._heap[0]) + receivers())
        elif status == kernels.TREE:
            self._forest.belongs_to(self.overlay)
            self._forest.grow(origin)

    def _supply_forward(self, status: int, server: int, origin: int) -> None:
        """Supply what a loop lacks to pass a message of ``origin`` on from ``server``."""
        self._supply(status, lambda: self._children(server, origin), origin)

    def _children(self, server: int, origin: int) -> int:
        return len(self.overlay.tree(origin).children[server])

    def _refill(self, needed: int) -> int:
        left = super()._refill(needed)
        self._arrays.put(arrays.STRETCHES, np.frombuffer(self._stretches))
        return left

    def _make_room(self, entries: int) -> None:
        """Make room for so many messages under way."""
        had = self._heap
        self._heap = tuple(np.empty(entries, kind) for kind in (np.float64, np.int64, np.int64))
        for place, part in enumerate(self._heap):
            if had:
                part[: len(had[place])] = had[place]
            self._arrays.put(arrays.TIMES + place, part)
