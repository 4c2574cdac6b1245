"""A truncated singular value decomposition whose bytes do not depend on the machine.

Servers vote on bytes computed from it, and a library's decomposition may sum in an order of its
own. It is therefore written out: the eigenvectors of A A' (d x d) by cyclic Jacobi rotations, in
float64, with nothing but sums, products, quotients and square roots in a fixed order.
"""

from __future__ import annotations

import numpy as np
from numba import njit

MOST_SWEEPS = 60
"""Largest number of passes over all pairs, of which about ten are needed; the limit is for NaN."""


def truncated_svd(A: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """U (float64[N, s]), S (float64[s], descending) and V (float64[d, s]) with U diag(S) V' nearest
    to A' (A: float32[d, N]) among all of rank s.

    Each column of V has a positive entry of largest magnitude (the first such). Columns beyond A's
    numerical rank are 0, as are rows of U where a column of A is. Numbers that are not finite give
    results that are not.
    """
    A = np.ascontiguousarray(A, np.float32)
    d = len(A)
    values, vectors = _eigen(_gram(A))
    if not np.isfinite(values).all():  # of infinity the rest would be what rounding left
        none = np.full((A.shape[1] + 1 + d, size), np.nan)
        return none[: A.shape[1]], none[A.shape[1]], none[A.shape[1] + 1 :]
    order = np.argsort(-values, kind="stable")[:size]
    S, V = np.zeros(size), np.zeros((d, size))
    # Below this an eigenvalue is what rounding left of 0.
    floor = values[order[0]] * d * np.finfo(np.float64).eps
    for place, column in enumerate(order):
        if not values[column] <= max(floor, 0.0):
            vector = vectors[column]
            sign = -1.0 if vector[np.abs(vector).argmax()] < 0 else 1.0
            S[place], V[:, place] = np.sqrt(values[column]), sign * vector
    return _left(A, S, V), S, V


def product(U: np.ndarray, S: np.ndarray, V: np.ndarray) -> np.ndarray:
    """(U diag(S) V')', float64[d, N], from U (N, s), S (s) and V (d, s): triple by triple."""
    return _product(*(np.ascontiguousarray(part, np.float64) for part in (U.T, S, V)))


@njit(nogil=True, cache=True)
def _gram(A):  # type: ignore[no-untyped-def]
    """A A', float64[d, d]; columns of zeros, of which updates have many, cost next to nothing."""
    d, N = A.shape
    G = np.zeros((d, d), np.float64)
    column = np.empty(d, np.float64)
    for i in range(N):
        empty = True
        for k in range(d):
            column[k] = A[k, i]
            empty = empty and column[k] == 0
        if not empty:
            for k in range(d):
                for j in range(d):
                    G[k, j] += column[k] * column[j]
    return G


@njit(nogil=True, cache=True, error_model="numpy")
def _eigen(G):  # type: ignore[no-untyped-def]
    """Eigenvalues and eigenvectors (rows) of a symmetric matrix, which is overwritten."""
    d = G.shape[0]
    V = np.eye(d)
    # Below this an entry off the diagonal says nothing about any eigenvalue that is not 0.
    least = 1e-18 * np.trace(G)
    for _ in range(MOST_SWEEPS):
        rotated = False
        for p in range(d - 1):
            for q in range(p + 1, d):
                if abs(G[p, q]) <= least:
                    continue
                rotated = True
                theta = (G[q, q] - G[p, p]) / (2.0 * G[p, q])
                sign = 1.0 if theta >= 0 else -1.0
                t = sign / (abs(theta) + np.sqrt(theta * theta + 1.0))
                c = 1.0 / np.sqrt(t * t + 1.0)
                s = t * c
                # The four entries where rows and columns cross are rotated from both sides.
                pp, qp = c * G[p, p] - s * G[p, q], c * G[q, p] - s * G[q, q]
                pq, qq = s * G[p, p] + c * G[p, q], s * G[q, p] + c * G[q, q]
                _rotate(G[p], G[q], c, s)
                _rotate(V[p], V[q], c, s)
                G[p, p], G[p, q] = c * pp - s * qp, 0.0
                G[q, p], G[q, q] = 0.0, s * pq + c * qq
                for k in range(d):  # G stays symmetric, bit by bit
                    G[k, p], G[k, q] = G[p, k], G[q, k]
        if not rotated:
            break
    return np.diag(G).copy(), V


@njit(nogil=True, cache=True)
def _rotate(x, y, c, s):  # type: ignore[no-untyped-def]
    """Turn two rows into c x - s y and s x + c y."""
    for k in range(x.size):
        a, b = x[k], y[k]
        x[k], y[k] = c * a - s * b, s * a + c * b


@njit(nogil=True, cache=True, error_model="numpy")
def _left(A, S, V):  # type: ignore[no-untyped-def]
    """U = A' V / S, float64[N, s]; 0 where S is."""
    d, N = A.shape
    size = S.size
    U = np.zeros((N, size), np.float64)
    for k in range(d):
        for i in range(N):
            for c in range(size):
                U[i, c] += A[k, i] * V[k, c]
    for i in range(N):
        for c in range(size):
            U[i, c] = 0.0 if S[c] == 0 else U[i, c] / S[c]
    return U


@njit(nogil=True, cache=True)
def _product(UT, S, V):  # type: ignore[no-untyped-def]
    size, N = UT.shape
    d = V.shape[0]
    A = np.zeros((d, N), np.float64)
    for c in range(size):
        for k in range(d):
            factor = V[k, c] * S[c]
            for i in range(N):
                A[k, i] += factor * UT[c, i]
    return A
