"""Committees: the voters of an attempt, their weights, and the order in which servers propose.

Under ``bft`` every server makes one VRF ticket per height, a height ahead, and the block before
records them: from then on everybody knows the same draws. Independent hashes of a draw's output
beta decide, attempt by attempt, its holder's seat and its place among the aggregators, and (if its
block is accepted) the next beacon. One proof serves all of them; in the random-oracle model they
are as independent as if each had an input of its own.

Under ``paper`` a ticket is drawn on the latest block when it is needed. Its output alone decides if
its holder may sit, and the first to *announce* themselves do.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate

from consensus.crypto.vrf import InvalidProof
from consensus.encoding.cid import digest
from consensus.ledger.sortition import race_key, role_hash, weight
from consensus.records.genesis import Genesis
from consensus.records.ticket import Ticket

#: Draws that could win a seat in none of this many attempts need not be announced. In the attempts
#: after them all servers race, by their tickets if each has one, else by draws that are public.
ATTEMPTS_FORESEEN = 4
ROLES_FORESEEN = tuple(f"committee/{attempt}" for attempt in range(ATTEMPTS_FORESEEN))

#: Attempts of a height with committees of their own, where some might be captured; after them those
#: from `ATTEMPTS_FORESEEN` on come round again.
DISTINCT_ATTEMPTS = 32


class InvalidTicket(ValueError):
    """Error: a ticket does not prove what it claims."""


@dataclass(frozen=True)
class Draw:
    """A server's VRF output beta (64 bytes) for the committees of a height."""

    server: int
    beta: bytes


def check_ticket(genesis: Genesis, seed: bytes, ticket: Ticket) -> Draw:
    """The draw that ``ticket`` proves from ``seed``; raises `InvalidTicket`."""
    if ticket.server >= len(genesis.servers):
        raise InvalidTicket(f"server {ticket.server} is not registered")
    alpha = Ticket.alpha(genesis.chain_id, seed, ticket.height)
    try:
        beta = genesis.suite.vrf_verify(genesis.servers[ticket.server].vrf_key, alpha, ticket.proof)
    except InvalidProof as error:
        raise InvalidTicket(f"server {ticket.server}: {error}") from error
    return Draw(ticket.server, beta)


def claimed_draw(genesis: Genesis, seed: bytes, ticket: Ticket) -> Draw:
    """The draw that ``ticket`` claims from ``seed``, whose proof is not checked: for readers of
    blocks whose proofs were checked when they were appended. Raises `InvalidTicket` for one that
    cannot be read."""
    if ticket.server >= len(genesis.servers):
        raise InvalidTicket(f"server {ticket.server} is not registered")
    alpha = Ticket.alpha(genesis.chain_id, seed, ticket.height)
    try:
        key = genesis.servers[ticket.server].vrf_key
        return Draw(ticket.server, genesis.suite.vrf_output(key, alpha, ticket.proof))
    except InvalidProof as error:
        raise InvalidTicket(f"server {ticket.server}: {error}") from error


def public_draws(genesis: Genesis) -> tuple[Draw, ...]:
    """The draws of height 1, which no earlier block could record.

    They are hashes of the chain's identity and each server's VRF key.
    """
    return tuple(
        Draw(
            index,
            hashlib.sha512(b"bfedrec/first draw" + genesis.chain_id + server.vrf_key).digest(),
        )
        for index, server in enumerate(genesis.servers)
    )


def spare_draws(genesis: Genesis, beacon: bytes, draws: Sequence[Draw]) -> tuple[Draw, ...]:
    """Draws for the servers that are not among ``draws``: hashes of the height's beacon.

    A fault may keep the tickets of honest servers from the block that records them. If their seats
    stayed empty, the others, of whom some are silent, might never be two thirds again. So the
    servers without a ticket come last in every order, by these draws, and fill the seats that are
    left; later all race by such draws (`racing`).
    """
    drawn = {draw.server for draw in draws}
    return tuple(
        Draw(index, hashlib.sha512(b"bfedrec/spare draw" + beacon + server.vrf_key).digest())
        for index, server in enumerate(genesis.servers)
        if index not in drawn
    )


def racing(
    genesis: Genesis, beacon: bytes, draws: Sequence[Draw], attempt: int
) -> tuple[Sequence[Draw], Sequence[Draw]]:
    """The draws that race for the seats and turns of an attempt, and the `spare_draws` that come
    after them, from the ``draws`` that were recorded.

    From `ATTEMPTS_FORESEEN` on, all race by spare draws if any server has no ticket. The servers
    whose tickets were recorded may be so few that every committee of them is blocked; attempts are
    to be of fresh committees. Were tickets still to count there, each malicious server could show
    or withhold its own, and so choose the better of two draws for an attempt: together they would
    capture most heights where one committee in 600 is captured by chance.
    """
    late, stakes = attempt >= ATTEMPTS_FORESEEN, genesis.stakes
    draws = _with_stake(draws, stakes)
    if len(draws) == len(stakes) - stakes.count(0) or not (late or _few(genesis, draws)):
        return draws, ()
    if late:
        return _with_stake(spare_draws(genesis, beacon, ()), stakes), ()
    return draws, _with_stake(spare_draws(genesis, beacon, draws), stakes)


def _with_stake(draws: Sequence[Draw], stakes: Sequence[int]) -> Sequence[Draw]:
    """The draws of servers that have stake; some may have lost it (`consensus.ledger.stakes`)."""
    return draws if all(stakes) else [draw for draw in draws if stakes[draw.server]]


def _few(genesis: Genesis, draws: Sequence[Draw]) -> bool:
    """True if draws may leave seats or turns empty."""
    parameters = genesis.parameters
    return len(draws) < max(parameters.committee_size, parameters.max_step)


def first_beacon(genesis: Genesis) -> bytes:
    """The beacon of height 1 (32 bytes)."""
    return digest(b"bfedrec/beacon" + genesis.chain_id)


@lru_cache(maxsize=64)  # every server goes on from the same block
def next_beacon(beacon: bytes, beta: bytes) -> bytes:
    """The beacon of the next height: beacon(h+1) = H(beacon(h), H(beta, role)), of this height's
    beacon and the accepted aggregator's VRF output.

    The paper uses the block's hash, of which the aggregator could try variants. Its VRF output is
    fixed by its key and an earlier beacon.
    """
    return digest(b"bfedrec/beacon" + beacon + role_hash(beta, "beacon"))


@dataclass(frozen=True)
class Committee:
    """The committee of one attempt: its members, and their weights."""

    weights: dict[int, int]
    """Voting weight by server index, heaviest or best draw first."""
    total: int
    """The weight of which a quorum is more than two thirds: at least the committee size of the
    genesis, so that a few draws are no committee."""

    def weight_of(self, servers: Iterable[int]) -> int:
        """The summed weight of distinct ``servers``; those that are no members weigh nothing."""
        return sum(self.weights.get(server, 0) for server in servers)

    def approves(self, weight: int) -> bool:
        """True if ``weight`` is *more than* two thirds of the total."""
        return 3 * weight > 2 * self.total

    def cannot_approve(self, rejecting: int) -> bool:
        """True if a quorum is out of reach once members of weight ``rejecting`` reject. The seats
        that nobody drew count in the total, but never approve."""
        return not self.approves(sum(self.weights.values()) - rejecting)

    def holds_back(self, weight: int) -> bool:
        """True if ``weight`` is *more than* a third of the total: some of it is honest."""
        return 3 * weight > self.total

    def overwhelms(self, weight: int) -> bool:
        """True if ``weight`` is *more than* five sixths of the total: no quorum for another block
        can follow, even if half of the committee is malicious (PROTOCOL.md, safety 2)."""
        return 6 * weight > 5 * self.total


def form_committee(
    genesis: Genesis, draws: Sequence[Draw], attempt: int, spares: Sequence[Draw] = ()
) -> Committee:
    """The committee of an attempt from a height's draws (one per server).

    ``fixed``: weighted sampling without replacement by exponential races on the stake, the first
    ``committee_size`` finishers with one seat each. ``weighted``: Algorand's sortition; a draw
    counts with its binomial weight. ``spares`` (`racing`) fill the seats of a fixed committee that
    are left.

    Where a third of the stake may capture a committee, those of only `DISTINCT_ATTEMPTS` differ
    (`_attempt_of_committee`).
    """
    size = genesis.parameters.committee_size
    role = f"committee/{_attempt_of_committee(genesis, attempt)}"
    if genesis.parameters.committee == "fixed":
        ordered = _raced(genesis, draws, role)[:size]
        if len(ordered) < size:
            ordered += _raced(genesis, spares, role)[: size - len(ordered)]
        weights = {draw.server: 1 for draw in ordered}
    else:
        seats = {draw.server: _seats(genesis, draw, role) for draw in draws}
        weights = dict(
            sorted(
                ((server, seats[server]) for server in seats if seats[server]),
                key=lambda entry: (-entry[1], entry[0]),
            )
        )
    return Committee(weights, max(size, sum(weights.values())))


def _attempt_of_committee(genesis: Genesis, attempt: int) -> int:
    """The attempt whose committee sits in an attempt, this one or one before.

    A certificate names its attempt, and nothing in it shows that those before were closed. With
    fresh committees for ever, malicious servers would look for one that they have captured among
    as many as they like, and decide there what they like. As it is they have `DISTINCT_ATTEMPTS` a
    height, and one of those that are not blocked still comes round again and again. Where a third
    of the stake captures no committee, each attempt has its own.
    """
    if attempt < DISTINCT_ATTEMPTS or not _may_be_captured(genesis):
        return attempt
    return ATTEMPTS_FORESEEN + (attempt - ATTEMPTS_FORESEEN) % (
        DISTINCT_ATTEMPTS - ATTEMPTS_FORESEEN
    )


def _may_be_captured(genesis: Genesis) -> bool:
    """True if servers with at most a third of the stake may have more than two thirds of a
    committee's seats."""
    parameters = genesis.parameters
    if parameters.committee == "weighted":
        return True
    least = accumulate(sorted(stake for stake in genesis.stakes if stake))
    seats = sum(3 * held <= genesis.total_stake for held in least)
    return 3 * seats > 2 * parameters.committee_size


def aggregator_order(
    genesis: Genesis, draws: Sequence[Draw], attempt: int, spares: Sequence[Draw] = ()
) -> tuple[int, ...]:
    """The servers in the order in which they propose in an attempt, one a step; those with
    ``spares`` come last.

    In the paper servers race instead, and a spammer's bad candidates can use up every step.
    """
    role = f"aggregator/{attempt}"
    ordered = _raced(genesis, draws, role)
    if spares:
        ordered = ordered + _raced(genesis, spares, role)
    return tuple(draw.server for draw in ordered)


def all_announce(genesis: Genesis) -> bool:
    """True if all servers with stake announce their draws (`is_worth_announcing`)."""
    plausible = 2 * genesis.parameters.committee_size + 20
    return ATTEMPTS_FORESEEN * plausible >= len(genesis.servers)


def is_worth_announcing(genesis: Genesis, draw: Draw) -> bool:
    """True if a draw may win a seat in one of the next height's first attempts.

    Where there are many more servers than seats most draws cannot, and a thousand tickets would
    travel for twenty seats. ``fixed``: the hash must be below the share of stake at which twice the
    seats and twenty more are expected to be announced. Where that would be all servers, all do.
    """
    parameters = genesis.parameters
    plausible = 2 * parameters.committee_size + 20
    stake = genesis.servers[draw.server].stake
    if not stake or all_announce(genesis):
        return stake > 0
    bar = _bar(plausible * stake, genesis.total_stake)
    for role in ROLES_FORESEEN:
        if parameters.committee == "weighted":
            if _seats(genesis, draw, role):
                return True
        elif role_hash(draw.beta, role) < bar:
            return True
    return False


@lru_cache(maxsize=1 << 10)
def _bar(share: int, of: int) -> bytes:
    """The least hash (32 bytes, or one more for 2**256) that is no less than the share
    ``share / of`` of all."""
    least = -(-(share * 2**256) // of)
    return least.to_bytes(32, "big") if least < 2**256 else b"\xff" * 33


def may_sit(genesis: Genesis, draw: Draw, candidates_per_seat: int) -> bool:
    """True if a draw, by its stake and output, may sit under ``paper``.

    ``candidates_per_seat``: expected number of such draws for each seat (III.D leaves it open).
    """
    parameters = genesis.parameters
    bar = candidates_per_seat * parameters.committee_size * genesis.servers[draw.server].stake
    hashed = int.from_bytes(role_hash(draw.beta, "committee"), "big")
    return hashed * genesis.total_stake < bar * 2**256


def enough_draws(genesis: Genesis, draws: Sequence[Draw | Ticket]) -> bool:
    """True if the draws that a block records can fill more than two thirds of the next seats."""
    parameters, stakes = genesis.parameters, genesis.stakes
    if parameters.committee == "weighted":
        return len(draws) > 0
    draws = [draw for draw in draws if draw.server < len(stakes) and stakes[draw.server]]
    return 3 * len(draws) > 2 * min(parameters.committee_size, len(genesis.servers))


def _seats(genesis: Genesis, draw: Draw, role: str) -> int:
    """The number of seats that a draw wins in ``role``, of a weighted committee."""
    return weight(
        role_hash(draw.beta, role),
        genesis.servers[draw.server].stake,
        genesis.total_stake,
        genesis.parameters.committee_size,
    )


def _raced(genesis: Genesis, draws: Sequence[Draw], role: str) -> list[Draw]:
    """The draws in the order in which they finish their race for ``role``."""
    stakes = genesis.stakes
    if len({stakes[draw.server] for draw in draws}) == 1:
        # Among equal stakes the lowest hashes win: no need of their logarithms.
        return sorted(draws, key=lambda draw: role_hash(draw.beta, role))
    return sorted(draws, key=lambda draw: race_key(role_hash(draw.beta, role), stakes[draw.server]))
