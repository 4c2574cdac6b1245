"""The Gaussian mechanism in closed form, and the noise that a budget needs.

A release of deviation sigma and sensitivity D is mu-GDP with mu = D / sigma, and k of them, each
chosen by what the ones before it showed, are together exactly sqrt(k) D / sigma (Dong, Roth and Su,
2022, corollary 3.3). Their delta at an epsilon is that of Balle and Wang (2018, theorem 8),

    delta = Phi(mu / 2 - epsilon / mu) - e^epsilon Phi(-mu / 2 - epsilon / mu),

so that nothing is lost to bounds. `bfedrec.privacy.dp.accountant` reports what a run has spent by
another, independent accountant; tests hold the two equal.
"""

from __future__ import annotations

import math
from collections.abc import Callable

SMALLEST_MU, GREATEST_MU = 1e-9, 1e6
DIGITS = 6
"""Decimal digits of a noise multiplier that is worked out: it is rounded up, so that libraries
which differ in the last bit give the same noise."""


def delta_of(mu: float, epsilon: float) -> float:
    """The delta at ``epsilon`` >= 0 of a mu-GDP mechanism, mu > 0."""
    from scipy.special import log_ndtr, ndtr  # a config is read without SciPy

    near, far = mu / 2 - epsilon / mu, -mu / 2 - epsilon / mu
    return float(max(0.0, ndtr(near) - math.exp(min(0.0, epsilon + float(log_ndtr(far))))))


def epsilon_of(mu: float, delta: float) -> float:
    """The epsilon >= 0 at ``delta`` of a mu-GDP mechanism, by bisection to the last bits."""
    if delta_of(mu, 0.0) <= delta:
        return 0.0
    low, high = 0.0, 1.0
    while delta_of(mu, high) > delta:
        low, high = high, 2 * high
    return _bisected(low, high, lambda epsilon: delta_of(mu, epsilon) <= delta)


def mu_of(epsilon: float, delta: float) -> float:
    """The greatest mu at which a mechanism has ``delta`` at ``epsilon``."""
    return _bisected(GREATEST_MU, SMALLEST_MU, lambda mu: delta_of(mu, epsilon) <= delta)


def noise_multiplier(epsilon: float, delta: float, releases: int) -> float:
    """The least deviation by sensitivity, rounded up to `DIGITS`, under which so many ``releases``
    together keep to ``epsilon`` at ``delta``."""
    z = math.sqrt(releases) / mu_of(epsilon, delta)
    return math.ceil(z * 10**DIGITS) / 10**DIGITS


def _bisected(low: float, high: float, holds: Callable[[float], bool]) -> float:
    """The place nearest to ``low`` at which ``holds``, which it does at ``high`` and from some
    place between the two on."""
    while True:
        middle = (low + high) / 2
        if middle in (low, high):
            return high
        low, high = (low, middle) if holds(middle) else (middle, high)
