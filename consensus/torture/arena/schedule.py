"""A scheduling adversary: it chooses when each message of an honest server reaches another, within
the bound D that PROTOCOL.md's claims (5) to (7) presume."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from consensus.network.network import Network
from consensus.server.message import Message

#: Shares of D that a kind of messages may take from one side to the other; None: drawn each time.
SHARES: tuple[float | None, ...] = (1.0, 1.0, 1.0, 0.02, 0.02, 0.5, None)
#: Seconds in which messages to and from malicious servers arrive: the adversary's network is fast,
#: and what is to come later its behaviours send later.
AT_ONCE = 1e-4


class Schedule:
    """The delays that one adversary chooses, all from one stream."""

    def __init__(
        self, generator: np.random.Generator, servers: int, bad: Collection[int], bound: float
    ) -> None:
        """``bound``: D in seconds, from when a message is said to when it is received."""
        self._generator = generator
        self._bad = frozenset(bad)
        self._sides = generator.integers(0, 2, servers).tolist()
        self._shares: dict[tuple[str, int, int], float | None] = {}
        self.bound = bound
        self.greatest = 0.0
        """The greatest delay between honest servers so far, in seconds: more than the bound where
        work kept a message from leaving in time."""

    def arrival(self, now: float, leave: float, origin: int, to: int, kind: str) -> float:
        """The time at which a message that is said ``now`` and leaves at ``leave`` arrives."""
        if origin in self._bad or to in self._bad:
            return leave + AT_ONCE
        sides = kind, self._sides[origin], self._sides[to]
        if sides not in self._shares:
            self._shares[sides] = SHARES[int(self._generator.integers(len(SHARES)))]
        share = self._shares[sides]
        if share is None:
            share = float(self._generator.random())
        arrive = max(leave, now + share * self.bound)
        self.greatest = max(self.greatest, arrive - now)
        return arrive


class ScheduledNetwork(Network):
    """A network in which every message goes straight to its receivers, when a `Schedule` says.

    Queues and latencies play no part; faults of messages strike as in any network.
    """

    schedule: Schedule

    def gossip(self, origin: int, message: Message, at: float) -> None:
        message.gossiped = True
        self.send_many(origin, range(self.topology.servers), message, at)

    def send_many(
        self, origin: int, recipients: Collection[int], message: Message, at: float
    ) -> None:
        _ = self.overlay  # notes which faults are active
        now = self.env.now
        leave = max(at, now)
        for to in recipients:
            if to == origin:
                continue
            arrive = self.schedule.arrival(now, leave, origin, to, message.kind)
            if arrive < self._calm_until:
                delivery = (self._begun, to, message, origin, False)
                self.env.call_at(arrive, self._receive_now, delivery)
            else:
                self._disturb(origin, to, message, origin, False, leave, arrive)
            self.bytes[message.kind] += message.size

    def pass_on(
        self, server: int, origin: int, message: Message, at: float, before: Collection[int]
    ) -> None:
        """Do nothing: no server depends on another to pass anything on."""

    def _receive_now(self, delivery: tuple[int, int, Message, int, bool]) -> None:
        begun, server, message, origin, _ = delivery
        if begun == self._begun:
            self._receive(server, message, origin)
