"""One reader per source: files into Interactions, every odd value told by file, line, column."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from bfedrec.data.interactions import DataError, Interactions, PublishedSplit, first_of_pairs
from bfedrec.data.settings import CsvSettings
from bfedrec.data.sources import SourceFile, Sources
from bfedrec.data.textfile import Column, Columns, read_columns

NEGATIVES = 99
"""Length of a published list of negatives."""

_ID = Column(np.int64)
_NUMBER = Column(np.float64)
_NUMBER_OR_EMPTY = Column(np.float64, may_be_empty=True)


def read_ml_1m(sources: Sources) -> Interactions:
    """MovieLens 1M; NCF's ids are user - 1 and the order of an item's first appearance."""
    file = sources.files["interactions"]
    if sources.layout == "official":
        table = read_columns(file, {0: _ID, 1: _ID, 2: _NUMBER, 3: _NUMBER}, "::", header=False)
        users, items, times = table[0], table[1], table[3]
    else:
        columns: Columns = {
            "user": _ID,
            "item": _ID,
            "timestamp": _NUMBER_OR_EMPTY,
            "tail_rank": _NUMBER_OR_EMPTY,
        }
        table = read_columns(file, columns)
        users, items = table["user"], table["item"]
        times = _shared_times(users, table["timestamp"], table["tail_rank"])
    ids, first = np.unique(items, return_index=True)
    ncf_items = ids[np.argsort(first)]
    published = _read_published(sources, user_offset=1, item_ids=ncf_items)
    return _interactions(sources.layout, users, items, times, published)


def _shared_times(users: np.ndarray, timestamps: np.ndarray, tail_rank: np.ndarray) -> np.ndarray:
    """An order within each user: timestamps where all are known, else the tail's ranks.

    Users whose rows lack timestamps have one only at NCF's test row, which is their latest: it
    gets rank 0. Rows before the ranked tail stay NaN, as do all the others of a user without ranks.
    """
    user = np.unique(users, return_inverse=True)[1]
    complete = np.bincount(user, weights=np.isnan(timestamps)) == 0
    ranks = np.where(np.isnan(timestamps), -tail_rank, 0.0)
    return np.where(complete[user], timestamps, ranks)


def read_pinterest(sources: Sources) -> Interactions:
    """Pinterest in NCF's ids; no times exist, and a pair may be listed more than once."""
    file = sources.files["interactions"]
    if sources.layout == "official":
        table = read_columns(file, {0: _ID, 1: _ID}, "\t", header=False)
        users, items = table[0], table[1]
        published = _read_published(sources)
        if published is None:
            raise DataError(f"{file}: holds no test items; pinterest-20.test.rating is needed too")
        # NCF's training file leaves the test items out; Table I counts them.
        users = np.concatenate([users, published.users])
        items = np.concatenate([items, published.items])
        counts = np.ones(len(users), dtype=np.int64)
    else:
        table = read_columns(file, {"user": _ID, "item": _ID, "n": _ID})
        users, items, counts = table["user"], table["item"], table["n"]
        published = _read_published(sources)
    times = np.full(len(users), np.nan)
    every = _interactions(sources.layout, users, items, times, published, counts)
    return _merge_pairs(every)


def read_lfm_2k(sources: Sources) -> Interactions:
    """Last.fm tag assignments: one row per user, artist and tag."""
    file = sources.files["interactions"]
    if sources.layout == "official":
        columns: Columns = {"userID": _ID, "artistID": _ID, "timestamp": _NUMBER}
        table = read_columns(file, columns, "\t")
        users, items, times = table["userID"], table["artistID"], table["timestamp"]
    else:
        table = read_columns(file, {"user": _ID, "item": _ID, "timestamp_ms": _NUMBER})
        users, items, times = table["user"], table["item"], table["timestamp_ms"]
    return _interactions(sources.layout, users, items, times)


def read_ml_100k(sources: Sources) -> Interactions:
    """MovieLens 100K."""
    file = sources.files["interactions"]
    if sources.layout == "official":
        table = read_columns(file, {0: _ID, 1: _ID, 2: _NUMBER, 3: _NUMBER}, "\t", header=False)
        return _interactions(sources.layout, table[0], table[1], table[3])
    table = read_columns(file, {"user": _ID, "item": _ID, "timestamp": _NUMBER})
    return _interactions(sources.layout, table["user"], table["item"], table["timestamp"])


READERS: dict[str, Callable[[Sources], Interactions]] = {
    "ml-1m": read_ml_1m,
    "pinterest": read_pinterest,
    "lfm-2k": read_lfm_2k,
    "ml-100k": read_ml_100k,
}


def read_csv(file: SourceFile, settings: CsvSettings) -> Interactions:
    """A user's own file, as `settings` says; DataError where it does not fit."""
    ids = _ID if settings.ids == "integer" else Column(np.str_)
    columns: Columns = {settings.user: ids, settings.item: ids}
    for column in (settings.rating, settings.time):
        if column is not None:
            columns[column] = _NUMBER
    table = read_columns(file, columns, settings.delimiter, settings.header)
    users, items = table[settings.user], table[settings.item]
    times = np.full(len(users), np.nan) if settings.time is None else table[settings.time]
    interactions = _interactions("csv", users, items, times)
    if settings.rating is not None and settings.threshold is not None:
        kept = table[settings.rating] >= settings.threshold
        if not kept.any():
            raise DataError(
                f"{file}: no {settings.rating!r} reaches the threshold {settings.threshold:g} "
                f"(the largest is {table[settings.rating].max():g})"
            )
        interactions = interactions.select(kept)
    if settings.duplicates == "merge":
        return _merge_pairs(interactions)
    _refuse_repeats(file, interactions)
    return interactions


def _interactions(
    layout: str,
    users: np.ndarray,
    items: np.ndarray,
    times: np.ndarray,
    published: PublishedSplit | None = None,
    counts: np.ndarray | None = None,
) -> Interactions:
    if counts is None:
        counts = np.ones(len(users), dtype=np.int64)
    return Interactions(users, items, times, counts, published, layout)


def _merge_pairs(interactions: Interactions) -> Interactions:
    """One row per user-item pair, its latest, with the pair's counts summed."""
    user = np.unique(interactions.users, return_inverse=True)[1]
    item_ids, item = np.unique(interactions.items, return_inverse=True)
    pair = np.unique(user.astype(np.int64) * len(item_ids) + item, return_inverse=True)[1]
    totals = np.bincount(pair, weights=interactions.counts).astype(np.int64)
    counted = Interactions(
        interactions.users,
        interactions.items,
        interactions.times,
        totals[pair],
        interactions.published,
        interactions.layout,
    )
    return counted.select(first_of_pairs(interactions))


def _refuse_repeats(file: SourceFile, interactions: Interactions) -> None:
    repeated = np.flatnonzero(~first_of_pairs(interactions))
    if len(repeated):
        user, item = interactions.users[repeated[0]], interactions.items[repeated[0]]
        raise DataError(
            f"{file}: {len(repeated)} rows repeat a user-item pair (user {user}, item {item}, "
            "for one); remove them or set data.csv.duplicates=merge"
        )


def _read_published(
    sources: Sources, user_offset: int = 0, item_ids: np.ndarray | None = None
) -> PublishedSplit | None:
    """NCF's test items and negatives in the source's ids; None where they were not asked for.

    `item_ids[k]` is the source's id of NCF's item k (None: the same ids).
    """
    if "test" not in sources.files:
        return None
    file = sources.files["test"]
    table = read_columns(file, {0: _ID, 1: _ID}, "\t", header=False)
    users, items = table[0], table[1]
    if len(np.unique(users)) != len(users):
        raise DataError(f"{file}: a user has more than one test item")
    negatives = None
    if "negatives" in sources.files:
        listed = sources.files["negatives"]
        columns: Columns = {0: Column(np.str_)}
        columns.update(dict.fromkeys(range(1, NEGATIVES + 1), _ID))
        table_negatives = read_columns(listed, columns, "\t", header=False)
        expected = np.array([f"({u},{i})" for u, i in zip(users, items, strict=True)])
        if not np.array_equal(table_negatives[0], expected):
            raise DataError(f"{listed}: its (user,item) pairs are not those of {file}")
        negatives = np.stack([table_negatives[k] for k in range(1, NEGATIVES + 1)], axis=1)
    if item_ids is not None:
        largest = max(int(items.max()), 0 if negatives is None else int(negatives.max()))
        if largest >= len(item_ids):
            raise DataError(f"{file}: names NCF's item {largest} of only {len(item_ids)} items")
        items = item_ids[items]
        negatives = None if negatives is None else item_ids[negatives]
    return PublishedSplit(users + user_offset, items, negatives)
