"""A report on a file of interactions before anything is made of it, its counts and what is odd; and
the counts of the split that is made of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bfedrec.data.dataset import Dataset
from bfedrec.data.interactions import first_of_pairs
from bfedrec.data.layout import Rows, as_interactions

UNITS: Final = (("s", 1.0), ("ms", 1e3), ("us", 1e6), ("ns", 1e9))
"""Units of times since 1970, with the number of each in a second."""
FIRST_YEAR: Final = 1990
LAST_YEAR: Final = 2100
"""Years between which a time since 1970 is one of an interaction."""
FEW: Final = 5
"""Interactions below which a user or an item is called rare."""
MUCH: Final = 0.1
"""Share of all rows above which one user or item is called odd."""


@dataclass(frozen=True)
class Sanity:
    """The counts of a file, and warnings, each one line."""

    facts: dict[str, str]
    warnings: tuple[str, ...]


def sanity(rows: Rows) -> Sanity:
    """The report on the rows of a file."""
    return Sanity(dict(_facts(rows)), tuple(_warnings(rows)))


def split_facts(dataset: Dataset) -> dict[str, int]:
    """The counts of a split by their descriptions: what is trained on and tested, and what was left
    out. Of a temporal split there are some more."""
    statistics = dataset.statistics
    facts = {
        "training interactions": len(dataset.indices),
        "distinct pairs": statistics.pairs,
        "pairs that are touched but no interactions (rated below the threshold)": (
            statistics.disliked
        ),
        "users dropped for too few interactions": statistics.dropped_users,
        "users left out who touched every item": statistics.crowded_users,
        "published test items": statistics.published_tests,
        "validation items drawn, order unknown": statistics.drawn_validations,
        "users without a test item": statistics.without_test,
        "users without a validation item": statistics.without_validation,
        "test lists with fewer than 99 negatives": statistics.short_negatives,
        "users whose test item is also in training": statistics.test_in_training,
        "users trained on something later than their test item": statistics.later_than_test,
    }
    if statistics.held_out_from is not None:
        facts |= {
            "users without a training row, left out": statistics.cold_users,
            "cold-start items (no training row)": statistics.cold_items,
            "their interactions": statistics.cold_interactions,
            "users whose test item is a cold-start item": statistics.cold_tests,
            "later interactions neither trained on nor tested": statistics.unused_interactions,
        }
    return facts


def unit_of(times: NDArray[np.float64]) -> str:
    """The unit in which times count from 1970, by the years that they would lie in; "" if none
    fits."""
    known = times[~np.isnan(times)]
    if not len(known):
        return ""
    low, high = _at(FIRST_YEAR), _at(LAST_YEAR)
    for unit, scale in UNITS:
        if low <= known.min() / scale and known.max() / scale < high:
            return unit
    return ""


def _at(year: int) -> float:
    return datetime(year, 1, 1, tzinfo=UTC).timestamp()


def _repeats(rows: Rows) -> int:
    """The rows that repeat a user-item pair."""
    kept = first_of_pairs(as_interactions("file", rows))
    return len(rows.users) - int(kept.sum())


def _facts(rows: Rows) -> Iterator[tuple[str, str]]:
    count, users, items = len(rows.users), len(rows.user_ids), len(rows.item_ids)
    yield "rows", f"{count:,}"
    yield "users", f"{users:,}"
    yield "items", f"{items:,}"
    yield "sparsity", f"{100 * (1 - (count - _repeats(rows)) / (users * items)):.2f} %"
    for name, codes, size in (("user", rows.users, users), ("item", rows.items, items)):
        sizes = np.bincount(codes, minlength=size)
        low, middle, high = np.quantile(sizes, [0, 0.5, 1])
        yield (
            f"rows per {name}",
            f"{low:.0f} at least, {middle:g} in the middle, {high:,.0f} at most",
        )
    if rows.times is None:
        yield "times", "none"
    else:
        known = rows.times[~np.isnan(rows.times)]
        text = f"{100 * len(known) / count:.1f} % of the rows have one"
        if len(known):
            text += (
                f", from {_moment(known.min(), rows.times)} to {_moment(known.max(), rows.times)}"
            )
        yield "times", text
    if rows.ratings is not None:
        values, many = np.unique(rows.ratings, return_counts=True)
        if len(values) <= 12:
            told = (f"{value:g}: {n:,}" for value, n in zip(values, many, strict=True))
            yield "ratings", ", ".join(told)
        else:
            yield "ratings", f"{len(values):,} different, from {values[0]:g} to {values[-1]:g}"
    if rows.kinds is not None:
        names, codes = rows.kinds.names_and_codes()
        sizes = np.bincount(codes)
        best = np.argsort(-sizes, kind="stable")[:12]
        yield "kinds of events", ", ".join(f"{names[k]}: {sizes[k]:,}" for k in best)


def _moment(time: float, times: NDArray[np.float64]) -> str:
    unit = unit_of(times)
    if not unit:
        return f"{time:g}"
    found = datetime.fromtimestamp(time / dict(UNITS)[unit], UTC)
    return f"{found:%Y-%m-%d %H:%M:%S} UTC"


def _warnings(rows: Rows) -> Iterator[str]:
    count = len(rows.users)
    repeats = _repeats(rows)
    if repeats:
        yield f"{repeats:,} rows repeat a user-item pair (data.file.duplicates)"
    for name, codes, ids in (
        ("user", rows.users, rows.user_ids),
        ("item", rows.items, rows.item_ids),
    ):
        sizes = np.bincount(codes, minlength=len(ids))
        largest = int(sizes.argmax())
        if sizes[largest] > MUCH * count and len(ids) > 1 / MUCH:
            share = 100 * sizes[largest] / count
            yield f"{name} {str(ids[largest])[:60]!r} has {share:.0f} % of all rows"
        rare = int((sizes < FEW).sum())
        if 2 * rare > len(ids):
            yield f"{100 * rare / len(ids):.0f} % of the {name}s have fewer than {FEW} rows"
    if len(rows.user_ids) == 1 or len(rows.item_ids) == 1:
        yield "there is one user or item only: are the columns the right ones?"
    yield from _time_warnings(rows)
    if rows.ratings is not None and len(np.unique(rows.ratings)) == 1:
        yield "all ratings are equal"


def _time_warnings(rows: Rows) -> Iterator[str]:
    if rows.times is None:
        yield "no row has a time: held-out items are drawn, and data.split=temporal is not possible"
        return
    unknown = np.isnan(rows.times)
    if unknown.any():
        yield f"{int(unknown.sum()):,} rows have no time and count as a user's earliest"
    known = np.flatnonzero(~unknown)
    if not len(known):
        return
    times = rows.times[known]
    if not unit_of(rows.times):
        yield "the times are no dates since 1970: only their order counts"
    elif times.max() / dict(UNITS)[unit_of(rows.times)] > datetime.now(UTC).timestamp():
        yield "some times lie in the future"
    order = np.lexsort((times, rows.users[known]))
    user, time = rows.users[known][order], times[order]
    ties = int(((np.diff(user) == 0) & (np.diff(time) == 0)).sum())
    if 10 * ties > len(times):
        yield (
            f"{100 * ties / len(times):.0f} % of the rows have the same time as another row of the "
            "user: among them the first in the file counts as the latest"
        )
