"""Leave-one-out: what is held out, what is left, and what it is ranked against."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bfedrec.data.interactions import (
    DataError,
    Interactions,
    Pairs,
    PublishedSplit,
    first_of_pairs,
    keep_active,
    leave_out_crowded,
)
from bfedrec.data.split import NEGATIVES, Split, leave_one_out


def interactions(
    rows: list[tuple[int, int, float]], published: PublishedSplit | None = None
) -> Interactions:
    users, items, times = (np.array(column) for column in zip(*rows, strict=True))
    return Interactions(
        users, items, times.astype(float), np.ones(len(rows), dtype=np.int64), published, "test"
    )


def training(split: Split, user: int) -> list[int]:
    return split.indices[split.indptr[user] : split.indptr[user + 1]].tolist()


@st.composite
def some_rows(draw: st.DrawFn) -> list[tuple[int, int, float]]:
    """Distinct pairs of a few users over 12 items, with times that tie or are unknown."""
    rows = []
    for user in range(draw(st.integers(1, 6))):
        items = draw(st.lists(st.integers(0, 11), min_size=1, max_size=10, unique=True))
        times = st.one_of(st.integers(0, 3).map(float), st.just(float("nan")))
        rows += [(10 * user, 100 + item, draw(times)) for item in items]
    # An item that all the others leave untouched.
    return [*rows, (1000, 200, 1.0)]


@settings(max_examples=150, deadline=None)
@given(some_rows(), st.integers(0, 5))
def test_every_row_is_trained_on_or_held_out_once(
    rows: list[tuple[int, int, float]], seed: int
) -> None:
    given_rows = interactions(rows)
    split = leave_one_out(given_rows, seed)
    for u, user in enumerate(split.user_ids):
        mine = {int(np.searchsorted(split.item_ids, i)): t for v, i, t in rows if v == user}
        test, validation = int(split.test[u]), int(split.validation[u])
        held_out = [item for item in (test, validation) if item >= 0]
        assert len(held_out) == min(len(mine) - 1, 2)
        assert sorted(training(split, u) + held_out) == sorted(mine)
        # Latest first: nothing left is later than what was held out.
        order = [mine[item] if mine[item] == mine[item] else -1.0 for item in held_out]
        left = [mine[item] if mine[item] == mine[item] else -1.0 for item in training(split, u)]
        assert order == sorted(order, reverse=True)
        assert not order or max(left) <= order[-1]
        touched = split.touched_indices[split.touched_indptr[u] : split.touched_indptr[u + 1]]
        assert touched.tolist() == sorted(mine)
        for item, negatives in (
            (test, split.test_negatives[u]),
            (validation, split.validation_negatives[u]),
        ):
            drawn = negatives[negatives >= 0].tolist()
            untouched = len(split.item_ids) - len(mine)
            assert len(set(drawn)) == len(drawn) == (min(untouched, NEGATIVES) if item >= 0 else 0)
            assert not set(drawn) & set(mine)
            assert (negatives[len(drawn) :] == -1).all()


Row = tuple[int, int, float]


def ranked_training(
    rows: list[Row], test: int | None, validated: bool
) -> tuple[list[Row], Row | None]:
    """One user's training rows of known time, the latest first, and the test row, by definition;
    ``test`` is the published test item."""
    latest = sorted((row for row in rows if row[2] == row[2]), key=lambda row: -row[2])
    if len(rows) < 2 or not latest:
        return latest, None
    held = latest[0] if test is None else next(row for row in rows if row[1] == test)
    others = [row for row in latest if row[1] != held[1]]
    validation = others[0] if validated and len(rows) >= 3 and others else None
    return [row for row in latest if row is not held and row is not validation], held


@settings(max_examples=200, deadline=None)
@given(some_rows(), st.data(), st.sampled_from(["hold_out", "train"]))
def test_places_rank_the_known_training_rows_from_the_latest(
    rows: list[Row], data: st.DataObject, validation: Any
) -> None:
    repeats = data.draw(st.lists(st.sampled_from(rows[:-1]), max_size=4))
    # A repeated row is an object of its own.
    rows = [(user, item, time) for user, item, time in [*rows, *repeats]]
    mine = {user: [row for row in rows if row[0] == user] for user, _, _ in rows}
    tests = {
        user: data.draw(st.sampled_from(own))[1]
        for user, own in mine.items()
        if data.draw(st.booleans())
    }
    published = PublishedSplit(
        np.array(list(tests), np.int64), np.array(list(tests.values()), np.int64), None
    )
    split = leave_one_out(interactions(rows, published), 3, validation=validation)
    assert split.places.dtype == np.int32
    assert split.places.shape == split.indices.shape
    later = 0
    for u, user in enumerate(sorted(mine)):
        own = slice(split.indptr[u], split.indptr[u + 1])
        places, items = split.places[own], split.item_ids[split.indices[own]]
        latest, held = ranked_training(mine[user], tests.get(user), validation == "hold_out")
        found = sorted(zip(places.tolist(), items.tolist(), strict=True))
        assert found[len(found) - len(latest) :] == [(k, row[1]) for k, row in enumerate(latest)]
        assert (places >= 0).sum() == len(latest)
        later += held is not None and bool(latest) and latest[0][2] > held[2]
    assert split.later_than_test == later


@settings(max_examples=100, deadline=None)
@given(some_rows(), st.lists(st.tuples(st.integers(-1, 6), st.integers(99, 113)), max_size=20))
def test_disliked_items_are_touched_and_nothing_else(
    rows: list[Row], disliked: list[tuple[int, int]]
) -> None:
    """Also of unknown users and items, and of pairs that are interactions as well."""
    plain = interactions(rows)
    more = Pairs(np.array([10 * u for u, _ in disliked]), np.array([i for _, i in disliked]))
    a, b = leave_one_out(plain, 0), leave_one_out(replace(plain, disliked=more), 0)
    for name in ("user_ids", "item_ids", "indptr", "indices", "places", "test", "validation"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
    items = set(a.item_ids.tolist())
    for u, user in enumerate(a.user_ids.tolist()):
        low = {i for v, i in disliked if 10 * v == user and i in items}
        mine = {i for v, i, _ in rows if v == user}
        touched = b.item_ids[b.touched_indices[b.touched_indptr[u] : b.touched_indptr[u + 1]]]
        assert touched.tolist() == sorted(mine | low)
        for split, held_out in ((b.test_negatives, b.test), (b.validation_negatives, b.validation)):
            drawn = b.item_ids[split[u][split[u] >= 0]].tolist()
            assert len(drawn) == (len(items - mine - low) if held_out[u] >= 0 else 0)
            assert not set(drawn) & (mine | low)


def test_by_known_times_nothing_is_later_than_an_unpublished_test_item() -> None:
    rows = [(1, 5, 9.0), (1, 6, 7.0), (1, 7, 8.0), (1, 8, 1.0), (2, 9, 0.0)]
    held = PublishedSplit(np.array([1]), np.array([6]), None)
    split = leave_one_out(interactions(rows, held), 0)
    assert split.later_than_test == 1
    assert split.places.tolist() == [0, 1, 0]  # of items 7, 8 and user 2's 9
    assert leave_one_out(interactions(rows, held), 0, test="latest").later_than_test == 0


@settings(max_examples=50, deadline=None)
@given(some_rows(), st.randoms(use_true_random=False))
def test_the_order_of_a_file_without_ties_does_not_matter(
    rows: list[tuple[int, int, float]], random: object
) -> None:
    distinct_times = [(u, i, t if t != t else float(k)) for k, (u, i, t) in enumerate(rows)]
    shuffled = list(distinct_times)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    a = leave_one_out(interactions(distinct_times), 3)
    b = leave_one_out(interactions(shuffled), 3)
    for name, value in vars(a).items():
        np.testing.assert_array_equal(value, getattr(b, name))


def test_ties_go_to_the_first_in_the_file() -> None:
    split = leave_one_out(interactions([(1, 5, 9.0), (1, 7, 9.0), (1, 6, 9.0), (2, 8, 0.0)]), 0)
    assert split.item_ids[split.test[0]] == 5
    assert split.item_ids[split.validation[0]] == 7
    assert split.test[1] == -1
    assert training(split, 1) == [3]


def test_unknown_order_is_a_draw_of_the_seed() -> None:
    rows = [(user, item, float("nan")) for user in range(40) for item in range(user, user + 20)]
    a, again, b = (leave_one_out(interactions(rows), seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(a.test, again.test)
    assert (a.test != b.test).any()
    assert (a.test_negatives != b.test_negatives).any()
    assert a.drawn_validations == 40


def test_negatives_are_drawn_evenly() -> None:
    # 300 users touch items 0-2 of 400: each other item is in 99/397 of the lists on average.
    rows = [(user, item, float(item)) for user in range(300) for item in range(3)]
    rows += [(999, item, float(item)) for item in range(300)]
    rows += [(998, item, float(item)) for item in range(300, 400)]
    split = leave_one_out(interactions(rows), 0)
    listed = np.bincount(split.test_negatives[:300].ravel(), minlength=400)
    assert listed[:3].sum() == 0
    assert all(len(set(row)) == 99 for row in split.test_negatives.tolist()[:300])
    expected = 300 * 99 / 397
    assert abs(listed[3:] - expected).max() < 5 * np.sqrt(expected)
    # The crowded user 999 draws from the 100 items that are left, by permutation.
    assert len(set(split.test_negatives[-1].tolist())) == 99
    assert split.test_negatives[-1].min() >= 300
    overlap = split.test_negatives[:300] == split.validation_negatives[:300]
    assert overlap.mean() < 0.05


def test_validation_may_be_trained_on() -> None:
    rows = [(1, 1, 1.0), (1, 2, 2.0), (1, 3, 3.0), (2, 4, 0.0)]
    split = leave_one_out(interactions(rows), 0, validation="train")
    assert split.validation.tolist() == [-1, -1]
    assert training(split, 0) == [0, 1]
    assert (split.validation_negatives == -1).all()


def test_repeated_rows_keep_the_leak_but_not_between_validation_and_test() -> None:
    rows = [(1, 7, 9.0), (1, 7, 9.0), (1, 7, 8.0), (1, 5, 3.0), (1, 5, 2.0), (2, 6, 0.0)]
    split = leave_one_out(interactions(rows), 0)
    assert split.item_ids[split.test[0]] == 7
    assert split.item_ids[split.validation[0]] == 5
    assert split.item_ids[training(split, 0)].tolist() == [5, 7, 7]
    assert split.test_in_training == 1
    distinct = leave_one_out(interactions(rows).select(first_of_pairs(interactions(rows))), 0)
    assert distinct.item_ids[distinct.test[0]] == 7
    assert distinct.test_in_training == 0


def test_first_of_pairs_is_the_latest_row() -> None:
    rows = [(1, 1, 1.0), (1, 1, float("nan")), (1, 1, 2.0), (1, 1, 2.0), (2, 1, 5.0)]
    assert first_of_pairs(interactions(rows)).tolist() == [False, False, True, False, True]


def test_inactive_users_are_dropped() -> None:
    kept = keep_active(interactions([(1, 1, 0.0), (2, 1, 0.0), (2, 2, 0.0)]), 2)
    assert kept.users.tolist() == [2, 2]


PUBLISHED_ROWS = [(u, i, float(i)) for u in (1, 2) for i in range(u, u + 5)] + [
    (3, i, 0.0) for i in range(8)
]
PUBLISHED_ROWS.append((4, 100, 0.0))


def published(users: list[int], items: list[int], negatives: list[list[int]]) -> PublishedSplit:
    return PublishedSplit(np.array(users), np.array(items), np.array(negatives))


def test_published_items_and_negatives_are_used() -> None:
    split = leave_one_out(
        # User 1's list contains the test item; user 9 is not in the data.
        interactions(PUBLISHED_ROWS, published([2, 9, 1], [3, 1, 2], [[7, 1], [1, 1], [2, 6]])),
        0,
    )
    assert split.test.tolist()[:2] == [2, 3]
    assert split.published_tests == 2
    assert split.test_negatives[0, :2].tolist() == [6, -1]
    assert split.test_negatives[1, :3].tolist() == [7, 1, -1]
    assert 2 not in training(split, 0)
    ignored = leave_one_out(
        interactions(PUBLISHED_ROWS, published([2, 1], [3, 2], [[7, 1], [0, 6]])),
        0,
        test="latest",
    )
    assert ignored.test.tolist()[:2] == [5, 6]
    assert ignored.published_tests == 0


@pytest.mark.parametrize(
    ("split", "message"),
    [
        (published([1], [7], [[0]]), "published test item 7 of user 1 is not among"),
        (published([1], [99], [[0]]), "published test item 99 of user 1 is not among"),
        (published([1], [2], [[3]]), "published negative 3 of user 1 was touched"),
        (published([1], [2], [[55]]), "published negative 55 of user 1 is not an item"),
    ],
)
def test_a_published_split_of_other_data_is_refused(split: PublishedSplit, message: str) -> None:
    with pytest.raises(DataError, match=message):
        leave_one_out(
            interactions([r for r in PUBLISHED_ROWS if r[0] != 3] + [(4, 0, 0.0)], split), 0
        )


def test_users_who_touched_everything_are_left_out_until_none_is_left() -> None:
    rows = [(1, i, 0.0) for i in range(5)]  # everything
    rows += [(2, i, 0.0) for i in range(4)]  # everything but what user 1 alone has
    rows += [(3, 0, 0.0), (3, 1, 0.0), (4, 2, 0.0), (4, 3, 0.0), (5, 0, 0.0)]
    left = leave_out_crowded(interactions(rows))
    assert sorted(set(left.users.tolist())) == [3, 4, 5]
    assert leave_out_crowded(left) is left
    disliked = Pairs(np.array([3, 3, 3]), np.array([2, 3, 4]))
    assert set(leave_out_crowded(replace(left, disliked=disliked)).users.tolist()) == {4, 5}
    assert len(leave_out_crowded(interactions(rows[:9])).users) == 0
    # A user of one row is not tested, and stays.
    assert len(leave_out_crowded(interactions([(1, 1, 0.0)])).users) == 1


def test_a_user_who_touched_everything_is_refused() -> None:
    with pytest.raises(DataError, match="user 1 touched every item"):
        leave_one_out(interactions([(1, i, 0.0) for i in range(5)]), 0)
