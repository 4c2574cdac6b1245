"""Compiled loops of the robust rules: sums in float64, in a fixed order."""

from __future__ import annotations

import math

import numpy as np
from numba import njit


@njit(nogil=True, cache=True)
def add(total, A):  # type: ignore[no-untyped-def]
    """Add A (float32[r, N]) to `total` (float64[r, N]), in half of the time that NumPy takes to
    convert and add."""
    for k in range(total.shape[0]):
        row, more = total[k], A[k]
        for i in range(row.size):
            row[i] += more[i]


@njit(nogil=True, cache=True)
def _trimmed_means(updates, masks, permille):  # type: ignore[no-untyped-def]
    """Of each item's numbers, sorted, the mean without `permille` of them at either end."""
    M, r, N = updates.shape
    result = np.zeros((r, N), np.float64)
    values = np.empty((N, M), np.float64)
    counts = np.empty(N, np.int64)
    for k in range(r):
        counts[:] = 0
        for m in range(M):
            for i in range(N):
                if masks[m, i]:
                    values[i, counts[i]] = updates[m, k, i]
                    counts[i] += 1
        for i in range(N):
            n = counts[i]
            if n:
                row = values[i, :n]
                _sort(row)
                cut = min((n * permille + 999) // 1000, (n - 1) // 2)
                total = 0.0
                for place in range(cut, n - cut):
                    total += row[place]
                result[k, i] = total / (n - 2 * cut)
    return result


@njit(nogil=True, cache=True)
def _sort(row):  # type: ignore[no-untyped-def]
    """Sort in place; by insertion where that is fastest."""
    if row.size > 48:
        row.sort()
        return
    for place in range(1, row.size):
        value = row[place]
        k = place
        while k > 0 and row[k - 1] > value:
            row[k] = row[k - 1]
            k -= 1
        row[k] = value


@njit(nogil=True, cache=True)
def _square_distances(updates, masks, centre):  # type: ignore[no-untyped-def]
    """Each update's squared distance to `centre` (float64[r, N]) over its own items."""
    M, r, N = updates.shape
    result = np.zeros(M, np.float64)
    for m in range(M):
        for k in range(r):
            for i in range(N):
                if masks[m, i]:
                    difference = updates[m, k, i] - centre[k, i]
                    result[m] += difference * difference
    return result


@njit(nogil=True, cache=True)
def _weighted_means(updates, masks, factors, weights):  # type: ignore[no-untyped-def]
    """Each item's sum of `factors` times updates over its sum of `weights`; 0 where that is 0."""
    M, r, N = updates.shape
    result = np.zeros((r, N), np.float64)
    total = np.zeros(N, np.float64)
    for m in range(M):
        if weights[m] > 0:
            for i in range(N):
                total[i] += weights[m] * masks[m, i]
            for k in range(r):
                for i in range(N):
                    result[k, i] += masks[m, i] * (factors[m] * updates[m, k, i])
    for k in range(r):
        for i in range(N):
            if total[i] > 0:
                result[k, i] /= total[i]
    return result


@njit(nogil=True, cache=True)
def _clipped_rows(updates, masks):  # type: ignore[no-untyped-def]
    """Each item's mean over its rows, those longer than their median cut to it."""
    M, r, N = updates.shape
    result = np.zeros((r, N), np.float64)
    norms = np.empty(M, np.float64)
    ordered = np.empty(M, np.float64)
    for i in range(N):
        n = 0
        for m in range(M):
            if masks[m, i]:
                square = 0.0
                for k in range(r):
                    number = np.float64(updates[m, k, i])
                    square += number * number
                norms[m] = math.sqrt(square)
                ordered[n] = norms[m]
                n += 1
        if n:
            _sort(ordered[:n])
            bound = (ordered[(n - 1) // 2] + ordered[n // 2]) / 2
            for m in range(M):
                if masks[m, i]:
                    scale = 1.0 if norms[m] <= bound else bound / norms[m]
                    for k in range(r):
                        result[k, i] += scale * updates[m, k, i]
            for k in range(r):
                result[k, i] /= n
    return result


@njit(nogil=True, cache=True)
def _pair_distances(updates, masks):  # type: ignore[no-untyped-def]
    """float64[M, M]: mean squared difference over the items that both touched; inf without one,
    and inf of an update to itself."""
    M, r, N = updates.shape
    squares = np.zeros((M, M), np.float64)
    common = np.zeros((M, M), np.int64)
    # One pair's sum runs over an item's rows in their order; the loop inside goes over pairs, so
    # that the compiler can use vectors without changing any sum.
    values = np.empty((r, M), np.float64)
    square = np.empty(M, np.float64)
    touching = np.empty(M, np.int64)
    for i in range(N):
        n = 0
        for m in range(M):
            if masks[m, i]:
                touching[n] = m
                for k in range(r):
                    values[k, n] = updates[m, k, i]
                n += 1
        for a in range(n):
            later = square[a + 1 : n]
            later[:] = 0.0
            for k in range(r):
                row, own = values[k, a + 1 : n], values[k, a]
                for b in range(later.size):
                    difference = own - row[b]
                    later[b] += difference * difference
            for b in range(later.size):
                squares[touching[a], touching[a + 1 + b]] += later[b]
                common[touching[a], touching[a + 1 + b]] += 1
    for a in range(M):
        squares[a, a] = np.inf
        for b in range(a + 1, M):
            distance = squares[a, b] / common[a, b] if common[a, b] else np.inf
            squares[a, b] = distance
            squares[b, a] = distance
    return squares
