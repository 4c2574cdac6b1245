"""Algorithm 1 for a whole cohort at once: compiled, in closed form, one client per thread.

The gradients touch only the rows of the items in a client's sample (`factorization.py` derives
them), so a client costs microseconds. `client.py` is the same algorithm for one client, written
to be read, and the two agree on the same draws.

A client's result depends on its own inputs alone: the same inputs give the same bytes whatever
the number of threads and whoever else is in the cohort. Only the order of the sum in a dot product
is left to the compiler, which chooses it for the machine's vectors; another kind of processor may
differ in the last bits of what its clients learn (never in what servers agree on).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numba import njit

from bfedrec.draws import client_state, draw_epoch, draw_virtual, mark, spread, virtual_count
from bfedrec.threads import balanced, in_threads, thread_count
from bfedrec.training import TrainingSettings


class Diverged(ArithmeticError):
    """Training left the finite numbers: the steps are too large for the data."""


@dataclass(frozen=True)
class CohortUpdate:
    """What a cohort of M clients hands back after one round, in the order it was given.

    A: float32[M, r, N], the updates A_u; rows of untouched items are exactly 0.
    touched: bool[M, N], the items that a client trained on (its mask under `per_item`).
    P: float32[M, d], the new user factors; they never leave the clients.
    samples: int64[M], the sample counts N_u (training interactions).
    loss: float64[M], mean cross-entropy over the last pass, of its samples (softmax: its
        positives); 0 without data.
    """

    A: np.ndarray
    touched: np.ndarray
    P: np.ndarray
    samples: np.ndarray
    loss: np.ndarray


def train_cohort(
    clients: Sequence[int] | np.ndarray,
    P: np.ndarray,
    Q: np.ndarray,
    B: np.ndarray,
    indptr: np.ndarray,
    indices: np.ndarray,
    settings: TrainingSettings,
    seed: int,
    step_scale: float = 1.0,
    threads: int | None = None,
    flipped: bool = False,
    predicts: bool = False,
) -> CohortUpdate:
    """Train each client of a cohort from A_u = 0 against frozen Q and B; change no argument.

    clients: M client ids, each a row of `indptr`.
    P: float32[M, d], the user factors of those clients, in that order.
    Q: float32[N, d], the merged item factors; B: float32[d, r], this round's basis.
    indptr, indices: the training interactions of all clients (CSR).
    seed: the round's seed for draws, a signed 64-bit integer.
    step_scale: factor on both steps (`TrainingSettings.step_scale`).
    flipped: learn the opposite, every label turned around (`bfedrec.poisoning.LabelFlip`).
    predicts: label virtual items by predictions, not the mean (`TrainingSettings.predicts`).

    Raises ValueError for shapes that do not fit, and Diverged, naming the client.
    """
    clients = check_cohort(clients, P, Q, B, indptr)
    M, (N, d), r = len(clients), Q.shape, B.shape[1]
    samples = indptr[clients + 1] - indptr[clients]
    Q, BT = np.ascontiguousarray(Q, np.float32), np.ascontiguousarray(B.T, np.float32)
    identity = r == d and np.array_equal(B, np.eye(d))
    update = CohortUpdate(
        A=np.zeros((M, r, N), np.float32),
        touched=np.zeros((M, N), np.bool_),
        P=np.array(P, np.float32, order="C"),
        samples=samples.astype(np.int64),
        loss=np.zeros(M, np.float64),
    )
    shared = (
        clients,
        Q,
        # The L2 term's gradient in A_i is B'(Q_i + B A_i) = (QB)_i + (B'B) A_i: once a round.
        # Under B = I that is Q_i + A_i, without d products a number.
        Q if identity else _products(Q, BT) if settings.l2 else np.zeros((0, r), np.float32),
        BT,
        None if identity else _gram(BT),
        indptr,
        indices,
        seed,
        np.array([settings.user_epochs, settings.local_epochs]),
        settings.loss == "softmax",
        settings.step_samples,
        settings.negatives,
        settings.virtual_share,
        np.float32(settings.mean_label),
        predicts,
        np.float32(settings.item_step * step_scale * math.sqrt(r / d)),
        np.float32(settings.user_step * step_scale),
        np.float32(settings.l2),
        flipped,
        update.A,
        update.touched,
        update.P,
        update.loss,
    )
    parts = balanced(samples, min(thread_count(threads), max(M, 1)))
    in_threads(_train_clients, [(part, *shared) for part in parts])
    check_finite(update, clients)
    return update


def check_cohort(
    clients: Sequence[int] | np.ndarray,
    P: np.ndarray,
    Q: np.ndarray,
    B: np.ndarray,
    indptr: np.ndarray,
) -> np.ndarray:
    """The clients as int64[M], or ValueError when the arguments of a cohort do not fit together."""
    clients = np.asarray(clients, np.int64)
    if P.shape != (len(clients), Q.shape[1]) or B.shape[0] != Q.shape[1]:
        raise ValueError(
            f"{len(clients)} clients, P {P.shape}, Q {Q.shape} and B {B.shape} do not fit "
            "together: P must be (M, d), Q (N, d) and B (d, r)"
        )
    if len(clients) and not 0 <= clients.min() <= clients.max() < len(indptr) - 1:
        raise ValueError(f"client ids must lie between 0 and {len(indptr) - 2}")
    return clients


def check_finite(update: CohortUpdate, clients: np.ndarray) -> None:
    """Raise Diverged, naming the first client whose new factors are not finite numbers."""
    finite = np.isfinite(update.P).all(axis=1) & np.isfinite(update.A).all(axis=(1, 2))
    if not finite.all():
        raise Diverged(
            f"client {clients[np.argmin(finite)]}'s factors are no longer finite numbers; "
            "lower training.item_step or training.user_step"
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
