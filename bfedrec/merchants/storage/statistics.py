"""Medians with intervals that suppose no distribution, and the growth of a time with the size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from math import comb
from statistics import median

from bfedrec.evaluation.intervals import Interval
from bfedrec.merchants.storage.record import MB


def median_interval(values: Sequence[float], confidence: float = 0.95) -> Interval:
    """The median of independent values between two of them, whatever their distribution.

    The l-th smallest and the l-th largest value enclose the distribution's median with the
    probability 1 - 2 P(X < l), X binomial with n and 1/2; l is the largest with ``confidence`` at
    least. The bounds are None where there are too few values: below 6 for 95 %. Raises ValueError
    for no values.
    """
    if not values:
        raise ValueError("a median needs at least one value")
    ordered, n = sorted(values), len(values)
    outside, place = 0.0, 0
    while place < n // 2 and 2 * (outside + comb(n, place) / 2**n) <= 1 - confidence:
        outside += comb(n, place) / 2**n
        place += 1
    if not place:
        return Interval(n, median(ordered), None, None)
    return Interval(n, median(ordered), ordered[place - 1], ordered[n - place])


def slope(times: Mapping[int, float]) -> float:
    """Seconds more for each MB (10^6 bytes), from seconds by number of bytes: the median of the
    slopes between all pairs of sizes (Theil and Sen). Raises ValueError for less than two sizes."""
    pairs = combinations(sorted(times.items()), 2)
    slopes = [(more - less) / (large - small) for (small, less), (large, more) in pairs]
    if not slopes:
        raise ValueError("a growth needs at least two sizes")
    return median(slopes) * MB


def growth(times: Mapping[int, Sequence[float]]) -> Interval | None:
    """Median over repetitions of the `slope` of each, with its interval; None for a single size.

    ``times``: seconds of every repetition, by number of bytes.
    """
    if len(times) < 2:
        return None
    repetitions = [dict(zip(times, one, strict=True)) for one in zip(*times.values(), strict=True)]
    return median_interval([slope(one) for one in repetitions])
