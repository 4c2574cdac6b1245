"""Compiled loops that train a cohort of clients (Algorithm 1, equations 2 to 5)."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from bfedrec.learning.negative_sampling import (
    client_state,
    draw_epoch,
    draw_virtual,
    mark,
    spread,
    virtual_count,
)


@njit(nogil=True, cache=True, fastmath={"reassoc", "nsz"})
def _dot(x, y):  # type: ignore[no-untyped-def]
    """x . y; `reassoc` lets the compiler add up in vectors, and assumes nothing about NaN."""
    total = np.float32(0)
    for j in range(x.size):
        total += x[j] * y[j]
    return total


@njit(nogil=True, cache=True)
def _sigmoid(score):  # type: ignore[no-untyped-def]
    e = np.float32(math.exp(-abs(score)))
    return (np.float32(1) if score >= 0 else e) / (np.float32(1) + e)


@njit(nogil=True, cache=True)
def _softmax_slopes(scores, labels, width):  # type: ignore[no-untyped-def]
    """Turn the scores of whole groups of `width` samples into the slopes of their cross-entropies
    against the labels, of which each group's are a multiple of its target; return the sum."""
    entropy = np.float64(0)
    for first in range(0, scores.size, width):
        group, target = scores[first : first + width], labels[first : first + width]
        largest = group.max()
        total, mass, towards = np.float32(0), np.float32(0), np.float32(0)
        for j in range(width):
            mass += target[j]
            towards += target[j] * (group[j] - largest)
            group[j] = np.float32(math.exp(group[j] - largest))
            total += group[j]
        entropy += math.log(total) - towards / mass
        for j in range(width):
            group[j] = group[j] / total - target[j] / mass
    return entropy


@njit(nogil=True, cache=True)
def _products(X, Y):  # type: ignore[no-untyped-def]
    """X Y'; the library's own product may sum in another order with every number of threads."""
    result = np.empty((X.shape[0], Y.shape[0]), np.float32)
    for i in range(X.shape[0]):
        for k in range(Y.shape[0]):
            result[i, k] = _dot(X[i], Y[k])
    return result


def _gram(BT: np.ndarray) -> np.ndarray:
    """B'B, float32[r, r]; [1, 1] where it is a multiple of I and a product would cost the most.

    The columns of every basis are orthogonal and of one length. Up to r = 16 the product, which
    then costs next to nothing, is taken as it is, rounding included.
    """
    BB: np.ndarray = _products(BT, BT)
    scale = BB[0, 0]
    if len(BT) > 16 and np.abs(BB - scale * np.eye(len(BT), dtype=np.float32)).max() < 1e-4 * scale:
        return BB[:1, :1]
    return BB


@njit(nogil=True, cache=True, error_model="numpy")
def _train_clients(  # type: ignore[no-untyped-def]
    part,
    clients,
    Q,
    QB,
    BT,
    BB,
    indptr,
    indices,
    seed,
    epochs,
    softmax,
    batch_size,
    negatives,
    virtual_share,
    mean_label,
    predicts,
    item_step,
    user_step,
    l2,
    flipped,
    A_out,
    touched,
    P,
    loss,
):
    """Train the clients at the places `part` of the cohort, writing only their rows."""
    N, d = Q.shape
    r = BT.shape[0]
    largest = 0
    for m in part:
        largest = max(largest, indptr[clients[m] + 1] - indptr[clients[m]])
    most_virtual = virtual_count(virtual_share, largest, 0, N)
    items = np.empty(largest * (1 + negatives) + most_virtual, np.int32)
    labels = np.empty(items.size, np.float32)
    virtual = np.empty(most_virtual, np.int32)
    virtual_labels = np.empty(most_virtual, np.float32)
    marks = np.zeros(N, np.uint8)
    A = np.zeros((N, r), np.float32)  # item-major while training: a sample reads one row
    g = np.empty(batch_size, np.float32)
    decay = np.zeros((batch_size, r), np.float32)  # B'q_i; stays 0 without L2
    p_gradient = np.empty(d, np.float32)
    a_gradient = np.empty(r, np.float32)
    b = np.empty(r, np.float32)

    for m in part:
        u = clients[m]
        positives = indices[indptr[u] : indptr[u + 1]]
        known = mark(marks, positives, 1)
        drawn = negatives if known < N else 0
        # Under softmax, who has every item has nothing to tell its items from.
        rated = 0 if softmax and not drawn else positives.size * (1 + drawn)
        count = virtual_count(virtual_share, positives.size, known, N)
        state = client_state(seed, u)
        p = P[m]
        for epoch in range(epochs[0] + epochs[1]):
            train_items = epoch >= epochs[0]
            last = epoch == epochs[0] + epochs[1] - 1
            if epoch == epochs[0] and count:
                state = draw_virtual(state, marks, virtual[:count])
                for v in range(count):
                    score = _dot(Q[virtual[v]], p)
                    virtual_labels[v] = _sigmoid(score) if predicts else mean_label
            size = rated + count if train_items else rated
            if rated:
                state = draw_epoch(state, positives, marks, drawn, items[:rated], labels[:rated])
            if size > rated:
                spread(virtual[:count], virtual_labels[:count], items[:size], labels[:size])
            if flipped:
                labels[:size] = np.float32(1) - labels[:size]
            for first in range(0, size, batch_size):
                n = min(batch_size, size - first)
                p_gradient[:] = 0
                a_gradient[:] = 0
                for k in range(r):  # B'p, which every item's gradient shares
                    b[k] = _dot(BT[k], p)
                if softmax:
                    for s in range(n):
                        i = items[first + s]
                        g[s] = _dot(Q[i], p)
                        if train_items:
                            g[s] += _dot(A[i], b)
                    entropy = _softmax_slopes(g[:n], labels[first : first + n], 1 + drawn)
                    if last:
                        loss[m] += entropy
                product = np.float64(1)
                for s in range(n):
                    i = items[first + s]
                    q, a = Q[i], A[i]
                    if softmax:
                        slope = g[s]
                    else:
                        score = _dot(q, p)
                        if train_items:
                            score += _dot(a, b)
                        # sigmoid(score) - label, from exp of a number that is never positive
                        e = np.float32(math.exp(-abs(score)))
                        probability = (np.float32(1) if score >= 0 else e) / (np.float32(1) + e)
                        slope = probability - labels[first + s]
                        g[s] = slope
                        if last:
                            # The cross-entropy is max(score, 0) - label score + log(1 + e); the
                            # logarithm is taken once a few hundred factors of 1 + e <= 2.
                            loss[m] += max(score, np.float32(0)) - labels[first + s] * score
                            product *= np.float64(1) + e
                            if product > 1e300 or s == n - 1:
                                loss[m] += math.log(product)
                                product = np.float64(1)
                    for j in range(d):
                        p_gradient[j] += slope * q[j]
                    if train_items:
                        for k in range(r):
                            a_gradient[k] += slope * a[k]
                        if l2 > 0:
                            if BB is None:  # decided when this is compiled
                                for k in range(r):
                                    decay[s, k] = QB[i, k] + a[k]
                            elif len(BB) < r:
                                for k in range(r):
                                    decay[s, k] = QB[i, k] + BB[0, 0] * a[k]
                            else:
                                for k in range(r):
                                    decay[s, k] = QB[i, k] + _dot(BB[k], a)
                for k in range(r):  # B applied to the sum of g A_i
                    for j in range(d):
                        p_gradient[j] += a_gradient[k] * BT[k, j]
                scale = np.float32(1) / np.float32(n // (1 + drawn) if softmax else n)
                for j in range(d):
                    p[j] -= user_step * (p_gradient[j] * scale + l2 * p[j])
                if train_items:
                    for s in range(n):
                        i = items[first + s]
                        touched[m, i] = True
                        for k in range(r):
                            A[i, k] -= item_step * (g[s] * b[k] + l2 * decay[s, k])
        if rated:
            loss[m] /= positives.size if softmax else size
        mark(marks, positives, 0)
        for i in range(N):
            if touched[m, i]:
                for k in range(r):
                    A_out[m, k, i] = A[i, k]
                    A[i, k] = 0
