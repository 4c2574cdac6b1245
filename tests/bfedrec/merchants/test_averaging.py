"""Aggregates: the plain mean, the project's rules, the same bytes for everybody."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from bfedrec.merchants.averaging import PLAIN, Contribution, aggregate, rules
from bfedrec.merchants.model import Shared, initial_shared
from bfedrec.streams import Streams

N, D = 6, 20
PARENT = initial_shared(N, Streams(0))


def moved(merchant: str, seed: int, items: list[int], samples: int = 10) -> Contribution:
    """A merchant whose training changed these products."""
    rng = np.random.default_rng(seed)
    shared = Shared(PARENT.factors.copy(), PARENT.biases.copy())
    shared.factors[items] += rng.normal(0, 0.1, (len(items), D)).astype(np.float32)
    shared.biases[items] += rng.normal(0, 0.1, len(items)).astype(np.float32)
    return Contribution(merchant, shared, samples)


THREE = [
    moved("shop-b", 1, [0, 1, 2, 3]),
    moved("shop-a", 2, [0, 1, 2, 4], 30),
    moved("shop-c", 3, [0, 1, 3, 4]),
]


def test_the_plain_mean_is_that_of_the_report() -> None:
    found = aggregate(PARENT, THREE)
    factors = np.mean([one.shared.factors.astype(np.float64) for one in THREE], axis=0)
    biases = np.mean([one.shared.biases.astype(np.float64) for one in THREE], axis=0)
    assert found.factors == pytest.approx(factors, abs=1e-7)
    assert found.biases == pytest.approx(biases, abs=1e-7)
    assert found.factors.dtype == np.float32


@pytest.mark.parametrize("rule", rules())
def test_everybody_computes_the_same_bytes(rule: str) -> None:
    found = {aggregate(PARENT, order, rule).stacked().tobytes() for order in permutations(THREE)}
    assert len(found) == 1


@pytest.mark.parametrize("rule", rules())
def test_equal_models_are_their_own_aggregate(rule: str) -> None:
    same = [Contribution(name, THREE[0].shared, 5) for name in "abc"]
    found = aggregate(PARENT, same, rule)
    assert found.stacked() == pytest.approx(THREE[0].shared.stacked(), abs=1e-6)
    # What nobody trained keeps its numbers, bit by bit.
    untouched = aggregate(PARENT, THREE, rule)
    assert (untouched.factors[5] == PARENT.factors[5]).all()


def test_by_item_a_product_is_averaged_over_those_who_sell_it() -> None:
    found = aggregate(PARENT, THREE, "per_item")
    two = (THREE[0].shared.factors[3].astype(np.float64) + THREE[2].shared.factors[3]) / 2
    assert found.factors[3] == pytest.approx(two, abs=1e-6)
    plain = aggregate(PARENT, THREE).factors[3]
    assert np.abs(plain - PARENT.factors[3]).sum() < np.abs(two - PARENT.factors[3]).sum()


def test_samples_weigh_by_their_counts() -> None:
    found = aggregate(PARENT, THREE, "samples")
    weights = np.array([10, 30, 10]) / 50
    expected = sum(
        w * one.shared.factors.astype(np.float64) for w, one in zip(weights, THREE, strict=True)
    )
    assert found.factors == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("rule", ["median", "trimmed_mean", "krum", "geometric_median"])
def test_a_liar_moves_a_robust_rule_little(rule: str) -> None:
    items = list(range(5))
    honest = [moved(f"shop-{k}", k, items) for k in range(4)]
    liar = Contribution("liar", Shared(PARENT.factors + 50, PARENT.biases - 50), 10)
    without = aggregate(PARENT, honest, rule).factors[items]
    found = aggregate(PARENT, [*honest, liar], rule).factors[items]
    assert np.abs(found - without).max() < 1.0
    plain = aggregate(PARENT, [*honest, liar], PLAIN).factors[items]
    assert np.abs(plain - without).max() > 5.0


def test_what_cannot_be_aggregated_is_refused() -> None:
    bad = Shared(PARENT.factors.copy(), PARENT.biases.copy())
    bad.biases[2] = np.nan
    small = initial_shared(N - 1, Streams(0))
    for models, rule, told in (
        ([], PLAIN, "there is no model"),
        ([THREE[0], THREE[0]], PLAIN, "a merchant has two models in one round"),
        ([Contribution("x", small, 1)], PLAIN, "x: the model's shape"),
        ([Contribution("x", bad, 1)], PLAIN, "x: a bias is not a finite number"),
        ([Contribution("x", PARENT, 0)], PLAIN, "x: a sample count is at least 1, not 0"),
        (THREE, "medain", "rule 'medain' is not one of plain, .*did you mean 'median'"),
    ):
        with pytest.raises(ValueError, match=told):
            aggregate(PARENT, models, rule)
