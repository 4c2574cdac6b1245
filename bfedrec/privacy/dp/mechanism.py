"""Clipping and noise of an update: what leaves a client under differential privacy.

An update A (float32[r, N]) is scaled to norm C at most, over all its numbers; each is rounded
towards 0 to a multiple of a step g, which lengthens nothing; then noise is added that is itself a
multiple of g, a Gaussian number rounded to the nearest. What is sent is therefore the rounding of
the Gaussian mechanism on numbers of the grid, and has its guarantee as post-processing. No number's
last bits tell anything: which multiples of g can be sent does not depend on A (Mironov, 2012, shows
what floating-point noise without that reveals). Codecs encode the sum, which is post-processing
too.

The noise is the client's own secret. In a simulation it follows from the run's seed, so that
whoever has seed and config can take it off: a deployment draws it from its system's source.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

GRID_BITS = 10
"""Steps of the grid in a deviation of the noise: 2^10 to 2^11 of them."""
MARGIN = 1 - 2.0**-30
"""Factor on the norm, for the rounding of its own computation."""


class NotFinite(ArithmeticError):
    """An update whose norm is no finite number."""


@dataclass(frozen=True)
class Mechanism:
    """The protection of one update: its greatest norm C, and the deviation of its noise."""

    clip: float
    deviation: float

    @property
    def step(self) -> float:
        """The step g of the grid, a power of two."""
        return float(2.0 ** (math.floor(math.log2(self.deviation)) - GRID_BITS))

    def clipped(self, A: np.ndarray) -> np.ndarray:
        """``A`` (float32[r, N]) within norm C, as integer multiples of the step, float64[r, N].

        Raises NotFinite.
        """
        numbers = np.asarray(A, np.float64)
        norm = math.sqrt(float(np.square(numbers).sum()))
        if not math.isfinite(norm):
            raise NotFinite("an update's norm is no finite number")
        factor = min(1.0, MARGIN * self.clip / norm) if norm else 1.0
        return np.trunc(numbers * (factor / self.step))

    def protected(self, A: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """The update ``A`` (float32[r, N]) as it is sent: clipped and with noise, float32[r, N].
        Raises NotFinite."""
        noise = generator.standard_normal(A.shape)
        noise *= self.deviation / self.step
        sent = self.clipped(A)
        sent += np.rint(noise, out=noise)
        return np.asarray(sent * self.step, np.float32)
