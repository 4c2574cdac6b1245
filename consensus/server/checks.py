"""Checks that many servers make of the same bytes, computed once per process.

Thirty servers that verify one signature are charged thirty verifications of simulated time; in
real time one of them computes it and the others look it up. Messages in a simulation are shared
objects, so the memo goes by identity, which costs less than hashing them; it keeps every object
alive until it is cleared, so that no identity is used twice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from itertools import pairwise
from typing import Any, TypeVar

from consensus.application import Application, Contents
from consensus.encoding.unixfs import file_cid
from consensus.ledger.committee import Draw, check_ticket
from consensus.ledger.protocol import Protocol
from consensus.ledger.stakes import Stakes
from consensus.ledger.updates import (
    MOST_SLOTS,
    SignedUpdate,
    check_update,
    slot_name,
    updates_root,
)
from consensus.ledger.use import uses_of
from consensus.ledger.validity import (
    Head,
    InvalidBlock,
    Sortition,
    check_header,
    check_signature,
)
from consensus.records.block import Block, Candidate, Header
from consensus.records.genesis import Genesis
from consensus.records.settlement import Settlement
from consensus.records.ticket import Ticket
from consensus.records.votes import Certificate, Timeout, TimeoutCertificate, Vote

T = TypeVar("T")


class SharedChecks:
    """The checks of one chain, shared by all servers of a process."""

    def __init__(self, genesis: Genesis, protocol: Protocol, application: Application) -> None:
        self.genesis = genesis
        self.protocol = protocol
        self.application = application
        self._memo: dict[tuple[Any, ...], tuple[object, Any]] = {}
        self._slots: dict[int, tuple[SignedUpdate, bytes]] = {}
        self._sortitions: dict[bytes, Callable[[int], Sortition]] = {}
        self._aggregates: dict[tuple[bytes, ...], tuple[Contents, int]] = {}
        self._draws: dict[tuple[bytes, int, int, bytes], Draw] = {}
        self._before: dict[int, Application] = {}
        """By height: the application as it was after that height, where it has gone on since."""

    def keep(self, height: int, application: Application) -> None:
        """Keep the ``application`` as it is after ``height``, for servers that will be there
        still when it has gone on."""
        self._before[height] = application

    def forget(self, height: int) -> None:
        """Drop what was kept of the application below ``height``."""
        for old in [kept for kept in self._before if kept < height]:
            del self._before[old]

    def begin_height(self) -> None:
        """Forget the height before."""
        self._memo.clear()
        self._slots.clear()
        self._sortitions.clear()
        self._aggregates.clear()
        self._draws.clear()

    def _once(self, head: Head, subject: object, compute: Callable[[], T]) -> T:
        """``compute()`` about ``subject`` on top of ``head``, or what it gave before; an exception
        is remembered like a result."""
        key = (id(subject), head.cid)
        known = self._memo.get(key)
        if known is None:
            result: Any
            try:
                result = compute()
            except ValueError as error:  # InvalidTicket, InvalidBlock
                result = error.with_traceback(None)  # which would keep all frames alive
            known = self._memo[key] = (subject, result)
        if isinstance(known[1], ValueError):
            raise type(known[1])(*known[1].args)
        return known[1]

    def update(self, head: Head, update: SignedUpdate) -> str | None:
        """`check_update`."""
        known = self._memo.get((id(update), head.cid))
        if known is None:  # looked up here first: this is by far the most frequent check
            application = self.application
            return self._once(
                head,
                update,
                lambda: check_update(
                    self.genesis, head, update, application.check_payload, application.slot
                ),
            )
        return known[1]

    def slot(self, update: SignedUpdate) -> bytes:
        """`slot_name` of a fit update."""
        known = self._slots.get(id(update))
        if known is None:
            name = slot_name(self.genesis, update, self.application.slot)
            known = self._slots[id(update)] = (update, name)
        return known[1]

    def found_fit(self, update: SignedUpdate) -> bool:
        """True if an update has been found fit on top of the block that it names."""
        known = self._memo.get((id(update), update.record.parent))
        return known is not None and known[1] is None

    def vouch(self, seed: bytes, ticket: Ticket, draw: Draw) -> None:
        """Take a ticket as checked that a server of this process has just made with its own key.

        Its maker computed both sides of the equation that verifying computes (U = kB, V = kH),
        so the proof holds, and is not verified again in real time; that would take longer than
        making it did. Whatever comes from elsewhere is verified, and everything in an audit.
        """
        self._draws[_what_is_proven(seed, ticket)] = draw

    def ticket(self, genesis: Genesis, seed: bytes, ticket: Ticket) -> Draw:
        """`check_ticket`; raises `InvalidTicket`."""
        key = _what_is_proven(seed, ticket)
        known = self._draws.get(key)
        if known is None:
            known = self._draws[key] = check_ticket(genesis, seed, ticket)
        return known

    def knows_draw(self, seed: bytes, ticket: Ticket) -> bool:
        """True if a ticket has been checked or vouched for."""
        return _what_is_proven(seed, ticket) in self._draws

    def drawers(self, tickets: tuple[Ticket, ...]) -> tuple[tuple[int, ...], frozenset[int]]:
        """The servers whose tickets these are, in their order, and as a set."""
        known = self._memo.get((id(tickets), b"drawers"))
        if known is None:
            servers = tuple(ticket.server for ticket in tickets)
            found = servers, frozenset(servers)
            known = self._memo[id(tickets), b"drawers"] = (tickets, found)
        drawers: tuple[tuple[int, ...], frozenset[int]] = known[1]
        return drawers

    def draws(
        self, genesis: Genesis, head: Head, header: Header, tickets: tuple[Ticket, ...]
    ) -> tuple[Draw, ...]:
        """`Protocol.check_draws`; raises `InvalidBlock`. A candidate and the blocks that its
        members build of it share their header and tickets."""
        key = (id(header), id(tickets), head.cid)
        known = self._memo.get(key)
        if known is None:
            draws = self.protocol.check_draws(genesis, head, header, tickets, self.ticket)
            known = self._memo[key] = ((header, tickets), draws)
        return known[1]

    def settlement(
        self, genesis: Genesis, head: Head, header: Header, settlement: Settlement | None
    ) -> Stakes | None:
        """`Protocol.check_settlement`; raises `InvalidBlock`."""
        if settlement is None:
            return self.protocol.check_settlement(genesis, head, header, None)
        key = (id(settlement), id(header), head.cid)
        known = self._memo.get(key)
        if known is None:
            check, sortition = self.protocol.check_settlement, self.sortition
            found = check(genesis, head, header, settlement, sortition)
            known = self._memo[key] = ((settlement, header), found)
        stakes: Stakes | None = known[1]
        return stakes

    def sortition(self, genesis: Genesis, head: Head, attempt: int) -> Sortition:
        """`Protocol.sortition`."""
        return self.sortitions(head)(attempt)

    def sortitions(self, head: Head) -> Callable[[int], Sortition]:
        """`Protocol.sortition` after ``head``, by attempt."""
        known = self._sortitions.get(head.cid)
        if known is None:
            known = cache(lambda attempt: self.protocol.sortition(self.genesis, head, attempt))
            self._sortitions[head.cid] = known
        return known

    def candidate(self, head: Head, candidate: Candidate) -> tuple[Draw, ...]:
        """Check that a candidate extends ``head``, its draws and its settlement hold, its updates
        are those that its header names, and its aggregator and who proposes it signed it; returns
        the draws. Raises
        `InvalidBlock`. (Whose turn it is, and what justifies it, is the protocol's to say.)"""
        known = self._memo.get((id(candidate), head.cid))
        if known is not None and type(known[1]) is tuple:  # as for updates
            return known[1]

        def compute() -> tuple[Draw, ...]:
            header = candidate.header
            check_header(self.genesis, head, header)
            check_signature(self.genesis, header, candidate.signature)
            if len(candidate.updates) > MOST_SLOTS * len(self.genesis.clients):
                raise InvalidBlock(
                    f"its {len(candidate.updates)} updates are more than there can be"
                )
            draws = self.draws(self.genesis, head, header, candidate.tickets)
            self.settlement(self.genesis, head, header, candidate.settlement)
            if header.count != len(candidate.updates) or (
                header.updates != self.updates_root(candidate)
            ):
                # Its aggregator's or not: whoever passes a candidate on could alter the list.
                raise InvalidBlock("its updates are not those that its header names")
            turn, servers = candidate.turn, self.genesis.servers
            if turn is not None and not (
                turn.server < len(servers)
                and self.genesis.suite.verify(
                    servers[turn.server].signing_key, candidate.proposal_signed, turn.signature
                )
            ):
                raise InvalidBlock("the proposer's signature is not valid")
            return draws

        return self._once(head, candidate, compute)

    def vote(self, head: Head, vote: Vote) -> bool:
        """True if the vote is its server's own; the server must be registered."""
        known = self._memo.get((id(vote), head.cid))
        if known is None:  # as for updates
            key = self.genesis.servers[vote.server].signing_key
            return self._once(
                head, vote, lambda: self.genesis.suite.verify(key, vote.signed, vote.signature)
            )
        return known[1]

    def timeout(self, head: Head, timeout: Timeout) -> bool:
        """True if the timeout is its server's own (which must be registered), and its lock
        holds."""
        known = self._memo.get((id(timeout), head.cid))
        if known is not None:  # as for updates
            return known[1] is True

        def compute() -> bool:
            key = self.genesis.servers[timeout.server].signing_key
            self.protocol.check_timeout(self.genesis, head, timeout, self.sortition)
            return self.genesis.suite.verify(key, timeout.signed, timeout.signature)

        try:
            return self._once(head, timeout, compute)
        except InvalidBlock:
            return False

    def lock(self, head: Head, lock: Certificate) -> None:
        """`Protocol.check_lock`; raises `InvalidBlock`."""
        self._once(
            head,
            lock,
            lambda: self.protocol.check_lock(self.genesis, head, lock, self.sortition),
        )

    def closed(self, head: Head, certificate: TimeoutCertificate) -> None:
        """`Protocol.check_timeout_certificate`; raises `InvalidBlock`."""
        self._once(
            head,
            certificate,
            lambda: self.protocol.check_timeout_certificate(
                self.genesis, head, certificate, self.sortition
            ),
        )

    def block(self, genesis: Genesis, head: Head, block: Block) -> Head:
        """`Protocol.check_block`; raises `InvalidBlock`. Servers that certify a block themselves
        build it anew from shared parts, and from the same votes often enough: this memo goes by
        those."""
        parts = id(block.header), id(block.tickets), block.certificate, id(block.settlement)
        key = (head.cid, *parts, block.signature)
        known = self._memo.get(key)
        if known is None:
            known = self._memo[key] = (
                block,
                self.protocol.check_block(
                    genesis, head, block, self.draws, self.sortition, self.settlement
                ),
            )
        return known[1]

    def aggregate(
        self, head: Head, updates: Sequence[SignedUpdate], digests: tuple[bytes, ...]
    ) -> tuple[Contents, int]:
        """The application's aggregate of ``updates``, which have these ``digests``, in the given
        order, on top of ``head``; and the bytes of their payloads."""
        known = self._aggregates.get(digests)
        if known is None:
            application = self._before.get(head.height, self.application)
            aggregate = application.aggregate(
                [update.payload for update in updates],
                [update.record.samples for update in updates],
                head.beacon,
            )
            snapshot = application.snapshot(head.height + 1, head.beacon, aggregate)
            size = sum(len(update.payload) for update in updates)
            uses = uses_of(self.genesis, application, updates, head.beacon)
            known = self._aggregates[digests] = Contents(aggregate, snapshot, uses), size
        return known

    def address(self, data: bytes) -> bytes:
        """The address (CID) of ``data``."""
        known = self._memo.get((id(data), b"address"))
        if known is None:
            known = self._memo[id(data), b"address"] = (data, file_cid(data))
        return known[1]

    def lists(self, candidate: Candidate, updates: Sequence[SignedUpdate]) -> bool:
        """True if ``updates``, which have the digests that ``candidate`` lists, are in order, each
        of another slot, and as many and as large as its header says."""
        known = self._memo.get((id(candidate), b"lists"))
        if known is None:
            header, digests = candidate.header, candidate.updates
            known = self._memo[id(candidate), b"lists"] = (
                candidate,
                header.count == len(digests)
                and all(a < b for a, b in pairwise(digests))
                and len({self.slot(update) for update in updates}) == len(updates)
                and header.updates == self.updates_root(candidate)
                and header.samples == sum(update.record.samples for update in updates),
            )
        return bool(known[1])

    def updates_root(self, candidate: Candidate) -> bytes:
        """The Merkle root over the updates that ``candidate`` lists."""
        known = self._memo.get((id(candidate), b"root"))
        if known is None:
            known = self._memo[id(candidate), b"root"] = (
                candidate,
                updates_root(candidate.updates),
            )
        return known[1]


def _what_is_proven(seed: bytes, ticket: Ticket) -> tuple[bytes, int, int, bytes]:
    """All that `check_ticket` looks at; of bytes, unlike records, the hash is computed once."""
    return seed, ticket.height, ticket.server, ticket.proof
