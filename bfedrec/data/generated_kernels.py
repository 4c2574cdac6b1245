"""Compiled loops that draw a generated data set of any size, user by user."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

PATIENCE = 64
"""Draws by popularity for each item that a user wants, after which the rest are drawn evenly."""


@njit(cache=True)
def alias(weights):  # type: ignore[no-untyped-def]
    """Walker's tables (Vose, 1991) to draw places with probabilities ``weights`` (float64[N], of
    sum 1): the share of each place's own draws, float64[N], and the place of the others,
    int64[N]."""
    N = weights.size
    share, other = weights * N, np.arange(N)
    small, large = np.empty(N, np.int64), np.empty(N, np.int64)
    few = many = 0
    for i in range(N):
        if share[i] < 1.0:
            small[few] = i
            few += 1
        else:
            large[many] = i
            many += 1
    while few and many:
        few -= 1
        i, j = small[few], large[many - 1]
        other[i] = j
        share[j] -= 1.0 - share[i]
        if share[j] < 1.0:
            many -= 1
            small[few] = j
            few += 1
    for i in range(few):  # what rounding has left over
        share[small[i]] = 1.0
    return share, other


@njit(cache=True)
def draw_rows(rng, sizes, share, other, x, y, affinity, rows):  # type: ignore[no-untyped-def]
    """Fill ``rows`` (int32, one user's after the other's) with ``sizes`` (int64[m]) different items
    for each user, in the order in which the user meets them, at random.

    An item is proposed by its popularity (`alias`) and taken with probability
    sigmoid(``affinity`` x . y), for tastes ``x`` (float32[m, k]) and ``y`` (float32[N, k]).
    """
    N, k = y.shape
    seen = np.full(N, -1, np.int64)
    place = 0
    for u in range(sizes.size):
        first, last = place, place + sizes[u]
        patience = PATIENCE * sizes[u]
        while place < last:
            i = np.int64(rng.random() * N)
            patience -= 1
            if patience >= 0 and rng.random() >= share[i]:
                i = other[i]
            if seen[i] == u:
                continue
            if patience >= 0:
                score = np.float32(0)
                for j in range(k):
                    score += x[u, j] * y[i, j]
                if rng.random() * (1.0 + math.exp(-affinity * score)) >= 1.0:
                    continue
            seen[i] = u
            rows[place] = i
            place += 1
        # Popular items are met early; shuffled, so that the last one is an ordinary one.
        for a in range(last - 1, first, -1):
            b = first + np.int64(rng.random() * (a - first + 1))
            rows[a], rows[b] = rows[b], rows[a]


@njit(cache=True)
def arrange(rng, users, indptr, rows, items, holds_out, split):  # type: ignore[no-untyped-def]
    """Split each of ``users`` (int64) into training rows, a validation item, where it
    ``holds_out`` one, and a test item, the last of the ``rows`` (at least three), and draw
    negatives for both.

    ``indptr`` (int64[M + 1]) says whose the rows are; ``split``: the arrays to fill, indices,
    places, validation, test, both lists of negatives, and touched items
    (`bfedrec.data.split.Split`).
    """
    indices, places, validation, test, validation_negatives, test_negatives, touched = split
    held = 2 if holds_out else 1
    seen, drawn = np.full(items, -1, np.int64), np.full(items, -1, np.int64)
    for u in users:
        first, last = indptr[u], indptr[u + 1]
        own = rows[first:last]
        test[u], validation[u] = own[-1], own[-2] if holds_out else -1
        touched[first:last] = np.sort(own)
        count, begin = own.size - held, first - held * u
        order = np.argsort(own[:count])
        for j in range(count):
            indices[begin + j] = own[order[j]]
            places[begin + j] = count - 1 - order[j]
        for item in own:
            seen[item] = u
        for side in range(held):
            negatives = test_negatives[u] if side == 0 else validation_negatives[u]
            stamp, n = 2 * u + side, 0
            while n < negatives.size:
                i = np.int64(rng.random() * items)
                if seen[i] != u and drawn[i] != stamp:
                    drawn[i] = stamp
                    negatives[n] = i
                    n += 1
