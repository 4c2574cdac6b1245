"""The sign along the first singular direction of one masked update."""

from __future__ import annotations

import numpy as np

from bfedrec.privacy.inference import MembershipAttack, inference
from bfedrec.privacy.observation import Observation, main_direction


@inference("masked", place=7)
class Masked(MembershipAttack):
    """The attack by the sign on what is held of a single client under secure aggregation: its
    levels under its masks. They are uniform while the masks hold, and tell nothing."""

    meaning = "sign along the first singular direction of one masked update (aggregation.secure)"
    needs_updates = False  # it reads the masked ones instead
    under_masks = True

    def scores(self, seen: Observation) -> np.ndarray:
        assert seen.masked is not None
        return main_direction(seen.masked)[1]
