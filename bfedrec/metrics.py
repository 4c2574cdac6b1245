"""HR@K and NDCG@K under leave-one-out: one value per user, the mean is left to the caller.

The rank of a user's held-out item (the positive) is the number of negatives that score at least
as high: ties count against us, so that a model which scores all alike gets nothing. Scores are
compared exactly, hence computed the same way for every item: one sum, in the order of the factors.
Sampled metrics rank the positive among the data set's 99 negatives; full ranking ranks it among
all items the user never touched (Krichene and Rendle, 2020, say why both are needed). ER@K looks at
items that somebody wants recommended, in the lists of users who never had to do with them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numba import njit

from bfedrec.dataset import Dataset
from bfedrec.threads import balanced, in_threads, thread_count

Split = Literal["validation", "test"]
BLOCK = 16  # users that share one pass over Q in full ranking


class NotFinite(ArithmeticError):
    """A model with NaN or infinity in it has no score."""


@dataclass(frozen=True)
class Evaluation:
    """How high the held-out item ranks for each user that has one.

    users: int64[n], ascending; the other arrays follow its order.
    rank: int64[n], 0 is best, among the sampled negatives.
    full_rank: int64[n], among all items never touched; None if it was not asked for.
    k: the length K of the recommendation list.
    """

    users: np.ndarray
    rank: np.ndarray
    full_rank: np.ndarray | None
    k: int

    @property
    def hr(self) -> np.ndarray:
        """HR@K per user, float64[n]: 1 where the positive is among the first K."""
        return hit(self.rank, self.k)

    @property
    def ndcg(self) -> np.ndarray:
        """NDCG@K per user, float64[n]."""
        return gain(self.rank, self.k)

    def means(self) -> dict[str, float]:
        """The means under the names of the run folder's summary: "hr@10", "full_ndcg@10", ..."""
        ranks = {"": self.rank} | ({} if self.full_rank is None else {"full_": self.full_rank})
        figures = {}
        for prefix, rank in ranks.items():
            figures[f"{prefix}hr@{self.k}"] = float(hit(rank, self.k).mean())
            figures[f"{prefix}ndcg@{self.k}"] = float(gain(rank, self.k).mean())
        return figures


@dataclass(frozen=True)
class Exposure:
    """How high target items stand in the recommendation lists of users who never touched them.

    targets: the items; rank: int64[len(targets), M], the target's place among all items that the
    user did not train on, 0 is best; -1 for users who ever touched it or were not asked about.
    k: the length K of the recommendation list.
    """

    targets: tuple[int, ...]
    rank: np.ndarray
    k: int

    @property
    def er(self) -> np.ndarray:
        """ER@K of each target, float64: the share of the users without it in whose list it is; 0
        where every user has it."""
        asked = self.rank >= 0
        hits = asked & (self.rank < self.k)
        return np.asarray(hits.sum(axis=1) / np.maximum(asked.sum(axis=1), 1))

    def means(self) -> dict[str, float]:
        """The mean over the targets (Zhang et al., 2022) under its name in the summary: "er@10"."""
        return {f"er@{self.k}": float(self.er.mean())}


def hit(rank: np.ndarray, k: int) -> np.ndarray:
    """HR@k of each rank (0 is best): 1.0 or 0.0."""
    return (rank < k).astype(np.float64)


def gain(rank: np.ndarray, k: int) -> np.ndarray:
    """NDCG@k of each rank: 1 / log2(rank + 2) within the list, else 0 (one relevant item)."""
    return np.where(rank < k, 1.0 / np.log2(rank + 2.0), 0.0)


def evaluate(
    P: np.ndarray,
    Q: np.ndarray,
    dataset: Dataset,
    split: Split,
    k: int = 10,
    full: bool = True,
    threads: int | None = None,
) -> Evaluation:
    """Rank each user's held-out item by the scores P Q' (P float32[M, d], Q float32[N, d]).

    `split` says which held-out item; users without one are left out. Full ranking leaves out
    everything the user ever touched, the other held-out item included. Negatives that are -1
    (fewer than 99 exist) or the positive itself (156 of NCF's ML-1M lists) count for nothing.

    Raises ValueError for shapes that do not fit or when nobody has a held-out item, and NotFinite
    for NaN or infinity anywhere in the model or its scores.
    """
    P, Q = _checked(P, Q, dataset)
    users, held_out, negatives = of_split(dataset, split)
    rank = np.empty(len(users), np.int64)
    full_rank = np.empty(len(users) if full else 0, np.int64)
    parts = balanced(np.ones(len(users), np.int64), thread_count(threads))
    in_threads(_rank_sampled, [(part, users, P, Q, held_out, negatives, rank) for part in parts])
    if full:
        touched = (dataset.touched_indptr, dataset.touched_indices)
        QT = np.ascontiguousarray(Q.T)
        in_threads(
            _rank_full, [(part, users, P, QT, held_out, *touched, full_rank) for part in parts]
        )
    if (rank < 0).any() or (full_rank < 0).any():
        raise NotFinite("scores overflow to infinity or NaN; the factors are too large")
    return Evaluation(users, rank, full_rank if full else None, k)


def of_split(dataset: Dataset, split: Split) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The users with a held-out item in `split`, and every user's held-out item and negatives."""
    if split == "validation":
        held_out, negatives = dataset.validation, dataset.validation_negatives
    elif split == "test":
        held_out, negatives = dataset.test, dataset.test_negatives
    else:
        raise ValueError(f"split {split!r} is not one of validation, test")
    users = np.flatnonzero(held_out >= 0)
    if not len(users):
        raise ValueError(f"no user has a {split} item to rank")
    return users, held_out, negatives


def expose(
    P: np.ndarray,
    Q: np.ndarray,
    dataset: Dataset,
    targets: Sequence[int],
    k: int = 10,
    asked: np.ndarray | None = None,
    threads: int | None = None,
) -> Exposure:
    """Rank each of `targets` for every user who never touched it (held-out items count as touched)
    among all items that the user did not train on, ties against the target.

    `asked`: bool[M], the users to look at (all); a run asks the honest ones. Raises as `evaluate`,
    and ValueError for targets that are no items.
    """
    P, Q = _checked(P, Q, dataset)
    items = np.array(targets, np.int64)
    if items.size and not 0 <= items.min() <= items.max() < dataset.items:
        raise ValueError(
            f"targets {tuple(targets)} are not all items from 0 to {dataset.items - 1}"
        )
    users = np.flatnonzero(np.ones(dataset.users, np.bool_) if asked is None else asked)
    rank = np.full((len(items), dataset.users), -1, np.int64)
    parts = balanced(np.ones(len(users), np.int64), thread_count(threads))
    training = (dataset.indptr, dataset.indices)
    touched = (dataset.touched_indptr, dataset.touched_indices)
    QT = np.ascontiguousarray(Q.T)
    in_threads(
        _rank_targets, [(users[part], P, QT, items, *training, *touched, rank) for part in parts]
    )
    if (rank < -1).any():
        raise NotFinite("scores overflow to infinity or NaN; the factors are too large")
    return Exposure(tuple(targets), rank, k)


def _checked(P: np.ndarray, Q: np.ndarray, dataset: Dataset) -> tuple[np.ndarray, np.ndarray]:
    """The factors as the kernels want them, if they fit the data and are finite."""
    if P.shape != (dataset.users, Q.shape[1]) or Q.shape[0] != dataset.items:
        raise ValueError(
            f"P {P.shape} and Q {Q.shape} do not fit {dataset.users} users, {dataset.items} items"
        )
    if not (np.isfinite(P).all() and np.isfinite(Q).all()):
        raise NotFinite("the factors hold NaN or infinity, so that nothing can be scored")
    return np.ascontiguousarray(P, np.float32), np.ascontiguousarray(Q, np.float32)


@njit(nogil=True, cache=True)
def _rank_sampled(part, users, P, Q, held_out, negatives, rank):  # type: ignore[no-untyped-def]
    """rank[t] for the places t in `part`; -1 where a score is not finite."""
    for t in part:
        u = users[t]
        positive = held_out[u]
        own = _score(P[u], Q[positive])
        above = 0 if np.isfinite(own) else -1
        for item in negatives[u]:
            if item >= 0 and item != positive:
                score = _score(P[u], Q[item])
                if not np.isfinite(score):
                    above = -1
                if above >= 0 and score >= own:
                    above += 1
        rank[t] = above


@njit(nogil=True, cache=True)
def _score(p, q):  # type: ignore[no-untyped-def]
    """The score of one item, summed in the order of the factors, as `_rank_full` does."""
    total = np.float32(0)
    for k in range(p.size):
        total += p[k] * q[k]
    return total


@njit(nogil=True, cache=True)
def _rank_full(  # type: ignore[no-untyped-def]
    part, users, P, QT, held_out, touched_indptr, touched_indices, rank
):
    """As `_rank_sampled`, against every item that the user never touched. QT is float32[d, N]."""
    N = QT.shape[1]
    scores = np.empty((BLOCK, N), np.float32)
    for first in range(0, part.size, BLOCK):
        block = part[first : first + BLOCK]
        _score_block(users[block], P, QT, scores)
        for row in range(block.size):
            u = users[block[row]]
            own = scores[row, held_out[u]]
            above = 0
            finite = True
            for item in range(N):
                above += scores[row, item] >= own
                finite &= np.isfinite(scores[row, item])
            # The positive is among the touched: this takes it off its own count as well.
            for item in touched_indices[touched_indptr[u] : touched_indptr[u + 1]]:
                above -= scores[row, item] >= own
            rank[block[row]] = above if finite else -1


@njit(nogil=True, cache=True)
def _rank_targets(  # type: ignore[no-untyped-def]
    users, P, QT, targets, indptr, indices, touched_indptr, touched_indices, rank
):
    """rank[t, u] for these users and the targets t that they never touched, among the items they
    did not train on; -2 where a score is not finite."""
    N = QT.shape[1]
    scores = np.empty((BLOCK, N), np.float32)
    listed = np.empty(N, np.bool_)
    for first in range(0, users.size, BLOCK):
        block = users[first : first + BLOCK]
        _score_block(block, P, QT, scores)
        for row in range(block.size):
            u = block[row]
            finite = True
            for item in range(N):
                finite &= np.isfinite(scores[row, item])
                listed[item] = True
            for item in indices[indptr[u] : indptr[u + 1]]:
                listed[item] = False
            touched = touched_indices[touched_indptr[u] : touched_indptr[u + 1]]
            for t in range(targets.size):
                if (touched == targets[t]).any():
                    continue
                own = scores[row, targets[t]]
                above = -1  # itself does not count
                for item in range(N):
                    above += listed[item] and scores[row, item] >= own
                rank[t, u] = above if finite else -2


@njit(nogil=True, cache=True)
def _score_block(users, P, QT, scores):  # type: ignore[no-untyped-def]
    """Fill `scores` with those of all items for a block of users.

    Factor by factor over all items: each score is the sum `_score` makes, and it vectorises.
    """
    d, N = QT.shape
    scores[:] = 0
    for k in range(d):
        for row in range(users.size):
            weight = P[users[row], k]
            for item in range(N):
                scores[row, item] += weight * QT[k, item]
