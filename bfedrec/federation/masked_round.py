"""A round under secure aggregation: three waves of messages between clients and edge servers.

A client sends its setup at once, and fetches and trains meanwhile. When it has trained it asks its
edge server for its group's setups, masks its update for those, and sends it. Then it asks which
masked updates of its group have come, and sends its shares. It asks again for as long as messages
of its group are out; a wave ends for it a third, or two thirds, of `committee.update_seconds` after
the round began, and whoever has not been heard of until then is gone. What it learns is what its
server has at that moment: messages may be late, lost or refused, and servers may differ.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from bfedrec.config.schema import Config
from bfedrec.federation.client_links import MIB, ClientLinks
from bfedrec.federation.uplink import Uplink
from bfedrec.privacy.secure.masks import Lanes
from bfedrec.privacy.secure.member import Member
from bfedrec.privacy.secure.messages import (
    MASKED,
    SETUP,
    Masked,
    Setup,
    set_of,
    stage_of,
)
from bfedrec.privacy.secure.scheme import Scheme
from consensus.ledger.updates import SignedUpdate
from consensus.ledger.validity import Head
from consensus.simulation.results import Arrival, Inquiry

PAUSE = 0.2
"""Simulated seconds after which a client asks its server again."""

Next = list[Arrival | Inquiry]


@dataclass(frozen=True)
class Seat:
    """A client's place in a round."""

    client: int
    member: Member
    ready: float
    """Simulated second at which it has trained; infinite for one that leaves after its setup."""


@dataclass(frozen=True)
class Groupmates:
    """The messages of one group that a server has, by position."""

    setups: dict[int, Setup]
    masked: dict[int, Masked]
    setup_bytes: int
    """Bytes of the setups' messages."""


class MaskedRound:
    """The messages of one round, made as they are sent."""

    def __init__(
        self,
        config: Config,
        scheme: Scheme,
        head: Head,
        began: float,
        uplink: Uplink,
        links: ClientLinks,
        lanes_of: Callable[[int], Lanes],
    ) -> None:
        """``began``: simulated second. ``lanes_of``: waits for a client's training, and gives the
        lanes of its update, which are used up."""
        self._config, self._scheme, self._head = config, scheme, head
        self._uplink, self._links, self._lanes_of = uplink, links, lanes_of
        third = config.committee.update_seconds / 3
        self._began, self._masks_close, self._shares_close = began, began + third, began + 2 * third
        self._of_group: dict[tuple[int, ...], list[tuple[SignedUpdate, int, Setup | Masked]]] = {}
        """By group: the setups and masked updates that were sent, with their senders' positions."""
        self.sent: list[tuple[int, SignedUpdate]] = []
        """Client and message of everything that was sent."""
        self.fetched = 0
        """Bytes that clients fetched: others' setups, and which masked updates there are."""

    def arrivals(self, seats: Sequence[Seat]) -> Next:
        """The beginning of the round: each client's setup, and the question of each that trains."""
        first: Next = []
        for seat in seats:
            agreements = len(seat.member.closed) * self._config.costs.verify
            first.append(self._message(seat, self._began + agreements, seat.member.setup()))
            if np.isfinite(seat.ready):
                first.append(self._ask(seat, seat.ready, self._mask))
        return first

    def _mask(self, seat: Seat, now: float, mates: Groupmates) -> Next:
        """Send the masked update, once all setups have come, or it is time."""
        if len(mates.setups) < len(seat.member.group) and now < self._masks_close:
            return [self._ask(seat, min(now + PAUSE, self._masks_close), self._mask)]
        payload = seat.member.masked(self._lanes_of(seat.client), mates.setups)
        if payload is None:
            return []
        # Two agreements with each neighbour, one to mask and one to open what it has sealed.
        near, costs = len(seat.member.closed), self._config.costs
        streams = costs.hash_per_mib * self._scheme.stream_size / MIB
        work = near * (2 * costs.verify + streams)
        message = self._message(seat, self._fetch(seat, now, mates.setup_bytes) + work, payload)
        return [message, self._ask(seat, message.time, partial(self._unmask, mates.setups))]

    def _unmask(self, setups: dict[int, Setup], seat: Seat, now: float, mates: Groupmates) -> Next:
        """Send the shares, once all masked updates have come, or it is time."""
        if mates.masked.keys() < setups.keys() and now < self._shares_close:
            again = min(now + PAUSE, self._shares_close)
            return [self._ask(seat, again, partial(self._unmask, setups))]
        roster = set_of(setups)
        survivors = set_of(
            place for place, masked in mates.masked.items() if masked.roster == roster
        )
        payload = seat.member.unmask(setups, roster, survivors)
        if payload is None:
            return []
        return [self._message(seat, self._fetch(seat, now, self._scheme.map_size), payload)]

    # -- messages ---------------------------------------------------------------------------------

    def _message(self, seat: Seat, at: float, payload: bytes) -> Arrival:
        """A message that the client signs and sends from ``at`` on."""
        update = self._uplink.signed(self._head, seat.client, payload)
        self.sent.append((seat.client, update))
        member, stage = seat.member, stage_of(payload)
        if stage in (SETUP, MASKED):
            kind: type[Setup] | type[Masked] = Setup if stage == SETUP else Masked
            read = update, member.position, kind.decode(self._scheme, payload)
            self._of_group.setdefault(member.group, []).append(read)
        upload = self._links.upload_seconds(np.array([seat.client]), update.wire_bytes)
        time = at + self._config.costs.sign + float(upload[0])
        return Arrival(time, self._server(seat), lambda: update)

    def _fetch(self, seat: Seat, now: float, size: int) -> float:
        """The simulated second at which a client has the answer of so many bytes to a question
        that reached its server now."""
        self.fetched += size
        client = np.array([seat.client])
        return now + float(self._links.download_seconds(client, np.array([size]))[0])

    def _ask(
        self, seat: Seat, time: float, then: Callable[[Seat, float, Groupmates], Next]
    ) -> Inquiry:
        return Inquiry(
            time,
            self._server(seat),
            lambda now, has: then(seat, now, self._mates(seat.member.group, has)),
        )

    def _server(self, seat: Seat) -> int:
        return int(self._links.server[seat.client])

    def _mates(self, group: tuple[int, ...], has: Callable[[SignedUpdate], bool]) -> Groupmates:
        """The messages of a group's members that a server ``has``."""
        setups: dict[int, Setup] = {}
        masked: dict[int, Masked] = {}
        size = 0
        for update, place, message in self._of_group.get(group, ()):
            if not has(update):
                continue
            if isinstance(message, Masked):
                masked[place] = message
            else:
                setups[place] = message
                size += update.wire_bytes
        return Groupmates(setups, masked, size)
