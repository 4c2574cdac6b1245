"""The reconstruction of a client's factors p_u, up to scale, and what they predict."""

from __future__ import annotations

import numpy as np

from bfedrec.privacy.inference import MembershipAttack, inference
from bfedrec.privacy.observation import Observation, PublicSetting


@inference("rank_one", place=4)
class RankOne(MembershipAttack):
    """An update is about one direction B'p_u, so that B times it is p_u's part in the round's
    basis, up to scale. Parts of several participations, in other bases, add up; items are scored
    as the client's own recommender would."""

    meaning = "factors p_u reconstructed up to scale; what they recommend"
    accumulates = True

    def __init__(self, public: PublicSetting) -> None:
        super().__init__(public)
        self._sums: dict[int, np.ndarray] = {}
        """By client: the sum of its reconstructed parts, float32[d]."""

    def scores(self, seen: Observation) -> np.ndarray:
        parts = seen.main_direction[0] @ seen.B.T
        for place, client in enumerate(seen.clients.tolist()):
            self._sums[client] = self._sums.get(client, np.float32(0)) + parts[place]
        factors = np.stack([self._sums[client] for client in seen.clients.tolist()])
        return np.asarray(factors @ seen.Q.T, np.float32)
