"""The accounts that `kernels.advance` keeps of what servers take in without hearing of it."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from math import inf
from typing import Any, Final, Protocol

import numpy as np

from consensus.network import arrays, kernels
from consensus.network.arrays import Arrays
from consensus.server.message import Message
from consensus.server.unheard import LANES, Credit, Fit, Taken

NO_CREDITS: Final = memoryview(np.zeros(LANES, np.int64))  # type: ignore[arg-type]
GONE: Final = Message("status", None, 0)
"""In place of a message that was let go of."""
UPDATES, OTHERS = 0, 1
"""The two logs of a server."""


class Unheard(Protocol):
    """Judge of what servers may take in unheard (`consensus.simulation.unheard.Judge`)."""

    def fit(self, sender: int, message: Message) -> tuple[Fit, float] | None:
        """Say how a message may be taken in unheard, and the simulated seconds of work on it."""
        ...

    def credits(self, server: int) -> Sequence[Credit]:
        """Say what a server need not hear of until it does something."""
        ...

    def take_in(self, server: int, taken: Iterable[Taken]) -> None:
        """Let a server count what it has taken in unheard."""
        ...


class Intake:
    """The messages of an epoch that may be taken in unheard, what each server may take in of them,
    and what it has taken in."""

    def __init__(self, servers: int, table: Arrays, unheard: Unheard) -> None:
        """``table``: where loops find the accounts."""
        self._servers = servers
        self._put = table.put
        self._unheard = unheard
        self._stale = self._flat(arrays.STALE, np.ones(servers, np.bool_))
        self._grounds_of = self._flat(arrays.GROUND_OF, np.full((servers, LANES), -1, np.int64))
        self._credits = self._flat(arrays.CREDIT, np.zeros((servers, LANES), np.int64))
        self._logged = self._put(arrays.LOGGED, np.zeros((2, servers), np.int64))
        self.updates_waiting: Sequence[int] = memoryview(self._logged[UPDATES])
        """By server: the number of updates that it has taken in unheard since it looked."""
        self._others_waiting: Sequence[int] = memoryview(self._logged[OTHERS])
        self._fresh = [True] * servers
        """By server: nothing was noted or taken out of its logs in this epoch."""
        self._make_names(64)
        self.table = np.empty(64, kernels.MESSAGE)
        """The messages, for loops."""
        self.messages: list[Message] = []
        self.origins: list[int] = []
        self._bodies: list[tuple[Any, int]] = []
        self._named: list[Hashable] = []
        self._told: list[tuple[int, Any, int | None]] = []
        """The messages as servers get them that have taken them in (`Taken`)."""
        self._slots: dict[int, int] = {}
        """Place of each message that is not let go of, by its identity."""
        self._names: dict[Hashable, int] = {}
        self._grounds: dict[Hashable, int] = {}
        self.kinds: dict[int, str] = {}
        """The kind of the messages of each lane."""

    def _flat(self, place: int, array: np.ndarray) -> memoryview[Any]:
        """Put an array in the table; returns its values, one after the other."""
        return memoryview(self._put(place, array).reshape(-1))  # type: ignore[arg-type]

    def begin(self) -> None:
        """Begin an epoch: what was not taken out is gone, and there is no message."""
        for server in range(self._servers):
            self._stale[server] = True
        self._fresh = [True] * self._servers
        self._logged[:] = 0
        self._seen[:] = False
        for kept in (self.messages, self.origins, self._bodies, self._named, self._told):
            kept.clear()
        for known in (self._slots, self._names, self._grounds):
            known.clear()

    # -- messages ---------------------------------------------------------------------------------

    def known(self, message: Message) -> int | None:
        """The place of a message that may be taken in unheard; None for another."""
        return self._slots.get(id(message))

    def slot(self, sender: int, message: Message) -> int | None:
        """The place of a message that ``sender`` sends, put there if it may be taken in unheard."""
        slot = self._slots.get(id(message))
        if slot is not None:
            return slot
        found = self._unheard.fit(sender, message)
        if found is None:
            return None
        (lane, ground, name, weight, *_), seconds = found
        slot = len(self.messages)
        if slot == len(self.table):
            self.table = np.concatenate([self.table, np.empty_like(self.table)])
        number = self._grounds.setdefault(ground, len(self._grounds))
        name_number = self._number_of(name)
        said = message.said if message.timed else inf
        self.table[slot] = (sender, lane, number, name_number, weight, message.size, seconds, said)
        self.kinds[lane] = message.kind
        self.messages.append(message)
        self.origins.append(sender)
        self._bodies.append((message.body, sender))
        self._named.append(name)
        self._told.append((lane, message.body, sender if message.gossiped else None))
        self._slots[id(message)] = slot
        return slot

    def let_go(self, under_way: set[int]) -> None:
        """Let go of all messages but those at the places ``under_way``, and those that servers have
        not taken out yet. Should one be sent on again, servers hear of it."""
        for log, server in np.argwhere(self._logged > 0).tolist():
            under_way.update(self._log[log, server, : self._logged[log, server]].tolist())
        for identity, slot in [each for each in self._slots.items() if each[1] not in under_way]:
            del self._slots[identity]
            self.messages[slot], self._bodies[slot] = GONE, (None, self.origins[slot])
            self._told[slot] = 0, None, None

    # -- servers ----------------------------------------------------------------------------------

    def heard(self, server: int) -> None:
        """Let a server know what it has taken in, and ask it anew before it takes in more."""
        self._stale[server] = True
        if self._others_waiting[server]:
            times = self._logged_at[OTHERS, server, : self._others_waiting[server]].tolist()
            told, slots = self._told, self._take_out(OTHERS, server)
            self._unheard.take_in(
                server,
                [(*told[slot], at) for slot, at in zip(slots, times, strict=True)],
            )

    def ask(self, server: int) -> None:
        """Ask what a server need not hear of."""
        credits_, grounds_of, grounds = self._credits, self._grounds_of, self._grounds
        first = server * LANES
        credits_[first : first + LANES] = NO_CREDITS
        for lane, ground, weight in self._unheard.credits(server):
            grounds_of[first + lane] = grounds.setdefault(ground, len(grounds))
            credits_[first + lane] = weight
        self._stale[server] = False

    def take_updates(self, server: int) -> tuple[list[Any], list[tuple[Any, int]]]:
        """Take out the updates of a server (`Inbox.updates`)."""
        named, bodies, slots = self._named, self._bodies, self._take_out(UPDATES, server)
        return [named[slot] for slot in slots], [bodies[slot] for slot in slots]

    def _take_out(self, log: int, server: int) -> list[int]:
        self._fresh[server] = False
        slots: list[int] = self._log[log, server, : self._logged[log, server]].tolist()
        self._logged[log, server] = 0
        return slots

    def note(self, server: int, name: Hashable) -> None:
        """Note that a server has a message of this name (`Inbox.note`)."""
        self._fresh[server] = False
        number = self._number_of(name)  # which may make another array of what was seen
        self._seen[server, number] = True

    def forget(self, server: int) -> None:
        """Forget what a server has had (`Inbox.clear`)."""
        if self._fresh[server] and not (
            self.updates_waiting[server] or self._others_waiting[server]
        ):
            return
        self._fresh[server] = True
        self._logged[:, server] = 0
        self._seen[server] = False

    # -- names ------------------------------------------------------------------------------------

    def _number_of(self, name: Hashable) -> int:
        number = self._names.setdefault(name, len(self._names))
        if number == self._seen.shape[1]:
            had, log, logged_at = self._seen, self._log, self._logged_at
            self._make_names(2 * number)
            self._seen[:, :number] = had
            self._log[:, :, :number], self._logged_at[:, :, :number] = log, logged_at
        return number

    def _make_names(self, names: int) -> None:
        """Make room for so many names."""
        servers, put = self._servers, self._put
        self._seen = put(arrays.SEEN, np.zeros((servers, names), np.bool_))
        self._log = put(arrays.LOG, np.empty((2, servers, names), np.int64))
        self._logged_at = put(arrays.LOGGED_AT, np.empty((2, servers, names)))


class ServerInbox:
    """The updates that one server has taken in unheard (`consensus.server.unheard.Inbox`)."""

    def __init__(self, intake: Intake, server: int) -> None:
        self._intake = intake
        self._server = server

    def waiting(self) -> int:
        """The number of updates that are here."""
        return self._intake.updates_waiting[self._server]

    def updates(self) -> tuple[list[Any], list[tuple[Any, int]]]:
        """Take out the updates: their names, and each with the server that began to gossip it."""
        return self._intake.take_updates(self._server)

    def note(self, name: Hashable) -> None:
        """Note that the server has heard a message of this name."""
        self._intake.note(self._server, name)

    def clear(self) -> None:
        """Begin a height: forget what is here, and all names."""
        self._intake.forget(self._server)
