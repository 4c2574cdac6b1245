"""Means over seeds with their uncertainty: Student's t interval of a small sample."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache


@dataclass(frozen=True)
class Interval:
    """The mean of n values and the bounds of its confidence interval; None of a single value."""

    n: int
    mean: float
    low: float | None
    high: float | None

    @property
    def half_width(self) -> float | None:
        """Distance from the mean to either bound."""
        return None if self.high is None else self.high - self.mean


def t_interval(values: Sequence[float], confidence: float = 0.95) -> Interval:
    """Student's t interval of the mean of independent values. Raises ValueError for no values."""
    n = len(values)
    if n == 0:
        raise ValueError("an interval needs at least one value")
    mean = math.fsum(values) / n
    if n == 1:
        return Interval(1, mean, None, None)
    variance = math.fsum((value - mean) ** 2 for value in values) / (n - 1)
    half = t_quantile(n - 1, confidence) * math.sqrt(variance / n)
    return Interval(n, mean, mean - half, mean + half)


@cache
def t_quantile(degrees: int, confidence: float) -> float:
    """The t with P(|T| <= t) = confidence, for Student's T with that many degrees of freedom.
    Raises ValueError for no degrees, or a confidence outside of (0, 1)."""
    if degrees < 1 or not 0.0 < confidence < 1.0:
        raise ValueError("needs at least one degree of freedom and a confidence inside (0, 1)")
    low, high = 0.0, math.pi / 2  # in the angle atan(t / sqrt(degrees)), which is bounded
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if _within(middle, degrees) < confidence else (low, middle)
    return math.sqrt(degrees) * math.tan(low)


def _within(angle: float, degrees: int) -> float:
    """P(|T| <= sqrt(degrees) tan(angle)): Abramowitz and Stegun, 26.7.3 and 26.7.4."""
    odd = degrees % 2 == 1
    cosine = math.cos(angle)
    total = 0.0
    term = cosine if odd else 1.0
    for step in range(degrees // 2):
        total += term
        term *= cosine**2 * (
            (2 * step + 2) / (2 * step + 3) if odd else (2 * step + 1) / (2 * step + 2)
        )
    total *= math.sin(angle)
    return (angle + total) * 2 / math.pi if odd else total
