"""From events to pairs: strengths, the catalogue, the split."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bfedrec.merchants.interactions import Catalogue, History, history_of, joined, pairs_of, split
from bfedrec.streams import Streams
from tests.bfedrec.merchants.event_files import file_of, read, row


def history(*events: tuple[int, int, int, int]) -> History:
    """A history of (user, product, kind, time)."""
    return History(*np.array(events, np.int64).reshape(-1, 4).T)


def test_the_strength_of_a_pair_follows_from_its_events() -> None:
    found = history((7, 30, 0, 5), (7, 30, 0, 9), (7, 10, 1, 3), (5, 10, 2, 1), (5, 10, 0, 2))
    pairs = pairs_of(found, Catalogue.of(found.products, np.array([20])))
    assert pairs.users.tolist() == [5, 7]
    assert pairs.user.tolist() == [0, 1, 1]
    assert pairs.item.tolist() == [0, 0, 2]
    # A purchase is a whole one; two views of 0.2 each make 1 - 0.8 * 0.8.
    assert pairs.strength.tolist() == pytest.approx([1.0, 0.6, 0.36])
    assert pairs.last.tolist() == [2, 3, 9]
    assert (pairs.user.dtype, pairs.item.dtype, pairs.strength.dtype) == ("i4", "i4", "f4")


def test_a_history_is_that_of_the_file(tmp_path: Path) -> None:
    path = file_of(tmp_path, row(), row(event_type="cart", user_id="2", product_id="3"), "bad")
    found = history_of(read(path)[0])
    assert [column.tolist() for column in found] == [
        [541312140, 2],
        [1004856, 3],
        [0, 1],
        [1569888007] * 2,
    ]
    assert len(joined([found, found]).users) == 4
    assert len(joined([]).users) == 0


def test_a_deviation_is_seeded_and_cut() -> None:
    events = history(*((k, k % 7, k % 3, 0) for k in range(300)))
    catalogue = Catalogue.of(events.products)
    plain = pairs_of(events, catalogue)
    rng = lambda: Streams(1).generator("shop_split", 0, 1)  # noqa: E731
    one, other = (pairs_of(events, catalogue, 0.1, rng()) for _ in range(2))
    assert (one.strength == other.strength).all()
    assert 0.05 < np.abs(one.strength - plain.strength).mean() < 0.15
    assert 0 <= one.strength.min() <= one.strength.max() <= 1
    for wrong in (-0.1, 1.5, float("nan")):
        with pytest.raises(ValueError, match="a deviation lies in"):
            pairs_of(events, catalogue, wrong, rng())
    with pytest.raises(ValueError, match="drawn by a generator"):
        pairs_of(events, catalogue, 0.1)


def test_merchants_agree_on_the_catalogue_in_any_order() -> None:
    one, other = np.array([5, 3, 5]), np.array([9, 3])
    catalogue = Catalogue.of(one, other)
    assert catalogue.ids.tolist() == [3, 5, 9]
    assert Catalogue.of(other, one).digest == catalogue.digest
    assert Catalogue.of(one).digest != catalogue.digest
    assert catalogue.places(np.array([9, 3])).tolist() == [2, 0]
    for unknown in ([4], [10], [3, -1]):
        with pytest.raises(ValueError, match="not in the catalogue"):
            catalogue.places(np.array(unknown))
    with pytest.raises(ValueError, match="not in the catalogue"):
        Catalogue.of().places(one)
    for wrong in (np.array([3, 3]), np.array([5, 3]), np.array([1.0])):
        with pytest.raises(ValueError, match="ascending, each once"):
            Catalogue(wrong)


@given(st.integers(0, 400), st.integers(0, 3))
def test_a_split_is_9_to_1_and_loses_nothing(count: int, merchant: int) -> None:
    events = history(*((k % 20, k // 20, 0, k) for k in range(count)))
    pairs = pairs_of(events, Catalogue.of(events.products, np.array([0])))
    training, test = split(pairs, Streams(3), merchant)
    assert len(test) == (max(1, round(0.1 * count)) if count > 1 else 0)
    both = [
        *zip(training.user, training.item, strict=True),
        *zip(test.user, test.item, strict=True),
    ]
    assert sorted(both) == list(zip(pairs.user, pairs.item, strict=True))
    again = split(pairs, Streams(3), merchant)
    assert (again.test.user == test.user).all()
    assert training.users is pairs.users
