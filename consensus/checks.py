"""Checks that many servers make of the same bytes, computed once per process.

Thirty servers that verify one signature are charged thirty verifications of simulated time; in
real time one of them computes it and the others look it up. Messages in a simulation are shared
objects, so the memo goes by identity, which costs less than hashing them; it keeps every object
alive until the height is over, so that no identity is used twice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from consensus.application import Application, Contents
from consensus.chain import Head, check_block, check_committee, check_header
from consensus.committee import (
    Committee,
    Draw,
    aggregator_order,
    check_ticket,
    form_committee,
)
from consensus.encoding import file_cid
from consensus.genesis import Genesis
from consensus.keys import verify
from consensus.records import Block, Candidate, Ticket, Vote
from consensus.updates import SignedUpdate, check_update, updates_root

T = TypeVar("T")


class SharedChecks:
    """The checks of one chain, shared by all servers of a process."""

    def __init__(self, genesis: Genesis, application: Application) -> None:
        self.genesis = genesis
        self.application = application
        self._memo: dict[tuple[Any, ...], tuple[object, Any]] = {}
        self._committees: dict[tuple[Any, ...], tuple[Committee, tuple[int, ...]]] = {}
        self._aggregates: dict[tuple[bytes, ...], Contents] = {}
        self._draws: dict[tuple[bytes, Ticket], Draw] = {}

    def begin_height(self) -> None:
        """Forget the height before."""
        self._memo.clear()
        self._committees.clear()
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
                result = error
            known = self._memo[key] = (subject, result)
        if isinstance(known[1], ValueError):
            raise known[1]
        return known[1]

    def update(self, head: Head, update: SignedUpdate) -> str | None:
        """`check_update`."""
        known = self._memo.get((id(update), head.cid))
        if known is None:  # looked up here first: this is by far the most frequent check
            return self._once(
                head,
                update,
                lambda: check_update(self.genesis, head, update, self.application.check_payload),
            )
        return known[1]

    def vouch(self, head: Head, draw: Draw) -> None:
        """A server of this process has just made ``draw`` with its own key.

        Its maker computed both sides of the equation that verifying computes (U = kB, V = kH),
        so the proof holds, and is not verified again in real time; that would take longer than
        making it did. Whatever comes from elsewhere is verified, and everything in an audit.
        """
        self._draws[head.beacon, draw.ticket] = draw

    def _draw(self, genesis: Genesis, beacon: bytes, ticket: Ticket) -> Draw:
        """`check_ticket`."""
        known = self._draws.get((beacon, ticket))
        if known is None:
            known = self._draws[beacon, ticket] = check_ticket(genesis, beacon, ticket)
        return known

    def ticket(self, head: Head, ticket: Ticket) -> Draw:
        """`check_ticket`; raises `InvalidTicket`."""
        return self._once(head, ticket, lambda: self._draw(self.genesis, head.beacon, ticket))

    def candidate(self, head: Head, candidate: Candidate) -> None:
        """`check_header` and `check_committee` of a candidate; raises `InvalidBlock`."""

        def compute() -> None:
            header = candidate.header
            check_header(self.genesis, head, header, candidate.signature, self._draw)
            check_committee(self.genesis, head, header, candidate.committee, self._draw)

        self._once(head, candidate, compute)

    def vote(self, head: Head, vote: Vote) -> bool:
        """Whether the vote is its server's own; the server must be registered."""
        key = self.genesis.servers[vote.server].signing_key
        return self._once(head, vote, lambda: verify(key, vote.signed, vote.signature))

    def block(self, genesis: Genesis, head: Head, block: Block) -> Head:
        """`check_block`; raises `InvalidBlock`. Servers that certify a block themselves build
        equal ones, so this memo goes by what they hold."""
        tickets = tuple((ticket.server, ticket.proof) for ticket in block.committee)
        key = (head.cid, block.cid, block.signature, tickets, block.certificate)
        known = self._memo.get(key)
        if known is None:
            known = self._memo[key] = (
                block,
                check_block(genesis, head, block, self._draw),
            )
        return known[1]

    def committee(
        self, head: Head, attempt: int, draws: Mapping[int, Draw]
    ) -> tuple[Committee, tuple[int, ...]]:
        """The committee and the order of aggregators from the draws of one attempt. A server has
        one valid draw per attempt, so the servers that drew identify the draws."""
        key = (head.cid, attempt, frozenset(draws))
        known = self._committees.get(key)
        if known is None:
            ordered = [draws[server] for server in sorted(draws)]
            known = self._committees[key] = (
                form_committee(self.genesis, ordered),
                aggregator_order(self.genesis, ordered),
            )
        return known

    def aggregate(self, head: Head, updates: Sequence[SignedUpdate]) -> Contents:
        """The application's aggregate of ``updates``, in the given order, on top of ``head``."""
        key = tuple(update.record.digest for update in updates)
        known = self._aggregates.get(key)
        if known is None:
            model = self.application.aggregate(
                [update.payload for update in updates],
                [update.record.samples for update in updates],
            )
            snapshot = self.application.snapshot(head.height + 1, head.beacon, model)
            known = self._aggregates[key] = Contents(model, snapshot)
        return known

    def address(self, data: bytes) -> bytes:
        """The address (CID) of ``data``."""
        known = self._memo.get((id(data), b"address"))
        if known is None:
            known = self._memo[id(data), b"address"] = (data, file_cid(data))
        return known[1]

    def updates_root(self, candidate: Candidate) -> bytes:
        """The Merkle root over the updates that ``candidate`` lists."""
        known = self._memo.get((id(candidate), b"root"))
        if known is None:
            known = self._memo[id(candidate), b"root"] = (
                candidate,
                updates_root(candidate.updates),
            )
        return known[1]
