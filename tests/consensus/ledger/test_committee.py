"""Committees: who sits, what two thirds are, who proposes, and how often a third can block."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import count
from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from consensus.encoding.unixfs import file_cid
from consensus.ledger.committee import (
    ATTEMPTS_FORESEEN,
    DISTINCT_ATTEMPTS,
    Committee,
    Draw,
    InvalidTicket,
    _bar,
    aggregator_order,
    check_ticket,
    enough_draws,
    first_beacon,
    form_committee,
    is_worth_announcing,
    may_sit,
    next_beacon,
    public_draws,
    racing,
    spare_draws,
)
from consensus.ledger.sortition import race_key, role_hash
from consensus.protocols.bft.validity import sortition_of
from consensus.protocols.paper.validity import CANDIDATES_PER_SEAT
from consensus.protocols.registry import protocol_named, protocol_of
from consensus.records.genesis import Genesis, Member, Parameters
from tests.helpers.forge import Forge
from tests.helpers.toy import Toy


def genesis_of(
    stakes: Sequence[int], size: int, kind: str = "fixed", protocol: str = "bft"
) -> Genesis:
    return Genesis(
        Parameters(protocol, "modelled", kind, size, 3, 1, 1, 1, 1, 1, 1, 1),
        tuple(
            Member(i.to_bytes(32, "big"), (i + 10**6).to_bytes(32, "big"), stake)
            for i, stake in enumerate(stakes)
        ),
        (),
        file_cid(b""),
        {},
    )


def hashed_draws(servers: int, label: object) -> list[Draw]:
    """Draws with hashes in place of VRF outputs: as random, and a thousand times as fast."""
    return [
        Draw(server, hashlib.sha512(f"{label}/{server}".encode()).digest())
        for server in range(servers)
    ]


@settings(deadline=None)
@given(st.integers(1, 3000), st.integers(0, 3000))
def test_more_than_two_thirds_is_exact(total: int, approving: int) -> None:
    committee = Committee({}, total)
    assert committee.approves(approving) == (Fraction(approving, total) > Fraction(2, 3))


@settings(deadline=None)
@given(st.integers(1, 1000))
def test_exactly_two_thirds_do_not_approve(third: int) -> None:
    committee = Committee({}, 3 * third)
    assert not committee.approves(2 * third)
    assert committee.approves(2 * third + 1)


@settings(deadline=None)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=12), st.integers(1, 40))
def test_what_cannot_approve_any_more(weights: list[int], size: int) -> None:
    """Out of reach means: were all others to approve, it would still not be enough."""
    seats = dict(enumerate(weights))
    committee = Committee(seats, max(size, sum(weights)))
    for rejecting in range(sum(weights) + 1):
        assert committee.cannot_approve(rejecting) == (
            3 * (sum(weights) - rejecting) <= 2 * committee.total
        )


@settings(deadline=None)
@given(st.integers(1, 3000), st.integers(0, 3000))
def test_a_third_holds_back_and_five_sixths_overwhelm_exactly(total: int, weight: int) -> None:
    committee = Committee({}, total)
    assert committee.holds_back(weight) == (Fraction(weight, total) > Fraction(1, 3))
    assert committee.overwhelms(weight) == (Fraction(weight, total) > Fraction(5, 6))


@settings(deadline=None)
@given(st.integers(1, 400), st.integers(0, 400))
def test_no_other_two_thirds_follow_an_overwhelming_weight(total: int, bad: int) -> None:
    """Half the committee malicious, and each of them on both sides: still no second lock."""
    bad = min(bad, total // 2)
    committee = Committee({}, total)
    first = next(w for w in range(total + 2) if committee.overwhelms(w))
    if first <= total:
        assert not committee.approves(total - first + bad)


def test_few_draws_are_no_committee() -> None:
    """Two thirds are taken of the size that the genesis asks for, not of the draws at hand."""
    genesis = genesis_of([1] * 30, 20)
    draws = hashed_draws(30, "few")
    few = form_committee(genesis, draws[:13], 0)
    assert (len(few.weights), few.total) == (13, 20)
    assert not few.approves(few.weight_of(range(13)))
    assert few.cannot_approve(0)
    enough = form_committee(genesis, draws[:14], 0)
    assert enough.approves(enough.weight_of(range(14)))
    assert not enough.cannot_approve(0)
    assert not enough_draws(genesis, draws[:13])
    assert enough_draws(genesis, draws[:14])


def test_draws_that_are_enough() -> None:
    """More than two thirds of the seats; of the servers, where there are fewer of them."""
    fewer = genesis_of([1] * 6, 20)
    draws = hashed_draws(6, "enough")
    assert [enough_draws(fewer, draws[:count]) for count in range(7)] == [False] * 5 + [True] * 2
    assert [enough_draws(genesis_of([1], 1), draws[:count]) for count in (0, 1)] == [False, True]
    weighted = genesis_of([1] * 6, 20, "weighted")
    assert not enough_draws(weighted, [])
    assert enough_draws(weighted, draws[:1])


@settings(deadline=None)
@given(st.randoms(use_true_random=False), st.sampled_from(["fixed", "weighted"]))
def test_the_order_in_which_tickets_came_does_not_matter(random: object, kind: str) -> None:
    genesis = genesis_of([1, 5, 2, 9, 1, 1, 4, 3, 3, 1], 4, kind)
    draws = hashed_draws(10, "order")
    shuffled = list(draws)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    one, other = form_committee(genesis, draws, 0), form_committee(genesis, shuffled, 0)
    assert list(one.weights.items()) == list(other.weights.items())
    assert one.total == other.total
    assert aggregator_order(genesis, draws, 0) == aggregator_order(genesis, shuffled, 0)


@settings(deadline=None)
@given(st.integers(1, 9), st.integers(1, 12), st.integers(0, 10**6), st.integers(0, 3))
def test_equal_stakes_race_as_unequal_ones_do(
    stake: int, servers: int, label: int, attempt: int
) -> None:
    """The shortcut among equals gives the order of the finishing times."""
    genesis = genesis_of([stake] * servers, servers)
    draws = hashed_draws(servers, label)
    for role, order in [
        (f"aggregator/{attempt}", aggregator_order(genesis, draws, attempt)),
        (f"committee/{attempt}", tuple(form_committee(genesis, draws, attempt).weights)),
    ]:
        raced = sorted(draws, key=lambda draw: race_key(role_hash(draw.beta, role), stake))
        assert order == tuple(draw.server for draw in raced)


def test_a_fixed_committee_has_one_seat_each() -> None:
    committee = form_committee(genesis_of([1, 50] * 15, 20), hashed_draws(30, "seats"), 0)
    assert len(committee.weights) == committee.total == 20
    assert set(committee.weights.values()) == {1}
    assert committee.weight_of([*committee.weights, 999]) == 20


def test_a_weighted_committee_counts_seats_and_leaves_out_who_has_none() -> None:
    genesis = genesis_of([10] * 30, 20, "weighted")
    sizes = []
    for trial in range(300):
        committee = form_committee(genesis, hashed_draws(30, f"weighted{trial}"), trial % 3)
        seats = list(committee.weights.values())
        assert all(seats)
        assert seats == sorted(seats, reverse=True)
        assert committee.total == max(20, sum(seats))
        sizes.append(sum(seats))
    spread = (300 * 20 / 300 * (1 - 20 / 300) / 300) ** 0.5
    assert abs(np.mean(sizes) - 20) < 3.3 * spread


def test_a_committee_of_all_stake_seats_everyone_by_stake() -> None:
    committee = form_committee(genesis_of([1, 2, 3], 6, "weighted"), hashed_draws(3, "all"), 0)
    assert committee.weights == {0: 1, 1: 2, 2: 3}


@pytest.mark.parametrize("kind", ["fixed", "weighted"])
def test_each_attempt_draws_another_committee_and_another_order(kind: str) -> None:
    """The paper's input, the latest block, would draw the failed committee again. One proof per
    server serves them all."""
    forge = Forge(Toy(servers=12, clients=2, committee_size=6, committee=kind, stakes=[3] * 12))
    sortitions = [forge.sortition(attempt) for attempt in range(6)]
    assert len({frozenset(found.committee.weights.items()) for found in sortitions}) == 6
    assert len({found.order for found in sortitions}) == 6
    assert all(len(found.order) == 3 for found in sortitions), "MaxStep"


def test_attempts_are_drawn_independently() -> None:
    """Whether a server sits in one attempt says nothing about the next: of 12 servers 6 sit, and
    the two committees share as many as two independent draws do (hypergeometric, mean 3)."""
    genesis = genesis_of([1] * 12, 6)
    trials = 1500
    shared = [
        len(
            form_committee(genesis, draws, 0).weights.keys()
            & form_committee(genesis, draws, 1).weights.keys()
        )
        for draws in (hashed_draws(12, f"pairs{trial}") for trial in range(trials))
    ]
    spread = (6 * 0.5 * 0.5 * 6 / 11 / trials) ** 0.5
    assert abs(np.mean(shared) - 3.0) < 3.3 * spread
    blocked = [
        [form_committee(genesis, draws, attempt).weight_of(range(4)) >= 2 for attempt in (0, 1)]
        for draws in (hashed_draws(12, f"blocked{trial}") for trial in range(trials))
    ]
    both, either = sum(map(all, blocked)), np.mean(np.array(blocked, float))
    assert within(both, trials, float(either) ** 2)


def test_who_votes_says_nothing_about_who_proposes() -> None:
    """One proof serves two roles, by independent hashes: the best seat leads no more often."""
    genesis = genesis_of([1] * 10, 10)
    firsts = 0
    for trial in range(2000):
        draws = hashed_draws(10, f"roles{trial}")
        best = next(iter(form_committee(genesis, draws, 0).weights))
        firsts += aggregator_order(genesis, draws, 0)[0] == best
    assert within(firsts, 2000, 0.1)


@pytest.mark.parametrize("crypto", ["real", "modelled"])
def test_a_ticket_is_checked_against_its_server_and_its_place(crypto: str) -> None:
    forge = Forge(Toy(servers=4, clients=1, crypto=crypto))
    ticket, draw = forge.draw(2)
    beacon = forge.head.beacon
    assert check_ticket(forge.genesis, beacon, ticket) == draw
    wrong = [
        replace(ticket, server=1),
        replace(ticket, server=4),
        replace(ticket, height=1),
        replace(ticket, height=3),
        replace(ticket, proof=bytes(80)),
        replace(ticket, proof=ticket.proof[:-1] + bytes([ticket.proof[-1] ^ 1])),
        replace(ticket, proof=bytes([ticket.proof[0] ^ 1]) + ticket.proof[1:]),
    ]
    for altered in wrong:
        with pytest.raises(InvalidTicket):
            check_ticket(forge.genesis, beacon, altered)
    with pytest.raises(InvalidTicket):
        check_ticket(forge.genesis, next_beacon(beacon, draw.beta), ticket)
    other = Forge(Toy(servers=4, clients=1, crypto=crypto, quota=7))
    assert other.genesis.chain_id != forge.genesis.chain_id
    with pytest.raises(InvalidTicket):
        check_ticket(other.genesis, beacon, ticket)


def test_beacons_depend_on_the_chain_and_on_every_output_before() -> None:
    one, other = Toy(seed=1).genesis, Toy(seed=2).genesis
    assert first_beacon(one) != first_beacon(other)
    start = first_beacon(one)
    assert len(start) == len(next_beacon(start, bytes(64))) == 32
    steps = {next_beacon(start, bytes([i] * 64)) for i in range(5)}
    assert len(steps) == 5
    assert next_beacon(next_beacon(start, bytes(64)), bytes(64)) not in steps


# -- the first height, whose draws no block records -----------------------------------------------


def test_the_first_draws_are_public_and_each_servers_own() -> None:
    genesis = Toy(servers=12, clients=1, committee_size=6, seed=1).genesis
    draws = public_draws(genesis)
    assert [draw.server for draw in draws] == list(range(12))
    assert len({draw.beta for draw in draws}) == 12
    assert {len(draw.beta) for draw in draws} == {64}
    assert draws == protocol_of(genesis).first_head(genesis).draws
    again = replace(genesis, timestamp=1)
    assert public_draws(again) != draws, "another chain, other draws"
    assert protocol_named("paper").first_head(genesis).draws == ()


def test_public_draws_seat_everyone_as_often() -> None:
    seats = np.zeros(6)
    for seed in range(400):
        genesis = replace(genesis_of([1] * 6, 2), timestamp=seed)
        for server in form_committee(genesis, public_draws(genesis), 0).weights:
            seats[server] += 1
    low, high = binom.interval(0.999, 400, 1 / 3)
    assert (low <= seats).all()
    assert (seats <= high).all()


# -- seats that no ticket fills --------------------------------------------------------------------

BEACON = bytes(range(32))


def with_spares(genesis: Genesis, draws: list[Draw], attempt: int) -> tuple[Committee, list[int]]:
    spares = spare_draws(genesis, BEACON, draws)
    order = aggregator_order(genesis, draws, attempt, spares)
    return form_committee(genesis, draws, attempt, spares), list(order)


def raced(genesis: Genesis, draws: list[Draw], attempt: int) -> tuple[Committee, list[int]]:
    first, last = racing(genesis, BEACON, draws, attempt)
    order = aggregator_order(genesis, first, attempt, last)
    return form_committee(genesis, first, attempt, last), list(order)


def test_spare_draws_are_public_and_of_those_without_a_ticket() -> None:
    genesis = genesis_of([1] * 9, 6)
    draws = hashed_draws(9, "spare")
    spares = spare_draws(genesis, BEACON, draws[:5])
    assert [spare.server for spare in spares] == [5, 6, 7, 8]
    assert {len(spare.beta) for spare in spares} == {64}
    assert spare_draws(genesis, bytes(32), draws[:5]) != spares
    assert spare_draws(genesis, BEACON, draws[2:7])[-2:] == spares[-2:]
    assert spare_draws(genesis, BEACON, draws) == ()


def test_who_has_no_ticket_comes_last_and_fills_what_is_left() -> None:
    genesis = genesis_of([1, 2, 3] * 3, 6)
    draws = hashed_draws(9, "last")
    for attempt in range(5):
        committee, order = with_spares(genesis, draws[:4], attempt)
        members = list(committee.weights)
        assert (len(members), committee.total) == (6, 6)
        assert set(members[:4]) == set(order[:4]) == {0, 1, 2, 3}
        assert set(members[4:]) < {4, 5, 6, 7, 8} == set(order[4:])
        committee, _ = with_spares(genesis, draws[:7], attempt)
        assert committee == form_committee(genesis, draws[:7], attempt)
    filled = {tuple(with_spares(genesis, draws[:4], attempt)[0].weights) for attempt in range(9)}
    assert len(filled) > 4, "attempts differ in these, too"


@pytest.mark.parametrize("kind", ["fixed", "weighted"])
def test_all_race_once_the_attempts_that_tickets_were_announced_for_are_over(kind: str) -> None:
    genesis = genesis_of([4] * 10, 6 if kind == "fixed" else 20, kind)
    draws = hashed_draws(10, "late spares")[:6]
    everyone = spare_draws(genesis, BEACON, ())
    for attempt in range(ATTEMPTS_FORESEEN):
        committee, order = raced(genesis, draws, attempt)
        assert set(committee.weights) <= set(range(6))
        assert committee == form_committee(genesis, draws, attempt)
        assert order[:6] == list(aggregator_order(genesis, draws, attempt))
    late = range(ATTEMPTS_FORESEEN, ATTEMPTS_FORESEEN + 30)
    for attempt in late:
        committee, order = raced(genesis, draws, attempt)
        assert committee == form_committee(genesis, everyone, attempt)
        assert order == list(aggregator_order(genesis, everyone, attempt))
    members = {server for attempt in late for server in raced(genesis, draws, attempt)[0].weights}
    leaders = {raced(genesis, draws, attempt)[1][0] for attempt in late}
    assert members == leaders == set(range(10))


@pytest.mark.parametrize("kind", ["fixed", "weighted"])
@pytest.mark.parametrize("stakes", [[4] * 30, [1, 2, 3] * 10, [0] * 3 + [5] * 27])
def test_no_server_chooses_between_two_draws_for_a_late_attempt(
    kind: str, stakes: list[int]
) -> None:
    """It may withhold its ticket, or not: whose ticket is missing makes no difference."""
    genesis = genesis_of(stakes, 10, kind)
    draws = hashed_draws(30, "withheld")
    late = range(ATTEMPTS_FORESEEN, DISTINCT_ATTEMPTS)
    worlds = [
        [raced(genesis, [d for d in draws if d.server not in some], each) for each in late]
        for some in ({5}, {29}, set(range(3, 9)), set(range(3, 30, 2)))
    ]
    assert all(world == worlds[0] for world in worlds)
    whole = [raced(genesis, draws, each)[0] for each in late]
    assert whole == [form_committee(genesis, draws[3 * (not stakes[0]) :], a) for a in late]


def seated(genesis: Genesis, attempts: Iterable[int]) -> list[dict[int, int]]:
    """The committees of attempts, all of whose draws are recorded."""
    draws = hashed_draws(len(genesis.servers), "distinct")
    return [raced(genesis, draws, attempt)[0].weights for attempt in attempts]


@pytest.mark.parametrize(
    ("stakes", "size", "kind"),
    [
        ([1] * 30, 10, "fixed"),
        ([5] * 30, 14, "fixed"),  # ten of fourteen are more than two thirds
        ([1] * 12 + [9] * 8, 10, "fixed"),  # twelve have a seventh of the stake, and may have all
        ([4] * 12, 20, "weighted"),
    ],
)
def test_committees_that_may_be_captured_come_round_again(
    stakes: list[int], size: int, kind: str
) -> None:
    """Whoever looks for a captured one among later attempts finds none that was not there."""
    genesis = genesis_of(stakes, size, kind)
    late = seated(genesis, range(ATTEMPTS_FORESEEN, DISTINCT_ATTEMPTS))
    assert len({tuple(each.items()) for each in late}) == len(late)
    assert seated(genesis, range(DISTINCT_ATTEMPTS, DISTINCT_ATTEMPTS + 2 * len(late))) == 2 * late
    far = ATTEMPTS_FORESEEN + len(late) * 2**40 + 3
    assert seated(genesis, [far]) == [late[3]]
    draws = hashed_draws(len(stakes), "distinct")
    turns = {tuple(raced(genesis, draws, far + each * len(late))[1]) for each in range(5)}
    assert len(turns) == 5, "the turns are drawn anew, for honest leaders among them"


@pytest.mark.parametrize(
    ("stakes", "size"), [([1] * 30, 20), ([5] * 30, 15), ([9, 9, 9, 1, 1, 1], 5)]
)
def test_committees_that_a_third_cannot_capture_are_always_fresh(
    stakes: list[int], size: int
) -> None:
    genesis = genesis_of(stakes, size)
    again = seated(genesis, range(ATTEMPTS_FORESEEN, DISTINCT_ATTEMPTS))
    assert seated(genesis, range(DISTINCT_ATTEMPTS, DISTINCT_ATTEMPTS + len(again))) != again


@settings(deadline=None)
@given(
    st.sets(st.integers(0, 9)),
    st.integers(1, 12),
    st.integers(0, ATTEMPTS_FORESEEN - 1),
    st.sampled_from(["fixed", "weighted"]),
)
def test_spares_that_are_left_out_would_change_nothing(
    servers: set[int], size: int, attempt: int, kind: str
) -> None:
    genesis = genesis_of([1, 2] * 5, size, kind)
    draws = [draw for draw in hashed_draws(10, "needs") if draw.server in servers]
    first, last = racing(genesis, BEACON, draws, attempt)
    assert list(first) == draws
    if not last:
        committee, order = with_spares(genesis, draws, attempt)
        assert committee == form_committee(genesis, draws, attempt)
        steps = genesis.parameters.max_step
        assert tuple(order[:steps]) == aggregator_order(genesis, draws, attempt)[:steps]


# -- which draws are worth a message ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("servers", "size", "kind", "stakes"),
    [
        (300, 20, "fixed", [1]),
        (300, 20, "fixed", [1, 2, 10]),
        (250, 5, "fixed", [1]),
        (250, 10, "weighted", [1, 3]),
    ],
)
def test_every_winner_of_the_first_attempts_announces_its_draw(
    servers: int, size: int, kind: str, stakes: list[int]
) -> None:
    """Left out are only draws that win no seat, so the committees are those of all draws."""
    genesis = genesis_of((stakes * servers)[:servers], size, kind)
    left_out = 0
    for trial in range(60 if kind == "fixed" else 25):
        draws = hashed_draws(servers, f"worth{trial}")
        worth = [draw for draw in draws if is_worth_announcing(genesis, draw)]
        left_out += servers - len(worth)
        for attempt in range(ATTEMPTS_FORESEEN):
            whole = form_committee(genesis, draws, attempt)
            assert form_committee(genesis, worth, attempt).weights == whole.weights
    assert left_out > 0


def test_few_servers_all_announce_their_draws() -> None:
    for kind in ("fixed", "weighted"):
        genesis = genesis_of([1] * 160, 10, kind)
        assert all(is_worth_announcing(genesis, draw) for draw in hashed_draws(160, "all"))


@given(st.integers(1, 10**9), st.integers(1, 10**9), st.integers(-2, 2))
def test_a_bar_is_the_share_of_all_hashes(share: int, of: int, off: int) -> None:
    """To the last hash, also where it is all of them."""
    near = share * 2**256 // of + off
    for number in {0, min(max(0, near), 2**256 - 1), 2**256 - 1}:
        below = number * of < share * 2**256
        assert (number.to_bytes(32, "big") < _bar(share, of)) is below


def test_at_a_thousand_servers_few_draws_travel() -> None:
    genesis = genesis_of([1] * 1000, 20)
    worth = sum(is_worth_announcing(genesis, draw) for draw in hashed_draws(1000, "many"))
    expected = 1000 * (1 - (1 - 60 / 1000) ** ATTEMPTS_FORESEEN)
    assert abs(worth - expected) < 4 * (expected * (1 - expected / 1000)) ** 0.5


# -- paper: who may sit ----------------------------------------------------------------------------


def test_who_may_sit_is_said_by_stake_and_output() -> None:
    """Twice as many as there are seats are expected to, in proportion to their stakes."""
    genesis = genesis_of([1] * 30 + [3] * 10, 10, protocol="paper")
    trials = 400
    hits = np.zeros(40)
    for trial in range(trials):
        hits += [
            may_sit(genesis, draw, CANDIDATES_PER_SEAT) for draw in hashed_draws(40, f"sit{trial}")
        ]
    assert within(int(hits[:30].sum()), 30 * trials, 20 / 60)
    assert (hits[30:] == trials).all(), "three sixtieths of the stake, times twenty: always"


def test_whether_a_draw_may_sit_has_an_exact_bar() -> None:
    genesis = genesis_of([1, 3], 1, protocol="paper")
    for candidates in range(1, 6):
        for server, stake in ((0, 1), (1, 3)):
            draws = [Draw(server, bytes([trial]) * 64) for trial in range(50)]
            for draw in draws:
                hashed = int.from_bytes(role_hash(draw.beta, "committee"), "big")
                wins = Fraction(hashed, 2**256) < Fraction(candidates * stake, 4)
                assert may_sit(genesis, draw, candidates) == wins


# -- what a third of malicious servers can do: the table of the protocol's analysis ----------------


def hypergeometric(servers: int, bad: int, seats: int) -> tuple[float, float]:
    """P(the malicious members block a committee), P(they capture it)."""
    probability = [
        comb(bad, k) * comb(servers - bad, seats - k) / comb(servers, seats)
        for k in range(seats + 1)
    ]
    block = sum(p for k, p in enumerate(probability) if 3 * (seats - k) <= 2 * seats)
    capture = sum(p for k, p in enumerate(probability) if 3 * k > 2 * seats)
    return block, capture


def test_the_published_frequencies_are_the_hypergeometric_ones() -> None:
    assert hypergeometric(30, 10, 10) == pytest.approx((0.440, 4.8e-3), rel=0.01)
    assert hypergeometric(30, 10, 20) == pytest.approx((0.560, 0.0), rel=0.01)
    assert hypergeometric(100, 33, 10) == pytest.approx((0.431, 1.4e-2), rel=0.03)
    assert hypergeometric(100, 33, 20) == pytest.approx((0.514, 1.7e-4), rel=0.03)


def within(hits: int, trials: int, probability: float) -> bool:
    low, high = binom.interval(0.99, trials, probability)
    return bool(low <= hits <= high)


@pytest.mark.parametrize(
    ("servers", "bad", "seats", "trials"),
    [(30, 10, 10, 3000), (30, 10, 20, 2000), (100, 33, 10, 600), (9, 3, 4, 4000)],
)
def test_simulated_committees_match_theory(servers: int, bad: int, seats: int, trials: int) -> None:
    genesis = genesis_of([1] * servers, seats)
    blocked = captured = 0
    for trial in range(trials):
        draws = hashed_draws(servers, f"{servers}/{seats}/{trial}")
        committee = form_committee(genesis, draws, trial % 4)
        malicious = committee.weight_of(range(bad))
        blocked += committee.cannot_approve(malicious)
        captured += committee.approves(malicious)
    block, capture = hypergeometric(servers, bad, seats)
    assert within(blocked, trials, block)
    assert within(captured, trials, capture)


def test_real_proofs_draw_like_hashes_do() -> None:
    """The same with real keys and proofs, over attempts and chained beacons."""
    toy = Toy(servers=9, clients=1, committee_size=4)
    heads = [toy.world.head]
    for _ in range(5):
        toy.play()
        heads.append(toy.world.head)
    trials, blocked, captured = 300, 0, 0
    for trial in range(trials):
        committee = sortition_of(toy.genesis, heads[trial % 6], trial // 6).committee
        malicious = committee.weight_of(range(3))
        blocked += committee.cannot_approve(malicious)
        captured += committee.approves(malicious)
    block, capture = hypergeometric(9, 3, 4)
    assert within(blocked, trials, block)
    assert within(captured, trials, capture)


def test_stake_seats_in_proportion() -> None:
    """A server with three times the stake takes the first seat three times as often."""
    genesis = genesis_of([3, 1, 1, 1, 1, 1], 1)
    trials = 3000
    won = sum(
        0 in form_committee(genesis, hashed_draws(6, f"stake{trial}"), 0).weights
        for trial in range(trials)
    )
    assert within(won, trials, 3 / 8)


def test_the_first_aggregator_is_malicious_a_third_of_the_time() -> None:
    genesis = genesis_of([1] * 30, 20)
    trials = (aggregator_order(genesis, hashed_draws(30, f"first{i}"), 0) for i in count())
    bad = sum(next(trials)[0] < 10 for _ in range(1000))
    assert within(bad, 1000, 1 / 3)
