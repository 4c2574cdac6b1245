"""The tests' forge: with every participant's keys it makes what servers sign, right or wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from consensus.encoding.cid import digest
from consensus.encoding.dag_cbor import encode
from consensus.encoding.unixfs import file_cid
from consensus.ledger.committee import Draw
from consensus.ledger.updates import SignedUpdate, updates_root
from consensus.ledger.validity import Head, Sortition
from consensus.protocols.bft.validity import sortition_of
from consensus.records.block import Block, Candidate, Header, Turn
from consensus.records.ticket import Ticket
from consensus.records.view import View, proposal_digest
from consensus.records.votes import Certificate, Timeout, TimeoutCertificate, Vote
from tests.helpers.rules import chain_from
from tests.helpers.toy import Toy


class Forge:
    """Tickets, candidates, votes, timeouts and blocks on top of a head of a toy's chain (`bft`)."""

    def __init__(self, toy: Toy, head: Head | None = None) -> None:
        self.toy = toy
        self.genesis = toy.genesis
        self.head = toy.world.head if head is None else head
        self.height = self.head.height + 1
        """The height that is made."""

    # -- who does what ----------------------------------------------------------------------------

    def sortition(self, attempt: int = 0) -> Sortition:
        return sortition_of(self.genesis, self.head, attempt)

    def order(self, attempt: int = 0) -> tuple[int, ...]:
        """Whose turn each step is."""
        return self.sortition(attempt).order

    def members(self, attempt: int = 0) -> list[int]:
        """The committee, by ascending server."""
        return sorted(self.sortition(attempt).committee.weights)

    def after(self, block: Block) -> Forge:
        """The forge of the next height."""
        chain = chain_from(self.genesis, (), (self.head,))
        chain.append(block)
        return Forge(self.toy, chain.head)

    # -- draws and updates ------------------------------------------------------------------------

    def draw(self, server: int, height: int | None = None) -> tuple[Ticket, Draw]:
        """A server's honest draw for the height after the one that is made."""
        height = self.height + 1 if height is None else height
        alpha = Ticket.alpha(self.genesis.chain_id, self.head.beacon, height)
        proof, beta = self.toy.keys[server][1].prove(alpha)
        return Ticket(height, server, proof), Draw(server, beta)

    def ticket(self, server: int, height: int | None = None) -> Ticket:
        return self.draw(server, height)[0]

    def tickets(self, servers: Iterable[int] | None = None) -> tuple[Ticket, ...]:
        """The honest tickets of ``servers`` (all)."""
        return tuple(map(self.ticket, range(len(self.toy.keys)) if servers is None else servers))

    def update(self, client: int, value: float = 1.0, **changes: object) -> SignedUpdate:
        """`Toy.update`, for the height that is made."""
        place: dict[str, object] = {"height": self.height, "parent": self.head.cid}
        return self.toy.update(client, value, **(place | changes))  # type: ignore[arg-type]

    def updates(self, clients: Iterable[int] | None = None) -> list[SignedUpdate]:
        """One update of each of ``clients`` (all), in the order of aggregation."""
        if clients is None:
            clients = range(len(self.toy.clients))
        return sorted(map(self.update, clients), key=lambda update: update.record.digest)

    # -- proposals --------------------------------------------------------------------------------

    def candidate(
        self,
        listed: Sequence[SignedUpdate] | None = None,
        view: View = (0, 0),
        aggregator: int | None = None,
        tickets: tuple[Ticket, ...] | None = None,
        signer: int | None = None,
        justification: TimeoutCertificate | None = None,
        **changes: object,
    ) -> Candidate:
        """What the leader of ``view`` would propose anew from ``listed`` updates (all);
        ``changes`` replace header fields before it is signed."""
        if listed is None:
            listed = self.updates()
        if aggregator is None:
            aggregator = self.order(view[0])[view[1]]
        if tickets is None:
            tickets = self.tickets()
        digests = tuple(update.record.digest for update in listed)
        samples = [update.record.samples for update in listed]
        aggregate = self.toy.application.aggregate([update.payload for update in listed], samples)
        header = Header(
            chain_id=self.genesis.chain_id,
            height=self.height,
            attempt=view[0],
            step=view[1],
            timestamp=self.head.timestamp + 1_000_000,
            parent=self.head.cid,
            aggregator=aggregator,
            tickets=digest_of(tickets),
            updates=updates_root(digests),
            count=len(listed),
            samples=sum(samples),
            aggregate_cid=file_cid(aggregate),
            snapshot=None,
        )
        header = replace(header, **changes)  # type: ignore[arg-type]
        key = self.toy.keys[aggregator if signer is None else signer][0]
        return Candidate(header, key.sign(header.signed), tickets, digests, justification)

    def again(
        self,
        candidate: Candidate,
        view: View,
        justification: TimeoutCertificate | None,
        server: int | None = None,
        signer: int | None = None,
    ) -> Candidate:
        """``candidate``'s block, proposed again by the leader of ``view``."""
        server = self.order(view[0])[view[1]] if server is None else server
        header = candidate.header
        signed = proposal_digest(header.chain_id, header.height, view, header.cid)
        key = self.toy.keys[server if signer is None else signer][0]
        turn = Turn(*view, server, key.sign(signed))
        return replace(candidate, justification=justification, turn=turn)

    # -- votes ------------------------------------------------------------------------------------

    def vote(
        self,
        candidate: Candidate,
        server: int,
        phase: str = "soft",
        view: View | None = None,
        signer: int | None = None,
        proposal: bytes = b"",
        **changes: object,
    ) -> Vote:
        """A server's signed vote, in the candidate's view; ``changes`` replace fields before it is
        signed."""
        header = candidate.header
        attempt, step = candidate.view if view is None else view
        fields: dict[str, object] = {
            "chain_id": header.chain_id,
            "height": header.height,
            "attempt": attempt,
            "step": step,
            "phase": phase,
            "block": header.cid,
        }
        fields.update(changes)
        key = self.toy.keys[server if signer is None else signer][0]
        signature = key.sign(Vote.signing_digest(**fields))  # type: ignore[arg-type]
        return Vote(**fields, server=server, signature=signature, proposal=proposal)  # type: ignore[arg-type]

    def certificate(
        self,
        candidate: Candidate,
        phase: str = "cert",
        signers: Iterable[int] | None = None,
        view: View | None = None,
        vote: Callable[..., Vote] | None = None,
    ) -> Certificate:
        """The votes of ``signers`` (the committee of the view) as one."""
        attempt, step = candidate.view if view is None else view
        if signers is None:
            signers = self.members(attempt)
        make = vote or self.vote
        header = candidate.header
        return Certificate(
            header.height,
            attempt,
            step,
            phase,
            header.cid,
            tuple(
                (server, make(candidate, server, phase, (attempt, step)).signature)
                for server in signers
            ),
        )

    def lock(
        self, candidate: Candidate, view: View | None = None, signers: Iterable[int] | None = None
    ) -> Certificate:
        """A lock on the candidate's block."""
        return self.certificate(candidate, "soft", signers, view)

    def block(
        self,
        candidate: Candidate | None = None,
        signers: Iterable[int] | None = None,
        phase: str = "cert",
        view: View | None = None,
        vote: Callable[..., Vote] | None = None,
    ) -> Block:
        """``candidate`` with the cert votes of ``signers`` (the committee of the view)."""
        if candidate is None:
            candidate = self.candidate()
        certificate = self.certificate(candidate, phase, signers, view, vote)
        return Block(candidate.header, candidate.signature, candidate.tickets, certificate)

    # -- timeouts ---------------------------------------------------------------------------------

    def timeout(
        self,
        server: int,
        view: View = (0, 0),
        everyone: bool = False,
        lock: Certificate | None = None,
        signer: int | None = None,
        height: int | None = None,
    ) -> Timeout:
        """A server's signed farewell to a view."""
        height = self.height if height is None else height
        signed = Timeout.signing_digest(
            self.genesis.chain_id, height, view, everyone, None if lock is None else lock.name
        )
        key = self.toy.keys[server if signer is None else signer][0]
        chain_id = self.genesis.chain_id
        return Timeout(chain_id, height, *view, everyone, server, key.sign(signed), lock)

    def closing(
        self,
        view: View = (0, 0),
        servers: Iterable[int] | None = None,
        everyone: bool = False,
        locks: Mapping[int, Certificate] | None = None,
    ) -> TimeoutCertificate:
        """The timeouts of ``servers`` (the committee, or all) as one; ``locks`` by server."""
        locks = locks or {}
        if servers is None:
            servers = range(len(self.toy.keys)) if everyone else self.members(view[0])
        said = [self.timeout(server, view, everyone, locks.get(server)) for server in servers]
        return TimeoutCertificate(
            self.height,
            *view,
            everyone,
            tuple((t.server, None if t.lock is None else t.lock.name, t.signature) for t in said),
            max(locks.values(), key=lambda lock: lock.name, default=None),
        )


def digest_of(tickets: Iterable[Ticket]) -> bytes:
    """The digest of tickets, computed apart from the ledger's own function."""
    return digest(encode([[ticket.server, ticket.proof[:32]] for ticket in tickets]))


def flipped(data: bytes, at: int = -1) -> bytes:
    """``data`` with a bit of one byte changed."""
    changed = bytearray(data)
    changed[at] ^= 1
    return bytes(changed)
