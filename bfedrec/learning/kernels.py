"""Compiled loops that train a cohort of clients (Algorithm 1, equations 2 to 5)."""

from __future__ import annotations

import math
from typing import NamedTuple

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
    """1 / (1 + exp(-score)), from exp of a number that is never positive."""
    e = np.float32(math.exp(-abs(score)))
    return (np.float32(1) if score >= 0 else e) / (np.float32(1) + e)


@njit(nogil=True, cache=True, error_model="numpy")
def _bce_slopes(scores, labels, entropy, counts):  # type: ignore[no-untyped-def]
    """Replace scores by the derivatives of their binary cross-entropies with respect to them;
    return `entropy` plus, if it `counts`, the sum of the cross-entropies.

    A cross-entropy is max(score, 0) - label score + log(1 + e); the logarithm is taken of the
    product of a few hundred factors 1 + e <= 2.
    """
    product = np.float64(1)
    for s in range(scores.size):
        score = scores[s]
        e = np.float32(math.exp(-abs(score)))
        probability = (np.float32(1) if score >= 0 else e) / (np.float32(1) + e)
        scores[s] = probability - labels[s]
        if counts:
            entropy += max(score, np.float32(0)) - labels[s] * score
            product *= np.float64(1) + e
            if product > 1e300 or s == scores.size - 1:
                entropy += math.log(product)
                product = np.float64(1)
    return entropy


@njit(nogil=True, cache=True)
def _softmax_slopes(scores, labels, width):  # type: ignore[no-untyped-def]
    """Replace the scores of whole groups of `width` samples by the derivatives of their
    cross-entropies with respect to them; return the sum of these. Each group's labels are a
    multiple of its targets."""
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
def products(X, Y):  # type: ignore[no-untyped-def]
    """X Y', summed in a fixed order; a library's product may depend on the number of threads."""
    result = np.empty((X.shape[0], Y.shape[0]), np.float32)
    for i in range(X.shape[0]):
        for k in range(Y.shape[0]):
            result[i, k] = _dot(X[i], Y[k])
    return result


def gram(BT: np.ndarray) -> np.ndarray:
    """B'B, float32[r, r]; [1, 1] where it is a multiple of I and the product would cost much.

    The columns of every basis are orthogonal and of one length. Up to r = 16 the product costs next
    to nothing and is used as computed, rounding included.
    """
    BB: np.ndarray = products(BT, BT)
    scale = BB[0, 0]
    if len(BT) > 16 and np.abs(BB - scale * np.eye(len(BT), dtype=np.float32)).max() < 1e-4 * scale:
        return BB[:1, :1]
    return BB


class CompiledTask(NamedTuple):
    """A `TrainingTask` and its cohort in the layout of the compiled loops."""

    clients: np.ndarray
    """int64[M]."""
    Q: np.ndarray
    QB: np.ndarray
    """float32[N, r]: QB; empty where no step needs it."""
    BT: np.ndarray
    """float32[r, d]: B'."""
    BB: np.ndarray | None
    """B'B as `gram` gives it; None under B = I."""
    indptr: np.ndarray
    indices: np.ndarray
    excluded_indptr: np.ndarray
    excluded: np.ndarray
    """Likewise the items that are never drawn as negatives."""
    seed: int
    user_epochs: int
    local_epochs: int
    softmax: bool
    batch_size: int
    negatives: int
    virtual_share: float
    mean_label: np.float32
    predicts: bool
    item_step: np.float32
    averages: bool
    """True if that is divided by a client's number of training interactions."""
    user_step: np.float32
    l2: np.float32
    flipped: bool


class Room(NamedTuple):
    """Working memory of one thread: the passes and the gradients of its current client."""

    items: np.ndarray
    labels: np.ndarray
    virtual: np.ndarray
    virtual_labels: np.ndarray
    marks: np.ndarray
    """uint8[N]: 1 at the items that are never drawn as the client's negatives."""
    A: np.ndarray
    """float32[N, r]: item-major while training, as a sample reads one row."""
    slopes: np.ndarray
    """float32[batch]: the scores of a step's samples, then the slopes of their losses."""
    decay: np.ndarray
    """float32[batch, r]: B'q_i of a step's samples; stays 0 without L2."""
    p_gradient: np.ndarray
    a_gradient: np.ndarray
    b: np.ndarray
    """float32[r]: B'p, which every item's gradient shares."""


@njit(nogil=True, cache=True)
def _room(part, task):  # type: ignore[no-untyped-def]
    """Room for the largest of the clients at the places `part` of the cohort."""
    N, (r, d) = task.Q.shape[0], task.BT.shape
    largest = 0
    for m in part:
        u = task.clients[m]
        largest = max(largest, task.indptr[u + 1] - task.indptr[u])
    most_virtual = virtual_count(task.virtual_share, largest, 0, N)
    size = largest * (1 + task.negatives) + most_virtual
    return Room(
        np.empty(size, np.int32),
        np.empty(size, np.float32),
        np.empty(most_virtual, np.int32),
        np.empty(most_virtual, np.float32),
        np.zeros(N, np.uint8),
        np.zeros((N, r), np.float32),
        np.empty(task.batch_size, np.float32),
        np.zeros((task.batch_size, r), np.float32),
        np.empty(d, np.float32),
        np.empty(r, np.float32),
        np.empty(r, np.float32),
    )


@njit(nogil=True, cache=True)
def _decays(QB, BB, A, items, decay):  # type: ignore[no-untyped-def]
    """The gradients of the L2 term in the A_i of a step's samples, B'(Q_i + B A_i)."""
    r = decay.shape[1]
    for s in range(items.size):
        i = items[s]
        if BB is None:  # decided at compile time
            for k in range(r):
                decay[s, k] = QB[i, k] + A[i, k]
        elif len(BB) < r:
            for k in range(r):
                decay[s, k] = QB[i, k] + BB[0, 0] * A[i, k]
        else:
            for k in range(r):
                decay[s, k] = QB[i, k] + _dot(BB[k], A[i])


@njit(nogil=True, cache=True)
def _gradients(Q, A, items, slopes, p_gradient, a_gradient, trains_items):  # type: ignore[no-untyped-def]
    """The sums over a step's samples of slope times Q_i and, where A is trained, times A_i."""
    p_gradient[:] = 0
    a_gradient[:] = 0
    for s in range(items.size):
        i, slope = items[s], slopes[s]
        for j in range(p_gradient.size):
            p_gradient[j] += slope * Q[i, j]
        if trains_items:
            for k in range(a_gradient.size):
                a_gradient[k] += slope * A[i, k]


@njit(nogil=True, cache=True, error_model="numpy")
def _step(task, room, p, touched, items, labels, width, item_step, trains_items, last, loss):  # type: ignore[no-untyped-def]
    """One gradient step on p and, if it `trains_items`, on A, over samples of which `width` make a
    positive with its negatives; return the `loss` so far, with this step's in the `last` pass."""
    BT, A, b, slopes = task.BT, room.A, room.b, room.slopes[: items.size]
    r, d = BT.shape
    for k in range(r):
        b[k] = _dot(BT[k], p)
    for s in range(items.size):
        i = items[s]
        slopes[s] = _dot(task.Q[i], p)
        if trains_items:
            slopes[s] += _dot(A[i], b)
    if task.softmax:
        entropy = _softmax_slopes(slopes, labels, width)
        if last:
            loss += entropy
    else:
        loss = _bce_slopes(slopes, labels, loss, last)
    p_gradient, a_gradient = room.p_gradient, room.a_gradient
    _gradients(task.Q, A, items, slopes, p_gradient, a_gradient, trains_items)
    if trains_items and task.l2 > 0:
        _decays(task.QB, task.BB, A, items, room.decay)
    for k in range(r):  # B applied to the sum of g A_i
        for j in range(d):
            p_gradient[j] += a_gradient[k] * BT[k, j]
    scale = np.float32(1) / np.float32(items.size // width if task.softmax else items.size)
    for j in range(d):
        p[j] -= task.user_step * (p_gradient[j] * scale + task.l2 * p[j])
    if trains_items:
        for s in range(items.size):
            i = items[s]
            touched[i] = True
            for k in range(r):
                A[i, k] -= item_step * (slopes[s] * b[k] + task.l2 * room.decay[s, k])
    return loss


@njit(nogil=True, cache=True)
def _label_virtual(task, virtual, labels, p):  # type: ignore[no-untyped-def]
    """Label a client's virtual items, once a round."""
    for v in range(virtual.size):
        score = _dot(task.Q[virtual[v]], p)
        labels[v] = _sigmoid(score) if task.predicts else task.mean_label


@njit(nogil=True, cache=True, error_model="numpy")
def _train_client(u, task, room, p, touched):  # type: ignore[no-untyped-def]
    """All passes of client `u`: its A in `room`, p and `touched` in place; return its mean loss."""
    positives = task.indices[task.indptr[u] : task.indptr[u + 1]]
    N = task.Q.shape[0]
    excluded = task.excluded[task.excluded_indptr[u] : task.excluded_indptr[u + 1]]
    known = mark(room.marks, excluded, 1)
    drawn = task.negatives if known < N else 0
    # Under softmax a client that excludes every item has no negatives, and empty passes.
    rated = 0 if task.softmax and not drawn else positives.size * (1 + drawn)
    count = virtual_count(task.virtual_share, positives.size, known, N)
    virtual, virtual_labels = room.virtual[:count], room.virtual_labels[:count]
    item_step = task.item_step
    if task.averages and positives.size:
        item_step /= np.float32(positives.size)
    state = client_state(task.seed, u)
    size, loss = rated, np.float64(0)
    passes = task.user_epochs + task.local_epochs
    for number in range(passes):
        trains_items = number >= task.user_epochs
        if number == task.user_epochs and count:
            state = draw_virtual(state, room.marks, virtual)
            _label_virtual(task, virtual, virtual_labels, p)
        size = rated + count if trains_items else rated
        items, labels = room.items[:size], room.labels[:size]
        if rated:
            state = draw_epoch(
                state, positives, room.marks, drawn, room.items[:rated], room.labels[:rated]
            )
        if size > rated:
            spread(virtual, virtual_labels, items, labels)
        if task.flipped:
            for s in range(size):
                labels[s] = np.float32(1) - labels[s]
        for first in range(0, size, task.batch_size):
            batch = slice(first, min(first + task.batch_size, size))
            loss = _step(
                task,
                room,
                p,
                touched,
                items[batch],
                labels[batch],
                1 + drawn,
                item_step,
                trains_items,
                number == passes - 1,
                loss,
            )
    mark(room.marks, excluded, 0)
    if rated:
        loss /= positives.size if task.softmax else size
    return loss


@njit(nogil=True, cache=True)
def train_clients(part, task, A, touched, P, loss):  # type: ignore[no-untyped-def]
    """Train the clients at the places `part` of the cohort, writing only their rows of the results
    (`bfedrec.learning.upload.LocalUpdates`)."""
    room = _room(part, task)
    N, r = room.A.shape
    for m in part:
        loss[m] = _train_client(task.clients[m], task, room, P[m], touched[m])
        for i in range(N):
            if touched[m, i]:
                for k in range(r):
                    A[m, k, i] = room.A[i, k]
                    room.A[i, k] = 0
