"""Clipping and noise: the bound on what is sent, and the noise's variance."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from bfedrec.privacy.dp.mechanism import Mechanism, NotFinite


@given(
    seed=st.integers(0, 2**32 - 1),
    scale=st.floats(1e-6, 1e6),
    clip=st.floats(1e-3, 1e3),
    ratio=st.floats(0.01, 100),
    shape=st.tuples(st.integers(1, 6), st.integers(1, 40)),
)
@settings(max_examples=200, deadline=None)
def test_no_update_is_longer_than_the_bound(
    seed: int, scale: float, clip: float, ratio: float, shape: tuple[int, int]
) -> None:
    A = (np.random.default_rng(seed).standard_normal(shape) * scale).astype(np.float32)
    mechanism = Mechanism(clip, ratio * clip)
    steps = mechanism.clipped(A)
    assert (steps == np.rint(steps)).all()
    assert np.sqrt(np.square(steps).sum()) * mechanism.step <= clip
    # Shortened, not turned: every number keeps its sign, and loses less than a step.
    factor = min(1.0, clip / np.linalg.norm(A.astype(np.float64)))
    assert np.abs(steps * mechanism.step - A * factor).max() <= mechanism.step * (1 + 1e-6)


def test_an_update_within_the_bound_is_not_shortened() -> None:
    A = np.array([[0.5, -0.25], [0.125, 0.0]], np.float32)
    mechanism = Mechanism(1.0, 1.0)
    assert (mechanism.clipped(A) * mechanism.step == A).all()
    assert (mechanism.clipped(np.zeros((2, 3), np.float32)) == 0).all()


@pytest.mark.parametrize("deviation", [0.003, 1.0, 7.7])
def test_the_noise_has_its_variance(deviation: float) -> None:
    """Chi-squared, over seeds: the sum of squares of n normal numbers of deviation s, by s^2."""
    mechanism, A = Mechanism(1.0, deviation), np.zeros((4, 500), np.float32)
    outside = 0
    for seed in range(40):
        sent = mechanism.protected(A, np.random.default_rng(seed)).astype(np.float64)
        chance = stats.chi2(A.size).cdf(np.square(sent / deviation).sum())
        outside += not 0.005 < chance < 0.995
    assert outside <= 3  # of 40 with a chance of 1 % each: more than 3 once in 1,400
    pooled = np.concatenate(
        [mechanism.protected(A, np.random.default_rng(seed)).ravel() for seed in range(40)]
    )
    assert stats.kstest(pooled / deviation, "norm").pvalue > 1e-3
    assert np.square(pooled).sum() / deviation**2 == pytest.approx(pooled.size, rel=0.02)


def test_noise_is_added_to_what_was_clipped() -> None:
    A = np.full((2, 50), 3.0, np.float32)
    mechanism, empty = Mechanism(1.0, 0.5), np.zeros((2, 50), np.float32)
    with_update = mechanism.protected(A, np.random.default_rng(1)).astype(np.float64)
    alone = mechanism.protected(empty, np.random.default_rng(1)).astype(np.float64)
    assert np.linalg.norm(with_update - alone) <= 1.0 + 1e-5
    assert np.linalg.norm(with_update - alone) == pytest.approx(1.0, abs=0.01)


def test_which_numbers_can_be_sent_does_not_depend_on_the_update() -> None:
    mechanism = Mechanism(1.0, 0.7)
    for seed in range(20):
        generator = np.random.default_rng(seed)
        A = generator.standard_normal((3, 40)).astype(np.float32)
        steps = mechanism.protected(A, generator).astype(np.float64) / mechanism.step
        assert (steps == np.rint(steps)).all()
    assert 2.0**-11 <= mechanism.step / mechanism.deviation <= 2.0**-10


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_what_is_no_finite_number_is_not_sent(wrong: float) -> None:
    A = np.array([[1.0, wrong]], np.float32)
    with pytest.raises(NotFinite, match="no finite number"):
        Mechanism(1.0, 1.0).protected(A, np.random.default_rng(0))
