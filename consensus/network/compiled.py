"""The network with messages that nobody reacts to in a compiled loop.

Most messages of a height change nothing that a server does: it checks an update, a draw or a vote,
counts it, perhaps passes it on, and waits for more. Such messages have a heap of their own, beside
the clock's, and `kernels.advance` delivers them without a call in Python: ingress queue, processor,
egress queue, jitter and order are those of `Network`, to the last bit. What a server has taken in
unheard is noted, and it takes it in before it does anything else. It hears of a message itself if
that may change what it does (its credit is used up), if it has had one of the same name, or if
faults may strike the message; then everything is done as in `Network`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Hashable, Iterable, Sequence
from itertools import count
from math import inf
from typing import Any, Protocol

import numpy as np

from consensus.faults.faults import Faults
from consensus.network import kernels
from consensus.network.clock import Clock
from consensus.network.network import Network
from consensus.network.topology import Overlay, Topology
from consensus.server.message import Message
from consensus.server.unheard import LANES, Credit, Fit, Taken

MOST_TREE_BYTES = 2**27
"""Bytes of the trees that are at hand at once."""


class Unheard(Protocol):
    """Judge of what servers may take in unheard (`consensus.simulation.unheard.Judge`)."""

    def fit(self, sender: int, message: Message) -> tuple[Fit, float] | None:
        """Say how a message may be taken in unheard, and the simulated seconds of work on it."""
        ...

    def credits(self, server: int) -> Iterable[Credit]:
        """Say what a server need not hear of until it does something."""
        ...

    def take_in(self, server: int, taken: Iterable[Taken]) -> None:
        """Let a server count what it has taken in unheard."""
        ...


class ServerInbox:
    """The updates that one server has taken in unheard (`consensus.server.unheard.Inbox`)."""

    def __init__(self, network: CompiledNetwork, server: int) -> None:
        self._network = network
        self._server = server

    def waiting(self) -> int:
        return self._network.updates_waiting[self._server]

    def updates(self) -> list[tuple[Any, int]]:
        return self._network.take_updates(self._server)

    def note(self, name: Hashable) -> None:
        self._network.note(self._server, name)

    def clear(self) -> None:
        self._network.forget(self._server)


class CompiledNetwork(Network):
    """A `Network` that delivers what servers take in unheard in a compiled loop."""

    def __init__(
        self,
        env: Clock,
        topology: Topology,
        bandwidth_mib_per_s: float,
        jitter: float,
        receive: Callable[[int, Message, int], float | None],
        faults: Faults | None,
        unheard: Unheard,
    ) -> None:
        self._kinds: dict[int, str] = {}
        """By lane."""
        super().__init__(env, topology, bandwidth_mib_per_s, jitter, receive, faults)
        self._unheard = unheard
        servers = topology.servers
        self._arrays = put = kernels.Arrays()
        self._room(1024)
        self.due: Sequence[float] = memoryview(put.put(kernels.CLOCK, np.full(2, inf)))
        put.put(kernels.CELL, np.frombuffer(self._cells, np.int64))
        put.put(kernels.EGRESS, np.frombuffer(self._egress_free))
        put.put(kernels.INGRESS, np.frombuffer(self._ingress_free))
        put.put(kernels.BUSY, np.frombuffer(self.busy_until))
        self._stale = memoryview(put.put(kernels.STALE, np.ones(servers, np.bool_)))
        lanes = (servers, LANES)
        ground_of = put.put(kernels.GROUND_OF, np.full(lanes, -1, np.int64))
        credit = put.put(kernels.CREDIT, np.zeros(lanes, np.int64))
        self._grounds_of, self._credits = memoryview(ground_of.ravel()), memoryview(credit.ravel())
        """By server and lane, one after the other."""
        self._logged = put.put(kernels.LOGGED, np.zeros((2, servers), np.int64))
        self.updates_waiting: Sequence[int] = memoryview(self._logged[0])
        """By server: the number of updates that it has taken in unheard since it looked."""
        self._others_waiting: Sequence[int] = memoryview(self._logged[1])
        self._make_names(64)
        self._messages: list[Message] = []
        self._bodies: list[tuple[Any, int]] = []
        """Body and origin of each message ..."""
        self._lanes: list[int] = []
        """... and its lane."""
        self._slots: dict[int, int] = {}
        """Place of each message in ``_messages``, by its identity."""
        self._table = np.empty(64, kernels.MESSAGE)
        self._names: dict[Hashable, int] = {}
        self._grounds: dict[Hashable, int] = {}
        self._tree_of = put.put(kernels.TREE_OF, np.full(servers, -1, np.int64))
        self._drawn_for: Overlay | None = None
        """The overlay of the trees at hand."""
        self._plant(1)
        self._paths: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        """By origin: seconds and hops of its tree."""
        env.feed = self

    # -- epochs -----------------------------------------------------------------------------------

    def begin(self, generator: np.random.Generator) -> None:
        """Begin a new epoch (`Network.begin`). What servers have not taken in of the one before is
        gone."""
        super().begin(generator)
        self._cells[kernels.SIZE] = 0
        self.due[kernels.NEXT] = inf  # type: ignore[index]
        for server in range(self.topology.servers):
            self._stale[server] = True
        self._logged[:] = 0
        self._seen[:] = False
        for kept in (self._messages, self._bodies, self._lanes):
            kept.clear()
        self._slots.clear()
        self._names.clear()
        self._grounds.clear()

    # -- what servers take in unheard -------------------------------------------------------------

    def inbox(self, server: int) -> ServerInbox:
        """The inbox of a server."""
        return ServerInbox(self, server)

    def heard(self, server: int) -> None:
        """Let ``server`` know what it has taken in unheard (`Network.heard`)."""
        self._stale[server] = True
        if self._others_waiting[server]:
            self._unheard.take_in(server, self._take(server))

    def take_updates(self, server: int) -> list[tuple[Any, int]]:
        """Take out the updates of a server (`Inbox.updates`)."""
        bodies = self._bodies
        return [bodies[slot] for slot in self._logged_slots(0, server)]

    def _take(self, server: int) -> list[Taken]:
        times = self._logged_at[1, server, : self._others_waiting[server]].tolist()
        bodies, lanes = self._bodies, self._lanes
        slots = self._logged_slots(1, server)
        return [
            (lanes[slot], bodies[slot][0], at) for slot, at in zip(slots, times, strict=True)
        ]

    def _logged_slots(self, book: int, server: int) -> list[int]:
        slots: list[int] = self._log[book, server, : self._logged[book, server]].tolist()
        self._logged[book, server] = 0
        return slots

    def note(self, server: int, name: Hashable) -> None:
        """Note that a server has a message of this name (`Inbox.note`)."""
        number = self._number_of(name)  # which may make another array of what was seen
        self._seen[server, number] = True

    def forget(self, server: int) -> None:
        """Forget what a server has had (`Inbox.clear`)."""
        self._logged[:, server] = 0
        self._seen[server] = False

    def _number_of(self, name: Hashable) -> int:
        number = self._names.setdefault(name, len(self._names))
        if number == self._seen.shape[1]:
            self._make_names(2 * number)
        return number

    def _make_names(self, names: int) -> None:
        """Make room for so many names."""
        servers, put = self.topology.servers, self._arrays
        seen = np.zeros((servers, names), np.bool_)
        log = np.empty((2, servers, names), np.int64)
        logged_at = np.empty((2, servers, names))
        if hasattr(self, "_seen"):
            had = self._seen.shape[1]
            seen[:, :had], log[:, :, :had], logged_at[:, :, :had] = (
                self._seen,
                self._log,
                self._logged_at,
            )
        self._seen = put.put(kernels.SEEN, seen)
        self._log = put.put(kernels.LOG, log)
        self._logged_at = put.put(kernels.LOGGED_AT, logged_at)

    def _ask(self, server: int) -> None:
        """Ask what a server need not hear of."""
        credit, ground_of, grounds = self._credits, self._grounds_of, self._grounds
        first = server * LANES
        for place in range(first, first + LANES):
            credit[place] = 0
        for lane, ground, weight in self._unheard.credits(server):
            ground_of[first + lane] = grounds.setdefault(ground, len(grounds))
            credit[first + lane] = weight
        self._stale[server] = False

    def _slot(self, origin: int, message: Message) -> int | None:
        """The place of a message that may be taken in unheard, put there when it is new."""
        slot = self._slots.get(id(message))
        if slot is not None:
            return slot
        found = self._unheard.fit(origin, message)
        if found is None:
            return None
        fit, seconds = found
        slot = len(self._messages)
        if slot == len(self._table):
            self._table = np.concatenate([self._table, np.empty_like(self._table)])
        self._table[slot] = (
            *(origin, fit.lane, self._grounds.setdefault(fit.ground, len(self._grounds)), self._number_of(fit.name), fit.weight),
            *(message.size, seconds),
        )
        self._kinds[fit.lane] = message.kind
        self._messages.append(message)
        self._bodies.append((message.body, origin))
        self._lanes.append(fit.lane)
        self._slots[id(message)] = slot
        return slot

    # -- sending ----------------------------------------------------------------------------------

    def gossip(self, origin: int, message: Message, at: float) -> None:
        """Send ``message`` from ``origin`` to every other server (`Network.gossip`)."""
        if message.kind == "update":
            self._slot(origin, message)
        super().gossip(origin, message, at)

    def send_many(
        self, origin: int, recipients: Collection[int], message: Message, at: float
    ) -> None:
        """Send ``message`` to each of ``recipients`` (`Network.send_many`)."""
        slot = None if message.kind == "update" else self._slot(origin, message)
        leave = max(self._egress_free[origin], at, self.env.now)
        if slot is not None and self._current() and leave < self._calm_until:
            paths = self._paths.get(origin)
            if paths is None:
                tree = self.overlay.tree(origin)
                paths = np.frombuffer(tree.seconds), np.frombuffer(tree.hops, np.uint16)
                self._paths[origin] = paths
            to = np.array(recipients if isinstance(recipients, Sequence) else [*recipients])
            status = self._call(
                kernels.send, slot, (leave, *paths, to), lambda: len(to), origin
            )
            if status == kernels.DONE:
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
        slot = self._slots.get(id(message)) if children is None else None
        leave = max(self._egress_free[server], at, self.env.now)
        if slot is not None and self._current() and leave < self._calm_until:
            status = self._call(
                kernels.forward,
                slot,
                (server, leave),
                lambda: len(self.overlay.tree(origin).children[server]),
                origin,
            )
            if status == kernels.DONE:
                return
        super()._forward(server, origin, message, at, children)

    def _current(self) -> bool:
        """Bring the links up to date; True."""
        overlay = self._overlay
        if overlay is None or self.env.now >= self._change_at:
            overlay = self.overlay
        if overlay is not self._drawn_for:
            self._uproot(overlay)
        return True

    def _call(
        self,
        loop: Callable[..., int],
        slot: int,
        arguments: tuple[Any, ...],
        receivers: Callable[[], int],
        origin: int,
    ) -> int:
        """Call a loop that sends a message until it lacks nothing; returns what it stopped for."""
        cells, table = self._cells, self._arrays.table
        cells[kernels.NUMBER] = next(self.env.numbers)
        while True:
            parts = table, self._table, slot, self._seconds_per_byte, self._calm_until
            status = loop(*parts, *arguments)
            if status in (kernels.DONE, kernels.DISTURBED):
                break
            self._supply(status, receivers, origin)
        self.env.numbers = count(cells[kernels.NUMBER])
        return status

    @property
    def bytes(self) -> Counter[str]:
        """Bytes sent between servers (`Network.bytes`), those that the loops have counted too."""
        cells, found = self._cells, self._bytes
        for lane, kind in self._kinds.items():
            sent = cells[kernels.SENT + lane]
            if sent:
                found[kind] += sent
                cells[kernels.SENT + lane] = 0
        return found

    # -- receiving --------------------------------------------------------------------------------

    def advance(self, until: float, number: int) -> bool:
        """Deliver messages up to the entry of the clock that is due at ``until`` (seconds) with
        this number; returns True once a server has heard one, which may have changed what is due.
        """
        env, cells = self.env, self._cells
        cells[kernels.NUMBER] = next(env.numbers)
        while True:
            if self._overlay is not self._drawn_for:
                self._uproot(self._overlay)
            status = kernels.advance(
                self._arrays.table,
                self._table,
                self._seconds_per_byte,
                self._calm_until,
                until,
                number,
            )
            if status in (kernels.DONE, kernels.RECEIVED, kernels.ARRIVED):
                break
            server = cells[kernels.SERVER]
            if status == kernels.OUTDATED:
                self._ask(server)
            else:
                env.now = self.due[kernels.NOW]
                origin = self._bodies[cells[kernels.SLOT]][1]
                self._supply(
                    status, lambda: len(self.overlay.tree(origin).children[server]), origin
                )
        env.numbers = count(cells[kernels.NUMBER])
        if status == kernels.DONE:
            return False
        env.now = self.due[kernels.NOW]
        server, slot = cells[kernels.SERVER], cells[kernels.SLOT]
        origin, onward = self._bodies[slot][1], bool(cells[kernels.ONWARD])
        delivery = (self._begun, server, self._messages[slot], origin, onward)
        (self._arrive if status == kernels.ARRIVED else self._hand_over)(delivery)
        return True

    # -- what the loops need ----------------------------------------------------------------------

    def _supply(self, status: int, receivers: Callable[[], int], origin: int) -> None:
        """Supply what a loop lacks to send a message of ``origin`` to so many."""
        if status == kernels.JITTER:
            self._refill(receivers())
        elif status == kernels.ROOM:
            self._room(2 * len(self._heap[0]) + receivers())
        else:
            assert status == kernels.TREE
            self._grow(origin)

    def _refill(self, needed: int) -> int:
        left = super()._refill(needed)
        self._arrays.put(kernels.STRETCHES, np.frombuffer(self._stretches))
        return left

    def _room(self, entries: int) -> None:
        """Make room for so many messages under way."""
        old = getattr(self, "_heap", ())
        self._heap = tuple(np.empty(entries, dtype) for dtype in (np.float64, np.int64, np.int64))
        for place, part in enumerate(self._heap):
            if old:
                part[: len(old[place])] = old[place]
            self._arrays.put(kernels.TIMES + place, part)

    def _uproot(self, overlay: Overlay | None) -> None:
        """Drop the trees: they are of other links than those of ``overlay``."""
        self._drawn_for = overlay
        self._paths.clear()
        self._tree_of[:] = -1
        self._planted = 0

    def _plant(self, trees: int) -> None:
        """Make room for so many trees."""
        servers = self.topology.servers
        put = self._arrays.put
        self._trees = (
            put(kernels.STARTS, np.empty((trees, servers + 1), np.int64)),
            put(kernels.CHILDREN, np.empty((trees, servers), np.int64)),
            put(kernels.DELAYS, np.empty((trees, servers))),
        )
        self._tree_of[:] = -1
        self._planted = 0

    def _grow(self, origin: int) -> None:
        """Have the tree of shortest paths from ``origin`` at hand."""
        overlay = self.overlay
        if overlay is not self._drawn_for:
            self._uproot(overlay)
        servers = self.topology.servers
        room = len(self._trees[0])
        if self._planted == room:
            most = max(1, MOST_TREE_BYTES // (24 * servers))
            if room < most:
                old = self._trees
                of, planted = self._tree_of.copy(), self._planted
                self._plant(min(most, max(16, 2 * room)))
                for new, part in zip(self._trees, old, strict=True):
                    new[:planted] = part
                self._tree_of[:], self._planted = of, planted
            else:
                self._uproot(overlay)
        place = self._planted
        starts, children, delays = (part[place] for part in self._trees)
        tree, links = overlay.tree(origin), overlay.links
        flat = [(child, links[s][child]) for s, kids in enumerate(tree.children) for child in kids]
        starts[0] = 0
        np.cumsum([len(kids) for kids in tree.children], out=starts[1:])
        children[: len(flat)] = [child for child, _ in flat]
        delays[: len(flat)] = [seconds for _, seconds in flat]
        self._tree_of[origin] = place
        self._planted = place + 1
