"""Weights of a client's interactions by their recency, for recommendation on the client.

The client's p is solved under these weights (`bfedrec.learning.implicit_als`). The order of a
client's interactions never leaves it: no update, and nothing that a server sees, depends on them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Recency:
    """The weighting w_k = 1 + weight exp(-k / places) of a client's interactions, k = 0 for the
    latest, or 1 + weight (1 + k / places)^-power, and the constants of the solve that uses it
    (`bfedrec.learning.implicit_als`)."""

    weight: float
    places: float
    """Number of interactions after which the weight has fallen to 1/e, or to 2^-power."""
    unobserved: float
    """Weight alpha of every item in the catalogue."""
    l2: float
    """Weight lambda of the L2 term."""
    power: float = 0.0
    """Exponent of a weight that falls as a power of k; 0: it falls exponentially."""

    def weights(self, places: np.ndarray) -> np.ndarray:
        """float32[nnz] from places int32[nnz]; 1 where a place is -1, as the order is unknown."""
        ages = np.maximum(places, 0).astype(np.float64) / self.places
        late = (1.0 + ages) ** -self.power if self.power > 0 else np.exp(-ages)
        return np.where(places < 0, 1.0, 1.0 + self.weight * late).astype(np.float32)
