"""Committees: who votes in an attempt, with which weight, and in which order servers propose.

Every server draws one VRF ticket per (height, attempt). Independent hashes of its output beta
decide its seat in the committee, its place among the aggregators, and (if its block is accepted)
the next beacon. One proof for three roles costs a third of three proofs; in the random-oracle
model the roles are as independent as with an input each.

Tickets are collected until a deadline and the best ones win. The paper lets the first ones to
*announce* win, which lets fast colluders fill the committee.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from consensus import vrf
from consensus.encoding import digest
from consensus.genesis import Genesis
from consensus.records import Ticket, committee_digest
from consensus.sortition import race_key, role_hash, weight


class InvalidTicket(ValueError):
    """A ticket that does not prove what it claims."""


@dataclass(frozen=True)
class Draw:
    """A ticket whose proof was checked, with the VRF output beta (64 bytes) it proves."""

    ticket: Ticket
    beta: bytes


def check_ticket(genesis: Genesis, beacon: bytes, ticket: Ticket) -> Draw:
    """The draw that ``ticket`` proves; raises `InvalidTicket`.

    The check of the same bytes is computed once per process (`vrf.verify` remembers it).
    """
    if ticket.server >= len(genesis.servers):
        raise InvalidTicket(f"server {ticket.server} is not registered")
    alpha = Ticket.alpha(genesis.chain_id, beacon, ticket.height, ticket.attempt)
    try:
        beta = vrf.verify(genesis.servers[ticket.server].vrf_key, alpha, ticket.proof)
    except vrf.InvalidProof as error:
        raise InvalidTicket(f"server {ticket.server}: {error}") from error
    return Draw(ticket, beta)


def first_beacon(genesis: Genesis) -> bytes:
    """The beacon of height 1 (32 bytes)."""
    return digest(b"bfedrec/beacon" + genesis.chain_id)


def next_beacon(beacon: bytes, beta: bytes) -> bytes:
    """The beacon of the next height, from this one's and the accepted aggregator's VRF output:
    beacon(h+1) = H(beacon(h), H(beta, role)).

    Unlike the block's hash, which the paper uses, it leaves the aggregator nothing to try
    variants of: its output is fixed by its key and this height's beacon.
    """
    return digest(b"bfedrec/beacon" + beacon + role_hash(beta, "beacon"))


@dataclass(frozen=True)
class Committee:
    """The members of one attempt."""

    tickets: tuple[Ticket, ...]
    """The members' tickets, best first."""
    weights: dict[int, int]
    """Voting weight by server index."""
    total: int
    """The weight that two thirds are taken of: at least the genesis' committee size, so that a
    handful of tickets seen on one side of a partition is no committee."""

    @cached_property
    def digest(self) -> bytes:
        """What `Header.committee` holds."""
        return committee_digest(self.tickets)

    def weight_of(self, servers: Iterable[int]) -> int:
        """The summed weight of distinct ``servers``; others than members weigh nothing."""
        return sum(self.weights.get(server, 0) for server in servers)

    def approves(self, approving: int) -> bool:
        """Whether the weight ``approving`` is *more than* two thirds of the total."""
        return 3 * approving > 2 * self.total

    def cannot_approve(self, rejecting: int) -> bool:
        """Whether, with this much weight rejecting, two thirds are out of reach. The seats that
        nobody drew count in the total, but will never approve."""
        return not self.approves(sum(self.weights.values()) - rejecting)


def form_committee(genesis: Genesis, draws: Sequence[Draw]) -> Committee:
    """The committee that these draws of one attempt give (one draw per server).

    ``fixed``: weighted sampling without replacement by exponential races on the stake, the first
    ``committee_size`` finishers with one seat each. ``weighted``: Algorand's sortition; a ticket
    counts with its binomial weight.
    """
    parameters = genesis.parameters
    size = parameters.committee_size
    if parameters.committee == "fixed":
        ordered = sorted(draws, key=lambda draw: _race(genesis, draw, "committee"))[:size]
        weights = {draw.ticket.server: 1 for draw in ordered}
    else:
        seats = {
            draw.ticket.server: weight(
                role_hash(draw.beta, "committee"),
                genesis.servers[draw.ticket.server].stake,
                genesis.total_stake,
                size,
            )
            for draw in draws
        }
        ordered = [draw for draw in draws if seats[draw.ticket.server]]
        ordered.sort(key=lambda draw: (-seats[draw.ticket.server], draw.beta))
        weights = {draw.ticket.server: seats[draw.ticket.server] for draw in ordered}
    return Committee(
        tuple(draw.ticket for draw in ordered), weights, max(size, sum(weights.values()))
    )


def aggregator_order(genesis: Genesis, draws: Sequence[Draw]) -> tuple[int, ...]:
    """The servers in the order in which they may propose in this attempt, one step each.

    The paper's servers race; then a spammer's bad candidates use up every step.
    """
    ordered = sorted(draws, key=lambda draw: _race(genesis, draw, "aggregator"))
    return tuple(draw.ticket.server for draw in ordered)


def _race(genesis: Genesis, draw: Draw, role: str) -> tuple[int, bytes]:
    return race_key(role_hash(draw.beta, role), genesis.servers[draw.ticket.server].stake)
