"""A guess by the items' popularity, as far as it is public."""

from __future__ import annotations

import numpy as np

from bfedrec.privacy.inference import MembershipAttack, inference
from bfedrec.privacy.observation import Observation, PublicSetting


@inference("popularity", place=9)
class Popularity(MembershipAttack):
    """The yardstick: an item is guessed by its share in the squared movements of a public
    aggregate, summed over all rounds so far; it grows with the number of the item's interactions,
    and is the same for everybody."""

    meaning = "a guess by the items' movements in public aggregates"
    needs_updates = False
    guess = True
    accumulates = True

    def __init__(self, public: PublicSetting) -> None:
        super().__init__(public)
        self._moved = np.zeros(public.items)

    def scores(self, seen: Observation) -> np.ndarray:
        moved = np.square(seen.aggregate.astype(np.float64)).sum(axis=0)
        self._moved += moved / max(float(moved.sum()), np.finfo(np.float64).tiny)
        return np.tile(self._moved.astype(np.float32), (len(seen.clients), 1))
