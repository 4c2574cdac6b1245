"""The malicious clients of a run: the groups, their rounds, and the uploads of a round."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import numpy as np

from bfedrec.attacks.attack import Scene
from bfedrec.attacks.settings import MaliciousClients
from bfedrec.compression.exchange import Exchange
from bfedrec.learning.upload import LocalUpdates, Upload
from bfedrec.parts import PartError, array_of, fixed
from bfedrec.section import share_of
from bfedrec.streams import Streams
from consensus.ledger.updates import SignedUpdate
from consensus.ledger.use import home


class Adversary:
    """All malicious clients, in one group for each entry of `clients.malicious`.

    A client belongs to one group at most, for the whole run, whether it is the group's time or
    not. Outside of it, its members are honest.
    """

    def __init__(
        self,
        groups: Sequence[MaliciousClients],
        users: int,
        streams: Streams,
        genesis: bytes,
        servers: int,
    ) -> None:
        """``genesis``: the CID of the genesis; ``servers``: the number of edge servers."""
        self._groups = groups
        self._streams = streams
        self._genesis = genesis
        self._earlier: dict[int, list[tuple[int, SignedUpdate]]] = {}
        self.group = np.full(users, -1, np.int64)
        """int64[M]: each client's group, -1 for an honest client."""
        order = streams.generator("malicious_clients").permutation(users)
        for number, group in enumerate(groups):
            near = order
            if group.homes:
                near = order[[home(client, servers) in group.homes for client in order.tolist()]]
            free = near[self.group[near] < 0]
            self.group[free[: share_of(group.share, near.size)]] = number

    @property
    def honest(self) -> np.ndarray:
        """bool[M]: the clients that are in no group."""
        return self.group < 0

    @property
    def targets(self) -> set[int]:
        """The items that the groups want recommended."""
        return {item for group in self._groups for item in group.plan.targets()}

    @property
    def keeps_messages(self) -> bool:
        """True if a group needs what it signed at the height before (`remember`)."""
        return any(group.plan.keeps_messages() for group in self._groups)

    def attack(self, height: int, client: int) -> str | None:
        """The attack that ``client`` follows at ``height``; None while it is honest."""
        number = int(self.group[client])
        return self._groups[number].attack if number in self._active(height) else None

    def violation(self, height: int, client: int) -> str:
        """The way in which ``client`` breaks the protocol of masks at ``height``; empty if it keeps
        to it."""
        if self.attack(height, client) is None:
            return ""
        return self._groups[int(self.group[client])].plan.violation()

    def acts(self, height: int, clients: np.ndarray) -> bool:
        """True if a round with these clients sends anything but honest updates."""
        active = self._active(height)
        return bool(np.isin(self.group[clients], active).any()) or any(
            self._earlier.get(number) for number in active
        )

    def _active(self, height: int) -> list[int]:
        return [
            number
            for number, group in enumerate(self._groups)
            if group.since <= height and (group.until is None or height <= group.until)
        ]

    def forge(
        self,
        height: int,
        uploads: Sequence[Upload],
        P: np.ndarray,
        Q: np.ndarray,
        B: np.ndarray,
        exchange: Exchange,
        train_flipped: Callable[[list[int]], LocalUpdates],
    ) -> list[Upload]:
        """The uploads that a round sends, from those that all of its clients would honestly make.

        ``P``: float32[m, d], the factors of these clients after training. ``train_flipped`` trains
        those at the given places of ``uploads`` on turned labels. The honest clients' uploads come
        first, as they are.
        """
        groups = np.array([self.group[upload.client] for upload in uploads], np.int64)
        active = self._active(height)
        honest = [u for u, group in zip(uploads, groups, strict=True) if group not in active]
        sent = list(honest)
        for number in active:
            places = np.flatnonzero(groups == number).tolist()
            earlier = self._earlier.get(number, [])
            if len(places) or earlier:
                scene = Scene(
                    height=height,
                    honest=_fixed(honest),
                    clients=len(uploads),
                    P=P[places],
                    Q=fixed(Q),
                    B=fixed(B),
                    exchange=exchange,
                    generator=self._streams.generator("attacks", height, number),
                    train_flipped=lambda places=places: train_flipped(places),  # type: ignore[misc]
                    earlier=earlier,
                    genesis=self._genesis,
                )
                own = [uploads[place] for place in places]
                group = self._groups[number]
                forged = group.plan.forge(own, scene)
                sent += _check(group.attack, forged, exchange, len(self.group))
        return sent

    def remember(self, sent: Sequence[tuple[Upload, SignedUpdate]]) -> None:
        """Keep what was signed in the round just played, for the groups that want it."""
        self._earlier = {}
        for upload, message in sent:
            number = int(self.group[upload.client])
            if (
                number >= 0
                and upload.message is None
                and self._groups[number].plan.keeps_messages()
            ):
                self._earlier.setdefault(number, []).append((upload.client, message))


def _fixed(uploads: Sequence[Upload]) -> list[Upload]:
    """The same uploads, with arrays to which nothing can be written."""
    return [replace(each, A=fixed(each.A), touched=fixed(each.touched)) for each in uploads]


def _check(attack: str, forged: object, exchange: Exchange, clients: int) -> list[Upload]:
    """The uploads that an attack gave. Raises PartError where they are none, of no client, or no
    message can hold them; their updates are float[r, N] with bool[N], and may still be all that an
    encoding can say, NaN included."""
    told, (rows, items) = f"attack {attack!r}: forge()", (exchange.up.rows, exchange.up.items)
    if not isinstance(forged, Iterable):
        raise PartError(f"{told} returned {type(forged).__name__}, and not uploads")
    found = []
    for upload in forged:
        if not isinstance(upload, Upload):
            raise PartError(f"{told} returned {type(upload).__name__}, and not an Upload")
        if not 0 <= upload.client < clients:
            raise PartError(f"{told} returned an upload of client {upload.client!r} of {clients}")
        if type(upload.samples) is not int or not -(2**63) <= upload.samples < 2**63:
            raise PartError(f"{told} returned {upload.samples!r} samples, and not an int64")
        if not isinstance(upload.payload, bytes | None):
            kind = type(upload.payload).__name__
            raise PartError(f"{told} returned {kind} as a payload, and not bytes")
        if not isinstance(upload.message, SignedUpdate | None):
            kind = type(upload.message).__name__
            raise PartError(f"{told} returned {kind} as a message, and not a SignedUpdate")
        if upload.message is None and upload.payload is None:
            array_of(f"{told}, for A,", upload.A, (rows, items))
            array_of(f"{told}, for touched,", upload.touched, (items,), np.dtype(np.bool_))
        found.append(upload)
    return found
