"""Sortition: exact against the definition, and as frequent as theory says."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Sequence
from decimal import Decimal, localcontext
from fractions import Fraction
from itertools import permutations
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consensus.encoding.cid import digest
from consensus.ledger.sortition import (
    _Binomial,
    _log2,
    _log2_by_squaring,
    race_key,
    role_hash,
    weight,
)

VECTORS = json.loads(
    Path(__file__).parents[2].joinpath("vectors").joinpath("sortition.json").read_text()
)
TOP = 2**256 - 1

hashes = st.integers(0, TOP)


def beta(*labels: object) -> bytes:
    """A stand-in for a VRF output."""
    return digest(repr(labels).encode())


def spread_bound(cells: int) -> float:
    """A chi-square of that many cells exceeds this once in 1,000 (Wilson and Hilferty)."""
    free = cells - 1
    return float(free * (1 - 2 / (9 * free) + 3.09 * math.sqrt(2 / (9 * free))) ** 3)


def chi_square(counts: Sequence[int], expected: Sequence[float]) -> float:
    return sum((n - e) ** 2 / e for n, e in zip(counts, expected, strict=True))


def plausible(hits: int, trials: int, p: float) -> bool:
    """Whether `hits` lies in the 99 % interval of Binomial(trials, p)."""

    def term(k: int) -> float:
        ways = math.lgamma(trials + 1) - math.lgamma(k + 1) - math.lgamma(trials - k + 1)
        return math.exp(ways + k * math.log(p) + (trials - k) * math.log1p(-p))

    terms = [term(k) for k in range(hits + 1)]
    at_most = math.fsum(terms)
    at_least = 1 - at_most + terms[-1]
    return min(at_most, at_least) > 0.005


# --- Weights --------------------------------------------------------------------------------


@pytest.mark.parametrize("vector", VECTORS)
def test_vectors(vector: dict[str, int | str]) -> None:
    stake, total = int(vector["stake"]), int(vector["total_stake"])
    size = int(vector["expected_size"])
    assert weight(bytes.fromhex(str(vector["hash"])), stake, total, size) == vector["weight"]


def by_definition(h: int, w: int, total: int, size: int) -> int:
    p = Fraction(size, total)
    cumulative = Fraction(0)
    for j in range(w + 1):
        cumulative += math.comb(w, j) * p**j * (1 - p) ** (w - j)
        if Fraction(h, TOP) <= cumulative:
            return j
    raise AssertionError("the distribution sums to one")


@given(st.data(), hashes, st.integers(2, 60), st.integers(1, 59))
def test_weight_is_the_binomial_quantile(
    data: st.DataObject, h: int, total: int, size: int
) -> None:
    w = data.draw(st.integers(0, total))
    size = min(size, total - 1)
    assert weight(h.to_bytes(32, "big"), w, total, size) == by_definition(h, w, total, size)


@given(st.integers(1, 40), st.integers(2, 60), st.data())
def test_weight_at_every_step_of_the_distribution(
    size: int, total: int, data: st.DataObject
) -> None:
    """The last hash that wins j seats, and the one after it."""
    w = data.draw(st.integers(1, total))
    size = min(size, total - 1)
    cumulative = Fraction(0)
    for j in range(w):
        p = Fraction(size, total)
        cumulative += math.comb(w, j) * p**j * (1 - p) ** (w - j)
        last = math.floor(cumulative * TOP)
        assert weight(last.to_bytes(32, "big"), w, total, size) == by_definition(
            last, w, total, size
        )
        assert weight((last + 1).to_bytes(32, "big"), w, total, size) > j


@given(st.lists(hashes, min_size=1, max_size=20))
def test_weight_does_not_depend_on_earlier_draws(draws: list[int]) -> None:
    table = _Binomial(500, 10_000, 300)
    for h in draws:
        assert table.quantile(h) == _Binomial(500, 10_000, 300).quantile(h)


def test_weight_in_the_far_tail() -> None:
    """Where doubles see 1 and stop: the chance of more seats is below 2**-200."""
    total, size, w = 10_000, 20, 1_000
    assert weight((TOP - 2**50).to_bytes(32, "big"), w, total, size) == by_definition(
        TOP - 2**50, w, total, size
    )
    assert weight(bytes([255]) * 32, w, total, size) == w


def test_only_the_first_32_bytes_count() -> None:
    short = beta("x")
    assert weight(short + bytes(32), 100, 1_000, 50) == weight(short, 100, 1_000, 50)


def test_everybody_sits_where_the_size_reaches_the_stake() -> None:
    for size in (100, 101):
        for h in (0, TOP):
            assert weight(h.to_bytes(32, "big"), 7, 100, size) == 7
    assert weight(bytes([255]) * 32, 0, 100, 10) == 0


@pytest.mark.parametrize(
    ("stake", "total", "size"), [(-1, 10, 5), (11, 10, 5), (1, 0, 5), (0, 0, 5), (1, 10, 0)]
)
def test_weight_out_of_range(stake: int, total: int, size: int) -> None:
    with pytest.raises(ValueError, match="in range"):
        weight(bytes(32), stake, total, size)


def test_too_short_an_output() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        weight(bytes(31), 1, 10, 5)
    with pytest.raises(ValueError, match="32 bytes"):
        race_key(bytes(31), 1)


def test_weights_are_binomial() -> None:
    w, total, size, draws = 40, 400, 50, 20_000
    p = size / total
    counts = Counter(weight(beta("binomial", i), w, total, size) for i in range(draws))
    expected = [draws * math.comb(w, j) * p**j * (1 - p) ** (w - j) for j in range(w + 1)]
    ends = 13  # from here on, together, so that no cell expects less than five
    observed = [counts[j] for j in range(ends)] + [sum(n for j, n in counts.items() if j >= ends)]
    cells = [*expected[:ends], sum(expected[ends:])]
    assert min(cells) > 5
    assert chi_square(observed, cells) < spread_bound(len(cells))


def test_splitting_stake_gains_nothing() -> None:
    """Ten holders of 10 win as many seats, on average and in spread, as one holder of 100."""
    draws = 3_000
    whole = [weight(beta("whole", i), 100, 1_000, 60) for i in range(draws)]
    parts = [
        sum(weight(beta("part", i, k), 10, 1_000, 60) for k in range(10)) for i in range(draws)
    ]
    variance = 100 * 0.06 * 0.94
    for seats in (whole, parts):
        mean = sum(seats) / draws
        assert abs(mean - 6) < 4 * math.sqrt(variance / draws)
        spread = sum((n - mean) ** 2 for n in seats) / draws
        assert 0.85 * variance < spread < 1.15 * variance


# --- The race -------------------------------------------------------------------------------


@settings(deadline=None)
@given(st.integers(1, 2**256))
def test_log2(value: int) -> None:
    """Against decimal logarithms of 60 digits: the same 64 bits, rounded down."""
    with localcontext(prec=60):
        exact = Decimal(value).ln() / Decimal(2).ln() * 2**64
        assert Decimal("-1e-30") < exact - _log2(value) < 1 + Decimal("1e-15")


@given(st.integers(1, 2**256))
def test_log2_by_the_series_is_that_by_squaring(value: int) -> None:
    assert _log2(value) == _log2_by_squaring(value, 64, 128)


@pytest.mark.parametrize("step", [128, 129, 191, 254, 255])
@pytest.mark.parametrize("off", [-1, 0, 1, 1 << 180])
def test_log2_where_the_series_begins_anew(step: int, off: int) -> None:
    value = (step << 248) + off
    assert _log2(value) == _log2_by_squaring(value, 64, 128)


def test_log2_of_powers_is_exact() -> None:
    for exponent in range(257):
        assert _log2(1 << exponent) == exponent << 64
    # 2**0.5 to 64 bits, rounded down, from the integer square root of 2**511.
    assert abs(_log2(math.isqrt(1 << 511)) - ((255 << 64) + (1 << 63))) <= 1


@given(st.integers(1, 2**256 - 1), st.integers(0, 2**200))
def test_log2_never_decreases(value: int, more: int) -> None:
    assert _log2(value) <= _log2(min(value + more, 2**256))


@given(st.lists(st.binary(min_size=32, max_size=64), unique=True), st.integers(1, 10_000))
def test_among_equal_stakes_the_lowest_betas_win(betas: list[bytes], stake: int) -> None:
    assert sorted(betas, key=lambda each: race_key(each, stake)) == sorted(betas)


@given(hashes, hashes, st.integers(1, 30), st.integers(1, 30))
def test_the_race_is_that_of_the_definition(a: int, b: int, stake_a: int, stake_b: int) -> None:
    """-ln(u) / stake compared without logarithms: u_a^stake_b > u_b^stake_a finishes earlier."""
    earlier = (2**256 - a) ** stake_b * 2 ** (256 * stake_a)
    later = (2**256 - b) ** stake_a * 2 ** (256 * stake_b)
    key_a, key_b = (
        race_key(h.to_bytes(32, "big"), stake) for h, stake in ((a, stake_a), (b, stake_b))
    )
    if abs(key_a[0] - key_b[0]) > 1 << 64:  # nearer finishes are beyond the resolution
        assert (key_a < key_b) == (earlier > later)


@pytest.mark.parametrize("h", [0, 1, TOP - 1, TOP])
def test_the_race_at_its_ends(h: int) -> None:
    time, ties = race_key(h.to_bytes(32, "big"), 3)
    assert ties == h.to_bytes(32, "big")
    assert 0 <= time <= (256 << 128) // 3
    assert (time == 0) == (h == 0)


def test_the_order_is_the_same_on_every_machine() -> None:
    """Keys as first computed; another value would mean another committee."""
    assert race_key(b"\x80" + bytes(31), 1)[0] == 1 << 128  # u = 1/2: one halving
    assert race_key(b"\xc0" + bytes(31), 2)[0] == 1 << 128  # u = 1/4: two, at twice the speed
    key = b"".join(race_key(beta("golden", i), i + 1)[0].to_bytes(20, "big") for i in range(200))
    assert digest(key).hex() == ("a493dc63acfebb3bf864a61d2643be20914032ebbb81cd20642185d6c15a7dc4")


def test_without_stake_nobody_races() -> None:
    for stake in (0, -1):
        with pytest.raises(ValueError, match="at least 1"):
            race_key(bytes(32), stake)


def test_the_race_draws_in_proportion_to_stake() -> None:
    """First and second place among stakes 1, 2, 3, 4: weighted, without replacement."""
    stakes, draws = (1, 2, 3, 4), 5_000
    counts: Counter[tuple[int, int]] = Counter()
    for i in range(draws):
        order = sorted(range(4), key=lambda s: race_key(beta("race", i, s), stakes[s]))
        counts[order[0], order[1]] += 1
    places = list(permutations(range(4), 2))
    expected = [draws * stakes[a] / 10 * stakes[b] / (10 - stakes[a]) for a, b in places]
    assert chi_square([counts[place] for place in places], expected) < spread_bound(12)


def test_roles_draw_independently() -> None:
    """A server's seat tells nothing about its place among the aggregators."""
    assert role_hash(beta(1), "committee") != role_hash(beta(1), "aggregator")
    assert role_hash(beta(1), "a") != role_hash(beta(2), "a")
    assert role_hash(beta(1), "a") != role_hash(beta(1), "b")
    assert len(role_hash(beta(1) * 2, "beacon")) == 32
    draws, counts = 8_000, [0] * 16
    for i in range(draws):
        seat, place = (role_hash(beta(i), role)[0] >> 6 for role in ("committee", "aggregator"))
        counts[4 * seat + place] += 1
    assert chi_square(counts, [draws / 16] * 16) < spread_bound(16)


# --- Committees that malicious servers block or capture ----------------------------------------

# servers, malicious, seats: P(blocked), P(captured), as published with the protocol
TABLE = {
    (30, 10, 10): (0.440, 4.8e-3),
    (30, 10, 20): (0.560, 0.0),
    (100, 33, 10): (0.431, 1.4e-2),
    (100, 33, 20): (0.514, 1.7e-4),
    (100, 33, 50): (0.500, 0.0),
    (1_000, 333, 10): (0.440, 1.9e-2),
    (1_000, 333, 20): (0.520, 7.7e-4),
    (1_000, 333, 50): (0.512, 2.8e-7),
}


def at_least(bad: int, servers: int, malicious: int, seats: int) -> float:
    """P(at least `bad` of the seats are malicious): the hypergeometric tail."""
    ways = sum(
        math.comb(malicious, k) * math.comb(servers - malicious, seats - k)
        for k in range(bad, min(seats, malicious) + 1)
    )
    return ways / math.comb(servers, seats)


@pytest.mark.parametrize(("case", "published"), TABLE.items(), ids=str)
def test_committees_are_blocked_and_captured_as_often_as_published(
    case: tuple[int, int, int], published: tuple[float, float]
) -> None:
    servers, malicious, seats = case
    needed = 2 * seats // 3 + 1
    blocked = at_least(seats - needed + 1, *case)
    captured = at_least(needed, *case)
    assert blocked == pytest.approx(published[0], abs=6e-4)
    assert captured == pytest.approx(published[1], rel=0.04)

    trials = 120_000 // servers
    counts = {"blocked": 0, "captured": 0}
    for i in range(trials):
        # Equal stakes: the order of the race is that of the hashes (tested above).
        order = sorted(range(servers), key=lambda s: role_hash(beta(i, s), "committee"))
        bad = sum(server < malicious for server in order[:seats])
        counts["blocked"] += seats - bad < needed
        counts["captured"] += bad >= needed
    assert plausible(counts["blocked"], trials, blocked)
    if captured == 0:
        assert counts["captured"] == 0
    else:
        assert plausible(counts["captured"], trials, captured)
