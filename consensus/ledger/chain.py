"""The chain: what makes a block valid, and the append that nothing invalid passes.

Reads top-down: a header against its parent, the draws it carries, the certificate, then the new
head. What a model is *worth* was the committee's question; here only proofs count, and all of
them can be checked again by anybody from the bytes of the blocks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from consensus.encoding.frozen import frozen
from consensus.ledger.committee import (
    Committee,
    Draw,
    InvalidTicket,
    aggregator_order,
    check_ticket,
    enough_draws,
    first_beacon,
    form_committee,
    may_sit,
    needs_spares,
    next_beacon,
    public_draws,
    spare_draws,
)
from consensus.records.block import Block, Header
from consensus.records.genesis import Genesis
from consensus.records.ticket import Ticket, tickets_digest
from consensus.records.votes import Certificate, Timeout, TimeoutCertificate

#: ``paper``: how many servers may sit for every seat, so that the first to announce fill them.
CANDIDATES_PER_SEAT = 2


class InvalidBlock(ValueError):
    """A block that does not extend the chain; the message says why."""


@frozen
class Head:
    """Where a chain stands: what the next block has to build on."""

    height: int
    cid: bytes
    """Link to the last header (the genesis at height 0)."""
    timestamp: int
    beacon: bytes
    """The beacon of height + 1 (32 bytes): the seed of what its round draws in public."""
    draws: tuple[Draw, ...] = field(default=(), repr=False)
    """``bft``: the draws of height + 1's committees, by ascending server."""

    @classmethod
    def of_genesis(cls, genesis: Genesis) -> Head:
        draws = public_draws(genesis) if genesis.parameters.protocol == "bft" else ()
        return cls(0, genesis.cid, genesis.timestamp, first_beacon(genesis), draws)


@dataclass(frozen=True)
class Sortition:
    """Who votes and who proposes in one attempt after a head."""

    committee: Committee
    order: tuple[int, ...]
    """``bft``: the servers by turn; empty under ``paper``, whose servers race."""


def sortition_of(genesis: Genesis, head: Head, attempt: int) -> Sortition:
    """``bft``: the committee and the aggregators' order of an attempt at height + 1."""
    draws = head.draws
    needs = needs_spares(genesis, draws, attempt)
    spares = spare_draws(genesis, head.beacon, draws) if needs else ()
    return Sortition(
        form_committee(genesis, draws, attempt, spares),
        aggregator_order(genesis, draws, attempt, spares)[: genesis.parameters.max_step],
    )


TicketCheck = Callable[[Genesis, bytes, Ticket], Draw]
"""`check_ticket`, or one that remembers its results."""
SortitionOf = Callable[[Genesis, Head, int], Sortition]
"""`sortition_of`, or one that remembers its results."""


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


def check_signature(genesis: Genesis, header: Header, signature: bytes) -> None:
    """Check that ``header`` is its aggregator's own. Raises `InvalidBlock`."""
    key = genesis.servers[header.aggregator].signing_key
    if not genesis.suite.verify(key, header.signed, signature):
        raise InvalidBlock("the aggregator's signature is not valid")


def check_turn(order: Sequence[int], step: int, server: int) -> None:
    """Check that the step is the server's turn. Raises `InvalidBlock`."""
    if step >= len(order) or order[step] != server:
        raise InvalidBlock(f"step {step} is not the turn of server {server}")


def check_draws(
    genesis: Genesis,
    head: Head,
    header: Header,
    tickets: tuple[Ticket, ...],
    ticket_check: TicketCheck = check_ticket,
) -> tuple[Draw, ...]:
    """Check the tickets that a block carries; returns their draws. Raises `InvalidBlock`.

    ``bft``: tickets of the next height, on this height's beacon, ascending by server.
    ``paper``: tickets of this height, on the latest block, in the order of announcement, of
    servers that may sit by stake and output; no more than there are seats, and enough of them to
    approve a block. That they were the first to announce nobody can prove, so it is not checked.
    """
    if tickets_digest(tickets) != header.tickets:
        raise InvalidBlock("its tickets are not those that its header names")
    ahead = genesis.parameters.protocol == "bft"
    height, seed = (header.height + 1, head.beacon) if ahead else (header.height, head.cid)
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
    if ahead:
        if any(a.server >= b.server for a, b in pairwise(draws)):
            raise InvalidBlock("its tickets are not in ascending order of their servers")
        if not enough_draws(genesis, draws):
            raise InvalidBlock(f"{len(draws)} draws cannot fill the next committee")
    else:
        if len(draws) > genesis.parameters.committee_size:
            raise InvalidBlock("its committee has more members than seats")
        if not seated(genesis, [draw.server for draw in draws]).approves(len(draws)):
            raise InvalidBlock(f"{len(draws)} members cannot approve a block")
        for draw in draws:
            if not may_sit(genesis, draw, CANDIDATES_PER_SEAT):
                raise InvalidBlock(f"server {draw.server}'s draw wins no seat")
    return tuple(draws)


DrawsCheck = Callable[[Genesis, Head, Header, tuple[Ticket, ...]], tuple[Draw, ...]]
"""`check_draws`, or one that remembers its results."""


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


def check_signers(signers: Sequence[int]) -> None:
    """Check that signers are distinct and in ascending order. Raises `InvalidBlock`."""
    if list(signers) != sorted(set(signers)):
        raise InvalidBlock("its signers are not distinct and in ascending order")


def check_timeout_certificate(
    genesis: Genesis,
    head: Head,
    certificate: TimeoutCertificate,
    sortition: SortitionOf = sortition_of,
) -> None:
    """Check that enough servers closed a view at height + 1, and that the lock it carries is the
    highest of theirs. Raises `InvalidBlock`.

    More than two thirds of the committee close a view; at least two thirds of *all* stake close
    an attempt (`everyone`), which a third of the servers, and no more, can do without.
    """
    height = head.height + 1
    if certificate.height != height:
        raise InvalidBlock(f"it closes a view of height {certificate.height}, not {height}")
    if certificate.step >= genesis.parameters.max_step:
        raise InvalidBlock(f"step {certificate.step} is beyond MaxStep")
    if certificate.everyone and certificate.step:
        raise InvalidBlock("an attempt is closed at its first step")
    signers = [server for server, _, _ in certificate.entries]
    check_signers(signers)
    committee = sortition(genesis, head, certificate.attempt).committee
    for server, name, signature in certificate.entries:
        if server >= len(genesis.servers):
            raise InvalidBlock(f"server {server} is not registered")
        if not certificate.everyone and server not in committee.weights:
            raise InvalidBlock(f"server {server} closed a view without a seat")
        signed = Timeout.signing_digest(
            genesis.chain_id, height, certificate.view, certificate.everyone, name
        )
        if not genesis.suite.verify(genesis.servers[server].signing_key, signed, signature):
            raise InvalidBlock(f"server {server}'s timeout signature is not valid")
    if not closes(genesis, committee, certificate.everyone, signers):
        raise InvalidBlock(f"{len(signers)} servers are not enough to close a view")
    locks = [name for _, name, _ in certificate.entries if name is not None]
    lock = certificate.lock
    if lock is None:
        if locks:
            raise InvalidBlock("it leaves out the lock of its signers")
        return
    highest = max((name[:2] for name in locks), default=None)
    if lock.name not in locks or lock.view != highest:
        raise InvalidBlock("its lock is not the highest of its signers'")
    check_no_later(lock, certificate)
    check_lock(genesis, head, lock, sortition)


def check_no_later(lock: Certificate, left: Timeout | TimeoutCertificate) -> None:
    """Check that a lock is not of a later view than what it is told with. Raises `InvalidBlock`."""
    if lock.attempt > left.attempt or (not left.everyone and lock.view > left.view):
        raise InvalidBlock("its lock is of a later view")


def check_lock(
    genesis: Genesis, head: Head, lock: Certificate, sortition: SortitionOf = sortition_of
) -> None:
    """Check a soft certificate at height + 1. Raises `InvalidBlock`."""
    if lock.step >= genesis.parameters.max_step:
        raise InvalidBlock(f"step {lock.step} is beyond MaxStep")
    committee = sortition(genesis, head, lock.attempt).committee
    check_certificate(genesis, head.height + 1, committee, lock, "soft")


def closes(genesis: Genesis, committee: Committee, everyone: bool, servers: Sequence[int]) -> bool:
    """Whether distinct ``servers`` are enough to close a view of ``committee`` (or its attempt)."""
    if everyone:
        stake = sum(genesis.servers[server].stake for server in servers)
        return 3 * stake >= 2 * genesis.total_stake
    return committee.approves(committee.weight_of(servers))


def check_block(
    genesis: Genesis,
    head: Head,
    block: Block,
    draws_check: DrawsCheck = check_draws,
    sortition: SortitionOf = sortition_of,
) -> Head:
    """Check every proof in ``block``; returns the head after it. Raises `InvalidBlock`."""
    header, certificate = block.header, block.certificate
    check_header(genesis, head, header)
    if certificate.block != header.cid:
        raise InvalidBlock("its certificate is for another block")
    if genesis.parameters.protocol == "bft":
        check_turn(sortition(genesis, head, header.attempt).order, header.step, header.aggregator)
        if certificate.view < header.view:
            raise InvalidBlock("it was decided before it was proposed")
        if certificate.step >= genesis.parameters.max_step:
            raise InvalidBlock(f"step {certificate.step} is beyond MaxStep")
        committee = sortition(genesis, head, certificate.attempt).committee
        phase = "cert"
    else:
        if certificate.view != header.view:
            raise InvalidBlock("it was approved in another step than it was proposed in")
        committee = seated(genesis, [ticket.server for ticket in block.tickets])
        phase = "approve"
    check_signature(genesis, header, block.signature)
    draws = draws_check(genesis, head, header, block.tickets)
    check_certificate(genesis, header.height, committee, certificate, phase)
    return head_after(genesis, head, header, draws)


def seated(genesis: Genesis, servers: Sequence[int]) -> Committee:
    """``paper``: the committee of these members, one seat each; two thirds are taken of all seats,
    also of those that nobody has."""
    return Committee(dict.fromkeys(servers, 1), genesis.parameters.committee_size)


def head_after(genesis: Genesis, head: Head, header: Header, draws: tuple[Draw, ...]) -> Head:
    """The head once ``header``'s block, which carries ``draws``, is appended to ``head``."""
    if genesis.parameters.protocol == "paper":
        return Head(header.height, header.cid, header.timestamp, header.cid[-32:])
    known = head.draws
    if all(draw.server != header.aggregator for draw in known):
        known = spare_draws(genesis, head.beacon, known)
    beta = next(draw.beta for draw in known if draw.server == header.aggregator)
    return Head(header.height, header.cid, header.timestamp, next_beacon(head.beacon, beta), draws)


def heads_of(genesis: Genesis, blocks: Sequence[Block]) -> list[Head]:
    """The heads that ``blocks`` lead to, the genesis' first. Headers and draws are checked, votes
    are not: they were when the blocks were appended. Raises `InvalidBlock`."""
    heads = [Head.of_genesis(genesis)]
    for block in blocks:
        check_header(genesis, heads[-1], block.header)
        draws = check_draws(genesis, heads[-1], block.header, block.tickets)
        heads.append(head_after(genesis, heads[-1], block.header, draws))
    return heads


BlockCheck = Callable[[Genesis, Head, Block], Head]


class Chain:
    """One server's copy of the chain. Blocks are shared objects: thirty copies cost one."""

    def __init__(
        self, genesis: Genesis, blocks: Sequence[Block] = (), heads: Sequence[Head] = ()
    ) -> None:
        """An empty chain, or one that continues after ``blocks`` with the ``heads`` they led to,
        the genesis' first (a resumed run; they were checked when they were appended, and
        `consensus.audit` checks them from bytes)."""
        self.genesis = genesis
        self.blocks: list[Block] = list(blocks)
        """The block of height h at h - 1."""
        self.heads: list[Head] = list(heads) or [Head.of_genesis(genesis)]
        """The head at height h at h."""
        self.head = self.heads[-1]

    @property
    def height(self) -> int:
        return self.head.height

    def append(self, block: Block, check: BlockCheck = check_block) -> None:
        """Validate ``block`` and append it; raises `InvalidBlock` and then changes nothing.

        ``check`` may remember its results (`consensus.server.checks`), but must be `check_block`.
        """
        head = check(self.genesis, self.head, block)
        self.blocks.append(block)
        self.heads.append(head)
        self.head = head

    def keep(self, block: Block) -> None:
        """Keep ``block`` in place of the last one, which is the same but for its certificate."""
        self.blocks[-1] = block

    def cut(self, height: int) -> None:
        """Forget the blocks above ``height``: what a crash took before it was on the disk."""
        if 0 <= height < self.height:
            del self.blocks[height:], self.heads[height + 1 :]
            self.head = self.heads[-1]
