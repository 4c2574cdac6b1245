"""The evaluation of `metrics.py` for models whose scores are no product of factors."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numba import njit

from bfedrec.dataset import Dataset
from bfedrec.metrics import Evaluation, NotFinite, Split, of_split
from bfedrec.threads import balanced, in_threads, thread_count

Scorer = Callable[[np.ndarray], np.ndarray]
"""From users int64[b] to the scores of all items for each, float[b, N]; called from threads."""
BLOCK = 64


def evaluate_blocks(
    scorer: Scorer,
    dataset: Dataset,
    split: Split,
    k: int = 10,
    full: bool = True,
    threads: int | None = None,
) -> Evaluation:
    """Rank each user's held-out item by what `scorer` gives it; otherwise as `metrics.evaluate`.

    Raises ValueError when nobody has a held-out item, and NotFinite for NaN or infinity anywhere
    in the scores.
    """
    users, held_out, negatives = of_split(dataset, split)
    rank, full_rank = np.empty(len(users), np.int64), np.empty(len(users), np.int64)

    def score(part: np.ndarray) -> None:
        for first in range(0, len(part), BLOCK):
            block = part[first : first + BLOCK]
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
    """Both ranks of the users at the places `block`, whose scores are the rows of `scores`."""
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
