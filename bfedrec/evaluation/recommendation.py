"""Recommendation lists: each user's items of the highest scores, without those they know.

Left out is everything that the user ever touched, except for the held-out test item: training
items, and the validation item. These are the items of full ranking (`bfedrec.evaluation.ranking`),
with the same scores, so that a list of K holds the test item exactly where its full rank is below
K. Where scores are equal, the item of the lower index comes first; full ranking counts equal scores
against the test item.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numba import njit

from bfedrec.data.dataset import Dataset
from bfedrec.evaluation.metrics import NotFinite
from bfedrec.evaluation.ranking import BLOCK, Scorer, checked, score_block
from bfedrec.threads import balanced, in_threads, thread_count

Arrays = tuple[np.ndarray, ...]
ROWS = 2**17
"""Number of rows that are made at once, about."""


@dataclass(frozen=True)
class Lists:
    """The lists of some users, the best item first.

    users: int64[b]. items: int32[b, k], -1 after the end of a list (fewer than k items are left).
    scores: float32[b, k]. lengths: int64[b].
    """

    users: np.ndarray
    items: np.ndarray
    scores: np.ndarray
    lengths: np.ndarray


def recommend(
    P: np.ndarray,
    Q: np.ndarray,
    dataset: Dataset,
    users: np.ndarray,
    k: int,
    threads: int | None = None,
) -> Iterator[Lists]:
    """The lists of ``users`` (int64[n]) by the scores P Q' (P float32[M, d], Q float32[N, d]), in
    their order, some users at a time.

    Raises ValueError for shapes that do not fit, and NotFinite for NaN or infinity anywhere in the
    model or its scores.
    """
    P, Q = checked(P, Q, dataset)
    QT = np.ascontiguousarray(Q.T)

    def scores(asked: np.ndarray) -> np.ndarray:
        found = np.empty((len(asked), dataset.items), np.float32)
        score_block(asked, P, QT, found)
        return found

    return recommend_blocks(scores, dataset, users, k, threads)


def recommend_blocks(
    scorer: Scorer,
    dataset: Dataset,
    users: np.ndarray,
    k: int,
    threads: int | None = None,
) -> Iterator[Lists]:
    """The lists by the scores of ``scorer``; otherwise as `recommend`."""
    k = min(k, dataset.items)
    known = (dataset.touched_indptr, dataset.touched_indices, dataset.test)
    at_once = max(1, ROWS // k)
    for first in range(0, len(users), at_once):
        asked = np.asarray(users[first : first + at_once], np.int64)
        items = np.full((len(asked), k), -1, np.int32)
        scores = np.zeros((len(asked), k), np.float32)
        lengths = np.zeros(len(asked), np.int64)
        outputs = (items, scores, lengths)

        def fill(part: np.ndarray, asked: np.ndarray = asked, outputs: Arrays = outputs) -> None:
            for start in range(0, len(part), BLOCK):
                block = part[start : start + BLOCK]
                found = np.asarray(scorer(asked[block]))
                if not np.isfinite(found).all():
                    raise NotFinite("the model gives scores of NaN or infinity")
                _best(block, asked, found, *known, *outputs)

        parts = balanced(np.ones(len(asked), np.int64), thread_count(threads))
        in_threads(fill, [(part,) for part in parts])
        yield Lists(asked, items, scores, lengths)


@njit(nogil=True, cache=True)
def _best(  # type: ignore[no-untyped-def]
    block, users, block_scores, touched_indptr, touched_indices, test, items, scores, lengths
):
    """Fill the rows `block` of the outputs (`Lists`) from these users' scores of all items, the
    rows of `block_scores`."""
    N, k = block_scores.shape[1], items.shape[1]
    offered = np.ones(N, np.bool_)
    for row in range(block.size):
        t, u = block[row], users[block[row]]
        touched = touched_indices[touched_indptr[u] : touched_indptr[u + 1]]
        for item in touched:
            offered[item] = item == test[u]
        length = 0
        for item in range(N):
            score = block_scores[row, item]
            # An equal score comes after those before it, whose index is lower.
            if not offered[item] or (length == k and score <= scores[t, k - 1]):
                continue
            place = min(length, k - 1)
            while place > 0 and score > scores[t, place - 1]:
                items[t, place], scores[t, place] = items[t, place - 1], scores[t, place - 1]
                place -= 1
            items[t, place], scores[t, place] = item, score
            length = min(length + 1, k)
        for item in touched:
            offered[item] = True
        lengths[t] = length
