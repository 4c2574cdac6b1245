"""How often a third can block or capture a committee: theory, and tickets that follow it."""

from __future__ import annotations

import math
from itertools import combinations, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consensus.crypto.suites import MODELLED, REAL, Suite
from consensus.encoding.cid import digest
from consensus.ledger.capture_odds import (
    blocked_and_captured,
    first_of_equal_stake,
    frequency_interval,
    malicious_seats,
    p_blocked,
    p_captured,
    seats_to_block,
    seats_to_decide,
)
from consensus.ledger.sortition import race_key

Case = tuple[int, int, int]

# servers, malicious, seats: P(blocked), P(captured), as the protocol's table gives them
TABLE: dict[Case, tuple[str, str]] = {
    (30, 10, 10): (".440", "4.8e-03"),
    (30, 10, 20): (".560", "0.0e+00"),
    (100, 33, 10): (".431", "1.4e-02"),
    (100, 33, 20): (".514", "1.7e-04"),
    (100, 33, 50): (".500", "0.0e+00"),
    (1_000, 333, 10): (".440", "1.9e-02"),
    (1_000, 333, 20): (".520", "7.7e-04"),
    (1_000, 333, 50): (".512", "2.8e-07"),
}

every_case = pytest.mark.parametrize("case", TABLE, ids=lambda case: "-".join(map(str, case)))


def assert_as_often_as_in_theory(case: Case, draws: int, seed: int, suite: Suite) -> None:
    """Blocked and captured committees, each inside the 99 % interval of its probability."""
    blocked, captured = blocked_and_captured(*case, draws, seed, suite)
    for hits, p in ((blocked, p_blocked(*case)), (captured, p_captured(*case))):
        low, high = frequency_interval(hits, draws)
        assert low <= p <= high, f"{hits} of {draws} committees, {p:.3g} in theory"


# --- Theory -----------------------------------------------------------------------------------


@every_case
def test_the_table_of_the_protocol(case: Case) -> None:
    blocked, captured = TABLE[case]
    assert f"{p_blocked(*case):.3f}" == "0" + blocked
    assert f"{p_captured(*case):.1e}" == captured


def test_seats_that_decide_and_seats_that_block() -> None:
    """Strictly more than two thirds; and exactly a third is enough to block."""
    for size in range(1, 200):
        decide, block = seats_to_decide(size), seats_to_block(size)
        assert 3 * decide > 2 * size >= 3 * (decide - 1)
        assert not 3 * (size - block) > 2 * size
        assert 3 * (size - (block - 1)) > 2 * size
    assert (seats_to_decide(20), seats_to_block(20)) == (14, 7)
    assert (seats_to_decide(30), seats_to_block(30)) == (21, 10)


@pytest.mark.parametrize("servers", range(1, 8))
def test_probabilities_count_committees(servers: int) -> None:
    for size in range(1, servers + 1):
        committees = list(combinations(range(servers), size))
        for malicious in range(servers + 1):
            bad = [sum(server < malicious for server in members) for members in committees]
            blocked = sum(3 * (size - seats) <= 2 * size for seats in bad)
            captured = sum(3 * seats > 2 * size for seats in bad)
            for p, hits in ((p_blocked, blocked), (p_captured, captured)):
                expected = hits / len(committees)
                assert p(servers, malicious, size) == pytest.approx(expected, abs=1e-12)


def test_more_malicious_servers_block_and_capture_more() -> None:
    blocked = [p_blocked(100, malicious, 20) for malicious in range(101)]
    captured = [p_captured(100, malicious, 20) for malicious in range(101)]
    for rising in (blocked, captured):
        assert all(a <= b for a, b in pairwise(rising))
        assert (rising[0], rising[-1]) == (0.0, 1.0)
    assert all(c <= b for b, c in zip(blocked, captured, strict=True))


def test_all_servers_on_the_committee() -> None:
    """10 of 30 block for certain, 9 never do: no committee formed anew can help."""
    assert (p_blocked(30, 10, 30), p_blocked(30, 9, 30)) == (1.0, 0.0)
    assert (p_captured(30, 21, 30), p_captured(30, 20, 30)) == (1.0, 0.0)


@pytest.mark.parametrize(
    "case", [(0, 0, 1), (10, -1, 5), (10, 11, 5), (10, 3, 0), (10, 3, 11), (-1, 0, 1)], ids=str
)
def test_arguments_out_of_range(case: Case) -> None:
    for p in (p_blocked, p_captured):
        with pytest.raises(ValueError, match="malicious"):
            p(*case)
    with pytest.raises(ValueError, match="malicious"):
        blocked_and_captured(*case, 10, 0)


def test_frequency_interval() -> None:
    """Clopper and Pearson: beyond each bound, what was seen or more extreme has 0.5 %."""
    low, high = frequency_interval(7, 40)
    ways = [math.comb(40, k) for k in range(41)]

    def binomial(p: float, ks: range) -> float:
        return math.fsum(ways[k] * p**k * (1 - p) ** (40 - k) for k in ks)

    assert binomial(low, range(7, 41)) == pytest.approx(0.005)
    assert binomial(high, range(8)) == pytest.approx(0.005)
    assert frequency_interval(0, 40)[0] == 0.0
    assert frequency_interval(0, 40)[1] == pytest.approx(1 - 0.005 ** (1 / 40))
    assert frequency_interval(40, 40)[1] == 1.0
    assert frequency_interval(7, 40, 0.9)[0] > low
    for wrong in ((41, 40), (-1, 40), (0, 0)):
        with pytest.raises(ValueError, match=r"."):
            frequency_interval(*wrong)


# --- Sortition --------------------------------------------------------------------------------


@every_case
def test_sortition_draws_as_theory_says(case: Case) -> None:
    assert_as_often_as_in_theory(case, 250_000 // case[0], 0, MODELLED)


@pytest.mark.slow
@every_case
def test_sortition_draws_as_theory_says_over_many_committees(case: Case) -> None:
    assert_as_often_as_in_theory(case, 20_000_000 // case[0], 1, MODELLED)


@pytest.mark.parametrize("case", [(30, 10, 10), (30, 10, 20)], ids=str)
def test_real_tickets_draw_as_theory_says(case: Case) -> None:
    assert_as_often_as_in_theory(case, 640, 0, REAL)


@pytest.mark.slow
@pytest.mark.parametrize("case", [(100, 33, 10), (100, 33, 20), (100, 33, 50)], ids=str)
def test_real_tickets_draw_as_theory_says_over_many_committees(case: Case) -> None:
    assert_as_often_as_in_theory(case, 16_000, 1, REAL)


def test_a_committee_formed_anew_is_independent() -> None:
    """Two attempts of one height, from the same tickets: both blocked as often as two coins."""
    case, draws = (30, 10, 10), 8_000
    blocked = [seats >= seats_to_block(10) for seats in malicious_seats(*case, draws, 2)]
    both = sum(map(all, zip(blocked[::2], blocked[1::2], strict=True)))
    low, high = frequency_interval(both, draws // 2)
    assert low <= p_blocked(*case) ** 2 <= high


@pytest.mark.parametrize("suite", [REAL, MODELLED], ids=lambda suite: suite.name)
def test_the_seed_fixes_the_campaign(suite: Suite) -> None:
    case, draws = (12, 4, 6), 40
    seats = list(malicious_seats(*case, draws, 5, suite))
    assert len(seats) == draws
    assert seats == list(malicious_seats(*case, draws, 5, suite))
    assert seats[:33] == list(malicious_seats(*case, 33, 5, suite))
    assert seats != list(malicious_seats(*case, draws, 6, suite))
    assert blocked_and_captured(*case, draws, 5, suite) == (
        sum(s >= 2 for s in seats),
        sum(s >= 5 for s in seats),
    )


def test_none_and_all_malicious() -> None:
    assert blocked_and_captured(9, 0, 4, 50, 0) == (0, 0)
    assert blocked_and_captured(9, 9, 4, 50, 0) == (50, 50)
    assert set(malicious_seats(9, 3, 9, 50, 0)) == {3}
    with pytest.raises(ValueError, match="at least one committee"):
        blocked_and_captured(9, 3, 4, 0, 0)
    with pytest.raises(ValueError, match="int label"):
        blocked_and_captured(9, 3, 4, 1, -1)


@given(
    st.lists(st.binary(min_size=32, max_size=32) | st.sampled_from([bytes(32), b"\xff" * 32])),
    st.integers(0, 2**256 - 1),
    st.lists(st.integers(-(2**130), 2**130)),
    st.integers(1, 2**64),
    st.integers(1, 40),
)
def test_equal_stakes_race_in_the_order_of_their_hashes(
    far: list[bytes], middle: int, near: list[int], stake: int, size: int
) -> None:
    """Among far ones, and among those so near that their times are the same."""
    close = [min(max(middle + offset, 0), 2**256 - 1).to_bytes(32, "big") for offset in near]
    hashes = far + close
    by_race = sorted(range(len(hashes)), key=lambda index: race_key(hashes[index], stake))
    assert first_of_equal_stake(hashes, size) == by_race[:size]


def test_a_thousand_servers_race_in_the_order_of_their_hashes() -> None:
    hashes = [digest(b"%d" % server) for server in range(1_000)]
    by_race = sorted(range(1_000), key=lambda server: race_key(hashes[server], 1))
    assert first_of_equal_stake(hashes, 1_000) == by_race
