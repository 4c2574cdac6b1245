"""Centralised matrix factorisation by stochastic gradient descent, one step for each sample.

GMF (He et al., 2017, equations 9 and 7) scores z = h . (p_u * q_i) + b_i. With g = sigmoid(z) - y,
the gradients of the cross-entropy of a sample (u, i, y) are

    p_u: g h * q_i + lambda p_u     q_i: g h * p_u + lambda q_i     h: g p_u * q_i
    b_i: g + lambda b_i

With h fixed at ones it is plain matrix factorisation (Rendle et al., 2020). BPR (Rendle et al.,
2009) takes triples (u, i, j) of an item that the user has and one that the user has not; with x =
p_u . (q_i - q_j) + b_i - b_j and g = sigmoid(x) - 1 the gradients of -log sigmoid(x) are

    p_u: g (q_i - q_j) + lambda p_u    q_i: g p_u + lambda q_i     q_j: -g p_u + lambda q_j
    b_i: g + lambda b_i                b_j: -g + lambda b_j

`gmf_gradients` and `bpr_gradients` write these equations out for readers; the kernels take the same
steps, and tests hold them equal. A kernel runs in one thread: the same seed gives the same factors.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numba import njit

from bfedrec.config.centralised import CentralisedSettings
from bfedrec.data.dataset import Dataset
from bfedrec.learning.factorization import initial_factors
from bfedrec.learning.negative_sampling import client_state, draw_absent
from bfedrec.learning.upload import Diverged
from bfedrec.runs.figures import GREATEST
from bfedrec.streams import Streams


@dataclass(frozen=True)
class Factors:
    """P float32[M, d], Q float32[N, d], output weights h float32[d], item biases b float32[N]."""

    P: np.ndarray
    Q: np.ndarray
    h: np.ndarray
    b: np.ndarray

    def product(self) -> tuple[np.ndarray, np.ndarray]:
        """P' and Q' whose products P' Q'\' are the scores."""
        ones = np.ones((len(self.P), 1), np.float32)
        return np.hstack([self.P * self.h, ones]), np.hstack([self.Q, self.b[:, None]])


class Trainer:
    """Training of GMF or BPR, one epoch at a time."""

    def __init__(
        self,
        pairwise: bool,
        dataset: Dataset,
        settings: CentralisedSettings,
        dimension: int,
        init_scale: float,
        streams: Streams,
    ) -> None:
        self.pairwise, self.dataset, self.settings = pairwise, dataset, settings
        self.streams = streams
        P, Q = (
            initial_factors(count, dimension, init_scale, streams.generator("initial", part))
            for part, count in enumerate((dataset.users, dataset.items))
        )
        h, b = np.ones(dimension, np.float32), np.zeros(dataset.items, np.float32)
        self.factors = Factors(P, Q, h, b)
        self.user = np.repeat(np.arange(dataset.users), dataset.sample_counts)
        has_negatives = np.array(
            [len(np.unique(row)) < dataset.items for row in _rows(dataset)], np.bool_
        )
        self.usable = np.flatnonzero(has_negatives[self.user])
        """Interactions of users who lack at least one item; users with every item have no
        negatives."""
        self.samples = len(self.usable) * (settings.negatives + (0 if pairwise else 1))
        """Number of steps of an epoch."""
        self.epoch = 0

    def play_epoch(self) -> float:
        """Take a step for every sample of the next epoch; return the mean loss before each step.

        The loss is without the L2 terms, and 0 if there are no data. Raises Diverged when the
        factors are no longer finite, or the loss is greater than any figure.
        """
        self.epoch += 1
        settings, data, factors = self.settings, self.dataset, self.factors
        order = self.streams.generator("training", self.epoch).permutation(self.usable)
        state = np.uint64(client_state(self.streams.integer("training", self.epoch), 0))
        samples = (order, self.user, data.indptr, data.indices, state, settings.negatives)
        sizes = (np.float32(settings.step_at(self.epoch)), np.float32(settings.l2))
        varied: tuple[object, ...] = (factors.P, factors.Q, factors.b, settings.item_bias)
        kernel: Callable[..., float] = bpr_epoch
        if not self.pairwise:
            kernel = gmf_epoch
            varied = (*varied, factors.h, settings.output_weights == "learned")
        loss = kernel(*samples, *sizes, *varied) / max(1, self.samples)
        if not all(np.isfinite(part).all() for part in vars(factors).values()):
            raise Diverged(
                f"epoch {self.epoch}: the factors are no longer finite numbers; "
                "lower centralised.step"
            )
        if not loss < GREATEST:  # nor is it NaN
            raise Diverged(f"epoch {self.epoch}: the mean loss is {loss:g}; lower centralised.step")
        return loss


def _rows(dataset: Dataset) -> list[np.ndarray]:
    return np.split(dataset.indices, dataset.indptr[1:-1])


def gmf_gradients(
    p: np.ndarray, q: np.ndarray, h: np.ndarray, b: float, label: float, l2: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """The gradients in p_u, q_i, h (float64[d]) and b_i of a sample whose label is 1 or 0."""
    g = 1.0 / (1.0 + math.exp(-(h @ (p * q) + b))) - label
    return g * h * q + l2 * p, g * h * p + l2 * q, g * p * q, g + l2 * b


def bpr_gradients(
    p: np.ndarray, qi: np.ndarray, qj: np.ndarray, bi: float, bj: float, l2: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray, float, float]:
    """The gradients in p_u, q_i, q_j (float64[d]), b_i and b_j of a triple."""
    g = 1.0 / (1.0 + math.exp(-(p @ (qi - qj) + bi - bj))) - 1.0
    return g * (qi - qj) + l2 * p, g * p + l2 * qi, -g * p + l2 * qj, g + l2 * bi, -g + l2 * bj


@njit(nogil=True, cache=True, error_model="numpy", fastmath={"reassoc", "nsz"})
def gmf_epoch(  # type: ignore[no-untyped-def]
    order, user, indptr, indices, state, negatives, step, l2, P, Q, b, learn_b, h, learn_h
):
    """Take a step for each interaction in `order` and for each of its negatives.

    Changes P, Q, h and b in place; returns the sum of the losses.
    """
    N, d = Q.shape
    loss = 0.0
    for sample in order:
        u = user[sample]
        present = indices[indptr[u] : indptr[u + 1]]
        p = P[u]
        for draw in range(1 + negatives):
            i = np.int64(indices[sample])
            if draw:
                i, state = draw_absent(state, present, N)
            q = Q[i]
            score = b[i]
            for k in range(d):
                score += h[k] * p[k] * q[k]
            label = np.float32(draw == 0)
            # sigmoid(score) - label, from exp of a number that is never positive
            e = np.float32(math.exp(-abs(score)))
            g = (np.float32(1) if score >= 0 else e) / (np.float32(1) + e) - label
            loss += max(score if draw else -score, np.float32(0)) + math.log1p(e)
            for k in range(d):
                old_p, old_q = p[k], q[k]
                p[k] -= step * (g * h[k] * old_q + l2 * old_p)
                q[k] -= step * (g * h[k] * old_p + l2 * old_q)
                if learn_h:
                    h[k] -= step * g * old_p * old_q
            if learn_b:
                b[i] -= step * (g + l2 * b[i])
    return loss


@njit(nogil=True, cache=True, error_model="numpy", fastmath={"reassoc", "nsz"})
def bpr_epoch(  # type: ignore[no-untyped-def]
    order, user, indptr, indices, state, negatives, step, l2, P, Q, b, learn_b
):
    """Take a step for each interaction in `order` against each of its negatives.

    Changes P, Q and b in place; returns the sum of the losses.
    """
    N, d = Q.shape
    loss = 0.0
    for sample in order:
        u = user[sample]
        present = indices[indptr[u] : indptr[u + 1]]
        i = indices[sample]
        p, qi = P[u], Q[i]
        for _ in range(negatives):
            j, state = draw_absent(state, present, N)
            qj = Q[j]
            x = b[i] - b[j]
            for k in range(d):
                x += p[k] * (qi[k] - qj[k])
            e = np.float32(math.exp(-abs(x)))
            g = (np.float32(1) if x >= 0 else e) / (np.float32(1) + e) - np.float32(1)
            loss += max(-x, np.float32(0)) + math.log1p(e)
            for k in range(d):
                old_p, old_i, old_j = p[k], qi[k], qj[k]
                p[k] -= step * (g * (old_i - old_j) + l2 * old_p)
                qi[k] -= step * (g * old_p + l2 * old_i)
                qj[k] -= step * (-g * old_p + l2 * old_j)
            if learn_b:
                b[i] -= step * (g + l2 * b[i])
                b[j] -= step * (-g + l2 * b[j])
    return loss
