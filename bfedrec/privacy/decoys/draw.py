"""The items that a client's updates show: some of its own, and decoys among them.

The sign of an update tells the items that it was trained on as positives. With decoys these are
drawn: of its own training items a client shows each with chance t (`DecoySettings.kept`), of all
others each with chance f (`DecoySettings.share`). That is Warner's randomised response (1965) for
every item, drawn once and kept for all rounds as RAPPOR's permanent response is (Erlingsson, Pihur
and Korolova, 2014): whoever intersects a client's updates over its participations finds the same
items again, decoys included. A sign then ranks own items above others with AUC (1 + t - f) / 2, and
moves the odds of an item by t / f at most, or by (1 - t) / (1 - f), however popular it is.
MultiVerse (TOIS 2025) hides users among fabricated ones in the same spirit.

With `DecoySettings.factors` "own" a client trains its factors p_u on all of its own items and on
no decoy, and the one direction that its update has is about p_u, whose scores rank its own items
first whatever the signs say. With "shown" the p_u of an update is solved on what is shown, and the
one that scores items, which stays, on the client's own: an update, and all of a client's updates
together, then follow from one randomised response and public numbers, and whatever reads them is
bound by its odds, which is local differential privacy of each item.

An update's positives are then (t - f) of the true ones and f of the whole catalogue in expectation.
Methods take the second off again and weigh negatives by the first (`Shown`), so that the mean of
many clients' updates is t - f times what it would be without.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from bfedrec.learning.task import Shown
from bfedrec.privacy.settings import DecoySettings


class Decoys:
    """The items that clients show, drawn whenever they are asked for, and always the same."""

    def __init__(
        self,
        settings: DecoySettings,
        own: tuple[np.ndarray, np.ndarray],
        items: int,
        generator: Callable[[int], np.random.Generator],
    ) -> None:
        """``own``: the training items of all clients (CSR: int64[M + 1], int32), of a catalogue of
        so many ``items``. ``generator``: a client's secret stream, from its beginning."""
        self._settings = settings
        self._indptr, self._indices = own
        self._items = items
        self._generator = generator

    def counts(self) -> np.ndarray:
        """The number of items that each client shows in the mean, int64[M]: n t + (N - n) f of a
        client with n different items, of N."""
        kept, share = self._settings.kept, self._settings.share
        clients = len(self._indptr) - 1
        rows = np.repeat(np.arange(clients), np.diff(self._indptr))
        different = np.unique(rows * self._items + self._indices)
        own = np.bincount(different // self._items, minlength=clients)
        return np.rint(own * kept + (self._items - own) * share).astype(np.int64)

    def of(self, client: int) -> np.ndarray:
        """The items that a client shows, int32, ascending; one that it has twice stands once."""
        own = self._indices[self._indptr[client] : self._indptr[client + 1]]
        chance = np.full(self._items, self._settings.share)
        chance[own] = self._settings.kept
        drawn = self._generator(client).random(self._items)
        return np.flatnonzero(drawn < chance).astype(np.int32)

    def shown(self, clients: np.ndarray) -> Shown:
        """The items that ``clients`` (int64[m]) show, and none of any other client."""
        found = {int(client): self.of(int(client)) for client in clients}
        lengths = np.zeros(len(self._indptr) - 1, np.int64)
        for client, items in found.items():
            lengths[client] = len(items)
        indptr = np.concatenate([[0], np.cumsum(lengths)])
        none = np.empty(0, np.int32)
        indices = np.concatenate([none, *(found[client] for client in sorted(found))])
        settings = self._settings
        return Shown(indptr, indices, settings.kept, settings.share, settings.factors == "shown")
