"""The items that a client's updates show: some or all of its own, and decoys among them.

The sign of an update tells the items that it was trained on as positives. With decoys these are not
the client's own: of its n training items it keeps a share, drawn once, and adds decoys from those
it has not, drawn once as well. It trains its factors p_u on all of its own items and on no decoy.
The draws are the same in every round, so that whoever intersects a client's updates over its
participations finds the same items again, decoys included. MultiVerse (TOIS 2025) hides users
among fabricated ones in the same spirit.

The draw follows from a stream that only the client has. It says nothing of how likely a decoy is:
one drawn uniformly from the catalogue is told from an item that people watch by its popularity, so
that decoys are drawn as often as others have them, which stands for a public chart of items.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from bfedrec.privacy.settings import DecoySettings

Shown = tuple[np.ndarray, np.ndarray]
"""Items by client: those of client u are indices[indptr[u]:indptr[u + 1]] (CSR; int64, int32)."""


class Decoys:
    """The items that clients show, drawn anew whenever they are asked for, and always the same."""

    def __init__(
        self,
        settings: DecoySettings,
        own: Shown,
        items: int,
        generator: Callable[[int], np.random.Generator],
    ) -> None:
        """``own``: the training items of all clients, of a catalogue of so many ``items``.
        ``generator``: a client's secret stream, from its beginning."""
        self._settings = settings
        self._indptr, self._indices = own
        self._items = items
        self._generator = generator
        weights = np.ones(items)
        if settings.draw == "popularity":
            weights += np.bincount(self._indices, minlength=items)[:items]
        self._weights = np.log(weights)

    def counts(self, interactions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The number of items that clients with so many ``interactions`` (int64[m]) keep, one at
        least where they have any, and that of their decoys; int64[m] each."""
        kept = np.maximum(np.rint(interactions * self._settings.kept), interactions > 0)
        decoys = np.rint(kept * self._settings.per_item)
        return kept.astype(np.int64), decoys.astype(np.int64)

    def of(self, client: int) -> np.ndarray:
        """The items that a client shows, int32, ascending and with repeats as it has them."""
        own = self._indices[self._indptr[client] : self._indptr[client + 1]]
        kept, decoys = (int(count[0]) for count in self.counts(np.array([len(own)])))
        generator = self._generator(client)
        shown = generator.permutation(own)[:kept]
        # The greatest of weights with Gumbel noise are a weighted draw without replacement.
        keys = self._weights + generator.gumbel(size=self._items)
        keys[own] = -np.inf
        decoys = min(decoys, self._items - len(np.unique(own)))
        if decoys:
            fake = np.argpartition(-keys, decoys - 1)[:decoys]
            shown = np.concatenate([shown, fake])
        return np.sort(shown).astype(np.int32)

    def shown(self, clients: np.ndarray) -> Shown:
        """The items that ``clients`` (int64[m]) show, and none of any other client."""
        found = {int(client): self.of(int(client)) for client in clients}
        lengths = np.zeros(len(self._indptr) - 1, np.int64)
        for client, items in found.items():
            lengths[client] = len(items)
        indptr = np.concatenate([[0], np.cumsum(lengths)])
        none = np.empty(0, np.int32)
        return indptr, np.concatenate([none, *(found[client] for client in sorted(found))])
