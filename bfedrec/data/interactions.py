"""The rows of every source: user, item and time of each interaction, in the source's own ids."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Ids: TypeAlias = NDArray[Any]
"""A source's own ids: int64 or text."""


class DataError(ValueError):
    """Data that cannot be used, told in one line: which file, where in it, what to do."""


@dataclass(frozen=True)
class PublishedSplit:
    """Test items (and negatives) that others published, so that figures compare."""

    users: Ids
    """[T] user of each published test item."""
    items: Ids
    """[T]: the items."""
    negatives: NDArray[np.int64] | None
    """[T, 99] item ids, or None where only the test items are published."""


@dataclass(frozen=True)
class Pairs:
    """Users and items, row by row, repeats allowed."""

    users: Ids
    """[k]."""
    items: Ids
    """[k]."""


@dataclass(frozen=True)
class Interactions:
    """The rows of a source in its own order."""

    users: Ids
    """[n]: user of each row."""
    items: Ids
    """[n]: item of each row."""
    times: NDArray[np.float64]
    """[n]: grows with time within a user; NaN where the order is unknown, which is earliest."""
    counts: NDArray[np.int64]
    """[n]: how often the source lists the row."""
    published: PublishedSplit | None
    layout: str
    """The kind of source: official, shared, generated or csv."""
    disliked: Pairs | None = None
    """Pairs that the source has, but which are no interactions: nobody trains on them, and no user
    is ranked on an item of theirs as on one that they never touched. Users and items without an
    interaction do not count."""
    user_names: Ids | None = None
    """The source's own ids of users, ascending, where ``users`` are places in it, which take less
    memory than texts; None where ``users`` are the source's own."""
    item_names: Ids | None = None
    """Likewise of items."""

    def select(self, rows: NDArray) -> Interactions:
        """The interactions at `rows` (a mask, or positions in the wanted order)."""
        return replace(
            self,
            users=self.users[rows],
            items=self.items[rows],
            times=self.times[rows],
            counts=self.counts[rows],
        )


def interactions_of(
    layout: str,
    users: np.ndarray,
    items: np.ndarray,
    times: np.ndarray,
    published: PublishedSplit | None = None,
    counts: np.ndarray | None = None,
) -> Interactions:
    """Rows of a layout: ids [n], times float64[n], a published split where there is one, and how
    often the source lists each row, int64[n] (None: once)."""
    if counts is None:
        counts = np.ones(len(users), dtype=np.int64)
    return Interactions(users, items, times, counts, published, layout)


def merge_pairs(interactions: Interactions, earliest: bool = False) -> Interactions:
    """One row per user-item pair, its latest (or earliest), with the pair's counts summed."""
    user = np.unique(interactions.users, return_inverse=True)[1]
    item_ids, item = np.unique(interactions.items, return_inverse=True)
    pair = np.unique(user.astype(np.int64) * len(item_ids) + item, return_inverse=True)[1]
    totals = np.bincount(pair, weights=interactions.counts).astype(np.int64)
    counted = replace(interactions, counts=totals[pair])
    return counted.select(first_of_pairs(interactions, earliest))


def keep_active(interactions: Interactions, minimum: int) -> Interactions:
    """The interactions of users with at least `minimum` rows."""
    _, user, rows = np.unique(interactions.users, return_inverse=True, return_counts=True)
    return interactions.select(rows[user] >= minimum)


def touched_pairs(interactions: Interactions, user_ids: Ids, item_ids: Ids) -> NDArray[np.int64]:
    """The distinct pairs that users touched, disliked ones included, ascending: u N + i, for the
    positions u and i in ``user_ids`` and the N ``item_ids`` of the interactions (ascending)."""
    users, items = interactions.users, interactions.items
    if interactions.disliked is not None:
        more = interactions.disliked
        known = np.isin(more.users, user_ids) & np.isin(more.items, item_ids)
        users = np.concatenate([users, more.users[known]])
        items = np.concatenate([items, more.items[known]])
    u = np.searchsorted(user_ids, users).astype(np.int64)
    return np.unique(u * len(item_ids) + np.searchsorted(item_ids, items))


def leave_out_crowded(interactions: Interactions) -> Interactions:
    """The interactions without users who touched every item and have two rows or more: nothing is
    left to rank a held-out item of theirs against. An item goes with its last user, and may leave
    another one crowded."""
    while len(interactions.users):
        user_ids, u, rows = np.unique(interactions.users, return_inverse=True, return_counts=True)
        item_ids = np.unique(interactions.items)
        touched = touched_pairs(interactions, user_ids, item_ids) // len(item_ids)
        crowded = (np.bincount(touched) == len(item_ids)) & (rows >= 2)
        if not crowded.any():
            break
        interactions = interactions.select(~crowded[u])
    return interactions


def first_of_pairs(interactions: Interactions, earliest: bool = False) -> NDArray[np.bool_]:
    """[n]: True at one row of each user-item pair, the latest (or earliest), and the first listed
    among ties; rows of unknown time are the earliest."""
    _, user = np.unique(interactions.users, return_inverse=True)
    item_ids, item = np.unique(interactions.items, return_inverse=True)
    pair = user.astype(np.int64) * len(item_ids) + item
    late = lateness(interactions.times)
    order = np.lexsort((-late if earliest else late, pair))
    keep = np.zeros(len(pair), dtype=bool)
    keep[order[np.r_[True, np.diff(pair[order]) != 0]]] = True
    return keep


def refuse_repeats(place: str, interactions: Interactions, remedy: str) -> None:
    """Raise DataError where a user-item pair has more than one row; ``place`` names the file, and
    ``remedy`` an option that helps."""
    repeated = np.flatnonzero(~first_of_pairs(interactions))
    if len(repeated):
        user, item = interactions.users[repeated[0]], interactions.items[repeated[0]]
        if interactions.user_names is not None:
            user = interactions.user_names[user]
        if interactions.item_names is not None:
            item = interactions.item_names[item]
        raise DataError(
            f"{place}: {len(repeated)} rows repeat a user-item pair (user {user}, item {item}, "
            f"for one); remove them or set {remedy}"
        )


def lateness(times: NDArray[np.float64]) -> NDArray[np.float64]:
    """A sort key that puts the latest first and unknown times last."""
    return np.where(np.isnan(times), np.inf, -times)
