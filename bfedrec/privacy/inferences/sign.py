"""The sign of an item's movement along the first singular direction of one update."""

from __future__ import annotations

import numpy as np

from bfedrec.privacy.inference import MembershipAttack, inference
from bfedrec.privacy.observation import Observation


@inference("sign", place=1)
class Sign(MembershipAttack):
    """An item that moves to the positives' side is taken for an interaction, the farther the surer;
    from one update, without memory (`bfedrec.privacy.observation.main_direction`)."""

    meaning = "sign along the first singular direction of one update"

    def scores(self, seen: Observation) -> np.ndarray:
        return seen.main_direction[1]
