"""The K largest by counting, against sorting."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bfedrec.compression.selection import largest


def sorted_first(values: np.ndarray, K: int) -> list[int]:
    """The same places, as one would write them down."""
    magnitudes = (values.view(np.uint32) & 0x7FFFFFFF).astype(np.int64)
    return sorted(np.argsort(-magnitudes, kind="stable")[:K].tolist())


@settings(deadline=None)  # the first call compiles
@given(st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=80), st.data())
def test_any_bits_are_ordered_as_sorting_does(bits: list[int], data: st.DataObject) -> None:
    K = data.draw(st.integers(1, len(bits)))
    values = np.array(bits, np.uint32).view(np.float32)
    assert largest(values, K).tolist() == sorted_first(values, K)


@pytest.mark.parametrize("K", [1, 2, 999, 1000])
@pytest.mark.parametrize("step", [0.0, 1e-3, 2.0**-20, 1.0])
def test_numbers_that_share_their_upper_half_or_all_of_it(step: float, K: int) -> None:
    rng = np.random.default_rng(1)
    values = (1 + step * rng.integers(0, 30, 1000)).astype(np.float32) * rng.choice([-1, 1], 1000)
    values = values.astype(np.float32)
    assert largest(values, K).tolist() == sorted_first(values, K)


def test_what_is_not_a_number_is_largest() -> None:
    values = np.array([3, -np.inf, 0, np.nan, -0.0, 1], np.float32)
    assert largest(values, 2).tolist() == [1, 3]
    assert largest(values, 5).tolist() == [0, 1, 2, 3, 5]
