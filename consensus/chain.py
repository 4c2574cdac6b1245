"""The chain: what makes a block valid, and the append that nothing invalid passes.

Reads top-down: a header against its parent, the committee's tickets, the certificate, then the
new head. What a model is *worth* was the committee's question; here only proofs count.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

from consensus.committee import (
    Draw,
    InvalidTicket,
    check_ticket,
    first_beacon,
    form_committee,
    next_beacon,
)
from consensus.genesis import Genesis
from consensus.keys import verify
from consensus.records import Block, Header, Ticket, Vote, committee_digest


class InvalidBlock(ValueError):
    """A block that does not extend the chain; the message says why."""


@dataclass(frozen=True)
class Head:
    """Where a chain stands: what the next block has to build on."""

    height: int
    cid: bytes
    """Link to the last header (the genesis at height 0)."""
    timestamp: int
    beacon: bytes
    """The seed of height + 1's sortition (32 bytes)."""

    @classmethod
    def of_genesis(cls, genesis: Genesis) -> Head:
        return cls(0, genesis.cid, genesis.timestamp, first_beacon(genesis))


TicketCheck = Callable[[Genesis, bytes, Ticket], Draw]
"""`check_ticket`, or one that remembers its results."""


def check_header(
    genesis: Genesis,
    head: Head,
    header: Header,
    signature: bytes,
    ticket_check: TicketCheck = check_ticket,
) -> Draw:
    """Check that ``header`` extends ``head`` and is its aggregator's own; returns the
    aggregator's draw. Raises `InvalidBlock`."""
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
    ticket = Ticket(header.height, header.attempt, header.aggregator, header.proof)
    try:
        draw = ticket_check(genesis, head.beacon, ticket)
    except InvalidTicket as error:
        raise InvalidBlock(f"the aggregator's ticket: {error}") from error
    if not verify(genesis.servers[header.aggregator].signing_key, header.signed, signature):
        raise InvalidBlock("the aggregator's signature is not valid")
    return draw


def check_committee(
    genesis: Genesis,
    head: Head,
    header: Header,
    tickets: tuple[Ticket, ...],
    ticket_check: TicketCheck = check_ticket,
) -> list[Draw]:
    """Check the tickets of a header's committee; returns their draws. Raises `InvalidBlock`."""
    if committee_digest(tickets) != header.committee:
        raise InvalidBlock("the committee is not the one its header names")
    if len({ticket.server for ticket in tickets}) != len(tickets):
        raise InvalidBlock("a server sits twice on the committee")
    draws = []
    for ticket in tickets:
        if (ticket.height, ticket.attempt) != (header.height, header.attempt):
            raise InvalidBlock(f"server {ticket.server}'s ticket is for another attempt")
        try:
            draws.append(ticket_check(genesis, head.beacon, ticket))
        except InvalidTicket as error:
            raise InvalidBlock(f"a committee member's ticket: {error}") from error
    return draws


def check_block(
    genesis: Genesis, head: Head, block: Block, ticket_check: TicketCheck = check_ticket
) -> Head:
    """Check every proof in ``block``; returns the head after it. Raises `InvalidBlock`.

    *Every* ticket and signature must be valid, not only enough of them: a certificate that
    carries a bad vote was tampered with.
    """
    header = block.header
    draw = check_header(genesis, head, header, block.signature, ticket_check)
    draws = check_committee(genesis, head, header, block.committee, ticket_check)
    committee = form_committee(genesis, draws)
    if committee.tickets != block.committee:
        raise InvalidBlock("the committee is not in the order of its draws, or has extra members")
    signers = [server for server, _ in block.certificate]
    if any(a >= b for a, b in pairwise(signers)):
        raise InvalidBlock("the certificate's signers are not distinct and in ascending order")
    approved = Vote.signing_digest(
        header.chain_id, header.height, header.attempt, header.step, header.cid, True
    )
    for server, signature in block.certificate:
        if server not in committee.weights:
            raise InvalidBlock(f"server {server} voted without a seat")
        if not verify(genesis.servers[server].signing_key, approved, signature):
            raise InvalidBlock(f"server {server}'s vote signature is not valid")
    approving = committee.weight_of(signers)
    if not committee.approves(approving):
        raise InvalidBlock(f"{approving} of {committee.total} is not more than two thirds")
    return Head(header.height, header.cid, header.timestamp, next_beacon(head.beacon, draw.beta))


BlockCheck = Callable[[Genesis, Head, Block], Head]


class Chain:
    """One server's copy of the chain. Blocks are shared objects: thirty copies cost one."""

    def __init__(self, genesis: Genesis, head: Head | None = None) -> None:
        """An empty chain, or one that continues after ``head`` (a resumed run; the blocks before
        it were checked when they were appended, and `consensus.audit` checks them from bytes)."""
        self.genesis = genesis
        self.head = head or Head.of_genesis(genesis)
        self.blocks: list[Block] = []

    @property
    def height(self) -> int:
        return self.head.height

    def append(self, block: Block, check: BlockCheck = check_block) -> None:
        """Validate ``block`` and append it; raises `InvalidBlock` and then changes nothing.

        ``check`` may remember its results (`consensus.checks`), but must be `check_block`.
        """
        head = check(self.genesis, self.head, block)
        self.blocks.append(block)
        self.head = head
