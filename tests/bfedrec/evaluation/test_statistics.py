"""What is said of measured figures: verdicts, paired tests over users, many comparisons."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bfedrec.evaluation.intervals import Interval, t_interval
from bfedrec.evaluation.statistics import holm, paired_bootstrap
from bfedrec.report import published
from bfedrec.report.published import Printed, verdict


def printed(text: str) -> Printed:
    return Printed(Decimal(text))


def drawn(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


# --- what is printed -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value", "same"),
    [
        ("0.60", 0.6049, True),
        ("0.60", 0.5951, True),
        ("0.60", 0.6051, False),
        ("0.6", 0.6051, True),
        ("1.26", 1.2566, True),
        ("1.25", 1.2566, False),
        ("0.5", 0.25, False),
        ("0.3", 0.25, True),  # half away from zero, as it is taught
    ],
)
def test_a_printed_number_stands_for_what_is_rounded_to_it(
    text: str, value: float, same: bool
) -> None:
    assert printed(text).matches(value) is same


def test_a_printed_number_keeps_its_digits() -> None:
    assert str(printed("0.60")) == "0.60"
    assert (printed("0.60").low, printed("0.60").high) == (0.595, 0.605)
    assert (printed("0.6").low, printed("0.6").high) == (0.55, 0.65)


def test_published_figures_are_read_as_printed() -> None:
    cell = published.scores("bfedrec.table2", "ml-1m", "bfedrec")
    assert {name: str(value) for name, value in cell.items()} == {"hr": "0.60", "ndcg": "0.33"}
    assert str(published.scores("centralised.table", "ml-1m", "itemknn")["ndcg"]) == "0.3900"
    assert published.scores("bfedrec.table2", "lfm-2k", "popularity") == {}
    assert published.scores("bfedrec.table2", "jester", "gmf") == {}
    assert list(published.minutes("svd")) == [1, 2, 4, 8, 16]
    with pytest.raises(KeyError):
        published.minutes("huffman")


# --- verdicts ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (0.6051, 0.61, "above"),
        (0.605, 0.61, "above"),  # 0.605 would have been printed as 0.61
        (0.6049, 0.61, "level"),
        (0.58, 0.70, "level"),
        (0.58, 0.595, "level"),
        (0.58, 0.5949, "below"),
    ],
)
def test_a_verdict_allows_for_the_printed_digits(low: float, high: float, said: str) -> None:
    assert verdict(Interval(5, (low + high) / 2, low, high), printed("0.60")) == said


def test_one_seed_decides_nothing() -> None:
    assert verdict(t_interval([0.9]), printed("0.60")) == "open"


# --- over users ----------------------------------------------------------------------------------


def test_the_interval_is_that_of_the_mean() -> None:
    """Of many users' hits: normal, with the standard error of the differences."""
    ours = (drawn(1).random(20_000) < 0.66).astype(float)
    theirs = (drawn(2).random(20_000) < 0.64).astype(float)
    found = paired_bootstrap(ours, theirs, drawn())
    error = (ours - theirs).std() / 20_000**0.5
    assert found.users == 20_000
    assert found.difference == pytest.approx((ours - theirs).mean())
    assert found.low == pytest.approx(found.difference - 1.96 * error, abs=0.06 * error)
    assert found.high == pytest.approx(found.difference + 1.96 * error, abs=0.06 * error)


def test_the_same_generator_gives_the_same() -> None:
    ours, theirs = drawn(1).random((2, 50))
    assert paired_bootstrap(ours, theirs, drawn()) == paired_bootstrap(ours, theirs, drawn())
    assert paired_bootstrap(ours, theirs, drawn()) != paired_bootstrap(ours, theirs, drawn(1))


def test_users_are_paired() -> None:
    """A small gain of every user is certain, however much users differ among themselves."""
    theirs = drawn(1).random(200)
    ours = theirs + 0.01 * drawn(2).random(200)
    certain = paired_bootstrap(ours, theirs, drawn())
    assert certain.low > 0.0
    assert certain.p == 1 / 10_001
    shuffled = paired_bootstrap(drawn(3).permutation(ours), theirs, drawn())
    assert shuffled.difference == pytest.approx(certain.difference)
    assert shuffled.p > 0.5


def test_turned_round_it_says_the_opposite() -> None:
    ours, theirs = (drawn(1).random((2, 300)) < 0.5).astype(float)
    one, other = (paired_bootstrap(*pair, drawn()) for pair in ((ours, theirs), (theirs, ours)))
    assert one.difference == -other.difference
    assert one.p == pytest.approx(other.p, abs=0.03)
    assert one.low == pytest.approx(-other.high, abs=0.02)


def test_no_difference_is_no_evidence() -> None:
    scores = drawn(1).random(10)
    found = paired_bootstrap(scores, scores, drawn())
    assert (found.difference, found.low, found.high, found.p) == (0.0, 0.0, 0.0, 1.0)


def test_cells_lose_next_to_nothing() -> None:
    """Against users drawn one by one: the same spread, for differences that are all distinct."""
    ours, theirs = drawn(1).random((2, 400))
    found = paired_bootstrap(ours, theirs, drawn())
    means = [(ours - theirs)[drawn(seed).integers(0, 400, 400)].mean() for seed in range(4000)]
    low, high = np.quantile(means, [0.025, 0.975])
    assert found.low == pytest.approx(low, abs=0.003)
    assert found.high == pytest.approx(high, abs=0.003)


def test_it_errs_as_often_as_it_says() -> None:
    """Where there is no difference, p is below 0.1 in a tenth of the samples, and 95 % of the
    intervals hold 0."""
    small = held = 0
    for seed in range(400):
        ours, theirs = (drawn(seed).random((2, 150)) < 0.4).astype(float)
        found = paired_bootstrap(ours, theirs, drawn(1000 + seed), resamples=400)
        small += found.p < 0.1
        held += found.low <= 0.0 <= found.high
    assert 0.06 < small / 400 < 0.14
    assert 0.92 < held / 400 < 0.98


@pytest.mark.parametrize(
    ("ours", "theirs", "why"),
    [
        (np.ones(3), np.ones(4), "no same users"),
        (np.ones((2, 2)), np.ones((2, 2)), "no same users"),
        (np.ones(0), np.ones(0), "no same users"),
        (np.array([1.0, np.nan]), np.ones(2), "finite"),
    ],
)
def test_scores_that_cannot_be_compared(ours: np.ndarray, theirs: np.ndarray, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        paired_bootstrap(ours, theirs, drawn())


# --- over many comparisons -----------------------------------------------------------------------


def test_holms_correction_by_hand() -> None:
    """Sorted 0.005, 0.01, 0.03, 0.04 times 4, 3, 2, 1; the last, 0.04, is raised to 0.06."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.4, 0.5]) == [0.8, 0.8]
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([0.2]) == [0.2]
    assert holm([]) == []


@given(st.lists(st.floats(0.0, 1.0), max_size=12))
def test_holm_lies_between_no_correction_and_bonferronis(p: list[float]) -> None:
    corrected = holm(p)
    assert all(
        one <= other <= min(1.0, len(p) * one) for one, other in zip(p, corrected, strict=True)
    )
    order = sorted(range(len(p)), key=p.__getitem__)
    assert [corrected[which] for which in order] == sorted(corrected)


@pytest.mark.parametrize("p", [[0.1, 1.1], [-0.1], [float("nan")]])
def test_what_is_no_probability_is_refused(p: list[float]) -> None:
    with pytest.raises(ValueError, match="p-values lie in"):
        holm(p)
