"""Statistics of measured figures: paired tests over users, and corrections for many comparisons.

Intervals over seeds are Student's (`bfedrec.evaluation.intervals`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 10_000
CELLS = 128
"""Number of cells of equal width into which differences are sorted for resampling."""
TINY = 1e-12
"""Largest rounding error of a mean of scores, which are at most 1."""


@dataclass(frozen=True)
class Paired:
    """The mean difference between two scores of the same users, with its interval and p-value."""

    users: int
    difference: float
    low: float
    """Lower bound of the percentile interval of the resampled means."""
    high: float
    p: float
    """Two-sided p-value: probability of a difference at least as large among users whose true
    difference is 0."""


def paired_bootstrap(
    ours: NDArray[np.float64],
    theirs: NDArray[np.float64],
    generator: np.random.Generator,
    resamples: int = RESAMPLES,
    confidence: float = 0.95,
) -> Paired:
    """Paired bootstrap over users: interval and p-value (two-sided) of mean(ours - theirs).

    `ours`, `theirs`: float64[n], a score for each of the same users in the same order. Users are
    drawn with replacement, `resamples` times n of them; the null distribution of the p-value is
    that of the resampled means moved to 0, and p counts the measured mean among them (Efron and
    Tibshirani, 1993, chapters 13 and 16).

    The numbers of times that users are drawn are multinomial, and so are their sums over each of
    `CELLS` cells of similar differences: drawing these sums, with each cell's mean for its users,
    costs the same for any number of users. Hits have few distinct differences, for which it is
    exact; otherwise the variance within cells is lost, (range / CELLS)^2 / 12.

    Raises ValueError for scores of different users, of none, or that are not finite.
    """
    if ours.ndim != 1 or ours.shape != theirs.shape or not ours.size:
        raise ValueError(f"scores of shapes {ours.shape} and {theirs.shape} are of no same users")
    differences = np.asarray(ours, np.float64) - theirs
    if not np.isfinite(differences).all():
        raise ValueError("scores must be finite")
    users = differences.size
    counts, values = _cells(differences)
    draws = generator.multinomial(users, counts / users, size=resamples)
    means = draws @ values / users
    mean = float(differences.mean())
    extreme = int((np.abs(means - mean) >= abs(mean) - TINY).sum())
    low, high = np.quantile(means, [(1.0 - confidence) / 2.0, (1.0 + confidence) / 2.0])
    return Paired(users, mean, float(low), float(high), (1 + extreme) / (1 + resamples))


def _cells(differences: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The number and the mean of the differences in each cell that holds any."""
    least, most = differences.min(), differences.max()
    if least == most:
        return np.array([differences.size]), np.array([least])
    place = np.rint((differences - least) * (CELLS / (most - least))).astype(np.int64)
    counts = np.bincount(place)
    sums = np.bincount(place, weights=differences)
    held = counts > 0
    return counts[held], sums[held] / counts[held]


def holm(p: Sequence[float]) -> list[float]:
    """P-values corrected for multiple comparisons, in the same order (Holm, 1979): all differences
    whose corrected value is below alpha hold together with probability 1 - alpha. Raises ValueError
    for a number outside of [0, 1]."""
    if not all(0.0 <= value <= 1.0 for value in p):
        raise ValueError(f"p-values lie in [0, 1], got {list(p)}")
    corrected, least = [0.0] * len(p), 0.0
    for place, which in enumerate(sorted(range(len(p)), key=p.__getitem__)):
        least = max(least, min(1.0, (len(p) - place) * p[which]))
        corrected[which] = least
    return corrected
