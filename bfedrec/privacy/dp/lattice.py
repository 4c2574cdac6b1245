"""Noise of a sum whose updates are rounded to levels before they are summed.

Under distributed noise the guarantee is about the sum of all updates with their noise, and a
rounding of each is no function of that sum. But a number that is rounded at random to one of the
two next multiples of a step s is distributed as a multiple of s whose probabilities are the values
there of a density: that of the number's Gaussian noise and of independent errors. Sums of such
numbers have the values of the sum's density, so that they are the rounding of a Gaussian mechanism
with more noise, and keep to its guarantee, but for two errors. One is in the order of exp(-n pi^2
(sigma / s)^2 / 2) for n >= 2 clients and each one's deviation sigma (Poisson's summation formula);
it is below 10^-17 at `LEAST_STEPS`. The other is a number that is cut at the greatest level: none
is whose noise is within `LEAST_DEVIATIONS`, beyond which it is with a probability below 2 x 10^-15.
"""

from __future__ import annotations

from bfedrec.privacy.dp.mechanism import Mechanism

LEAST_STEPS = 2.0
"""Least deviation of a client's noise, in steps of the levels."""
LEAST_DEVIATIONS = 8.0
"""Least deviations of its noise that levels hold beside the greatest number of an update, C."""


def lost(mechanism: Mechanism, step: float, levels: int) -> str | None:
    """The reason why levels up to ``levels`` of this ``step`` do not keep a client's share of a
    sum's noise; None where they do."""
    deviation = mechanism.deviation
    coarsest, least = deviation / LEAST_STEPS, mechanism.clip + LEAST_DEVIATIONS * deviation
    if step > coarsest:
        return (
            f"a step of {step:.4g}: noise of deviation {deviation:.4g} needs {coarsest:.4g} at most"
        )
    if levels * step < least:
        return (
            f"numbers up to {levels * step:.4g}: a clip of {mechanism.clip:.4g} and noise of "
            f"deviation {deviation:.4g} need {least:.4g} at least"
        )
    return None
