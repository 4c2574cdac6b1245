"""Compiled passes and scores of FedNCF (`bfedrec.learning.methods.fedncf` has the equations)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from bfedrec.learning.kernels import _bce_slopes


class Network(NamedTuple):
    """The weights of the network as views of one vector theta, for k factors a half and h units in
    the second layer."""

    product: np.ndarray
    """float32[k]: the weights of the factors' products."""
    first: np.ndarray
    """float32[k, 2k]: W_1, its first k columns the user's."""
    first_bias: np.ndarray
    """float32[k]."""
    second: np.ndarray
    """float32[h, k]: W_2."""
    second_bias: np.ndarray
    """float32[h]."""
    last: np.ndarray
    """float32[h]: the weights of the second layer's units."""
    bias: np.ndarray
    """float32[1]."""


class Room(NamedTuple):
    """Working memory of a pass."""

    slopes: np.ndarray
    units: np.ndarray
    """float32[batch, k]: the first layer's units of every sample, after ReLU."""
    uppers: np.ndarray
    """float32[batch, h]: likewise the second layer's."""
    rows: np.ndarray
    """float32[batch, d]: the gradients in the samples' item factors."""
    back: np.ndarray
    """float32[k]: the slopes of the first layer's units."""
    user: np.ndarray
    """float32[d]: the gradient in p."""


class Steps(NamedTuple):
    """The constants of a round's steps."""

    batch_size: int
    user_step: np.float32
    item_step: np.float32
    network_step: np.float32
    l2: np.float32


def sizes(k: int) -> tuple[int, int]:
    """Units h of the second layer, and the number of all weights."""
    h = max(1, k // 2)
    return h, k + 2 * k * k + k + h * k + h + h + 1


def network(theta: np.ndarray, k: int) -> Network:
    """Views of ``theta`` (float32, `sizes`)."""
    h, _ = sizes(k)
    shapes = ((k,), (k, 2 * k), (k,), (h, k), (h,), (h,), (1,))
    parts, first = [], 0
    for shape in shapes:
        size = int(np.prod(shape))
        parts.append(theta[first : first + size].reshape(shape))
        first += size
    return Network(*parts)


@njit(nogil=True, cache=True)
def _forward(Q, delta, i, p, net, units, uppers):  # type: ignore[no-untyped-def]
    """z_i, with the units of both layers left in ``units`` and ``uppers``."""
    k = net.product.size
    z = net.bias[0]
    for j in range(k):
        z += net.product[j] * p[j] * (Q[i, j] + delta[i, j])
    for a in range(k):
        unit = net.first_bias[a]
        for j in range(k):
            unit += net.first[a, j] * p[k + j]
        for j in range(k):
            unit += net.first[a, k + j] * (Q[i, k + j] + delta[i, k + j])
        units[a] = max(unit, np.float32(0))
    for c in range(net.last.size):
        upper = net.second_bias[c]
        for a in range(k):
            upper += net.second[c, a] * units[a]
        uppers[c] = max(upper, np.float32(0))
        z += net.last[c] * uppers[c]
    return z


@njit(nogil=True, cache=True)
def _backward(Q, delta, i, p, net, grown, room, s, g):  # type: ignore[no-untyped-def]
    """Add the gradients of a sample with slope ``g`` to those in theta (``grown``) and in p; leave
    that in its item's factors in its row."""
    k = net.product.size
    units, uppers, row, back = room.units[s], room.uppers[s], room.rows[s], room.back
    grown.bias[0] += g
    for j in range(k):
        q = Q[i, j] + delta[i, j]
        grown.product[j] += g * p[j] * q
        room.user[j] += g * net.product[j] * q
        row[j] = g * net.product[j] * p[j]
        row[k + j] = 0
        back[j] = 0
    for c in range(net.last.size):
        grown.last[c] += g * uppers[c]
        if uppers[c] <= 0:
            continue
        slope = g * net.last[c]
        grown.second_bias[c] += slope
        for a in range(k):
            grown.second[c, a] += slope * units[a]
            back[a] += slope * net.second[c, a]
    for a in range(k):
        if units[a] <= 0:
            continue
        slope = back[a]
        grown.first_bias[a] += slope
        for j in range(k):
            grown.first[a, j] += slope * p[k + j]
            grown.first[a, k + j] += slope * (Q[i, k + j] + delta[i, k + j])
            room.user[k + j] += slope * net.first[a, j]
            row[k + j] += slope * net.first[a, k + j]


@njit(nogil=True, cache=True)
def _room(batch_size, k, h):  # type: ignore[no-untyped-def]
    return Room(
        np.empty(batch_size, np.float32),
        np.empty((batch_size, k), np.float32),
        np.empty((batch_size, h), np.float32),
        np.empty((batch_size, 2 * k), np.float32),
        np.empty(k, np.float32),
        np.empty(2 * k, np.float32),
    )


@njit(nogil=True, cache=True)
def train_pass(Q, delta, touched, p, theta, net, sums, grown, epoch, steps):  # type: ignore[no-untyped-def]
    """One pass of gradient descent over the samples of an ``epoch``, on p (float32[d]), the weights
    ``theta`` with their views ``net``, and Delta Q; return the sum of the samples' cross-entropies,
    each before its step. ``sums`` with its views ``grown``: room for the gradient in theta."""
    d = p.size
    room = _room(steps.batch_size, net.product.size, net.last.size)
    entropy = np.float64(0)
    for first in range(0, epoch.items.size, steps.batch_size):
        items = epoch.items[first : first + steps.batch_size]
        n = items.size
        slopes = room.slopes[:n]
        for s in range(n):
            slopes[s] = _forward(Q, delta, items[s], p, net, room.units[s], room.uppers[s])
        entropy = _bce_slopes(slopes, epoch.labels[first : first + n], entropy, True)
        sums[:] = 0
        room.user[:] = 0
        for s in range(n):
            i = items[s]
            touched[i] = True
            _backward(Q, delta, i, p, net, grown, room, s, slopes[s])
            for j in range(d):
                room.rows[s, j] += steps.l2 * (Q[i, j] + delta[i, j])
        for s in range(n):
            for j in range(d):
                delta[items[s], j] -= steps.item_step * room.rows[s, j]
        for j in range(d):
            p[j] -= steps.user_step * (room.user[j] / np.float32(n) + steps.l2 * p[j])
        for w in range(theta.size):
            theta[w] -= steps.network_step * (sums[w] / np.float32(n))
    return entropy


@njit(nogil=True, cache=True)
def score_all(Q, p, net, halves, scores):  # type: ignore[no-untyped-def]
    """Fill ``scores`` (float32[N]) with those of the items, the first N rows of Q. ``halves``:
    float32[N, k], of every item its half of the first layer (`item_halves`)."""
    k, h = net.product.size, net.last.size
    weights, mine, units = np.empty(k, np.float32), np.empty(k, np.float32), np.empty(k, np.float32)
    for a in range(k):
        weights[a] = net.product[a] * p[a]
        mine[a] = net.first_bias[a]
        for j in range(k):
            mine[a] += net.first[a, j] * p[k + j]
    for i in range(scores.size):
        z = net.bias[0]
        for a in range(k):
            z += weights[a] * Q[i, a]
            units[a] = max(mine[a] + halves[i, a], np.float32(0))
        for c in range(h):
            upper = net.second_bias[c]
            for a in range(k):
                upper += net.second[c, a] * units[a]
            z += net.last[c] * max(upper, np.float32(0))
        scores[i] = z


@njit(nogil=True, cache=True)
def item_halves(Q, net, items):  # type: ignore[no-untyped-def]
    """The items' half of the first layer, W_1 [0; q_M], for the first ``items`` rows of Q,
    float32[items, k]."""
    k = net.product.size
    halves = np.zeros((items, k), np.float32)
    for i in range(items):
        for a in range(k):
            for j in range(k):
                halves[i, a] += net.first[a, k + j] * Q[i, k + j]
    return halves
