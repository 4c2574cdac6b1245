"""The rule by which stake moves: it is conserved, and takes from nobody but offenders and absent
members."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consensus.encoding.unixfs import file_cid
from consensus.ledger.committee import Committee
from consensus.ledger.stakes import FORGIVEN, LAG, Stakes, moved
from consensus.records.evidence import Evidence
from consensus.records.genesis import MILLION, Incentives
from tests.helpers.incentives import RULE, SERVERS, staked

WHOLE = st.integers(0, MILLION)
rules = st.builds(
    Incentives,
    treasury=st.just(0),
    slash=st.integers(1, MILLION),
    report=WHOLE,
    reward=WHOLE,
    propose=WHOLE,
    leak=WHOLE,
    patience=st.integers(0, 3),
    window=st.integers(1, 9),
    use=WHOLE,
)
amounts = st.one_of(st.integers(0, 20), st.integers(0, 10**17))


def against(server: int, height: int) -> Evidence:
    """Evidence, which `moved` believes."""
    said = file_cid(b"a"), file_cid(b"b")
    return Evidence(server, height, (0, 0), "soft", said, (bytes(64), bytes(64)))


@st.composite
def moves(draw: st.DrawFn) -> tuple[Stakes, tuple[object, ...]]:
    """Any stakes, and the further arguments of `moved`."""
    count = draw(st.integers(1, 6))
    some = st.lists(st.integers(0, count - 1), unique=True, max_size=count)
    held = tuple(draw(st.lists(amounts, min_size=count, max_size=count)))
    stakes = Stakes(held, draw(amounts), (draw(st.integers(0, 4)),) * count)
    evidence = sorted((draw(st.integers(1, 9)), server) for server in draw(some))
    seated = draw(some)
    committee = Committee({s: draw(st.integers(1, 3)) for s in seated}, draw(st.integers(1, 5)))
    committee = replace(committee, total=max(committee.total, sum(committee.weights.values())))
    signers = [server for server in seated if draw(st.booleans())]
    useful, left, uses = sorted(draw(some)), MILLION, []
    for server in useful:
        share = draw(st.integers(0, left))
        uses, left = [*uses, (server, share)], left - share
    return stakes, (
        draw(rules),
        10,
        draw(st.integers(0, count - 1)),
        [against(server, height) for height, server in evidence],
        draw(st.sampled_from((None, committee))),
        signers,
        tuple(uses),
    )


@given(moves())
def test_stake_is_conserved_and_never_negative(move: tuple[Stakes, tuple[object, ...]]) -> None:
    before, arguments = move
    after = moved(before, *arguments)  # type: ignore[arg-type]
    assert after.total == before.total
    assert min(*after.held, after.treasury) >= 0


@given(moves())
def test_only_offenders_and_absent_members_lose_stake(
    move: tuple[Stakes, tuple[object, ...]],
) -> None:
    before, arguments = move
    rule, _, _, evidence, committee, signers, _ = arguments
    after = moved(before, *arguments)  # type: ignore[arg-type]
    guilty = {each.server for each in evidence}  # type: ignore[attr-defined]
    weights = {} if committee is None else committee.weights  # type: ignore[attr-defined]
    patient = before.absences[0] + 1 <= rule.patience  # type: ignore[attr-defined]
    for server, (old, new) in enumerate(zip(before.held, after.held, strict=True)):
        absent = server in weights and server not in signers and not patient  # type: ignore[operator]
        if server not in guilty and not absent:
            assert new >= old
        if server in guilty and old:
            assert new < old, "an offender gets no reward in the same block"


BEFORE = Stakes((100, 100, 100, 100), 1000, (0,) * 4)
SEATS = Committee({0: 1, 1: 1, 2: 1}, 3)
EASY = replace(RULE, report=100_000, reward=100_000, propose=0, leak=500_000, patience=1)


def test_evidence_takes_a_share_and_pays_whoever_brings_it() -> None:
    after = moved(BEFORE, EASY, 5, 1, [against(0, 4)], None, ())
    assert (after.held, after.treasury) == ((50, 105, 100, 100), 1045)
    assert after.offences == ((4, 0),)
    twice = moved(BEFORE, EASY, 5, 1, [against(0, 3), against(0, 4)], None, ())
    assert twice.held == (25, 107, 100, 100)


def test_who_brings_evidence_against_itself_gets_nothing_of_it() -> None:
    after = moved(BEFORE, EASY, 5, 0, [against(0, 4)], None, ())
    assert (after.held, after.treasury) == ((50, 100, 100, 100), 1050)


def test_the_smallest_stake_is_taken_whole() -> None:
    poor = replace(BEFORE, held=(1, 100, 100, 100))
    assert moved(poor, EASY, 5, 1, [against(0, 4)], None, ()).held[0] == 0


def test_signatures_earn_the_share_of_their_seats() -> None:
    after = moved(BEFORE, EASY, 5, 3, [], SEATS, (0, 1))
    assert (after.held, after.treasury) == ((133, 133, 100, 100), 934)
    assert after.absences == (0, 0, 1, 0)


def test_a_share_of_what_is_paid_goes_by_use() -> None:
    rule = replace(EASY, use=500_000)
    after = moved(BEFORE, rule, 5, 3, [], SEATS, (0, 1, 2), ((0, 400_000), (3, 100_000)))
    assert after.held == (136, 116, 116, 105)
    assert after.treasury == 1000 - 73
    nobody = moved(BEFORE, rule, 5, 3, [], SEATS, (0, 1, 2))
    assert nobody.held == (116, 116, 116, 100), "what is not paid by use stays in the treasury"


def test_offenders_and_whoever_has_nothing_are_not_paid_by_use() -> None:
    rule, uses = replace(EASY, use=1_000_000, report=0), ((0, 500_000), (2, 500_000))
    poor = replace(BEFORE, held=(100, 100, 0, 100))
    after = moved(poor, rule, 5, 3, [against(0, 4)], SEATS, (0, 1), uses)
    assert after.held == (50, 100, 0, 100)
    assert moved(BEFORE, rule, 1, 3, [], None, (), uses).held == BEFORE.held, "block 1 pays nothing"


def test_an_aggregator_gains_nothing_by_leaving_signatures_out() -> None:
    rule = replace(EASY, propose=500_000)
    gains = []
    for signers in ((0,), (0, 1), (0, 1, 2)):
        after = moved(BEFORE, rule, 5, 3, [], SEATS, signers)
        gains.append(after.held[3])
        assert after.held[0] == 116, "nor does who signed"
    assert gains == [116, 133, 150]


def test_an_absent_member_leaks_only_once_patience_ends_and_is_forgiven() -> None:
    stakes = BEFORE
    held = []
    for height in range(2, 6):
        stakes = moved(stakes, replace(EASY, reward=0), height, 3, [], SEATS, (0, 1))
        held.append(stakes.held[2])
    assert held == [100, 50, 25, 12]
    stakes = moved(stakes, replace(EASY, reward=0), 6, 3, [], SEATS, (0, 1, 2))
    assert stakes.absences[2] == 4 - FORGIVEN
    assert stakes.held[3] == 100, "who has no seat is not absent"


def test_evidence_counts_once_for_a_height_in_its_window_and_while_there_is_stake() -> None:
    stakes = replace(BEFORE, held=(0, 1, 1, 1), offences=((6, 1),))
    punished = {
        (server, height)
        for server in range(6)
        for height in range(1, 14)
        if stakes.is_punishable(against(server, height), 10, window=5)
    }
    assert punished == {(s, h) for s in (1, 2, 3) for h in range(5, 10)} - {(1, 6)}


def test_offences_are_forgotten_when_they_no_longer_count() -> None:
    rule, stakes = replace(EASY, window=3, slash=1), BEFORE
    for height in range(2, 40):
        found = [against(server, height - 1) for server in range(4)]
        assert all(stakes.is_punishable(each, height, rule.window) for each in found)
        stakes = moved(stakes, rule, height, 1, found, None, ())
        assert not any(stakes.is_punishable(each, height + 1, rule.window) for each in found)
    assert {height for height, _ in stakes.offences} == {37, 38}


def test_stake_counts_in_sortition_some_blocks_later() -> None:
    stakes, history = BEFORE, [BEFORE.held]
    for height in range(2, 8):
        stakes = moved(stakes, EASY, height, 3, [], SEATS, (0, 1))
        history.append(stakes.held)
        assert stakes.seated == history[max(0, len(history) - 1 - LAG)]


def test_the_digest_covers_all_that_the_next_block_depends_on() -> None:
    same = replace(BEFORE)
    assert same.digest == BEFORE.digest
    changed = (
        replace(BEFORE, held=(101, 99, 100, 100)),
        replace(BEFORE, treasury=1001),
        replace(BEFORE, absences=(1, 0, 0, 0)),
        replace(BEFORE, offences=((1, 1),)),
    )
    assert len({BEFORE.digest, *(each.digest for each in changed)}) == 5


def test_servers_without_stake_have_no_seats_and_leave_fewer() -> None:
    genesis = staked().genesis
    fewer = genesis.with_stakes((0, 0, 0, 5, 5, 5, 5))
    assert fewer.stakes == (0, 0, 0, 5, 5, 5, 5)
    assert fewer.parameters.committee_size == 4
    assert fewer is genesis.with_stakes((0, 0, 0, 5, 5, 5, 5))
    assert genesis.with_stakes((0,) * SERVERS) is genesis, "all is lost: all sit again"


@pytest.mark.parametrize("count", [20])
def test_few_such_records_are_kept(count: int) -> None:
    genesis = staked().genesis
    for stake in range(1, count):
        genesis.with_stakes((stake,) * SERVERS)
    assert len(vars(genesis)["_moved"]) <= 8
