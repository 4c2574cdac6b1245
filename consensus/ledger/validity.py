"""The checks of a block that every protocol makes, and the head that a block builds on.

The committee has judged the aggregate. Here only proofs count, all of which anybody can check again
from the bytes of the blocks. `consensus.ledger.protocol` puts the checks in their order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from consensus.encoding.frozen import frozen
from consensus.ledger.committee import (
    DISTINCT_ATTEMPTS,
    Committee,
    Draw,
    InvalidTicket,
    check_ticket,
    first_beacon,
)
from consensus.ledger.stakes import Stakes
from consensus.records.block import Block, Header
from consensus.records.genesis import Genesis
from consensus.records.ticket import Ticket, tickets_digest
from consensus.records.votes import Certificate


class InvalidBlock(ValueError):
    """Error: a block does not extend the chain; the message gives the reason."""


@frozen
class Head:
    """The latest block of a chain, with what the next one needs of it."""

    height: int
    cid: bytes
    """Link to the last header (the genesis at height 0)."""
    timestamp: int
    beacon: bytes
    """The beacon of height + 1 (32 bytes): the seed of all that its round draws in public."""
    draws: tuple[Draw, ...] = field(default=(), repr=False)
    """The draws for the committees of height + 1, by ascending server; empty under a protocol that
    has them made on the head (`Protocol.committees_foreseen` is False)."""
    stakes: Stakes | None = field(default=None, repr=False)
    """The stake after the block; None in a chain without incentives."""
    before: Head | None = field(default=None, repr=False)
    """The head before, without its own ``before``, on which the block's committee was drawn; None
    in a chain without incentives."""

    @classmethod
    def of_genesis(cls, genesis: Genesis, draws: tuple[Draw, ...] = ()) -> Head:
        """The head at height 0; ``draws`` are those of height 1."""
        rule = genesis.incentives
        stakes = None if rule is None else Stakes.of_genesis(genesis, rule)
        return cls(0, genesis.cid, genesis.timestamp, first_beacon(genesis), draws, stakes)

    def held(self, genesis: Genesis) -> tuple[int, ...]:
        """Each server's stake after the block, by index."""
        return genesis.stakes if self.stakes is None else self.stakes.held

    def electorate(self, genesis: Genesis) -> Genesis:
        """The servers with the stake by which the committees and turns of height + 1 are drawn."""
        return genesis if self.stakes is None else genesis.with_stakes(self.stakes.seated)


@dataclass(frozen=True)
class Sortition:
    """The committee of one attempt after a head, and the servers that may propose in it."""

    committee: Committee
    order: tuple[int, ...]
    """The servers by turn; empty where they race."""


TicketCheck = Callable[[Genesis, bytes, Ticket], Draw]
"""`check_ticket`, or one that remembers its results."""
SortitionOf = Callable[[Genesis, Head, int], Sortition]
"""`Protocol.sortition`, or one that remembers its results."""
DrawsCheck = Callable[[Genesis, Head, Header, tuple[Ticket, ...]], tuple[Draw, ...]]
"""`Protocol.check_draws`, or one that remembers its results."""
BlockCheck = Callable[[Genesis, Head, Block], Head]
"""`Protocol.check_block`, or one that remembers its results."""


def check_header(genesis: Genesis, head: Head, header: Header) -> None:
    """Check that ``header`` extends ``head``. Raises `InvalidBlock`."""
    if header.chain_id != genesis.chain_id:
        raise InvalidBlock("it belongs to another chain")
    if header.height != head.height + 1:
        raise InvalidBlock(f"height {header.height} does not follow {head.height}")
    if header.parent != head.cid:
        raise InvalidBlock("its parent is not the block before it")
    if header.timestamp <= head.timestamp:
        raise InvalidBlock("its timestamp does not rise")
    if header.step >= genesis.parameters.max_step:
        raise InvalidBlock(f"step {header.step} is beyond MaxStep")
    if header.aggregator >= len(genesis.servers):
        raise InvalidBlock(f"server {header.aggregator} is not registered")
    if genesis.incentives is None and header.stakes is not None:
        raise InvalidBlock("it states stakes, which never move here")


def check_signature(genesis: Genesis, header: Header, signature: bytes) -> None:
    """Check that ``header`` is its aggregator's own. Raises `InvalidBlock`."""
    key = genesis.servers[header.aggregator].signing_key
    if not genesis.suite.verify(key, header.signed, signature):
        raise InvalidBlock("the aggregator's signature is not valid")


def check_tickets(
    genesis: Genesis,
    header: Header,
    tickets: tuple[Ticket, ...],
    height: int,
    seed: bytes,
    ticket_check: TicketCheck = check_ticket,
) -> tuple[Draw, ...]:
    """Check that ``tickets`` are those that ``header`` names, one a server, drawn from ``seed``
    for ``height``; returns their draws. Raises `InvalidBlock`."""
    if tickets_digest(tickets) != header.tickets:
        raise InvalidBlock("its tickets are not those that its header names")
    if len({ticket.server for ticket in tickets}) != len(tickets):
        raise InvalidBlock("a server has two tickets")
    draws = []
    for ticket in tickets:
        if ticket.height != height:
            raise InvalidBlock(f"server {ticket.server}'s ticket is for another height")
        try:
            draws.append(ticket_check(genesis, seed, ticket))
        except InvalidTicket as error:
            raise InvalidBlock(f"a ticket: {error}") from error
    return tuple(draws)


def check_certificate(
    genesis: Genesis, height: int, committee: Committee, certificate: Certificate, phase: str
) -> None:
    """Check that more than two thirds of ``committee`` signed ``certificate`` in ``phase``, and
    nobody else, and nobody twice. Raises `InvalidBlock`.

    *Every* signature must be valid, not only enough of them: a certificate that carries a bad
    vote was tampered with.
    """
    if certificate.height != height:
        raise InvalidBlock(f"its certificate is of height {certificate.height}")
    if certificate.phase != phase:
        raise InvalidBlock(f"its certificate is of the {certificate.phase} phase, not {phase}")
    signers = [server for server, _ in certificate.signatures]
    check_signers(signers)
    signed = certificate.signed(genesis.chain_id)
    for server, signature in certificate.signatures:
        if server not in committee.weights:
            raise InvalidBlock(f"server {server} voted without a seat")
        if not genesis.suite.verify(genesis.servers[server].signing_key, signed, signature):
            raise InvalidBlock(f"server {server}'s vote signature is not valid")
    weight = committee.weight_of(signers)
    if not committee.approves(weight):
        raise InvalidBlock(f"{weight} of {committee.total} is not more than two thirds")


Signed = tuple[int, bytes, bytes]
"""A server, the digest that it is said to have signed, and the signature."""


def check_late_attempt(
    genesis: Genesis,
    head: Head,
    attempt: int,
    signed: Callable[[], Sequence[Signed]],
    everyone: bool = False,
) -> None:
    """Check what names an attempt at height + 1, before its committee is formed, unless it is one
    of the first: that so many may be a quorum of its committee (of ``everyone``, two thirds of all
    stake), and that whoever is said to have signed it has. Raises `InvalidBlock`.

    Anybody may name any attempt. To form its committee takes longer than to name it, and it is kept
    until the height is over.
    """
    if attempt < DISTINCT_ATTEMPTS:
        return
    found, electorate = signed(), head.electorate(genesis)
    signers, servers = {server for server, _, _ in found}, genesis.servers
    if max(signers, default=len(servers)) >= len(servers):
        raise InvalidBlock(f"nobody, or a stranger, signed for attempt {attempt}")
    stake, parameters = sum(electorate.stakes[server] for server in signers), electorate.parameters
    if everyone:
        enough = 3 * stake >= 2 * electorate.total_stake
    else:  # a draw of a weighted committee wins no more seats than it has stake
        seats = len(signers) if parameters.committee == "fixed" else stake
        enough = 3 * seats > 2 * parameters.committee_size
    if not enough:
        raise InvalidBlock(f"{len(signers)} servers are no quorum of attempt {attempt}")
    for server, digest, signature in found:
        if not genesis.suite.verify(servers[server].signing_key, digest, signature):
            raise InvalidBlock(f"server {server} did not sign for attempt {attempt}")


def check_late_certificate(genesis: Genesis, head: Head, certificate: Certificate) -> None:
    """`check_late_attempt` of a certificate at height + 1. Raises `InvalidBlock`."""

    def signed() -> list[Signed]:
        digest = certificate.signed(genesis.chain_id)
        return [(server, digest, signature) for server, signature in certificate.signatures]

    check_late_attempt(genesis, head, certificate.attempt, signed)


def check_signers(signers: Sequence[int]) -> None:
    """Check that the signers are distinct and in ascending order. Raises `InvalidBlock`."""
    if list(signers) != sorted(set(signers)):
        raise InvalidBlock("its signers are not distinct and in ascending order")
