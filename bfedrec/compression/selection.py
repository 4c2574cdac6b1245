"""The K largest of many numbers, found by counting; compiled, for the codec `top_k`."""

from __future__ import annotations

import numpy as np
from numba import njit

HALF = 16
"""Number of bits in either half of a magnitude; the halves are counted one after the other."""


def largest(values: np.ndarray, K: int) -> np.ndarray:
    """The places (int64[K], ascending) of the K numbers of largest magnitude in ``values``
    (float32[n], n >= K >= 1); of equal ones the first. NaN counts as the largest."""
    return _largest(values.view(np.uint32), K)


@njit(nogil=True, cache=True)
def _largest(bits, K):  # type: ignore[no-untyped-def]
    # Floats without their sign are ordered like the integers of the same bits.
    magnitude = np.uint32(0x7FFFFFFF)
    high = np.zeros(1 << (31 - HALF), np.int64)
    for number in bits:
        high[(number & magnitude) >> HALF] += 1
    upper, left = _reached(high, K)
    low = np.zeros(1 << HALF, np.int64)
    for number in bits:
        if (number & magnitude) >> HALF == upper:
            low[number & ((1 << HALF) - 1)] += 1
    lower, equal = _reached(low, left)
    least = (upper << HALF) | lower
    places = np.empty(K, np.int64)
    found = 0
    for place in range(bits.size):
        number = bits[place] & magnitude
        if number < least:
            continue
        if number == least:
            if equal == 0:
                continue
            equal -= 1
        places[found] = place
        found += 1
    return places


@njit(nogil=True, cache=True)
def _reached(counts, K):  # type: ignore[no-untyped-def]
    """The kind that holds the K-th number from above, and how many of that kind are among the K."""
    for kind in range(counts.size - 1, -1, -1):
        if counts[kind] >= K:
            return kind, K
        K -= counts[kind]
    raise ValueError("fewer than K numbers")
