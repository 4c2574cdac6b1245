"""Committees: who sits, what two thirds are, who proposes, and how often a third can block."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import count
from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from consensus.committee import (
    Committee,
    Draw,
    InvalidTicket,
    aggregator_order,
    check_ticket,
    first_beacon,
    form_committee,
    next_beacon,
)
from consensus.encoding import file_cid
from consensus.genesis import Genesis, Member, Parameters
from consensus.records import Ticket
from tests.forge import Forge
from tests.toy import Toy


def genesis_of(stakes: Sequence[int], size: int, kind: str = "fixed") -> Genesis:
    return Genesis(
        Parameters(kind, size, 3, 1, 1, 1, 1),
        tuple(
            Member(i.to_bytes(32, "big"), (i + 10**6).to_bytes(32, "big"), stake)
            for i, stake in enumerate(stakes)
        ),
        (),
        file_cid(b""),
        {},
    )


def hashed_draws(servers: int, label: object, attempt: int = 0) -> list[Draw]:
    """Draws with hashes in place of VRF outputs: as random, and a thousand times as fast."""
    return [
        Draw(
            Ticket(1, attempt, server, bytes(80)),
            hashlib.sha512(f"{label}/{attempt}/{server}".encode()).digest(),
        )
        for server in range(servers)
    ]


@settings(deadline=None)
@given(st.integers(1, 3000), st.integers(0, 3000))
def test_more_than_two_thirds_is_exact(total: int, approving: int) -> None:
    committee = Committee((), {}, total)
    assert committee.approves(approving) == (Fraction(approving, total) > Fraction(2, 3))


@settings(deadline=None)
@given(st.integers(1, 1000))
def test_exactly_two_thirds_do_not_approve(third: int) -> None:
    committee = Committee((), {}, 3 * third)
    assert not committee.approves(2 * third)
    assert committee.approves(2 * third + 1)


@settings(deadline=None)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=12), st.integers(1, 40))
def test_what_cannot_approve_any_more(weights: list[int], size: int) -> None:
    """Out of reach means: were all others to approve, it would still not be enough."""
    seats = dict(enumerate(weights))
    committee = Committee((), seats, max(size, sum(weights)))
    for rejecting in range(sum(weights) + 1):
        assert committee.cannot_approve(rejecting) == (
            3 * (sum(weights) - rejecting) <= 2 * committee.total
        )


def test_few_tickets_are_no_committee() -> None:
    """Two thirds are taken of the size that the genesis asks for, not of the tickets at hand."""
    genesis = genesis_of([1] * 30, 20)
    draws = hashed_draws(30, "few")
    few = form_committee(genesis, draws[:13])
    assert (len(few.tickets), few.total) == (13, 20)
    assert not few.approves(few.weight_of(range(13)))
    assert few.cannot_approve(0)
    enough = form_committee(genesis, draws[:14])
    assert enough.approves(enough.weight_of(range(14)))
    assert not enough.cannot_approve(0)


@settings(deadline=None)
@given(st.randoms(use_true_random=False), st.sampled_from(["fixed", "weighted"]))
def test_the_order_in_which_tickets_came_does_not_matter(random: object, kind: str) -> None:
    genesis = genesis_of([1, 5, 2, 9, 1, 1, 4, 3, 3, 1], 4, kind)
    draws = hashed_draws(10, "order")
    shuffled = list(draws)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    one, other = form_committee(genesis, draws), form_committee(genesis, shuffled)
    assert (one.tickets, one.weights, one.total, one.digest) == (
        other.tickets,
        other.weights,
        other.total,
        other.digest,
    )
    assert aggregator_order(genesis, draws) == aggregator_order(genesis, shuffled)


@pytest.mark.parametrize("kind", ["fixed", "weighted"])
def test_draws_are_compared_by_beta_not_by_proof(kind: str) -> None:
    """A holder can make many proofs of its one draw: trying them gains it nothing."""
    genesis = genesis_of([3] * 10, 5, kind)
    draws = hashed_draws(10, "proofs")
    remade = [
        Draw(replace(draw.ticket, proof=bytes(32) + bytes([draw.ticket.server] * 48)), draw.beta)
        for draw in draws
    ]
    one, other = form_committee(genesis, draws), form_committee(genesis, remade)
    assert one.weights == other.weights
    assert [t.server for t in one.tickets] == [t.server for t in other.tickets]
    assert one.digest == other.digest
    assert aggregator_order(genesis, draws) == aggregator_order(genesis, remade)


def test_a_fixed_committee_has_one_seat_each() -> None:
    committee = form_committee(genesis_of([1, 50] * 15, 20), hashed_draws(30, "seats"))
    assert len(committee.tickets) == len(committee.weights) == committee.total == 20
    assert set(committee.weights.values()) == {1}
    assert committee.weight_of([*committee.weights, 999]) == 20


def test_a_weighted_committee_counts_seats_and_leaves_out_who_has_none() -> None:
    genesis = genesis_of([10] * 30, 20, "weighted")
    sizes = []
    for trial in range(300):
        committee = form_committee(genesis, hashed_draws(30, f"weighted{trial}"))
        assert all(seats > 0 for seats in committee.weights.values())
        assert committee.total == max(20, sum(committee.weights.values()))
        sizes.append(sum(committee.weights.values()))
    spread = (300 * 20 / 300 * (1 - 20 / 300) / 300) ** 0.5
    assert abs(np.mean(sizes) - 20) < 3.3 * spread


def test_a_committee_of_all_stake_seats_everyone_by_stake() -> None:
    committee = form_committee(genesis_of([1, 2, 3], 6, "weighted"), hashed_draws(3, "all"))
    assert committee.weights == {0: 1, 1: 2, 2: 3}


def test_each_attempt_draws_another_committee_and_another_order() -> None:
    """The paper's input, the latest block, would draw the failed committee again."""
    forge = Forge(Toy(servers=12, clients=2, committee_size=6))
    committees = [form_committee(forge.genesis, forge.draws(attempt)) for attempt in range(4)]
    assert len({frozenset(committee.weights) for committee in committees}) == 4
    assert len({forge.order(attempt) for attempt in range(4)}) == 4


def test_who_votes_says_nothing_about_who_proposes() -> None:
    """One proof serves two roles, by independent hashes: the best seat leads no more often."""
    genesis = genesis_of([1] * 10, 10)
    firsts = 0
    for trial in range(2000):
        draws = hashed_draws(10, f"roles{trial}")
        best = form_committee(genesis, draws).tickets[0].server
        firsts += aggregator_order(genesis, draws)[0] == best
    low, high = binom.interval(0.99, 2000, 0.1)
    assert low <= firsts <= high


def test_a_ticket_is_checked_against_its_server_and_its_place() -> None:
    forge = Forge(Toy(servers=4, clients=1))
    draw = forge.draw(2)
    beacon = forge.head.beacon
    assert check_ticket(forge.genesis, beacon, draw.ticket) == draw
    wrong = [
        replace(draw.ticket, server=1),
        replace(draw.ticket, server=4),
        replace(draw.ticket, height=2),
        replace(draw.ticket, attempt=1),
        replace(draw.ticket, proof=bytes(80)),
        replace(draw.ticket, proof=draw.ticket.proof[:-1] + bytes([draw.ticket.proof[-1] ^ 1])),
    ]
    for ticket in wrong:
        with pytest.raises(InvalidTicket):
            check_ticket(forge.genesis, beacon, ticket)
    with pytest.raises(InvalidTicket):
        check_ticket(forge.genesis, next_beacon(beacon, draw.beta), draw.ticket)


def test_beacons_depend_on_the_chain_and_on_every_output_before() -> None:
    one, other = Toy(seed=1).genesis, Toy(seed=2).genesis
    assert first_beacon(one) != first_beacon(other)
    start = first_beacon(one)
    assert len(start) == len(next_beacon(start, bytes(64))) == 32
    steps = {next_beacon(start, bytes([i] * 64)) for i in range(5)}
    assert len(steps) == 5
    assert next_beacon(next_beacon(start, bytes(64)), bytes(64)) not in steps


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
        committee = form_committee(genesis, hashed_draws(servers, f"{servers}/{seats}/{trial}"))
        malicious = committee.weight_of(range(bad))
        blocked += committee.cannot_approve(malicious)
        captured += committee.approves(malicious)
    block, capture = hypergeometric(servers, bad, seats)
    assert within(blocked, trials, block)
    assert within(captured, trials, capture)


def test_real_proofs_draw_like_hashes_do() -> None:
    """The same with real keys and proofs, over attempts and chained beacons."""
    toy = Toy(servers=9, clients=1, committee_size=4)
    forge = Forge(toy)
    trials, blocked, captured = 250, 0, 0
    for attempt in range(trials):
        committee = form_committee(forge.genesis, forge.draws(attempt))
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
        0 in form_committee(genesis, hashed_draws(6, f"stake{trial}")).weights
        for trial in range(trials)
    )
    assert within(won, trials, 3 / 8)


def test_the_first_aggregator_is_malicious_a_third_of_the_time() -> None:
    genesis = genesis_of([1] * 30, 20)
    trials = (aggregator_order(genesis, hashed_draws(30, f"first{i}")) for i in count())
    bad = sum(next(trials)[0] < 10 for _ in range(1000))
    assert within(bad, 1000, 1 / 3)
