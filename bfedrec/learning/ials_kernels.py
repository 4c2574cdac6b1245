"""Compiled implicit ALS of a cohort: the solves and gradients of `bfedrec.learning.implicit_als`.

Users are solved in float64 and a client's result depends on its own inputs alone, so that neither
threads nor the other members of a cohort change a bit of it. The order of the sums in a dot product
is left to the compiler, as in `bfedrec.learning.kernels`. Arrays are written number by number: each
assignment of one to another would bring the text of an error of shapes, seconds of a first run's
compilation.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit

from bfedrec.learning.kernels import _dot


class Catalogue(NamedTuple):
    """The item factors that all clients of a round share, and what follows from them."""

    Q: np.ndarray
    """float32[N, d]."""
    gram: np.ndarray
    """float64[d, d]: Q'Q, its lower triangle."""
    total: np.ndarray
    """float64[d]: the sum of all q_i."""
    BT: np.ndarray
    """float32[r, d]: B'; [0, d] under B = I."""
    QB: np.ndarray
    """float32[r, N]: (QB)'."""


@njit(nogil=True, cache=True)
def _put(values, out):  # type: ignore[no-untyped-def]
    """Write the numbers of one array to another, rounded to its type."""
    for k in range(out.size):
        out[k] = values[k]


@njit(nogil=True, cache=True)
def gram(Q):  # type: ignore[no-untyped-def]
    """Q'Q (float64[d, d], its lower triangle) and the sum of Q's rows (float64[d])."""
    d = Q.shape[1]
    matrix, total = np.zeros((d, d), np.float64), np.zeros(d, np.float64)
    _add_squares(
        matrix, total, Q, np.arange(Q.shape[0], dtype=np.int32), np.empty(0, np.float32), 1.0
    )
    return matrix, total


BLOCK = 4
"""Rows whose squares are added in one pass over the matrix."""


@njit(nogil=True, cache=True)
def _add_squares(matrix, right, Q, own, weights, target):  # type: ignore[no-untyped-def]
    """Add the sum of w q q' over the rows `own` of Q to the lower triangle of `matrix`, and that of
    target w q to `right`; `weights` empty: w = 1."""
    d = Q.shape[1]
    rows = np.zeros((BLOCK, d), np.float64)
    scaled = np.zeros((BLOCK, d), np.float64)
    for first in range(0, own.size, BLOCK):
        for place in range(BLOCK):
            at = first + place
            if at < own.size:
                weight = np.float64(weights[at]) if weights.size else 1.0
                _put(Q[own[at]], rows[place])
                for k in range(d):
                    scaled[place, k] = weight * rows[place, k]
                    right[k] += target * scaled[place, k]
            else:
                for k in range(d):
                    rows[place, k] = 0.0
                    scaled[place, k] = 0.0
        for j in range(d):
            a, b, c, e = scaled[0, j], scaled[1, j], scaled[2, j], scaled[3, j]
            line = matrix[j]
            for k in range(min(d, (j // 8 + 1) * 8)):  # beyond the triangle, to whole vectors
                line[k] += (a * rows[0, k] + b * rows[1, k]) + (c * rows[2, k] + e * rows[3, k])


@njit(nogil=True, cache=True, error_model="numpy")
def _solve(matrix, right):  # type: ignore[no-untyped-def]
    """Solve matrix x = right by Cholesky's decomposition of the lower triangle; x replaces
    `right`. A matrix that is not positive definite gives NaN."""
    d = right.size
    # L', row by row: a column of L is what is left of the matrix's after the columns before it,
    # taken off in their order, four in one pass over the numbers.
    upper = np.empty((d, d), np.float64)
    for j in range(d):
        for m in range(j, d):
            upper[j, m] = matrix[m, j]
    for j in range(d):
        line = upper[j]
        whole = j - j % 4
        for i in range(0, whole, 4):
            a, b, c, e = upper[i], upper[i + 1], upper[i + 2], upper[i + 3]
            in_a, in_b, in_c, in_e = a[j], b[j], c[j], e[j]
            for m in range(j, d):
                line[m] = (((line[m] - in_a * a[m]) - in_b * b[m]) - in_c * c[m]) - in_e * e[m]
        for i in range(whole, j):
            a, in_a = upper[i], upper[i, j]
            for m in range(j, d):
                line[m] -= in_a * a[m]
        root = math.sqrt(line[j]) if line[j] > 0 else np.nan
        for m in range(j, d):
            line[m] /= root
    for j in range(d):
        right[j] /= upper[j, j]
        for m in range(j + 1, d):
            right[m] -= upper[j, m] * right[j]
    for j in range(d - 1, -1, -1):
        right[j] /= upper[j, j]
        for m in range(j):
            right[m] -= upper[m, j] * right[j]


@njit(nogil=True, cache=True)
def _solve_user(shared, problem, own, weights, matrix, right):  # type: ignore[no-untyped-def]
    """Leave in `right` the p of a client with the items `own` and their `weights` (empty: 1)."""
    N, d = shared.Q.shape
    total = problem.alpha * problem.catalogue
    for j in range(d):
        for k in range(d):
            matrix[j, k] = problem.alpha * shared.gram[j, k]
        right[j] = total * shared.total[j]
    _add_squares(matrix, right, shared.Q, own, weights, problem.target)
    for j in range(d):
        matrix[j, j] += problem.l2 * (own.size + problem.alpha * N)
    _solve(matrix, right)


@njit(nogil=True, cache=True)
def solve_users(part, shared, problem, indptr, indices, weights, P):  # type: ignore[no-untyped-def]
    """Solve the users `part`: write their rows of P, float32[M, d]. `weights`: float32, of each
    interaction, or empty for 1."""
    d = shared.Q.shape[1]
    matrix, right = np.empty((d, d), np.float64), np.empty(d, np.float64)
    for u in part:
        own = slice(indptr[u], indptr[u + 1])
        _solve_user(shared, problem, indices[own], weights[own], matrix, right)
        _put(right, P[u])


@njit(nogil=True, cache=True, error_model="numpy")
def train_clients(part, shared, gradients, P, loss):  # type: ignore[no-untyped-def]
    """Train the clients at the places `part` of the cohort, writing their rows of the x and slopes
    of `gradients`, of P and of loss; a loss is NaN where a score is not finite."""
    Q, problem, indptr = shared.Q, gradients.problem, gradients.indptr
    N, d = Q.shape
    matrix, right = np.empty((d, d), np.float64), np.empty(d, np.float64)
    none = np.empty(0, np.float32)
    target = np.float32(problem.target)
    for m in part:
        u = gradients.clients[m]
        own = gradients.indices[indptr[u] : indptr[u + 1]]
        _solve_user(shared, problem, own, none, matrix, right)
        _put(right, P[m])
        p, x, b = P[m], gradients.x[m], gradients.slopes[m]
        if shared.BT.shape[0]:
            for k in range(b.size):
                b[k] = _dot(shared.BT[k], p)
        else:
            _put(p, b)
        finite = True
        for i in range(N):
            x[i] = _dot(Q[i], p)
            finite &= np.isfinite(x[i])
        error = np.float64(0)
        for i in own:
            error += (x[i] - target) ** 2
        loss[m] = error / max(own.size, 1) if finite else np.nan


@njit(nogil=True, cache=True)
def count_items(gradients, m, times, amount):  # type: ignore[no-untyped-def]
    """Add `amount` to the numbers in `times` (int32[N]) at the items of the client at place m, as
    often as it has them."""
    u = gradients.clients[m]
    for i in gradients.indices[gradients.indptr[u] : gradients.indptr[u + 1]]:
        times[i] += amount


@njit(nogil=True, cache=True)
def fill_tile(gradients, m, times, first, count, tile):  # type: ignore[no-untyped-def]
    """Write the update of the client at place m, of the `count` items from `first` on, to the rows
    of `tile` (float32[r or more, count or more]); `times` as of `count_items`."""
    problem, slopes = gradients.problem, gradients.slopes[m]
    alpha, l2 = np.float32(problem.alpha), np.float32(problem.l2)
    target, catalogue = np.float32(problem.target), np.float32(problem.catalogue)
    x = gradients.x[m, first : first + count]
    for k in range(slopes.size):
        row, slope = tile[k], slopes[k]
        factors = gradients.factors[k, first : first + count]
        for i in range(count):
            row[i] = -alpha * ((x[i] - catalogue) * slope + l2 * factors[i])
    for i in range(count):
        for _ in range(times[first + i]):
            for k in range(slopes.size):
                factor = gradients.factors[k, first + i]
                tile[k, i] -= (x[i] - target) * slopes[k] + l2 * factor


@njit(nogil=True, cache=True)
def write_updates(part, gradients, A):  # type: ignore[no-untyped-def]
    """Write the updates of the clients at the places `part` to A (float32[part.size, r, N])."""
    N = gradients.x.shape[1]
    times = np.zeros(N, np.int32)
    for place in range(part.size):
        count_items(gradients, part[place], times, 1)
        fill_tile(gradients, part[place], times, 0, N, A[place])
        count_items(gradients, part[place], times, -1)
