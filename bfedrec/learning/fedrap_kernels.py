"""Compiled passes and scores of FedRAP (`bfedrec.learning.methods.fedrap` has the equations)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from bfedrec.learning.kernels import _bce_slopes


class Steps(NamedTuple):
    """The constants of a round's steps, symbols as in `bfedrec.learning.methods.fedrap`."""

    batch_size: int
    user_step: np.float32
    item_step: np.float32
    private_step: np.float32
    l2: np.float32
    difference: np.float32
    sparsity: np.float32


@njit(nogil=True, cache=True)
def _square(p):  # type: ignore[no-untyped-def]
    """|p|^2."""
    total = np.float32(0)
    for j in range(p.size):
        total += p[j] * p[j]
    return total


@njit(nogil=True, cache=True)
def _score(C, delta, i, p, own, square):  # type: ignore[no-untyped-def]
    """z_i = C_i . p + a_i |p|^2."""
    z = np.float32(0)
    for j in range(p.size):
        z += (C[i, j] + delta[i, j]) * p[j]
    return z + own * square


@njit(nogil=True, cache=True)
def train_pass(C, delta, touched, p, own, epoch, steps):  # type: ignore[no-untyped-def]
    """One pass of gradient descent over the samples of an ``epoch``, on p (float32[d]), the
    client's own view ``own`` (float32[N], the a_i) and Delta C; return the sum of the samples'
    cross-entropies, each before its step."""
    d = p.size
    slopes = np.empty(steps.batch_size, np.float32)
    rows = np.empty((steps.batch_size, d), np.float32)
    shifts = np.empty(steps.batch_size, np.float32)
    gradient = np.empty(d, np.float32)
    entropy = np.float64(0)
    for first in range(0, epoch.items.size, steps.batch_size):
        items = epoch.items[first : first + steps.batch_size]
        n = items.size
        square = _square(p)
        for s in range(n):
            slopes[s] = _score(C, delta, items[s], p, own[items[s]], square)
        entropy = _bce_slopes(slopes[:n], epoch.labels[first : first + n], entropy, True)
        gradient[:] = 0
        for s in range(n):
            i, g = items[s], slopes[s]
            touched[i] = True
            along = np.float32(0)
            for j in range(d):
                c = C[i, j] + delta[i, j]
                apart = steps.difference * (own[i] * p[j] - c)
                along += p[j] * apart
                gradient[j] += g * (c + np.float32(2) * own[i] * p[j]) - own[i] * apart
                rows[s, j] = g * p[j] + apart + steps.sparsity * np.sign(c) + steps.l2 * c
            shifts[s] = g * square - along + steps.l2 * own[i]
        for s in range(n):
            own[items[s]] -= steps.private_step * shifts[s]
            for j in range(d):
                delta[items[s], j] -= steps.item_step * rows[s, j]
        for j in range(d):
            p[j] -= steps.user_step * (gradient[j] / np.float32(n) + steps.l2 * p[j])
    return entropy


@njit(nogil=True, cache=True)
def score_all(C, p, own, scores):  # type: ignore[no-untyped-def]
    """Fill ``scores`` (float32[N]) with those of all items."""
    square = _square(p)
    none = np.zeros_like(C[:1])
    for i in range(scores.size):
        scores[i] = _score(C[i : i + 1], none, 0, p, own[i], square)
