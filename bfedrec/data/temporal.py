"""The global temporal split: one time for all users, after which nothing is trained on.

Leave-one-out lets a model see what others did after a user's test item was chosen. Here the rows of
all users are cut at two times, of which the first ends the training and the second begins the test.
The cuts stand at shares of all rows. Given them, what is trained on does not depend on any row from
the first cut on: users are dropped for too few rows before it, and an item that has none before it
is cold. The exception are users who touched every item, earlier or later: nothing is left to rank a
test item against, so they are left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from bfedrec.data.interactions import DataError, Interactions, first_of_pairs, leave_out_crowded
from bfedrec.data.split import Split, first_row, numbered, split_of
from bfedrec.section import Section


class TemporalSettings(Section):
    """The places of the two cuts of the global temporal split (`data.split` temporal)."""

    validation_share: float = Field(
        default=0.1,
        gt=0.0,
        lt=1.0,
        description="share of all rows between the two cuts, for validation; "
        "data.validation train trains on them",
    )
    test_share: float = Field(
        default=0.1, gt=0.0, lt=1.0, description="share of all rows from the second cut on"
    )
    cold_items: Literal["leave_out", "keep"] = Field(
        default="leave_out",
        description="items without a training row: leave them out of the data, or keep them, to be "
        "ranked and tested like the others",
    )

    @model_validator(mode="after")
    def _something_to_train_on(self) -> TemporalSettings:
        if self.validation_share + self.test_share >= 1:
            raise ValueError(
                f"validation_share={self.validation_share} and test_share={self.test_share} leave "
                "nothing to train on: their sum must be below 1"
            )
        return self


@dataclass(frozen=True)
class Cut:
    """The counts of a temporal split."""

    held_out_from: float
    """Time, as the source has it, from which no row is trained on."""
    tested_from: float
    """Time from which rows may be test rows."""
    dropped_users: int
    """Users with too few training rows, those with none included."""
    dropped_interactions: int
    """Their rows."""
    crowded_users: int
    cold_users: int
    """Dropped users without any row before ``held_out_from``."""
    cold_items: int
    """Items of the users that are left with held-out rows only."""
    cold_interactions: int
    """Rows of cold items."""
    cold_tests: int
    """Users whose test item is cold."""
    unused_interactions: int
    """Rows from ``held_out_from`` on that are no user's test or validation row."""


def temporal(
    interactions: Interactions,
    settings: TemporalSettings,
    seed: int,
    validation: Literal["hold_out", "train"],
    minimum: int,
) -> tuple[Split, Interactions, Cut]:
    """Cut the rows at two times; return the split, the rows that it covers, and its counts.

    A user's test row is the first from the second cut on with an item that is new to the user, the
    validation row the first such one between the cuts. Users with fewer than ``minimum`` training
    rows are dropped. Raises DataError where a time is unknown, or a part would be empty.
    """
    times = interactions.times
    unknown = int(np.isnan(times).sum())
    if unknown:
        raise DataError(
            f"data.split=temporal needs the time of every row: {unknown:,} of {len(times):,} have "
            "none"
        )
    first, second = _cuts(times, settings)
    begin = first if validation == "hold_out" else second
    active, counts = _active(interactions, begin, minimum)
    kept, crowded = _catalogue(active, begin, settings.cold_items)
    trained = kept.times < begin
    cold, cold_rows = _cold(active, begin)

    found = numbered(kept)
    users = len(found.user_ids)
    # By user from the earliest row; a row with an item that the user had before is never tested.
    order = np.lexsort((np.arange(len(kept.times)), kept.times, found.u))
    order = order[first_of_pairs(kept, earliest=True)[order]]
    late = kept.times[order]
    test_row = first_row(order[late >= second], found.u, users)
    validation_row = first_row(order[(late >= first) & (late < second)], found.u, users)
    if validation == "train":
        validation_row = np.full(users, -1)
    if not (test_row >= 0).any():
        raise DataError(
            "data.split=temporal: no user with training rows has a test row: raise "
            "data.temporal.test_share"
        )
    parts = split_of(kept, found, seed, trained, test_row, validation_row)
    tested = found.item_ids[found.i[test_row[test_row >= 0]]]
    held_out = int((test_row >= 0).sum()) + int((validation_row >= 0).sum())
    cut = Cut(
        held_out_from=begin,
        tested_from=second,
        crowded_users=crowded,
        cold_items=len(cold),
        cold_interactions=cold_rows,
        cold_tests=int(np.isin(tested, cold).sum()),
        unused_interactions=int((kept.times >= begin).sum()) - held_out,
        **counts,
    )
    return parts, kept, cut


def _cuts(times: NDArray[np.float64], settings: TemporalSettings) -> tuple[float, float]:
    """The two times; rows of equal time fall on the same side, the later one. Raises DataError."""
    ordered = np.sort(times)
    count = len(ordered)
    second = ordered[min(int(count * (1 - settings.test_share)), count - 1)]
    share = 1 - settings.test_share - settings.validation_share
    first = ordered[min(int(count * share), count - 1)]
    if first == ordered[0] or second == first:
        raise DataError(
            "data.split=temporal: too many rows have the same time to cut them into training, "
            "validation and test"
        )
    return float(first), float(second)


def _active(
    interactions: Interactions, begin: float, minimum: int
) -> tuple[Interactions, dict[str, int]]:
    """The rows of users with at least ``minimum`` training rows, and the counts of the others.
    Raises DataError for no such user."""
    user_ids, u = np.unique(interactions.users, return_inverse=True)
    trained = np.bincount(u[interactions.times < begin], minlength=len(user_ids))
    kept = trained >= minimum
    if not kept.any():
        raise DataError(
            f"no user has the {minimum} interactions that are asked for before the cut, the most "
            f"active has {trained.max(initial=0)}"
        )
    counts = {
        "dropped_users": int((~kept).sum()),
        "dropped_interactions": int((~kept[u]).sum()),
        "cold_users": int((trained == 0).sum()),
    }
    return interactions.select(kept[u]), counts


def _catalogue(
    interactions: Interactions, begin: float, cold_items: str
) -> tuple[Interactions, int]:
    """The rows with an item of the catalogue, without users who touched all of it, and the number
    of such users. Raises DataError where none is left."""
    users, kept = len(np.unique(interactions.users)), interactions
    while True:
        before = len(kept.users)
        if cold_items == "leave_out":
            known = np.unique(kept.items[kept.times < begin])
            kept = kept.select(np.isin(kept.items, known))
        kept = leave_out_crowded(kept)
        if len(kept.users) == before:
            break
    if not before:
        raise DataError(
            "every user touched every item: nothing is left to rank a held-out item against"
        )
    return kept, users - len(np.unique(kept.users))


def _cold(interactions: Interactions, begin: float) -> tuple[NDArray, int]:
    """The items without a training row, and the number of their rows."""
    known = np.unique(interactions.items[interactions.times < begin])
    cold = ~np.isin(interactions.items, known)
    return np.unique(interactions.items[cold]), int(cold.sum())
