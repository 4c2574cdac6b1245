"""Records of a proposed block (`Candidate`) and of a decided one (`Block`), and their `Header`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

from consensus.encoding.cid import node_cid
from consensus.encoding.fields import (
    DIGEST_BYTES,
    PROOF_BYTES,
    SIGNATURE_BYTES,
    MalformedRecord,
    Record,
    computed_once,
    fields_of,
    fixed_bytes,
    integer,
    items_of,
    link,
    names_of,
    optional_link,
)
from consensus.encoding.frozen import frozen
from consensus.encoding.node import Node
from consensus.records.settlement import Settlement
from consensus.records.ticket import Ticket
from consensus.records.view import View, proposal_digest
from consensus.records.votes import Certificate, TimeoutCertificate


def _tickets_to_node(tickets: tuple[Ticket, ...]) -> list[list[Any]]:
    return [[ticket.height, ticket.server, ticket.proof] for ticket in tickets]


def _tickets_from_node(node: Any) -> tuple[Ticket, ...]:
    tickets = []
    for entry in items_of(node, "tickets"):
        if not isinstance(entry, list) or len(entry) != 3:
            raise MalformedRecord("tickets: expected [height, server, proof]")
        tickets.append(
            Ticket(
                integer(entry[0], "tickets.height", 1),
                integer(entry[1], "tickets.server"),
                fixed_bytes(entry[2], "tickets.proof", PROOF_BYTES),
            )
        )
    return tuple(tickets)


def _settled(settlement: Settlement | None) -> Node:
    return {} if settlement is None else {"settlement": settlement.to_node()}


def _with_optional(
    node: Any, record: str, names: frozenset[str], optional: set[str]
) -> tuple[Mapping[str, Any], set[str]]:
    """The fields of ``node``, of which the ``optional`` ones may be missing, and those that are."""
    absent = optional - node.keys() if isinstance(node, dict) else set()
    return fields_of(node, record, names - absent), absent


@frozen
class Turn:
    """The signed proposal of an already locked block in a later view: view, proposer, signature."""

    attempt: int
    step: int
    server: int
    signature: bytes


@frozen
class Candidate(Record):
    """A proposed block: its header, the aggregator's signature, the draws that the block carries
    and the digests of the updates that it aggregates."""

    KIND: ClassVar[str] = "candidate"

    header: Header
    signature: bytes
    tickets: tuple[Ticket, ...]
    updates: tuple[bytes, ...]
    justification: TimeoutCertificate | None = None
    """The timeout certificate that closed the view before; None in the first view of a height."""
    turn: Turn | None = None
    """The later view's proposal, where a locked block is proposed again; None in its header's view.
    """
    proof: Certificate | None = None
    """``tendermint``: the prevotes that make the block a valid value (its proof of lock), where it
    is proposed again. It has no place in the encoding of a candidate without one."""
    settlement: Settlement | None = None
    """The facts by which the block moves stake; None, and no place in the encoding, in a chain
    without incentives."""

    def to_node(self) -> Node:
        turn, why, proof = self.turn, self.justification, self.proof
        node: Node = {
            "header": self.header.to_node(),
            "signature": self.signature,
            "tickets": _tickets_to_node(self.tickets),
            "updates": list(self.updates),
            "justification": None if why is None else why.to_node(),
            "turn": (
                None if turn is None else [turn.attempt, turn.step, turn.server, turn.signature]
            ),
        }
        proven = {} if proof is None else {"proof": proof.to_node()}
        return node | proven | _settled(self.settlement)

    @classmethod
    def from_node(cls, node: Any) -> Self:
        found, absent = _with_optional(node, "candidate", names_of(cls), {"proof", "settlement"})
        turn, why = found["turn"], found["justification"]
        if turn is not None:
            if not isinstance(turn, list) or len(turn) != 4:
                raise MalformedRecord("candidate.turn: expected [attempt, step, server, signature]")
            turn = Turn(
                integer(turn[0], "candidate.turn.attempt"),
                integer(turn[1], "candidate.turn.step"),
                integer(turn[2], "candidate.turn.server"),
                fixed_bytes(turn[3], "candidate.turn.signature", SIGNATURE_BYTES),
            )
        return cls(
            Header.from_node(found["header"]),
            fixed_bytes(found["signature"], "candidate.signature", SIGNATURE_BYTES),
            _tickets_from_node(found["tickets"]),
            tuple(
                fixed_bytes(entry, "candidate.updates", DIGEST_BYTES)
                for entry in items_of(found["updates"], "candidate.updates")
            ),
            None if why is None else TimeoutCertificate.from_node(why),
            turn,
            None if "proof" in absent else Certificate.from_node(found["proof"]),
            None if "settlement" in absent else Settlement.from_node(found["settlement"]),
        )

    @property
    def view(self) -> View:
        """The view that the candidate is proposed in."""
        return self.header.view if self.turn is None else (self.turn.attempt, self.turn.step)

    @property
    def proposer(self) -> int:
        """Index of the server that proposes the candidate in this view."""
        return self.header.aggregator if self.turn is None else self.turn.server

    @property
    def proposal(self) -> bytes:
        """The proposer's signature for this view, 64 bytes."""
        return self.signature if self.turn is None else self.turn.signature

    @computed_once
    def seated(self) -> frozenset[int]:
        """``paper``: the servers that the aggregator names as the committee.

        Their tickets prove that all of them may sit; that they were the *first* to announce
        themselves cannot be proved.
        """
        return frozenset(ticket.server for ticket in self.tickets)

    @computed_once
    def proposal_signed(self) -> bytes:
        """The digest (32 bytes) that ``proposal`` signs."""
        header = self.header
        return proposal_digest(header.chain_id, header.height, self.view, header.cid)


@frozen
class Block(Record):
    """A validated block: header, aggregator's signature, draws, and the certificate that decided
    it.

    The updates are dropped; the address of the aggregate and the signatures of more than two thirds
    of the committee stay (section III.D).
    """

    KIND: ClassVar[str] = "block"

    header: Header
    signature: bytes
    tickets: tuple[Ticket, ...]
    certificate: Certificate
    settlement: Settlement | None = None
    """The settlement of its candidate."""

    def to_node(self) -> Node:
        node: Node = {
            "header": self.header.to_node(),
            "signature": self.signature,
            "tickets": _tickets_to_node(self.tickets),
            "certificate": self.certificate.to_node(),
        }
        return node | _settled(self.settlement)

    @classmethod
    def from_node(cls, node: Any) -> Self:
        found, absent = _with_optional(node, "block", names_of(cls), {"settlement"})
        return cls(
            Header.from_node(found["header"]),
            fixed_bytes(found["signature"], "block.signature", SIGNATURE_BYTES),
            _tickets_from_node(found["tickets"]),
            Certificate.from_node(found["certificate"]),
            None if "settlement" in absent else Settlement.from_node(found["settlement"]),
        )

    @property
    def height(self) -> int:
        """The block's height, at least 1."""
        return self.header.height

    @property
    def cid(self) -> bytes:
        """The link to the block's header: its identity, and the next block's parent."""
        return self.header.cid


@frozen
class Header(Record):
    """A block's contents, as signed by its aggregator; the header's CID identifies the block."""

    KIND: ClassVar[str] = "header"

    chain_id: bytes
    height: int
    attempt: int
    step: int
    timestamp: int
    parent: bytes
    aggregator: int
    """Index of the server that proposed the block."""
    tickets: bytes
    """Digest of the draws that the block carries (`tickets_digest`): under ``bft`` those of the
    next height, under ``paper`` those of the committee that approved it."""
    updates: bytes
    """Merkle root of the digests of the aggregated updates, in their order."""
    count: int
    """Number of aggregated updates."""
    samples: int
    """N, the sum of their sample counts."""
    aggregate_cid: bytes
    """Link (IPFS address) to the aggregate A; `model` on the wire."""
    snapshot: bytes | None
    """Link to the whole item matrix Q after this block, at the heights that have one."""
    stakes: bytes | None = None
    """Digest of all stake after this block (`consensus.ledger.stakes.Stakes`); None, and no place
    in the encoding, in a chain without incentives."""

    def to_node(self) -> Node:
        node = super().to_node()
        node["model"] = node.pop("aggregate_cid")
        if self.stakes is None:
            del node["stakes"]
        return node

    @classmethod
    def from_node(cls, node: Any) -> Self:
        found, absent = _with_optional(node, "header", _HEADER_KEYS, {"stakes"})
        return cls(
            fixed_bytes(found["chain_id"], "header.chain_id", DIGEST_BYTES),
            integer(found["height"], "header.height", 1),
            integer(found["attempt"], "header.attempt"),
            integer(found["step"], "header.step"),
            integer(found["timestamp"], "header.timestamp"),
            link(found["parent"], "header.parent"),
            integer(found["aggregator"], "header.aggregator"),
            fixed_bytes(found["tickets"], "header.tickets", DIGEST_BYTES),
            fixed_bytes(found["updates"], "header.updates", DIGEST_BYTES),
            integer(found["count"], "header.count", 1),
            integer(found["samples"], "header.samples", 1),
            link(found["model"], "header.model"),
            optional_link(found["snapshot"], "header.snapshot"),
            None
            if "stakes" in absent
            else fixed_bytes(found["stakes"], "header.stakes", DIGEST_BYTES),
        )

    @computed_once
    def cid(self) -> bytes:
        """The link to this header: the block's identity, and the next block's ``parent``."""
        return node_cid(self.encoded)

    @property
    def view(self) -> View:
        """The view in which the block was first proposed."""
        return self.attempt, self.step

    @computed_once
    def signed(self) -> bytes:
        """The digest (32 bytes) that the aggregator signs."""
        return proposal_digest(self.chain_id, self.height, self.view, self.cid)


_HEADER_KEYS = names_of(Header) - {"aggregate_cid"} | {"model"}
