"""Payloads and the mean of them that every edge server must arrive at."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bfedrec.aggregation.aggregator import Aggregator, aggregator, parameter
from bfedrec.aggregation.registry import AGGREGATORS, aggregator_of
from bfedrec.compression.masks import strays
from bfedrec.config.help import help_text
from bfedrec.config.load import ConfigError, config_hash, dump, load, parse
from tests.helpers.payloads import aggregate, check_payload, decode_aggregate, encode_update
from tests.helpers.plugin import imported

RULES = [name for name, kind in AGGREGATORS.items() if not kind.missing()]
"""All but those whose library is not installed."""
EVERY_RULE = pytest.mark.parametrize("rule", RULES)
AVERAGES = pytest.mark.parametrize("rule", ["samples", "per_item", "uniform"])

EXPECTED = {
    "samples": "4992a4be6edbb63db86d5bbeb76ddb3d6edbb63eb86d5bbd",
    "per_item": "b76ddbbe2549123e254912bf000000002549123f254912be",
    "uniform": "b76ddbbe2549923d254992be000000002549923e254992bd",
}


def cohort(seed: int, M: int, r: int, N: int) -> tuple[np.ndarray, np.ndarray, list[int]]:
    """Updates A, masks and sample counts of M clients; no client touches item 0."""
    rng = np.random.default_rng(seed)
    touched = rng.random((M, N)) < 0.5
    touched[:, 0] = False
    A = np.where(touched[:, None, :], rng.standard_normal((M, r, N)), 0).astype(np.float32)
    return A, touched, rng.integers(1, 500, M).tolist()


def encoded(A: np.ndarray, touched: np.ndarray, rule: str | Aggregator) -> list[bytes]:
    return [encode_update(a, t, rule) for a, t in zip(A, touched, strict=True)]


@given(st.integers(0, 2**32), st.integers(1, 8), st.integers(1, 4), st.integers(1, 20))
def test_samples_is_the_weighted_mean_rounded_once(seed: int, M: int, r: int, N: int) -> None:
    A, touched, counts = cohort(seed, M, r, N)
    result = decode_aggregate(
        aggregate(encoded(A, touched, "samples"), counts, r, N, "samples"), r, N
    )
    for k in range(r):
        for i in range(N):
            exact = sum(Fraction(float(a[k, i])) * n for a, n in zip(A, counts, strict=True))
            assert result[k, i] == pytest.approx(float(exact / sum(counts)), rel=2e-7, abs=1e-12)


@given(st.integers(0, 2**32), st.integers(1, 8), st.integers(1, 4), st.integers(1, 20))
def test_per_item_is_the_mean_over_those_who_touched(seed: int, M: int, r: int, N: int) -> None:
    A, touched, counts = cohort(seed, M, r, N)
    result = decode_aggregate(
        aggregate(encoded(A, touched, "per_item"), counts, r, N, "per_item"), r, N
    )
    for i in range(N):
        rows = A[touched[:, i], :, i]
        expected = rows.mean(axis=0, dtype=np.float64) if len(rows) else np.zeros(r)
        assert result[:, i] == pytest.approx(expected, rel=1e-6, abs=1e-12)


@given(st.integers(0, 2**32), st.integers(1, 8), st.integers(1, 4), st.integers(1, 20))
def test_uniform_is_the_plain_mean(seed: int, M: int, r: int, N: int) -> None:
    A, touched, counts = cohort(seed, M, r, N)
    result = decode_aggregate(
        aggregate(encoded(A, touched, "uniform"), counts, r, N, "uniform"), r, N
    )
    assert result == pytest.approx(A.mean(axis=0, dtype=np.float64), rel=1e-6, abs=1e-12)


@AVERAGES
def test_the_model_is_these_very_bytes(rule: str) -> None:
    # Servers vote on the digest of these bytes: another sum is another protocol.
    touched = np.array([[True, False, True], [True, True, False]])
    A = np.where(touched[:, None, :], np.arange(-6, 6).reshape(2, 2, 3) / 7, 0).astype(np.float32)
    result = aggregate(encoded(A, touched, rule), [3, 5], 2, 3, rule)
    assert result.hex() == EXPECTED[rule]


@AVERAGES
def test_sums_run_in_float64_in_the_given_order(rule: str) -> None:
    # In float32, 1 would be lost beside 2**30, and the order would show.
    A = np.array([2.0**30, 1.0, -(2.0**30)], np.float32).reshape(3, 1, 1)
    payloads = encoded(A, np.ones((3, 1), bool), rule)
    result = decode_aggregate(aggregate(payloads, [1, 1, 1], 1, 1, rule), 1, 1)
    assert result[0, 0] == np.float32(1 / 3)


@EVERY_RULE
def test_payload_has_the_promised_size_and_passes_the_check(rule: str) -> None:
    A, touched, _ = cohort(1, 3, 4, 37)
    for payload in encoded(A, touched, rule):
        assert len(payload) == 4 * 4 * 37 + (5 if AGGREGATORS[rule].goes_by_item else 0)
        assert check_payload(payload, 4, 37, rule) is None
    assert np.frombuffer(payload, "<f4", 4 * 37).reshape(4, 37).tobytes() == A[-1].tobytes()


@EVERY_RULE
@pytest.mark.parametrize("change", [-1, 1])
def test_wrong_length_is_refused_with_both_lengths(rule: str, change: int) -> None:
    A, touched, _ = cohort(1, 1, 2, 9)
    payload = encoded(A, touched, rule)[0]
    changed = payload[:change] if change < 0 else payload + b"\0"
    reason = check_payload(changed, 2, 9, rule)
    assert reason == f"{len(changed)} bytes instead of {len(payload)}"
    with pytest.raises(ValueError, match=r"payload 1: .* instead of"):
        aggregate([payload, changed], [1, 1], 2, 9, rule)


@EVERY_RULE
@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite_are_refused(rule: str, number: float) -> None:
    A, touched, _ = cohort(1, 1, 2, 9)
    touched[0, 4] = True
    A[0, 1, 4] = number
    assert check_payload(encoded(A, touched, rule)[0], 2, 9, rule) == "not all numbers are finite"


def test_mask_must_cover_every_update_and_nothing_else() -> None:
    A, touched, _ = cohort(1, 1, 2, 9)
    payload = bytearray(encoded(A, touched, "per_item")[0])
    beyond = payload.copy()
    beyond[-1] |= 0b10
    assert "beyond the last item" in str(check_payload(bytes(beyond), 2, 9, "per_item"))
    uncovered = payload.copy()
    uncovered[-2:] = b"\0\0"
    assert "outside the mask" in str(check_payload(bytes(uncovered), 2, 9, "per_item"))
    negative_zero = payload.copy()
    negative_zero[3] = 0x80  # item 0 is untouched
    assert "outside the mask" in str(check_payload(bytes(negative_zero), 2, 9, "per_item"))


@given(st.binary(max_size=80))
def test_any_bytes_are_judged_without_an_error(payload: bytes) -> None:
    for rule in AGGREGATORS:
        reason = check_payload(payload, 2, 7, rule)
        assert reason is None or isinstance(reason, str)


@pytest.mark.parametrize(
    ("payloads", "counts", "rule", "words"),
    [
        ([], [], "samples", "nothing to aggregate"),
        ([b"\0" * 8], [1, 2], "samples", "1 payloads but 2"),
        ([b"\0" * 8], [0], "samples", "not all 0"),
        ([b"\0" * 8] * 2, [3, -1], "samples", "0 or more"),
        ([b"\0" * 8], [1], "mean", "not one of samples, per_item"),
    ],
)
def test_what_cannot_be_aggregated_is_refused(
    payloads: list[bytes], counts: list[int], rule: str, words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        aggregate(payloads, counts, 1, 2, rule)


def test_a_model_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match="8 bytes, not 4"):
        decode_aggregate(b"\0" * 4, 1, 2)


# --- a rule in a file of its own ------------------------------------------------------------------


@pytest.fixture
def register() -> Iterator[None]:
    """The registry has its old rules again afterwards."""
    with AGGREGATORS.restored():
        yield


@pytest.mark.usefixtures("register")
def test_a_rule_is_one_file(tmp_path: Path) -> None:
    usual = config_hash(load(None))
    with pytest.raises(ConfigError, match=r"aggregation\.factor_permille: unknown key"):
        load(None, ["aggregation.factor_permille=500"])
    imported(tmp_path, "aggregator")

    (tmp_path / "mine.yaml").write_text("aggregation: {rule: largest, factor_permille: 500}\n")
    config = load(tmp_path / "mine.yaml")
    assert parse(dump(config), "dumped") == config
    assert dump(config).count("  factor_permille: 500\n") == 1
    chosen = aggregator_of(config.aggregation)
    assert (chosen.name, chosen.parameters) == ("largest", {"factor_permille": 500})
    A = np.array([[[1.0, -4.0]], [[3.0, -2.0]]], np.float32)
    payloads = encoded(A, np.ones((2, 2), bool), chosen)
    assert decode_aggregate(aggregate(payloads, [1, 1], 1, 2, chosen), 1, 2).tolist() == [
        [1.5, -1.0]
    ]

    assert config_hash(load(None)) == usual  # what nobody asks for changes no recorded hash
    assert "largest: the largest of each number" in " ".join(help_text().split())
    assert "aggregation.factor_permille  (int >= 1 <= 2000; default 1000)" in help_text()
    with pytest.raises(ConfigError, match=r"'largets': expected .*; did you mean 'largest'\?"):
        load(None, ["aggregation.rule=largets"])
    with pytest.raises(ConfigError, match="factor_permille: 2001: expected int >= 1 <= 2000"):
        load(None, ["aggregation.factor_permille=2001"])


def test_the_register_has_the_rules_in_the_order_of_the_help() -> None:
    averages = ["samples", "per_item", "uniform"]
    cut = ["clip", "clip_items", "median", "trimmed_mean"]
    near = ["krum", "multi_krum", "geometric_median"]
    peers = ["median", "trimmed_mean", "krum", "geometric_median", "centered_clipping"]
    assert list(AGGREGATORS) == averages + cut + near + [f"byzfl_{name}" for name in peers]
    keys = list(load(None).aggregation.model_dump())
    masks = ["secure", "group", "neighbours", "lane_bits"]
    assert keys == ["rule", *masks, "malicious_permille", "norm_permille", "iterations"]


@pytest.mark.usefixtures("register")
def test_a_name_stands_for_one_rule_and_a_key_for_one_parameter() -> None:
    @dataclass(frozen=True)
    class Other(Aggregator):
        iterations: int = parameter(9, 1, 1000, "Weiszfeld iterations")

    with pytest.raises(ValueError, match="'median' is registered twice"):
        aggregator("median")(Other)
    with pytest.raises(ValueError, match=r"iterations is another .* that of 'geometric_median'"):
        aggregator("other")(Other)
    assert "other" not in AGGREGATORS

    @dataclass(frozen=True)
    class Taken(Aggregator):
        rule: int = parameter(1, 1, 2, "a key that is taken")

    with pytest.raises(ValueError, match="cannot be named 'rule'"):
        aggregator("taken")(Taken)


@pytest.mark.usefixtures("register")
def test_a_rule_of_a_cell_is_defined_again_with_other_bounds() -> None:
    cell = (
        "@aggregator('mine')\n@dataclass(frozen=True)\nclass Mine(Aggregator):\n"
        "    meaning = 'mine'\n    power: int = parameter(1, 0, {}, 'the power')\n"
    )
    names = {"aggregator": aggregator, "dataclass": dataclass, "Aggregator": Aggregator}
    for most in (5, 9):
        exec(cell.format(most), {**names, "parameter": parameter, "__name__": "__main__"})
    assert load(None, ["aggregation.rule=mine", "aggregation.power=9"]).aggregation.rule == "mine"


@settings(deadline=None)  # the first call compiles
@given(st.integers(1, 40), st.integers(1, 4), st.integers(0, 2**32 - 1), st.booleans())
def test_an_update_outside_its_mask_is_found_in_any_row(
    N: int, r: int, seed: int, alone: bool
) -> None:
    """One number, be it the sign of a zero, in any place."""
    rng = np.random.default_rng(seed)
    touched = rng.random(N) < 0.5
    bits = rng.integers(1, 2**32, (r, N), np.uint32) * touched
    mask = np.packbits(touched, bitorder="little")
    assert not strays(bits.astype(np.uint32), mask)
    k, i = int(rng.integers(r)), int(rng.integers(N))
    if alone:
        bits[:] = 0
    bits[k, i] = 2**31
    assert strays(bits.astype(np.uint32), mask) is not bool(touched[i])
