"""The tests' forge: with every participant's keys it makes what servers sign, right or wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from consensus.chain import Head
from consensus.committee import Draw, aggregator_order, form_committee
from consensus.encoding import digest, encode, file_cid
from consensus.records import Block, Candidate, Header, Ticket, Vote
from consensus.updates import SignedUpdate, updates_root
from tests.toy import Toy


class Forge:
    """Tickets, candidates, votes and blocks on top of a head of a toy's chain."""

    def __init__(self, toy: Toy, head: Head | None = None) -> None:
        self.toy = toy
        self.genesis = toy.genesis
        self.head = toy.world.head if head is None else head

    def draw(self, server: int, attempt: int = 0, height: int | None = None) -> Draw:
        """A server's honest draw."""
        height = self.head.height + 1 if height is None else height
        alpha = Ticket.alpha(self.genesis.chain_id, self.head.beacon, height, attempt)
        proof, beta = self.toy.keys[server][1].prove(alpha)
        return Draw(Ticket(height, attempt, server, proof), beta)

    def draws(self, attempt: int = 0, servers: Iterable[int] | None = None) -> list[Draw]:
        """The honest draws of ``servers`` (all)."""
        if servers is None:
            servers = range(len(self.toy.keys))
        return [self.draw(server, attempt) for server in servers]

    def order(self, attempt: int = 0) -> tuple[int, ...]:
        return aggregator_order(self.genesis, self.draws(attempt))

    def updates(self, clients: Iterable[int] | None = None) -> list[SignedUpdate]:
        """One update of each of ``clients`` (all), in the order of aggregation."""
        if clients is None:
            clients = range(len(self.toy.clients))
        found = [self.toy.update(client) for client in clients]
        return sorted(found, key=lambda update: update.record.digest)

    def candidate(
        self,
        listed: Sequence[SignedUpdate] | None = None,
        attempt: int = 0,
        step: int = 0,
        aggregator: int | None = None,
        committee: tuple[Ticket, ...] | None = None,
        signer: int | None = None,
        **changes: object,
    ) -> Candidate:
        """What an honest aggregator would propose from ``listed`` updates (all); ``changes``
        replace header fields before it is signed."""
        if listed is None:
            listed = self.updates()
        if aggregator is None:
            aggregator = self.order(attempt)[step]
        if committee is None:
            committee = form_committee(self.genesis, self.draws(attempt)).tickets
        digests = tuple(update.record.digest for update in listed)
        samples = [update.record.samples for update in listed]
        model = self.toy.application.aggregate([update.payload for update in listed], samples)
        header = Header(
            chain_id=self.genesis.chain_id,
            height=self.head.height + 1,
            attempt=attempt,
            step=step,
            timestamp=self.head.timestamp + 1_000_000,
            parent=self.head.cid,
            aggregator=aggregator,
            proof=self.draw(aggregator, attempt).ticket.proof,
            committee=committee_of(committee),
            updates=updates_root(digests),
            count=len(listed),
            samples=sum(samples),
            model=file_cid(model),
            snapshot=None,
        )
        header = replace(header, **changes)  # type: ignore[arg-type]
        key = self.toy.keys[aggregator if signer is None else signer][0]
        return Candidate(header, key.sign(header.signed), committee, digests)

    def vote(
        self,
        candidate: Candidate,
        server: int,
        approve: bool = True,
        signer: int | None = None,
        **changes: object,
    ) -> Vote:
        """A server's signed vote; ``changes`` replace fields before it is signed."""
        header = candidate.header
        fields: dict[str, object] = {
            "chain_id": header.chain_id,
            "height": header.height,
            "attempt": header.attempt,
            "step": header.step,
            "block": header.cid,
            "approve": approve,
        }
        fields.update(changes)
        key = self.toy.keys[server if signer is None else signer][0]
        signature = key.sign(Vote.signing_digest(**fields))  # type: ignore[arg-type]
        return Vote(**fields, server=server, signature=signature)  # type: ignore[arg-type]

    def block(
        self,
        candidate: Candidate | None = None,
        signers: Iterable[int] | None = None,
        vote: Callable[[Candidate, int], Vote] | None = None,
    ) -> Block:
        """``candidate`` with the approvals of ``signers`` (its whole committee)."""
        if candidate is None:
            candidate = self.candidate()
        if signers is None:
            signers = sorted(ticket.server for ticket in candidate.committee)
        make = vote or self.vote
        return Block(
            candidate.header,
            candidate.signature,
            candidate.committee,
            tuple((server, make(candidate, server).signature) for server in signers),
        )


def committee_of(tickets: tuple[Ticket, ...]) -> bytes:
    """The digest of a committee, computed apart from the ledger's own function."""
    return digest(encode([[ticket.server, ticket.proof[:32]] for ticket in tickets]))
