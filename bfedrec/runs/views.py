"""The updates of a round as whoever has its messages sees them, one client after the other.

Without masks that is each client's own update. Under secure aggregation it is the mean of the
client's group, the same for all of its members, and the client's own levels under its masks: nobody
who has the messages alone can say more about one member.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bfedrec.federation.global_model import GlobalModel
from bfedrec.privacy.secure.exchange import SecureExchange
from bfedrec.privacy.secure.masks import Lanes
from bfedrec.privacy.secure.messages import MASKED, Masked, stage_of
from bfedrec.runs.folder import RunError
from bfedrec.threads import in_threads, thread_count

Told = tuple[int, int, bytes]
"""Client, sample count and payload of an update."""


@dataclass(frozen=True)
class View:
    """The clients of a round that are seen, and what is seen of each; fields as those of
    `bfedrec.privacy.observation.Observation`, of all rows of Q."""

    clients: np.ndarray
    samples: np.ndarray
    A: np.ndarray
    touched: np.ndarray
    masked: np.ndarray | None = None


def view_of(
    model: GlobalModel, height: int, beacon: bytes, updates: Sequence[Told], honest: np.ndarray
) -> View:
    """The view of a block's ``updates``, of the ``honest`` clients (bool[M]) alone. Raises
    `RunError` for messages under masks that no block can hold."""
    if model.secure is None:
        return _plain(model, beacon, [each for each in updates if honest[each[0]]])
    return _grouped(model, model.secure, height, beacon, updates, honest)


def _plain(model: GlobalModel, beacon: bytes, updates: Sequence[Told]) -> View:
    """Each client's own update."""
    shape = (len(updates), model.rank, model.items)
    A, touched = np.empty(shape, np.float32), np.empty((len(updates), model.items), np.bool_)

    def decode(part: np.ndarray) -> None:
        for place in part.tolist():
            decoded = model.exchange.decode(updates[place][2], beacon)
            A[place] = decoded.A
            touched[place] = decoded.touched if decoded.touched.size else _moved(decoded.A)

    in_threads(
        decode, [(part,) for part in np.array_split(np.arange(len(updates)), thread_count())]
    )
    clients, samples = _numbers([(client, count) for client, count, _ in updates])
    return View(clients, samples, A, touched)


def _moved(A: np.ndarray) -> np.ndarray:
    """The items whose column of A (float32[r, N]) is not 0, bool[N]."""
    moved = A[0] != 0
    for row in A[1:]:
        if moved.all():  # as most are after a few rows, where every item moves
            break
        moved |= row != 0
    return moved


def _grouped(
    model: GlobalModel,
    secure: SecureExchange,
    height: int,
    beacon: bytes,
    updates: Sequence[Told],
    honest: np.ndarray,
) -> View:
    """For each member of an opened group the group's mean, and its own masked levels."""
    for client, _, payload in updates:
        if (told := secure.check(payload)) is not None or secure.slot(client, payload) is None:
            raise RunError(
                f"height {height}: an update of client {client}: {told or 'not its own'}"
            )
    masked = {
        client: (samples, payload)
        for client, samples, payload in updates
        if stage_of(payload) == MASKED
    }
    opening = secure.opening([payload for _, _, payload in updates], beacon)
    members = [(each, group) for group in opening.groups for each in group.members if honest[each]]
    shape = (len(members), model.rank, model.items)
    A, levels = np.empty(shape, np.float32), np.empty(shape, np.float32)
    touched = np.empty((len(members), model.items), np.bool_)
    step, scheme = secure.step(model.exchange_at(height)), secure.scheme
    for place, (client, group) in enumerate(members):
        A[place] = group.levels * np.float32(step / len(group.members))
        touched[place] = group.counts > 0 if scheme.counted else np.any(group.levels, axis=0)
        body = Masked.decode(scheme, masked[client][1]).body
        levels[place] = Lanes.unpacked(scheme, body).centred
    clients, samples = _numbers([(client, masked[client][0]) for client, _ in members])
    return View(clients, samples, A, touched, levels)


def _numbers(pairs: Sequence[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
    """Clients and sample counts, int64[m] each."""
    both = np.array(pairs, np.int64).reshape(-1, 2)
    return both[:, 0].copy(), both[:, 1].copy()
