"""Lanes and levels: integers that can be summed as they are."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bfedrec.aggregation.registry import aggregator_named
from bfedrec.compression.codecs.levels import Levels
from bfedrec.compression.codecs.quantised import Quantised
from bfedrec.compression.exchange import Exchange, describe, described
from bfedrec.compression.lanes import (
    centred,
    lane_type,
    pack,
    packed_size,
    spare_bits_set,
    unpack,
)


@given(st.integers(1, 16), st.integers(0, 70), st.integers(0, 2**32))
@settings(max_examples=80, deadline=None)
def test_lanes_come_back_in_as_few_bytes_as_hold_them(bits: int, count: int, seed: int) -> None:
    drawn = np.random.default_rng(seed).integers(0, 2 ** lane_type(bits).itemsize * 8, count)
    lanes = drawn.astype(lane_type(bits))
    data = pack(lanes, bits)
    assert len(data) == packed_size(count, bits) == -(-count * bits // 8)
    assert np.array_equal(unpack(data, count, bits), lanes & ((1 << bits) - 1))
    whole = int.from_bytes(data, "little")
    assert [whole >> bits * k & ((1 << bits) - 1) for k in range(count)] == [
        int(lane) & ((1 << bits) - 1) for lane in lanes
    ]
    assert not spare_bits_set(data, count, bits)
    if count * bits % 8:
        assert spare_bits_set(data[:-1] + bytes((data[-1] | 0x80,)), count, bits)


def test_numbers_around_zero_come_back_modulo_2_to_the_k() -> None:
    numbers = np.arange(-16, 16)
    assert np.array_equal(centred(numbers.astype(np.uint8), 5), numbers)
    assert np.array_equal(centred(np.arange(-512, 512).astype("<u2"), 10), np.arange(-512, 512))
    with pytest.raises(ValueError, match="17 bits"):
        lane_type(17)


def exchange(rule: str = "per_item", L: int = 8) -> Exchange:
    parameters = {"levels": L, "step_bits": 3, "final_permille": 1000}
    return Exchange.named(aggregator_named(rule), "levels", 5, 40, 4, "same", parameters)


def test_levels_are_right_in_the_mean_and_cut_at_the_ends() -> None:
    codec = exchange().up
    assert isinstance(codec, Levels)
    A = np.full((5, 40), 0.3 / 8, np.float32)
    A[0], A[1] = 100.0, -np.inf
    rounded = np.mean([codec.rounded(A, bytes([k])) for k in range(200)], axis=0)
    assert (rounded[0] == 8).all()
    assert (rounded[1] == -8).all()
    assert abs(rounded[2:].mean() - 0.3) < 0.01
    assert (codec.rounded(np.full((5, 40), np.nan, np.float32), b"") == 0).all()


def test_a_multiple_of_the_step_is_its_level_and_codes_out_of_range_are_refused() -> None:
    codec = exchange().up
    levels = np.random.default_rng(0).integers(-8, 9, (5, 40))
    A = (levels / 8).astype(np.float32)
    data = codec.encode(A, b"x")
    assert len(data) == codec.byte_size == 125
    assert codec.check(data) is None
    assert np.array_equal(codec.decode(data, b"y"), A)
    assert codec.check(b"\xff" * 125) == "not all numbers are finite"


def test_aggregates_travel_quantised_and_the_description_says_so() -> None:
    one = exchange()
    assert one.down == Quantised(5, 40, 4)
    told = describe(one)
    assert described(told, one.rule, 5, 40) == one


@pytest.mark.parametrize("rule", ["per_item", "uniform"])
def test_a_rule_of_sums_gives_the_mean_that_it_gives_of_updates(rule: str) -> None:
    draws = np.random.default_rng(2)
    A = draws.integers(-8, 9, (9, 5, 40)) / 8
    touched = draws.random((9, 40)) < 0.5
    counts = touched.sum(axis=0)
    one = exchange(rule)
    updates = [A[k] * touched[k] if rule == "per_item" else A[k] for k in range(9)]
    payloads = [one.encode(np.float32(u), t, b"h") for u, t in zip(updates, touched, strict=True)]
    mean = one.rule.of_sums(np.sum(updates, axis=0), counts, 9)
    assert mean is not None
    assert one.down.encode(np.float32(mean), b"h") == one.aggregate(payloads, [1] * 9, b"h")
