"""The public aggregate of a round, read as if it were one client's update."""

from __future__ import annotations

import numpy as np

from bfedrec.privacy.inference import MembershipAttack, inference
from bfedrec.privacy.observation import Observation, main_direction


@inference("aggregate", place=5)
class Aggregate(MembershipAttack):
    """The attack by the sign on the aggregate that a block publishes, the same scores for all of
    its cohort: what is left to those from whom single updates are kept."""

    meaning = "sign along the first singular direction of the round's public aggregate"
    needs_updates = False

    def scores(self, seen: Observation) -> np.ndarray:
        along = main_direction(seen.aggregate[None])[1]
        return np.repeat(along, len(seen.clients), axis=0)
