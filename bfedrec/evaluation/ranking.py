"""Ranking of held-out items and of target items: by factors, in compiled loops, or by any
scorer."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numba import njit

from bfedrec.data.dataset import Dataset
from bfedrec.evaluation.metrics import Evaluation, Exposure, NotFinite, Split
from bfedrec.threads import balanced, in_threads, thread_count

Scorer = Callable[[np.ndarray], np.ndarray]
"""Maps users int64[b] to the scores of all items for each, float[b, N]; called from threads."""
SCORER_BLOCK = 64  # users whose scores a scorer gives at once


def evaluate_blocks(
    scorer: Scorer,
    dataset: Dataset,
    split: Split,
    k: int = 10,
    full: bool = True,
    threads: int | None = None,
) -> Evaluation:
    """Rank each user's held-out item by the scores of `scorer`; otherwise as `evaluate`.

    Raises ValueError if nobody has a held-out item, and NotFinite for NaN or infinity anywhere in
    the scores.
    """
    users, held_out, negatives = of_split(dataset, split)
    rank, full_rank = np.empty(len(users), np.int64), np.empty(len(users), np.int64)

    def score(part: np.ndarray) -> None:
        for first in range(0, len(part), SCORER_BLOCK):
            block = part[first : first + SCORER_BLOCK]
            scores = scorer(users[block])
            if not np.isfinite(scores).all():
                raise NotFinite("the model gives scores of NaN or infinity")
            touched = (dataset.touched_indptr, dataset.touched_indices)
            _rank_block(block, users, scores, held_out, negatives, *touched, rank, full_rank)

    parts = balanced(np.ones(len(users), np.int64), thread_count(threads))
    in_threads(score, [(part,) for part in parts])
    return Evaluation(users, rank, full_rank if full else None, k)


@njit(nogil=True, cache=True)
def _rank_block(  # type: ignore[no-untyped-def]
    block, users, scores, held_out, negatives, touched_indptr, touched_indices, rank, full_rank
):
    """Compute both ranks of the users at the places `block`, whose scores are the rows of
    `scores`."""
    for row in range(block.size):
        u = users[block[row]]
        positive = held_out[u]
        own = scores[row, positive]
        above = 0
        for item in negatives[u]:
            above += item >= 0 and item != positive and scores[row, item] >= own
        rank[block[row]] = above
        above = 0
        for item in range(scores.shape[1]):
            above += scores[row, item] >= own
        # The positive is among the touched: this takes it off its own count as well.
        for item in touched_indices[touched_indptr[u] : touched_indptr[u + 1]]:
            above -= scores[row, item] >= own
        full_rank[block[row]] = above


BLOCK = 16  # users that share one pass over Q in full ranking


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

    `split` names the held-out item to rank; users without one are left out. Full ranking leaves out
    everything the user ever touched, the other held-out item included. Negatives that are -1 (fewer
    than 99 exist) or the positive itself (156 of NCF's ML-1M lists) are not counted.

    Raises ValueError for shapes that do not fit or if nobody has a held-out item, and NotFinite for
    NaN or infinity anywhere in the model or its scores.
    """
    P, Q = checked(P, Q, dataset)
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
    """The users with a held-out item in `split`, and every user's held-out item and negatives.
    Raises ValueError for an unknown split, or one without any such user."""
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

    `asked`: bool[M], the users to rank for; None: all. A run passes the honest ones. Raises as
    `evaluate`, and ValueError for targets that are no items.
    """
    P, Q = checked(P, Q, dataset)
    QT = np.ascontiguousarray(Q.T)

    def scorer(users: np.ndarray) -> np.ndarray:
        scores = np.empty((len(users), len(Q)), np.float32)
        score_block(users, P, QT, scores)
        return scores

    return expose_blocks(scorer, dataset, targets, k, asked, threads)


def expose_blocks(
    scorer: Scorer,
    dataset: Dataset,
    targets: Sequence[int],
    k: int = 10,
    asked: np.ndarray | None = None,
    threads: int | None = None,
) -> Exposure:
    """Rank each of `targets` by the scores of `scorer`; otherwise as `expose`."""
    items = np.array(targets, np.int64)
    if items.size and not 0 <= items.min() <= items.max() < dataset.items:
        raise ValueError(
            f"targets {tuple(targets)} are not all items from 0 to {dataset.items - 1}"
        )
    users = np.flatnonzero(np.ones(dataset.users, np.bool_) if asked is None else asked)
    rank = np.full((len(items), dataset.users), -1, np.int64)
    training = (dataset.indptr, dataset.indices)
    touched = (dataset.touched_indptr, dataset.touched_indices)

    def score(part: np.ndarray) -> None:
        for first in range(0, len(part), BLOCK):
            block = part[first : first + BLOCK]
            _rank_targets(block, scorer(block), items, *training, *touched, rank)

    parts = balanced(np.ones(len(users), np.int64), thread_count(threads))
    in_threads(score, [(users[part],) for part in parts])
    if (rank < -1).any():
        raise NotFinite("scores overflow to infinity or NaN; the factors are too large")
    return Exposure(tuple(targets), rank, k)


def checked(P: np.ndarray, Q: np.ndarray, dataset: Dataset) -> tuple[np.ndarray, np.ndarray]:
    """The factors in the kernels' layout, float32[M, d] and float32[N, d]. Raises ValueError if
    they do not fit the data, and NotFinite."""
    if P.shape != (dataset.users, Q.shape[1]) or Q.shape[0] != dataset.items:
        raise ValueError(
            f"P {P.shape} and Q {Q.shape} do not fit {dataset.users} users, {dataset.items} items"
        )
    if not (np.isfinite(P).all() and np.isfinite(Q).all()):
        raise NotFinite("the factors hold NaN or infinity, so that nothing can be scored")
    return np.ascontiguousarray(P, np.float32), np.ascontiguousarray(Q, np.float32)


@njit(nogil=True, cache=True)
def _rank_sampled(part, users, P, Q, held_out, negatives, rank):  # type: ignore[no-untyped-def]
    """Compute rank[t] for the places t in `part`; -1 where a score is not finite."""
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
    """Compute rank[t] among every item that the user never touched; -1 where a score is not finite.
    QT is float32[d, N]."""
    N = QT.shape[1]
    scores = np.empty((BLOCK, N), np.float32)
    for first in range(0, part.size, BLOCK):
        block = part[first : first + BLOCK]
        score_block(users[block], P, QT, scores)
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
    users, scores, targets, indptr, indices, touched_indptr, touched_indices, rank
):
    """Compute rank[t, u] for these users, whose scores are the rows of `scores`, and the targets t
    that they never touched, among the items they did not train on; -2 where a score is not
    finite."""
    N = scores.shape[1]
    listed = np.empty(N, np.bool_)
    for row in range(users.size):
        u = users[row]
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
            above = -1  # the target itself is not counted
            for item in range(N):
                above += listed[item] and scores[row, item] >= own
            rank[t, u] = above if finite else -2


@njit(nogil=True, cache=True)
def score_block(users, P, QT, scores):  # type: ignore[no-untyped-def]
    """Fill `scores` with those of all items for a block of users.

    Factor by factor over all items: each score is the same sum as that of `_score`, and the loop
    vectorises.
    """
    d, N = QT.shape
    scores[:] = 0
    for k in range(d):
        for row in range(users.size):
            weight = P[users[row], k]
            for item in range(N):
                scores[row, item] += weight * QT[k, item]
