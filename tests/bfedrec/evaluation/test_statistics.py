"""What is said of measured figures: verdicts, intervals over users and seeds, many comparisons."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from bfedrec.evaluation.intervals import Interval, t_interval
from bfedrec.evaluation.statistics import Scores, crossed_difference, crossed_mean, holm
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


# --- over users and seeds ------------------------------------------------------------------------


def scores(
    generator: np.random.Generator, seeds: int, users: int, spread: tuple[float, float, float]
) -> Scores:
    """Scores of mean 0 whose users, seeds and residuals have these standard deviations."""
    by_user, by_seed, left = spread
    each = generator.normal(0.0, by_user, users) + generator.normal(0.0, by_seed, (seeds, 1))
    return np.asarray(each + generator.normal(0.0, left, (seeds, users)))


def test_by_hand() -> None:
    """Two seeds, three users: mean squares 31 / 2 of users, 1.5 of seeds, 1 / 2 of residuals."""
    found = crossed_mean(np.array([[1.0, 5.0, 6.0], [2.0, 5.0, 8.0]]))
    variance = (15.5 + 1.5 - 0.5) / 6
    degrees = variance**2 / ((15.5**2 / 2 + 1.5**2 / 1 + 0.5**2 / 2) / 36)
    assert (found.users, found.mean) == (3, 4.5)
    assert found.error == pytest.approx(variance**0.5)
    assert found.degrees == pytest.approx(degrees)
    expected = stats.t(degrees, 4.5, variance**0.5)
    assert found.interval(0.9) == Interval(3, 4.5, *map(pytest.approx, expected.interval(0.9)))
    assert found.p == pytest.approx(2 * stats.t.sf(4.5 / variance**0.5, degrees))


def test_where_users_do_not_vary_it_is_the_interval_over_seeds() -> None:
    means = [0.61, 0.66, 0.64, 0.65, 0.6]
    found, known = crossed_mean(np.tile(np.array([means]).T, 40)).interval(), t_interval(means)
    assert (found.low, found.high) == (pytest.approx(known.low), pytest.approx(known.high))


def test_where_seeds_do_not_vary_it_is_the_interval_over_users() -> None:
    """Also with one seed, whose effect cannot be told."""
    each = drawn(1).random(30)
    known = t_interval(each.tolist())
    for seeds in (1, 4):
        found = crossed_mean(np.tile(each, (seeds, 1))).interval()
        assert (found.low, found.high) == (pytest.approx(known.low), pytest.approx(known.high))


def test_a_negative_variance_counts_as_none() -> None:
    """Seeds, or users, that agree better than chance would have them do not narrow an interval."""
    chance = scores(drawn(1), 4, 50, (0.0, 0.0, 1.0))
    level = chance - chance.mean(axis=1, keepdims=True)
    users = level.mean(axis=0)
    spread = users.var(ddof=1) / 50
    assert crossed_mean(level).error == pytest.approx(spread**0.5)
    equal = level - users
    assert crossed_mean(equal).error == pytest.approx(
        (((equal - equal.mean()) ** 2).sum() / (49 * 3) / 200) ** 0.5
    )
    assert crossed_mean(equal).degrees == pytest.approx(49 * 3)


@pytest.mark.parametrize(
    "spread", [(1.0, 0.0, 1.0), (1.0, 0.1, 1.0), (1.0, 0.3, 1.0), (0.0, 0.3, 1.0), (0.0, 0.0, 1.0)]
)
def test_intervals_of_a_mean_hold_it_as_often_as_they_say(
    spread: tuple[float, float, float],
) -> None:
    generator = drawn(7)
    found = [crossed_mean(scores(generator, 5, 60, spread)) for _ in range(2000)]
    bounds = np.array([(one.interval().low, one.interval().high) for one in found])
    assert 0.935 < ((bounds[:, 0] < 0.0) & (bounds[:, 1] > 0.0)).mean() < 0.975
    assert 0.055 < (np.array([one.p for one in found]) < 0.1).mean() < 0.12


@pytest.mark.parametrize(("axis", "spread"), [(0, (0.5, 0.3, 1.0)), (1, (1.0, 0.1, 1.0))])
def test_an_interval_over_either_alone_is_too_narrow(
    axis: int, spread: tuple[float, float, float]
) -> None:
    """Over users' means where seeds vary, over seeds' means where users do."""
    generator, held = drawn(3), 0
    for _ in range(500):
        found = t_interval(scores(generator, 5, 60, spread).mean(axis=axis).tolist())
        assert found.low is not None
        assert found.high is not None
        held += found.low < 0.0 < found.high
    assert held / 500 < 0.8


@pytest.mark.parametrize("seeds", [(5, 5), (3, 5), (5, 1)])
def test_intervals_of_a_difference_hold_it_as_often_as_they_say(seeds: tuple[int, int]) -> None:
    """Users common to both methods; a method with one seed is one that draws nothing."""
    generator, held, small = drawn(5), 0, 0
    for _ in range(2000):
        common = generator.normal(0.0, 3.0, 60)
        each = [
            scores(generator, count, 60, (0.7, 0.15 if count > 1 else 0.0, 1.0)) for count in seeds
        ]
        found = crossed_difference(common + each[0], common + each[1])
        bounds = found.interval()
        assert bounds.low is not None
        assert bounds.high is not None
        held += bounds.low < 0.0 < bounds.high
        small += found.p < 0.1
    assert 0.935 < held / 2000 < 0.967
    assert 0.08 < small / 2000 < 0.12


def test_a_difference_to_what_never_varies_is_a_mean() -> None:
    """The same estimate from both functions, also where users' variance is not positive."""
    for each in (
        scores(drawn(1), 5, 40, (1.0, 0.2, 1.0)),
        scores(drawn(2), 5, 40, (0.0, 0.2, 0.1)) - scores(drawn(2), 5, 40, (0.0, 0.2, 0.1))[0],
    ):
        alone, beside = crossed_mean(each), crossed_difference(each, np.zeros((2, 40)))
        assert beside.mean == pytest.approx(alone.mean)
        assert beside.error == pytest.approx(alone.error)
        assert beside.degrees == pytest.approx(alone.degrees)


def test_users_are_paired() -> None:
    """A small gain of every user is certain, however much users differ among themselves."""
    theirs = np.tile(drawn(1).random(200), (2, 1))
    ours = theirs + 0.01 * drawn(2).random((2, 200))
    certain = crossed_difference(ours, theirs)
    low = certain.interval().low
    assert low is not None
    assert low > 0.0
    assert certain.p < 1e-12
    shuffled = crossed_difference(drawn(3).permutation(ours, axis=1), theirs)
    assert shuffled.mean == pytest.approx(certain.mean)
    assert shuffled.p > 0.5


def test_turned_round_it_says_the_opposite() -> None:
    ours, theirs = (drawn(1).random((2, 3, 300)) < 0.5).astype(float)
    one, other = crossed_difference(ours, theirs), crossed_difference(theirs, ours)
    assert one.mean == -other.mean
    assert (one.error, one.degrees, one.p) == pytest.approx((other.error, other.degrees, other.p))


def test_no_difference_is_no_evidence_and_one_without_error_is_certain() -> None:
    each = drawn(1).random((3, 10))
    assert crossed_difference(each, each).p == 1.0
    same = crossed_difference(np.zeros((2, 4)), np.zeros((2, 4)))
    assert (same.mean, same.error, same.p) == (0.0, 0.0, 1.0)
    assert crossed_difference(np.ones((2, 4)), np.zeros((2, 4))).p == 0.0
    assert same.interval() == Interval(4, 0.0, 0.0, 0.0)


def test_small_p_values_are_told_apart() -> None:
    """Below what a count among ten thousand resamples can say, and so also when many are
    corrected."""
    theirs = drawn(1).normal(0.0, 1.0, (1, 5000))
    p = [
        crossed_difference(theirs + drawn(2).normal(gain, 1.0, (1, 5000)), theirs).p
        for gain in (0.1, 0.2, 0.4)
    ]
    assert 1e-4 > p[0] > 1e-20 > p[1] > 1e-100 > p[2] > 0.0
    assert max(holm([*p, *[0.5] * 50])[:3]) < 1e-4


@pytest.mark.parametrize(
    ("ours", "theirs", "why"),
    [
        (np.ones((2, 3)), np.ones((2, 4)), "no same users"),
        (np.ones(3), np.ones(3), "expected seeds x users"),
        (np.ones((0, 3)), np.ones((1, 3)), "expected seeds x users"),
        (np.ones((2, 1)), np.ones((2, 1)), "two users"),
        (np.array([[1.0, np.nan]]), np.ones((1, 2)), "finite"),
    ],
)
def test_scores_that_cannot_be_compared(ours: Scores, theirs: Scores, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        crossed_difference(ours, theirs)
    if "same" not in why:
        with pytest.raises(ValueError, match=why):
            crossed_mean(ours)


@pytest.mark.parametrize("confidence", [0.0, 1.0, float("nan")])
def test_a_confidence_lies_between_0_and_1(confidence: float) -> None:
    with pytest.raises(ValueError, match="lies inside"):
        crossed_mean(np.ones((2, 3))).interval(confidence)


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
