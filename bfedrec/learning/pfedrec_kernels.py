"""Compiled passes and scores of PFedRec (`bfedrec.learning.methods.pfedrec` has the equations)."""

from __future__ import annotations

import numpy as np
from numba import njit

from bfedrec.learning.kernels import _bce_slopes


@njit(nogil=True, cache=True)
def _score(Q, delta, i, function):  # type: ignore[no-untyped-def]
    """z_i = (Q_i + Delta_i) . w + b, with ``function`` (float32[d + 1]) = [w, b]."""
    d = Q.shape[1]
    z = np.float32(0)
    for j in range(d):
        z += (Q[i, j] + delta[i, j]) * function[j]
    return z + function[d]


@njit(nogil=True, cache=True)
def train_pass(  # type: ignore[no-untyped-def]
    Q, delta, touched, function, epoch, batch_size, step, l2, trains_items
):
    """One pass of gradient descent over the samples of an ``epoch``, on the score function or, if
    it `trains_items`, on the client's item factors alone; return the sum of the samples'
    cross-entropies, each before its step."""
    d = Q.shape[1]
    slopes = np.empty(batch_size, np.float32)
    rows = np.empty((batch_size if trains_items else 1, d), np.float32)
    gradient = np.empty(d + 1, np.float32)
    entropy = np.float64(0)
    for first in range(0, epoch.items.size, batch_size):
        items = epoch.items[first : first + batch_size]
        n = items.size
        for s in range(n):
            slopes[s] = _score(Q, delta, items[s], function)
        labels = epoch.labels[first : first + n]
        entropy = _bce_slopes(slopes[:n], labels, entropy, True)
        if trains_items:
            for s in range(n):
                i = items[s]
                touched[i] = True
                for j in range(d):
                    rows[s, j] = slopes[s] * function[j] + l2 * (Q[i, j] + delta[i, j])
            for s in range(n):
                for j in range(d):
                    delta[items[s], j] -= step * rows[s, j]
            continue
        gradient[:] = 0
        for s in range(n):
            i = items[s]
            for j in range(d):
                gradient[j] += slopes[s] * (Q[i, j] + delta[i, j])
            gradient[d] += slopes[s]
        for j in range(d):
            function[j] -= step * (gradient[j] / np.float32(n) + l2 * function[j])
        function[d] -= step * (gradient[d] / np.float32(n))
    return entropy


@njit(nogil=True, cache=True)
def score_all(Q, delta, function, scores):  # type: ignore[no-untyped-def]
    """Fill ``scores`` (float32[N]) with those of all items."""
    for i in range(scores.size):
        scores[i] = _score(Q, delta, i, function)
