"""A network of torture's own for a scheduling adversary: it alone chooses when each message of an
honest server reaches another, within the bound D that PROTOCOL.md's claims (5) to (7) presume."""

from __future__ import annotations

from collections.abc import Collection

from consensus.adversary.delays import Schedule
from consensus.network.network import Network
from consensus.server.message import Message

#: Seconds in which messages to and from malicious servers arrive: the adversary's network is fast,
#: and what is to come later its behaviours send later.
AT_ONCE = 1e-4


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
            if self.schedule.is_own(origin) or self.schedule.is_own(to):
                arrive = leave + AT_ONCE
            else:
                said = message.kind, message.body
                arrive = self.schedule.received(now, leave, origin, to, *said)
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
