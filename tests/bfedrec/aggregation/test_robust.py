"""Rules against malicious clients: what each computes, and that a minority cannot move it far."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bfedrec.aggregation.aggregator import Aggregator
from bfedrec.aggregation.registry import AGGREGATORS, aggregator_named
from bfedrec.aggregation.rules.robust import Krum, MultiKrum, Robust, TrimmedMean, krum_scores
from bfedrec.federation.global_model import GlobalModel
from tests.helpers.payloads import aggregate, decode_aggregate, encode_update, exchange

ROBUST = [name for name, rule in AGGREGATORS.items() if issubclass(rule, Robust)]
EVERY_RULE = pytest.mark.parametrize("name", ROBUST)

EXPECTED = {
    "clip": "23614e4f82652609",
    "clip_items": "d896a0b6bda60229",
    "median": "781ac0a7760ee7d9",
    "trimmed_mean": "22864d99e49fb852",
    "krum": "8a651b19bda0d733",
    "multi_krum": "3e0075c34f2cb9ed",
    "geometric_median": "71c65c548d0a4e21",
}


def cohort(seed: int, M: int, r: int, N: int) -> tuple[np.ndarray, np.ndarray]:
    """Updates float32[M, r, N] and masks bool[M, N] of M clients; nobody touches item 0."""
    rng = np.random.default_rng(seed)
    touched = rng.random((M, N)) < 0.5
    touched[:, 0] = False
    A = np.where(touched[:, None, :], rng.standard_normal((M, r, N)), 0).astype(np.float32)
    return A, touched


def combined(A: np.ndarray, touched: np.ndarray, rule: str | Aggregator) -> np.ndarray:
    """The aggregate by way of payloads, float32[r, N]."""
    M, r, N = A.shape
    payloads = [encode_update(a, t, rule) for a, t in zip(A, touched, strict=True)]
    return decode_aggregate(aggregate(payloads, [1] * M, r, N, rule), r, N)


sizes = {
    "seed": st.integers(0, 2**32),
    "M": st.integers(1, 9),
    "r": st.integers(1, 3),
    "N": st.integers(1, 12),
}


# --- what each computes ---------------------------------------------------------------------------


@settings(deadline=None)  # the first call compiles
@given(**sizes)
def test_median_is_taken_over_the_clients_that_touched(seed: int, M: int, r: int, N: int) -> None:
    A, touched = cohort(seed, M, r, N)
    result = combined(A, touched, "median")
    for i in range(N):
        rows = A[touched[:, i], :, i].astype(np.float64)
        expected = np.median(rows, axis=0) if len(rows) else np.zeros(r)
        assert np.array_equal(result[:, i], expected.astype(np.float32))


@settings(deadline=None)  # the first call compiles
@given(**sizes, permille=st.integers(0, 499))
def test_trimmed_mean_leaves_the_extremes_out(
    seed: int, M: int, r: int, N: int, permille: int
) -> None:
    A, touched = cohort(seed, M, r, N)
    result = combined(A, touched, TrimmedMean(permille))
    for i in range(N):
        rows = np.sort(A[touched[:, i], :, i].astype(np.float64), axis=0)
        n = len(rows)
        cut = min(-(-n * permille // 1000), max(n - 1, 0) // 2)
        expected = rows[cut : n - cut].mean(axis=0) if n else np.zeros(r)
        assert result[:, i] == pytest.approx(expected, rel=1e-6, abs=1e-12)


def test_untrimmed_and_unclipped_are_the_mean_per_item() -> None:
    A, touched = cohort(1, 8, 3, 20)
    mean = combined(A, touched, "per_item")
    for rule in (TrimmedMean(0), aggregator_named("clip", {"norm_permille": 10**6}), MultiKrum(0)):
        assert combined(A, touched, rule) == pytest.approx(mean, rel=1e-6, abs=1e-9)


@settings(deadline=None)  # the first call compiles
@given(**sizes)
def test_clip_cuts_norms_to_their_median(seed: int, M: int, r: int, N: int) -> None:
    A, touched = cohort(seed, M, r, N)
    norms = np.linalg.norm(A.astype(np.float64).reshape(M, -1), axis=1)
    scale = np.minimum(1.0, np.median(norms) / np.maximum(norms, 1e-300))
    total = (A * scale[:, None, None]).sum(axis=0)
    expected = total / np.maximum(touched.sum(axis=0), 1)
    assert combined(A, touched, "clip") == pytest.approx(expected, rel=1e-5, abs=1e-6)


def test_clip_cuts_norms_to_the_bound_that_is_given() -> None:
    A = np.zeros((2, 1, 2), np.float32)
    A[0, 0], A[1, 0] = (3.0, 4.0), (0.3, 0.4)
    result = combined(A, np.ones((2, 2), bool), aggregator_named("clip", {"norm_permille": 1500}))
    assert result[0] == pytest.approx([(0.9 + 0.3) / 2, (1.2 + 0.4) / 2], rel=1e-6)


@settings(deadline=None)  # the first call compiles
@given(**sizes)
def test_clip_items_cuts_each_row_to_the_items_median(seed: int, M: int, r: int, N: int) -> None:
    A, touched = cohort(seed, M, r, N)
    result = combined(A, touched, "clip_items")
    for i in range(N):
        rows = A[touched[:, i], :, i].astype(np.float64)
        norms = np.linalg.norm(rows, axis=1)
        expected = np.zeros(r)
        if len(rows):
            scale = np.minimum(1.0, np.median(norms) / np.maximum(norms, 1e-300))
            expected = (rows * scale[:, None]).mean(axis=0)
        assert result[:, i] == pytest.approx(expected, rel=1e-5, abs=1e-6)


@settings(deadline=None)  # the first call compiles
@given(**sizes)
def test_krum_scores_are_sums_of_distances_to_the_nearest(
    seed: int, M: int, r: int, N: int
) -> None:
    A, touched = cohort(seed, M, r, N)
    f = Krum().malicious(M)
    scores = krum_scores(A, touched.astype(np.uint8), f)
    for a in range(M):
        distances = []
        for b in range(M):
            common = touched[a] & touched[b]
            if b != a:
                difference = (A[a] - A[b])[:, common].astype(np.float64)
                distances.append((difference**2).sum() / common.sum() if common.any() else np.inf)
        nearest = sorted(distances)[: min(max(1, M - f - 2), M - 1)]
        assert scores[a] == pytest.approx(sum(nearest), rel=1e-6)


def test_krum_takes_one_update_and_multi_krum_all_but_f() -> None:
    A, touched = cohort(3, 10, 2, 30)
    A[:2] += 50 * touched[:2, None, :]
    best = np.argsort(krum_scores(A, touched.astype(np.uint8), 2))
    assert np.array_equal(combined(A, touched, "krum"), A[best[0]])
    assert set(best[-2:]) == {0, 1}
    mean = combined(A[2:], touched[2:], "per_item")
    assert combined(A, touched, MultiKrum(200)) == pytest.approx(mean, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize(("n", "f"), [(1, 0), (2, 0), (3, 0), (4, 0), (5, 1), (7, 2), (60, 12)])
def test_krum_leaves_out_no_more_than_it_may(n: int, f: int) -> None:
    assert Krum(200).malicious(n) == f
    assert 2 * Krum(499).malicious(n) + 3 <= max(n, 3)


def test_geometric_median_is_nearest_to_all_updates() -> None:
    A, touched = cohort(4, 9, 2, 15)
    A[0] *= 40

    def far(centre: np.ndarray) -> float:
        difference = (A - centre) * touched[:, None, :]
        return float(np.sqrt((difference.astype(np.float64) ** 2).sum(axis=(1, 2))).sum())

    found = combined(A, touched, aggregator_named("geometric_median", {"iterations": 200}))
    rng = np.random.default_rng(0)
    seen = touched.any(axis=0)
    for size in (1e-1, 1e-2, 1e-3):
        for _ in range(50):
            assert far(found) <= far(found + size * seen * rng.standard_normal(found.shape)) + 1e-6
    assert far(found) < far(combined(A, touched, "median"))
    assert far(combined(A, touched, "geometric_median")) < 1.001 * far(found)


# --- what they are for ----------------------------------------------------------------------------


@EVERY_RULE
@pytest.mark.parametrize("size", [10.0, 1e6, 3e37])
def test_a_minority_cannot_move_the_aggregate_far(name: str, size: float) -> None:
    """Thirty clients agree but for noise; six send something else, as large as they like."""
    rng = np.random.default_rng(5)
    touched = rng.random((30, 40)) < 0.9
    honest = np.where(touched[:, None, :], 1 + 0.1 * rng.standard_normal((30, 2, 40)), 0)
    A = honest.astype(np.float32)
    A[:6] = np.where(touched[:6, None, :], -size, 0)
    # A fifth of the clients, and up to a third of those that touched one item.
    result = combined(A, touched, name)
    assert np.abs(combined(A, touched, "per_item") - 1).max() > 1.5
    # Cut to the honest norm, a fifth of the clients still pulls with its share of the weight.
    allowed = 0.8 if name.startswith("clip") else 0.25
    heard = result[:, result.any(axis=0)]  # krum's one client leaves out items
    assert np.abs(heard - 1).max() < allowed


@EVERY_RULE
def test_what_nobody_touched_stays_and_one_client_alone_is_heard(name: str) -> None:
    A, touched = cohort(6, 5, 2, 10)
    touched[:, 9] = [False, True, False, False, False]
    A[:, :, 9] = 0
    A[1, :, 9] = 0.01
    result = combined(A, touched, name)
    assert not result[:, 0].any()
    if name not in ("krum", "multi_krum", "clip"):
        assert result[:, 9] == pytest.approx(0.01)


@EVERY_RULE
@settings(deadline=None)
@given(**sizes)
def test_any_number_of_clients_gives_a_finite_aggregate(
    name: str, seed: int, M: int, r: int, N: int
) -> None:
    A, touched = cohort(seed, M, r, N)
    A = (np.clip(A, -1, 1) * 3.4e38).astype(np.float32)  # up to the largest that pass the check
    assert np.isfinite(combined(A, touched, name)).all()


@EVERY_RULE
def test_sample_counts_change_nothing(name: str) -> None:
    A, touched = cohort(7, 6, 2, 9)
    payloads = [encode_update(a, t, name) for a, t in zip(A, touched, strict=True)]
    models = [aggregate(payloads, counts, 2, 9, name) for counts in ([1] * 6, [999, *range(5)])]
    assert models[0] == models[1]


@EVERY_RULE
def test_the_model_is_these_very_bytes(name: str) -> None:
    # Servers vote on the digest of these bytes: another sum is another protocol.
    A, touched = cohort(8, 61, 2, 50)
    A[:12] *= 20
    digest = hashlib.sha256(combined(A, touched, name).tobytes()).hexdigest()
    assert digest[:16] == EXPECTED[name]


# --- what the genesis says ------------------------------------------------------------------------


def model_with(rule: Aggregator) -> GlobalModel:
    return GlobalModel(np.ones((5, 4), np.float32), "seeded", exchange(2, 5, rule), None, b"first")


@EVERY_RULE
def test_the_genesis_rebuilds_the_rule_with_its_parameters(name: str) -> None:
    for offset in (0, 7):
        defaults = aggregator_named(name).parameters
        model = model_with(aggregator_named(name, {key: v + offset for key, v in defaults.items()}))
        description = model.describe()
        found = GlobalModel.from_genesis(description, model.encode(), b"first")
        assert found.exchange == model.exchange
        assert ("aggregation_parameters" in description) == bool(defaults)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({}, "takes malicious_permille, not none"),
        ({"malicious_permille": 1, "f": 2}, "takes malicious_permille, not malicious_permille, f"),
        ({"malicious_permille": 500}, "an integer from 0 to 499, not 500"),
        ({"malicious_permille": -1}, "an integer from 0 to 499, not -1"),
        ({"malicious_permille": True}, "an integer from 0 to 499, not True"),
        ({"malicious_permille": "a"}, "an integer from 0 to 499, not 'a'"),
        ({"malicious_permille": 0.5}, "an integer from 0 to 499, not 0.5"),
        (7, "describes no global model"),
    ],
)
def test_a_genesis_with_other_parameters_is_refused(parameters: object, message: str) -> None:
    model = model_with(TrimmedMean())
    description = model.describe() | {"aggregation_parameters": parameters}
    with pytest.raises(ValueError, match=message):
        GlobalModel.from_genesis(description, model.encode(), b"first")


def test_averages_have_nothing_to_say_in_the_genesis() -> None:
    assert "aggregation_parameters" not in model_with(aggregator_named("per_item")).describe()
    with pytest.raises(ValueError, match="takes no parameters, not norm_permille"):
        aggregator_named("per_item", {"norm_permille": 3})
