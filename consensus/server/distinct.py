"""Draws without repetition, for the many small ones of a height."""

from __future__ import annotations

import numpy as np


def draw_distinct(generator: np.random.Generator, count: int, size: int) -> list[int]:
    """``size`` distinct numbers below ``count`` in random order, every choice as likely: what
    ``generator.choice(count, size, replace=False)`` gives, by its algorithm (Floyd's, then a
    shuffle), without the arrays that it makes, which for a few numbers take most of its time."""
    chosen: list[int] = []
    for last in range(count - size, count):
        drawn = int(generator.integers(last + 1))
        chosen.append(last if drawn in chosen else drawn)
    for place in range(size - 1, 0, -1):
        other = int(generator.integers(place + 1))
        chosen[place], chosen[other] = chosen[other], chosen[place]
    return chosen
