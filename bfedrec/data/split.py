"""The leave-one-out split: a test and a validation item per user, and negatives for both."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bfedrec.data.interactions import DataError, Ids, Interactions, lateness, touched_pairs

NEGATIVES = 99
"""Length of a held-out item's list of negatives (NCF's protocol)."""

# One named stream per draw: adding one moves no other.
ORDER_STREAM, VALIDATION_STREAM, TEST_STREAM = 0, 1, 2


@dataclass(frozen=True, kw_only=True)
class Arrays:
    """The arrays of a leave-one-out split of M users' interactions with N items, numbered from 0.

    Their order here is that of the data set's digest.
    """

    indptr: NDArray[np.int64]
    """[M + 1]: client u trains on indices[indptr[u]:indptr[u + 1]]."""
    indices: NDArray[np.int32]
    """[nnz]: training items, ascending within a client; repeats only in lfm-2k `rows`."""
    validation: NDArray[np.int32]
    """[M]: held-out item that chooses hyper-parameters, -1 where there is none."""
    test: NDArray[np.int32]
    """[M]: held-out item that is scored once, -1 where there is none."""
    validation_negatives: NDArray[np.int32]
    """[M, 99]: items the user never touched; -1 pads a short list (at its end)."""
    test_negatives: NDArray[np.int32]
    """[M, 99]: likewise for the test item, which is never among them."""
    touched_indptr: NDArray[np.int64]
    """[M + 1]: user u ever touched touched_indices[touched_indptr[u]:touched_indptr[u + 1]]."""
    touched_indices: NDArray[np.int32]
    """Items ascending and unique within a user, held-out and disliked items included."""
    user_ids: Ids
    """[M]: the source's own ids."""
    item_ids: Ids
    """[N]: likewise."""


ARRAYS = tuple(each.name for each in fields(Arrays))
"""Their names, in this order."""


@dataclass(frozen=True, kw_only=True)
class Split(Arrays):
    """A split, and how its held-out items were chosen."""

    places: NDArray[np.int32]
    """[nnz], parallel to ``indices``: the place of a user's training row from its latest one, whose
    place is 0, among those of known time; -1 where the time is unknown. Rows of equal time keep the
    order by which items are held out. No held-out row has a place."""
    later_than_test: int
    """Users with a training row that is later, by known times, than their test row: 0 unless
    published test items are not the latest."""
    published_tests: int
    """Users whose test item is NCF's published one."""
    drawn_validations: int
    """Users whose validation item is a draw because the order is unknown."""
    test_in_training: int
    """Users whose test item is also among their training interactions."""


def leave_one_out(
    interactions: Interactions,
    seed: int,
    test: Literal["published", "latest"] = "published",
    validation: Literal["hold_out", "train"] = "hold_out",
) -> Split:
    """Hold out each user's test item and the item before it; number users and items from 0.

    The test item is the published one where there is one and `test` asks for it, else the item of
    the user's latest row. The validation item is that of the latest remaining row with another
    item. Rows of equal time keep the source's order, the first being the latest; among rows whose
    time is unknown the order is a draw from `seed`. A user keeps at least one training row: with
    two rows there is no validation item, with one no test item either.

    Raises DataError when a published item is not among its user's, a published negative is one
    that the user touched, or a tested user leaves no item to rank against.
    """
    found = numbered(interactions)
    user_ids, u, item_ids, i, pair = found
    users = len(user_ids)
    order = _latest_first(interactions, u, pair, seed)
    rows = np.bincount(u, minlength=users)

    test_row = first_row(order, u, users)
    published = np.zeros(users, dtype=bool)
    if test == "published" and interactions.published is not None:
        test_row, published = _published_rows(interactions, user_ids, item_ids, pair, test_row)
    test_row[rows < 2] = -1
    published &= test_row >= 0

    test_item = np.where(test_row >= 0, i[test_row], -1)
    validation_row = np.full(users, -1)
    if validation == "hold_out":
        validation_row = first_row(order[i[order] != test_item[u[order]]], u, users)
        validation_row[rows < 3] = -1
    training = np.ones(len(u), dtype=bool)
    training[test_row[test_row >= 0]] = training[validation_row[validation_row >= 0]] = False
    return split_of(interactions, found, seed, training, test_row, validation_row, order, published)


class Numbered(NamedTuple):
    """The users and items of some rows, numbered from 0 in the order of their ids."""

    user_ids: Ids
    u: NDArray[np.int64]
    """[n]: the user of each row."""
    item_ids: Ids
    i: NDArray[np.int64]
    """[n]: the item of each row."""
    pair: NDArray[np.int64]
    """[n]: u N + i."""


def numbered(interactions: Interactions) -> Numbered:
    """The users and items of rows, as numbers."""
    user_ids, u = np.unique(interactions.users, return_inverse=True)
    item_ids, i = np.unique(interactions.items, return_inverse=True)
    return Numbered(user_ids, u, item_ids, i, u.astype(np.int64) * len(item_ids) + i)


def split_of(
    interactions: Interactions,
    found: Numbered,
    seed: int,
    training_rows: NDArray[np.bool_],
    test_row: NDArray,
    validation_row: NDArray,
    order: NDArray[np.int64] | None = None,
    published: NDArray[np.bool_] | None = None,
) -> Split:
    """The split of rows of which some are trained on, with negatives drawn from `seed`.

    ``training_rows``: bool[n]. ``test_row``, ``validation_row``: [M], each user's held-out row, -1
    without one. ``order``: all rows by user, then from the latest to the earliest (None: by their
    known times). ``published``: bool[M], users whose test row is the published one.
    """
    user_ids, u, item_ids, i, pair = found
    items = len(item_ids)
    if order is None:
        order = _latest_first(interactions, u, pair, seed)
    if published is None:
        published = np.zeros(len(user_ids), dtype=bool)
    test_item = np.where(test_row >= 0, i[test_row], -1)
    validation_item = np.where(validation_row >= 0, i[validation_row], -1)
    training, places = _training_rows(interactions, u, pair, order, training_rows)
    trained = pair[training]

    free = _Untouched(touched_pairs(interactions, user_ids, item_ids), user_ids, items)
    test_negatives = free.draw(test_item, np.random.SeedSequence(seed, spawn_key=(TEST_STREAM,)))
    if published.any():
        _use_published_negatives(interactions, user_ids, item_ids, test_item, free, test_negatives)
    return Split(
        user_ids=user_ids,
        item_ids=item_ids,
        indptr=_indptr(trained, len(user_ids), items),
        indices=(trained % items).astype(np.int32),
        places=places,
        validation=validation_item.astype(np.int32),
        test=test_item.astype(np.int32),
        validation_negatives=free.draw(
            validation_item, np.random.SeedSequence(seed, spawn_key=(VALIDATION_STREAM,))
        ),
        test_negatives=test_negatives,
        touched_indptr=free.indptr,
        touched_indices=free.indices,
        published_tests=int(published.sum()),
        drawn_validations=int(
            np.isnan(interactions.times[validation_row[validation_row >= 0]]).sum()
        ),
        test_in_training=int(np.isin(pair[test_row[test_row >= 0]], trained).sum()),
        later_than_test=_later_than_test(interactions, u, test_row, training[places == 0]),
    )


def _training_rows(
    interactions: Interactions, u: NDArray, pair: NDArray, order: NDArray, training: NDArray
) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """The rows that are trained on, by pair, and the place of each in `order`, from 0 within its
    user and among rows of known time; -1 where the time is unknown. ``training``: bool[n]."""
    ranked = order[(training & ~np.isnan(interactions.times))[order]]
    counts = np.bincount(u[ranked])
    places = np.full(len(u), -1, np.int32)
    places[ranked] = np.arange(len(ranked)) - np.repeat(np.cumsum(counts) - counts, counts)
    by_pair = np.lexsort((places, pair))
    by_pair = by_pair[training[by_pair]]
    return by_pair, places[by_pair]


def _later_than_test(
    interactions: Interactions, u: NDArray, test_row: NDArray, latest: NDArray
) -> int:
    """The number of users whose latest training row (`latest`, of those who have one) is later than
    their test row."""
    time = np.full(len(test_row), np.nan)
    time[u[latest]] = interactions.times[latest]
    tested = test_row >= 0
    return int((time[tested] > interactions.times[test_row[tested]]).sum())


def _latest_first(
    interactions: Interactions, u: NDArray, pair: NDArray, seed: int
) -> NDArray[np.int64]:
    """Row positions by user, then from the latest to the earliest."""
    tie = np.arange(len(u))
    unknown = np.isnan(interactions.times)
    if unknown.any():
        rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(ORDER_STREAM,)))
        draw = np.empty(len(u), dtype=np.int64)
        # Drawn along the sorted pairs, so that the file's order does not matter.
        draw[np.argsort(pair, kind="stable")] = rng.permutation(len(u))
        tie = np.where(unknown, draw, tie)
    return np.lexsort((tie, lateness(interactions.times), u))


def first_row(order: NDArray, u: NDArray, users: int) -> NDArray[np.int64]:
    """[users]: each user's first position in `order` (sorted by user), -1 for a user without."""
    row = np.full(users, -1, dtype=np.int64)
    start = np.flatnonzero(np.r_[True, np.diff(u[order]) != 0]) if len(order) else order
    row[u[order[start]]] = order[start]
    return row


def _published_rows(
    interactions: Interactions,
    user_ids: Ids,
    item_ids: Ids,
    pair: NDArray,
    test_row: NDArray,
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """`test_row` with the rows of the published test items, and which users have one."""
    split = interactions.published
    assert split is not None
    known = np.isin(split.users, user_ids)
    user = np.searchsorted(user_ids, split.users[known])
    item = split.items[known]
    position = np.minimum(np.searchsorted(item_ids, item), len(item_ids) - 1)
    wanted = user.astype(np.int64) * len(item_ids) + position
    by_pair = np.argsort(pair, kind="stable")
    place = np.minimum(np.searchsorted(pair, wanted, sorter=by_pair), len(pair) - 1)
    row = by_pair[place]
    missing = np.flatnonzero((item_ids[position] != item) | (pair[row] != wanted))
    if len(missing):
        first = missing[0]
        raise DataError(
            f"the published test item {item[first]} of user {user_ids[user[first]]} is not among "
            f"the user's interactions ({len(missing)} such users): the files do not belong together"
        )
    test_row, published = test_row.copy(), np.zeros(len(user_ids), dtype=bool)
    test_row[user] = row
    published[user] = True
    return test_row, published


def _use_published_negatives(
    interactions: Interactions,
    user_ids: Ids,
    item_ids: Ids,
    test_item: NDArray,
    free: _Untouched,
    negatives: NDArray[np.int32],
) -> None:
    """Put the published lists into `negatives`, without the test item where a list contains it."""
    split = interactions.published
    if split is None or split.negatives is None:
        return
    known = np.isin(split.users, user_ids)
    user = np.searchsorted(user_ids, split.users[known])
    listed = split.negatives[known]
    item = np.minimum(np.searchsorted(item_ids, listed), len(item_ids) - 1)
    strange = item_ids[item] != listed
    is_test = item == test_item[user, None]
    bad = strange | (free.is_touched(user[:, None], item) & ~is_test)
    if bad.any():
        row, column = np.argwhere(bad)[0]
        reason = "is not an item of the data" if strange[row, column] else "was touched by the user"
        raise DataError(
            f"the published negative {listed[row, column]} of user {user_ids[user[row]]} {reason}: "
            "the files do not belong together"
        )
    # A stable sort moves what is left to the front, in its order, and pads the end.
    kept = np.take_along_axis(
        np.where(is_test, -1, item), np.argsort(is_test, axis=1, kind="stable"), axis=1
    )
    tested = test_item[user] >= 0
    negatives[user[tested]] = -1
    negatives[user[tested], : kept.shape[1]] = kept[tested]


def _indptr(pairs: NDArray, users: int, items: int) -> NDArray[np.int64]:
    counts = np.bincount(pairs // items, minlength=users)
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)


class _Untouched:
    """The items that each user never touched, to draw negatives from."""

    CHUNK = 2048
    """Users drawn for at once: bounds the working memory to CHUNK x items bytes. Another value
    gives other draws."""

    def __init__(self, touched_pairs: NDArray[np.int64], user_ids: Ids, items: int) -> None:
        self.user_ids, self.items, self.pairs = user_ids, items, touched_pairs
        self.users = len(user_ids)
        self.indptr = _indptr(touched_pairs, self.users, items)
        self.indices = (touched_pairs % items).astype(np.int32)

    def is_touched(self, user: NDArray, item: NDArray) -> NDArray[np.bool_]:
        """bool: True where the user ever touched the item (broadcast)."""
        wanted = user.astype(np.int64) * self.items + item
        place = np.minimum(np.searchsorted(self.pairs, wanted), len(self.pairs) - 1)
        return self.pairs[place] == wanted

    def draw(self, held_out: NDArray, seed: np.random.SeedSequence) -> NDArray[np.int32]:
        """[users, 99] distinct untouched items, uniformly, for users with a held-out item.

        Where fewer than 99 items are untouched all of them are listed, and -1 pads the end.
        """
        rng = np.random.default_rng(seed)
        negatives = np.full((self.users, NEGATIVES), -1, dtype=np.int32)
        for start in range(0, self.users, self.CHUNK):
            stop = min(start + self.CHUNK, self.users)
            free = np.ones((stop - start, self.items), dtype=bool)
            span = slice(self.indptr[start], self.indptr[stop])
            row = np.repeat(np.arange(stop - start), np.diff(self.indptr[start : stop + 1]))
            free[row, self.indices[span]] = False
            free[held_out[start:stop] < 0] = False
            self._fill(negatives[start:stop], free, rng)
        left = (negatives[:, 0] < 0) & (held_out >= 0)
        if left.any():
            raise DataError(
                f"user {self.user_ids[left][0]} touched every item: nothing is left to rank the "
                "held-out item against; leave the user out"
            )
        return negatives

    def _fill(self, negatives: NDArray, free: NDArray[np.bool_], rng: np.random.Generator) -> None:
        """Draw by rejection, one item for every user at a time; crowded users by permutation."""
        available = free.sum(axis=1)
        crowded = available < max(2 * NEGATIVES, self.items // 4)
        for row in np.flatnonzero(crowded):
            drawn = rng.permutation(np.flatnonzero(free[row]))[:NEGATIVES]
            negatives[row, : len(drawn)] = drawn
        count = np.zeros(len(free), dtype=np.int64)
        active = np.flatnonzero(~crowded)
        while len(active):
            item = rng.integers(self.items, size=len(active))
            fresh = free[active, item]
            user, chosen = active[fresh], item[fresh]
            free[user, chosen] = False
            negatives[user, count[user]] = chosen
            count[user] += 1
            active = active[count[active] < NEGATIVES]
