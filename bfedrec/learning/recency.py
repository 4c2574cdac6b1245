"""Weights of a client's interactions by their recency, for recommendation on the client.

With the client's p, solved under these weights (`bfedrec.learning.implicit_als`), item i scores

    s_i = p . q_i / |q_i|^rho.

|q_i| grows with the number of clients that have item i, since the L2 term holds the others short: p
is drawn towards what is popular, and the more so the fewer of its items count. The lengths are
public as Q is.

The order of a client's interactions never leaves it: no update, and nothing that a server sees,
depends on these weights.
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
    norm: float = 0.0
    """Exponent rho of the length by which an item's score is divided, in [0, 1]."""
    power: float = 0.0
    """Exponent of a weight that falls as a power of k; 0: it falls exponentially."""

    def weights(self, places: np.ndarray) -> np.ndarray:
        """float32[nnz] from places int32[nnz]; 1 where a place is -1, as the order is unknown."""
        ages = np.maximum(places, 0).astype(np.float64) / self.places
        late = (1.0 + ages) ** -self.power if self.power > 0 else np.exp(-ages)
        return np.where(places < 0, 1.0, 1.0 + self.weight * late).astype(np.float32)

    def items(self, Q: np.ndarray) -> np.ndarray:
        """The rows q_i / |q_i|^rho of the item factors Q, float32[N, d] both; a row of zeros stays
        one. At rho = 0 it is Q itself."""
        if self.norm == 0:
            return Q
        rows = Q.astype(np.float64)
        length = np.linalg.norm(rows, axis=1, keepdims=True)
        scale = np.power(length, -self.norm, out=np.zeros_like(length), where=length > 0)
        with np.errstate(invalid="ignore"):  # infinity becomes NaN, which an evaluation refuses
            return (rows * scale).astype(np.float32)
