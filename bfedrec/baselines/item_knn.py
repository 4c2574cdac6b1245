"""Item-based nearest neighbours: an item's score is its similarity to the user's items.

With c_i the users that interacted with item i in training and c_ij those that did with both,

    s_ij = c_ij / (c_i^alpha c_j^(1 - alpha) + shrink),

the cosine of the items' columns for alpha = 1/2 (Sarwar et al., 2001), asymmetric otherwise
(Aiolli, 2013). An item keeps its most similar neighbours; its score for a user is the sum of the
similarities to those neighbours that the user has (the ItemKNN of Ferrari Dacrema et al., 2019). A
repeated interaction counts once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit

from bfedrec.config.centralised import CentralisedSettings
from bfedrec.data.dataset import Dataset
from bfedrec.threads import balanced, in_threads, thread_count


@dataclass(frozen=True)
class ItemNeighbours:
    """The K most similar items of every item, in descending order; of equals the lower number
    first.

    neighbours: int32[N, K], padded with -1 for items that have fewer; similarity: float64[N, K], 0
    at the padding.
    """

    neighbours: np.ndarray
    similarity: np.ndarray


def fit(
    dataset: Dataset, settings: CentralisedSettings, threads: int | None = None
) -> ItemNeighbours:
    """Compute the neighbours of every item from the training interactions."""
    N = dataset.items
    K = min(settings.similar_items, max(1, N - 1))
    indptr, indices = distinct(dataset)
    count = np.bincount(indices, minlength=N)
    # The users of each item: a stable sort by item leaves them in ascending order.
    owner = np.repeat(np.arange(dataset.users), np.diff(indptr))
    item_users = owner[np.argsort(indices, kind="stable")]
    item_indptr = np.concatenate([[0], np.cumsum(count)]).astype(np.int64)
    found = ItemNeighbours(np.full((N, K), -1, np.int32), np.zeros((N, K), np.float64))
    own, other = count**settings.asymmetry, count ** (1.0 - settings.asymmetry)
    shared = (indptr, indices, item_indptr, item_users, own, other, settings.shrink)
    work = np.bincount(indices, np.diff(indptr)[owner], N).astype(np.int64)
    parts = balanced(work, thread_count(threads))
    in_threads(
        _find_neighbours, [(part, *shared, found.neighbours, found.similarity) for part in parts]
    )
    return found


class Scorer:
    """Scores of all items for a block of users (`block_metrics.Scorer`)."""

    def __init__(self, model: ItemNeighbours, dataset: Dataset) -> None:
        self.items = dataset.items
        self.indptr, self.indices = distinct(dataset)
        # Turned around: for each item those whose neighbour it is, ascending.
        item, place = np.nonzero(model.neighbours >= 0)
        neighbour = model.neighbours[item, place]
        order = np.argsort(neighbour, kind="stable")
        self.listed = item[order]
        self.weight = model.similarity[item, place][order]
        starts = np.bincount(neighbour, minlength=self.items)
        self.listed_indptr = np.concatenate([[0], np.cumsum(starts)]).astype(np.int64)

    def __call__(self, users: np.ndarray) -> np.ndarray:
        """float64[b, N], each summed over the user's items in ascending order."""
        scores = np.zeros((len(users), self.items), np.float64)
        rows = (self.indptr, self.indices, self.listed_indptr, self.listed, self.weight)
        _score_block(np.asarray(users, np.int64), *rows, scores)
        return scores


def distinct(dataset: Dataset) -> tuple[np.ndarray, np.ndarray]:
    """The training interactions (indptr int64, indices int32) without repeats."""
    user = np.repeat(np.arange(dataset.users), dataset.sample_counts)
    first = np.ones(len(dataset.indices), np.bool_)
    first[1:] = (np.diff(dataset.indices) != 0) | (np.diff(user) != 0)
    counts = np.bincount(user[first], minlength=dataset.users)
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64), dataset.indices[first]


@njit(nogil=True, cache=True)
def _find_neighbours(  # type: ignore[no-untyped-def]
    part, indptr, indices, item_indptr, item_users, own, other, shrink, neighbours, similarity
):
    """Fill the rows of `neighbours` and `similarity` for the items in `part`."""
    N, K = neighbours.shape
    common = np.zeros(N, np.int64)
    for i in part:
        common[:] = 0
        for u in item_users[item_indptr[i] : item_indptr[i + 1]]:
            for j in indices[indptr[u] : indptr[u + 1]]:
                common[j] += 1
        common[i] = 0
        candidates = np.flatnonzero(common)
        found = common[candidates] / (own[i] * other[candidates] + shrink)
        order = np.argsort(-found, kind="mergesort")[:K]  # stable: of equals the lower number
        for place in range(order.size):
            neighbours[i, place] = candidates[order[place]]
            similarity[i, place] = found[order[place]]


@njit(nogil=True, cache=True)
def _score_block(  # type: ignore[no-untyped-def]
    users, indptr, indices, listed_indptr, listed, weight, scores
):
    for row in range(users.size):
        u = users[row]
        for j in indices[indptr[u] : indptr[u + 1]]:
            for at in range(listed_indptr[j], listed_indptr[j + 1]):
                scores[row, listed[at]] += weight[at]
