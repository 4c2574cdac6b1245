"""Scores by what is like a user's own items: similarities of items, from the public Q alone.

A product p.q_i sees one taste in a user. Whoever has Q also has every item's neighbours: with
G = Q'Q / N and e = `RIDGE` times its mean eigenvalue, the cosine of two items is

    cos(i, j) = q_i' M q_j / sqrt(q_i' M q_i  q_j' M q_j),   M = (G + e 1)^-1,

in which what all items have in common (popularity above all) counts no more than any other
direction. A user with the n training items I then scores an item by

    p.q_i + b / sqrt(n) sum_{j in I, j != i} max(cos(i, j), 0)^k.

The client computes it from Q and from its own items. Nothing is trained or sent for it.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from threadpoolctl import threadpool_limits

from bfedrec.evaluation.ranking import score_block
from bfedrec.threads import in_threads, thread_count

RIDGE = 0.05
"""The addition to every eigenvalue of Q'Q, in parts of their mean."""
MOST_KEPT = 2**29
"""Bytes of similarities that are kept; those of more items are computed for each user anew."""


class NeighbourScores:
    """The scores of users by factors and by the neighbours of their own items."""

    def __init__(
        self,
        P: np.ndarray,
        scored: np.ndarray,
        Q: np.ndarray,
        own: tuple[np.ndarray, np.ndarray],
        strength: float,
        power: int,
        threads: int | None = None,
    ) -> None:
        """``P``: float32[M, d]; ``scored``: float32[N, d], whose products with P are scores; ``Q``:
        float32[N, d], of whose rows items are neighbours; ``own``: indptr and indices of the users'
        items; ``strength``: b; ``power``: k."""
        self._P, self._scored = P, np.ascontiguousarray(scored.T)
        self._own = own
        self._strength, self._power = np.float32(strength), power
        self._directions = whitened(Q)
        N = len(Q)
        self._similar = np.empty((N if 4 * N * N <= MOST_KEPT else 0, N), np.float32)
        if len(self._similar):
            parts = np.array_split(np.arange(N), min(thread_count(threads), N))
            in_threads(
                _similarities, [(part, self._directions, power, self._similar) for part in parts]
            )

    def __call__(self, users: np.ndarray) -> np.ndarray:
        """The scores of all items for ``users`` (int64[b]), float32[b, N]."""
        scores = np.empty((len(users), self._scored.shape[1]), np.float32)
        score_block(users, self._P, self._scored, scores)
        _add(
            users, *self._own, self._directions, self._power, self._similar, self._strength, scores
        )
        return scores


def whitened(Q: np.ndarray) -> np.ndarray:
    """Vectors of length 1 whose products are the cosines of the rows of Q (float32[N, d]) under M;
    float32[N, d]. 0 for a row of zeros, and for all where Q is not finite."""
    rows = Q.astype(np.float64)
    moments = np.zeros((Q.shape[1],) * 2)
    with threadpool_limits(1, "blas"), np.errstate(over="ignore", invalid="ignore"):
        moments = rows.T @ rows / max(len(Q), 1)
        mean = np.trace(moments) / len(moments)
        if not (np.isfinite(moments).all() and mean > 0):
            return np.zeros(Q.shape, np.float32)
        lower = np.linalg.cholesky(moments / mean + RIDGE * np.eye(len(moments)))
        white = np.linalg.solve(lower, rows.T).T
    length = np.linalg.norm(white, axis=1, keepdims=True)
    unit = np.divide(white, length, out=np.zeros_like(white), where=length > 0)
    return np.ascontiguousarray(unit, np.float32)


@njit(nogil=True, cache=True, fastmath={"reassoc", "nsz"})
def _similarity(u, v, power):  # type: ignore[no-untyped-def]
    """max(u.v, 0)^power."""
    cosine = np.float32(0)
    for k in range(u.size):
        cosine += u[k] * v[k]
    similar = np.float32(1)
    for _ in range(power):
        similar *= max(cosine, np.float32(0))
    return similar


@njit(nogil=True, cache=True)
def _similarities(part, directions, power, similar):  # type: ignore[no-untyped-def]
    """Compute the rows `part` of `similar`; an item is no neighbour of its own."""
    for i in part:
        for j in range(len(directions)):
            similar[i, j] = _similarity(directions[i], directions[j], power)
        similar[i, i] = 0


@njit(nogil=True, cache=True)
def _add(users, indptr, indices, directions, power, similar, strength, scores):  # type: ignore[no-untyped-def]
    """Add to the rows of `scores` what the neighbours of the users' own items are worth. Without
    rows of `similar` similarities are computed here."""
    N = scores.shape[1]
    total = np.empty(N, np.float32)
    for row in range(users.size):
        own = indices[indptr[users[row]] : indptr[users[row] + 1]]
        if own.size == 0:
            continue
        total[:] = 0
        for item in own:
            if len(similar):
                for i in range(N):
                    total[i] += similar[item, i]
            else:
                for i in range(N):
                    if i != item:
                        total[i] += _similarity(directions[item], directions[i], power)
        worth = strength / np.float32(np.sqrt(own.size))
        for i in range(N):
            scores[row, i] += worth * total[i]
