"""The items that a client touched, intersected over its participations."""

from __future__ import annotations

import numpy as np

from bfedrec.privacy.inference import MembershipAttack, inference
from bfedrec.privacy.observation import Observation, PublicSetting


@inference("masks", place=2)
class Masks(MembershipAttack):
    """A client's interactions are in all of its masks, while other negatives are drawn each time,
    so that the items in every mask so far are taken for interactions."""

    meaning = "items touched in every participation"
    accumulates = True

    def __init__(self, public: PublicSetting) -> None:
        super().__init__(public)
        self._always: dict[int, np.ndarray] = {}
        """By client: the items in all of its masks, as packed bits."""

    def scores(self, seen: Observation) -> np.ndarray:
        assert seen.touched is not None
        packed = np.packbits(seen.touched, axis=1)
        for place, client in enumerate(seen.clients.tolist()):
            before = self._always.get(client)
            self._always[client] = packed[place] if before is None else packed[place] & before
        always = np.stack([self._always[client] for client in seen.clients.tolist()])
        return np.unpackbits(always, axis=1, count=seen.touched.shape[1]).astype(np.float32)
