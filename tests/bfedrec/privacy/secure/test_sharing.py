"""Shamir's shares: enough of them give the secret, fewer say nothing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bfedrec.privacy.secure.sharing import INVERSES, MOST_SHARES, PRODUCTS, combine, split


@given(st.data(), st.binary(min_size=1, max_size=40), st.integers(0, 2**32))
@settings(max_examples=60, deadline=None)
def test_any_t_shares_give_the_secret(data: st.DataObject, secret: bytes, seed: int) -> None:
    shares = data.draw(st.integers(1, 40))
    threshold = data.draw(st.integers(1, shares))
    randomness = np.random.default_rng(seed).bytes((threshold - 1) * len(secret))
    dealt = split(secret, threshold, shares, randomness)
    points = data.draw(st.permutations(range(1, shares + 1)))[:threshold]
    assert combine(points, dealt[np.array(points) - 1]) == secret


def product(one: int, other: int) -> int:
    """The product in GF(2^8) by its definition: polynomials modulo x^8 + x^4 + x^3 + x + 1."""
    found = 0
    while other:
        found ^= one * (other & 1)
        one, other = one << 1, other >> 1
        if one & 0x100:
            one ^= 0x11B
    return found


def test_the_field_is_that_of_its_polynomial() -> None:
    expected = [[product(a, b) for b in range(256)] for a in range(256)]
    assert np.array_equal(PRODUCTS, expected)
    assert (PRODUCTS[np.arange(1, 256), INVERSES[1:]] == 1).all()


def rank(rows: np.ndarray) -> int:
    """The rank over GF(2^8), by elimination."""
    rows, found = rows.copy(), 0
    for column in range(rows.shape[1]):
        pivots = np.flatnonzero(rows[found:, column])
        if not len(pivots):
            continue
        first = found + int(pivots[0])
        rows[[found, first]] = rows[[first, found]]
        rows[found] = PRODUCTS[rows[found], INVERSES[rows[found, column]]]
        for row in range(len(rows)):
            if row != found:
                rows[row] ^= PRODUCTS[rows[row, column], rows[found]]
        found += 1
        if found == len(rows):
            break
    return found


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_fewer_shares_than_the_threshold_say_nothing(data: st.DataObject) -> None:
    """The secret and t - 1 shares are t independent functions of the t uniform coefficients: for
    every secret the shares have the same distribution. The functions are taken from `split` itself,
    by the shares of each coefficient alone."""
    threshold = data.draw(st.integers(2, 20))
    shares = data.draw(st.integers(threshold, 40))
    held = sorted(data.draw(st.permutations(range(shares)))[: threshold - 1])
    functions = np.zeros((threshold, threshold), np.uint8)
    for which in range(threshold):
        unit = bytes(int(k == which) for k in range(threshold))
        functions[0, which] = unit[0]
        functions[1:, which] = split(unit[:1], threshold, shares, unit[1:])[held, 0]
    assert rank(functions) == threshold


def test_shares_of_a_fixed_secret_are_uniform() -> None:
    draws = np.random.default_rng(1)
    seen = np.zeros((2, 256))
    for _ in range(400):
        dealt = split(b"A" * 64, 3, 5, draws.bytes(2 * 64))
        seen += [np.bincount(dealt[place], minlength=256) for place in (0, 4)]
    expected = seen.sum() / 512
    statistic = ((seen - expected) ** 2 / expected).sum(axis=1)
    assert (statistic < 255 + 6 * np.sqrt(2 * 255)).all()  # chi-squared with 255 degrees


@pytest.mark.parametrize(("threshold", "shares"), [(0, 3), (4, 3), (2, MOST_SHARES + 1)])
def test_impossible_thresholds_are_refused(threshold: int, shares: int) -> None:
    with pytest.raises(ValueError, match="shares"):
        split(b"secret", threshold, shares, bytes(6 * max(0, threshold - 1)))


def test_wrong_randomness_and_points_are_refused() -> None:
    with pytest.raises(ValueError, match="coefficients"):
        split(b"secret", 3, 5, bytes(11))
    for points in ([1, 1], [0, 1], [1, 256]):
        with pytest.raises(ValueError, match="distinct points"):
            combine(points, np.zeros((2, 6), np.uint8))
