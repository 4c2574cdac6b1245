"""Small data sets for the tests of learning and scoring."""

from __future__ import annotations

import numpy as np

from bfedrec.data.dataset import Dataset, DatasetStatistics


def csr(lists: list[list[int]]) -> tuple[np.ndarray, np.ndarray]:
    """The lists as (indptr int64, indices int32)."""
    indptr = np.cumsum([0, *map(len, lists)]).astype(np.int64)
    return indptr, np.array([i for row in lists for i in row], np.int32)


def random_clients(
    rng: np.random.Generator, users: int, items: int
) -> tuple[np.ndarray, np.ndarray]:
    """Training interactions of `users` clients, from none at all to every item."""
    sizes = [0, items, *rng.integers(1, items + 1, max(0, users - 2))][:users]
    return csr([sorted(rng.choice(items, size, replace=False).tolist()) for size in sizes])


def held_out(
    items: int,
    training: list[list[int]],
    test: list[int],
    negatives: list[list[int]],
) -> Dataset:
    """A data set whose test and validation items are the same; -1 stands for none."""
    indptr, indices = csr(training)
    touched = csr([sorted({*row, item} - {-1}) for row, item in zip(training, test, strict=True)])
    padded = np.full((len(test), 99), -1, np.int32)
    for row, drawn in zip(padded, negatives, strict=True):
        row[: len(drawn)] = drawn
    users = len(test)
    return Dataset(
        name="tiny",
        users=users,
        items=items,
        indptr=indptr,
        indices=indices,
        places=np.full(len(indices), -1, np.int32),
        validation=np.array(test, np.int32),
        test=np.array(test, np.int32),
        validation_negatives=padded,
        test_negatives=padded,
        touched_indptr=touched[0],
        touched_indices=touched[1],
        user_ids=np.arange(users),
        item_ids=np.arange(items),
        statistics=DatasetStatistics(
            users=users,
            items=items,
            interactions=len(indices),
            pairs=len(indices),
            disliked=0,
            dropped_users=0,
            dropped_interactions=0,
            crowded_users=0,
            layout="generated",
            published_tests=0,
            drawn_validations=0,
            without_test=test.count(-1),
            without_validation=test.count(-1),
            short_negatives=users,
            test_in_training=0,
            ordered_users=0,
            ordered_interactions=0,
            later_than_test=0,
        ),
    )
