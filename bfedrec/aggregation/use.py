"""The use of a block's updates: their agreement with those of other servers' clients, measured on
parameters alone.

All sums are of integers, so that every machine and library comes to the same numbers, whatever the
order in which it adds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from itertools import chain
from typing import Final

import numpy as np

MILLION: Final = 1_000_000
"""The use of an update that points exactly where the sum of the others does."""
LEVELS: Final = 2**16
"""Levels to which the numbers of an update are rounded, by the greatest of them."""


def agreement(groups: Callable[[], Iterable[Iterable[np.ndarray]]], count: int) -> list[int]:
    """The use of each group of updates (float32[r, N], finite): the sum of their cosines with the
    sum of all other groups' updates, in parts per million rounded down; 0 where it is negative or
    not defined. All updates, ``count`` of them, are scaled to one length before, so that nobody
    gains by long ones.

    ``groups`` gives them anew, in one order, as they are gone through twice. A group is of one
    update at least.
    """
    length = 2 ** max(0, 30 - count.bit_length())  # the sum of all stays below 2**30
    total = _sum(chain.from_iterable(groups()), length)
    return [_along(_sum(group, length), total, length) for group in groups()]


def _sum(updates: Iterable[np.ndarray], length: int) -> np.ndarray:
    """int64[r, N]: the sum of updates, each scaled to a length."""
    total = np.zeros((), np.int64)
    for update in updates:
        total = total + _scaled(update, length)
    return total


def _scaled(update: np.ndarray, length: int) -> np.ndarray:
    """int64[r, N]: an update scaled to a length, but for rounding; 0 for 0.

    Floats are divided, multiplied and rounded one by one, as IEEE 754 prescribes to the last bit.
    """
    values = update.astype(np.float64)
    greatest = float(np.abs(values).max(initial=0.0))
    if not greatest:
        return np.zeros(values.shape, np.int64)
    levels = np.rint(values / greatest * LEVELS)
    whole = levels.astype(np.int64)
    factor = length / math.sqrt(_dot(whole, whole))
    return np.rint(levels * factor).astype(np.int64)


def _dot(a: np.ndarray, b: np.ndarray) -> int:
    """The inner product; below 2**63 for fewer than 2**31 numbers of `LEVELS` each, and for any
    two sums of scaled updates."""
    return int((a * b).sum(dtype=np.int64))


def _along(own: np.ndarray, total: np.ndarray, length: int) -> int:
    """The use of a group whose scaled updates add up to ``own``, of all to ``total``."""
    others = total - own
    along = _dot(own, others)
    if along <= 0:
        return 0
    return MILLION * along // (length * math.isqrt(_dot(others, others)))
