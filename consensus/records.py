"""The ledger's vocabulary: what servers and clients say to each other, as frozen records.

Every record has one canonical byte form (DAG-CBOR, `consensus.encoding`): what is signed, hashed,
counted on the wire and stored is that form and nothing else. ``from_node`` refuses whatever is
not exactly a record: unknown or missing fields, wrong types, lengths or ranges raise
`MalformedRecord` and nothing is built.

Links (content identifiers, CIDs) are 36-byte binary CIDv1; times are integer microseconds of
simulated time; nothing here is a float.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, ClassVar, Self

from consensus.encoding import digest, encode, node_cid
from consensus.fields import (
    DIGEST_BYTES,
    GAMMA_BYTES,
    KEY_BYTES,
    PROOF_BYTES,
    SIGNATURE_BYTES,
    MalformedRecord,
    Record,
    fields_of,
    fixed_bytes,
    integer,
    items_of,
    link,
    names_of,
    optional_link,
    pair,
    signing_digest_of,
)


@dataclass(frozen=True)
class ModelUpdate(Record):
    """A client's signed claim: from N_u samples, at this height, this payload (its A_u)."""

    KIND: ClassVar[str] = "update"

    chain_id: bytes
    height: int
    parent: bytes
    """The block the client trained on: an update is good for one height of one chain."""
    client: bytes
    """The client's Ed25519 public key."""
    samples: int
    """N_u."""
    payload: bytes
    """Link to the payload; the payload itself travels next to this record."""
    signature: bytes

    @classmethod
    def from_node(cls, node: Any) -> Self:
        found = fields_of(node, "update", names_of(cls))
        return cls(
            fixed_bytes(found["chain_id"], "update.chain_id", DIGEST_BYTES),
            integer(found["height"], "update.height", 1),
            link(found["parent"], "update.parent"),
            fixed_bytes(found["client"], "update.client", KEY_BYTES),
            integer(found["samples"], "update.samples"),
            link(found["payload"], "update.payload"),
            fixed_bytes(found["signature"], "update.signature", SIGNATURE_BYTES),
        )

    @staticmethod
    def signing_digest(
        chain_id: bytes, height: int, parent: bytes, client: bytes, samples: int, payload: bytes
    ) -> bytes:
        return signing_digest_of("update", [chain_id, height, parent, client, samples, payload])

    @cached_property
    def signed(self) -> bytes:
        """The digest that ``signature`` signs."""
        return self.signing_digest(
            self.chain_id, self.height, self.parent, self.client, self.samples, self.payload
        )

    @cached_property
    def digest(self) -> bytes:
        """The update's name in candidates and in the Merkle tree of a block."""
        return digest(self.encoded)


@dataclass(frozen=True)
class Ticket(Record):
    """A server's draw in the sortition of (height, attempt), proven by its VRF.

    It needs no signature: nobody else could have made the proof.
    """

    KIND: ClassVar[str] = "ticket"

    height: int
    attempt: int
    server: int
    """Index of the server in the genesis."""
    proof: bytes

    @classmethod
    def from_node(cls, node: Any) -> Self:
        found = fields_of(node, "ticket", names_of(cls))
        return cls(
            integer(found["height"], "ticket.height", 1),
            integer(found["attempt"], "ticket.attempt"),
            integer(found["server"], "ticket.server"),
            fixed_bytes(found["proof"], "ticket.proof", PROOF_BYTES),
        )

    @staticmethod
    @lru_cache(maxsize=64)
    def alpha(chain_id: bytes, beacon: bytes, height: int, attempt: int) -> bytes:
        """The VRF input. It holds the attempt, so that a committee formed anew differs from the
        one that failed (the paper's input, the latest block, gives the same one again)."""
        return encode(["bfedrec/ticket", chain_id, beacon, height, attempt])


@dataclass(frozen=True)
class Header(Record):
    """What a block says; its link is the block's identity and the next block's parent."""

    KIND: ClassVar[str] = "header"

    chain_id: bytes
    height: int
    attempt: int
    step: int
    timestamp: int
    parent: bytes
    aggregator: int
    """Index of the server that proposed the block."""
    proof: bytes
    """The aggregator's VRF proof in this attempt; the next beacon derives from its output."""
    committee: bytes
    """Digest of the committee's draws (`committee_digest`)."""
    updates: bytes
    """Merkle root of the digests of the aggregated updates, in their order."""
    count: int
    """How many updates were aggregated."""
    samples: int
    """N, the sum of their sample counts."""
    model: bytes
    """Link (IPFS address) to the aggregated model A."""
    snapshot: bytes | None
    """Link to the whole item matrix Q after this block, at the heights that have one."""

    @classmethod
    def from_node(cls, node: Any) -> Self:
        found = fields_of(node, "header", names_of(cls))
        return cls(
            fixed_bytes(found["chain_id"], "header.chain_id", DIGEST_BYTES),
            integer(found["height"], "header.height", 1),
            integer(found["attempt"], "header.attempt"),
            integer(found["step"], "header.step"),
            integer(found["timestamp"], "header.timestamp"),
            link(found["parent"], "header.parent"),
            integer(found["aggregator"], "header.aggregator"),
            fixed_bytes(found["proof"], "header.proof", PROOF_BYTES),
            fixed_bytes(found["committee"], "header.committee", DIGEST_BYTES),
            fixed_bytes(found["updates"], "header.updates", DIGEST_BYTES),
            integer(found["count"], "header.count", 1),
            integer(found["samples"], "header.samples", 1),
            link(found["model"], "header.model"),
            optional_link(found["snapshot"], "header.snapshot"),
        )

    @cached_property
    def cid(self) -> bytes:
        return node_cid(self.encoded)

    @cached_property
    def signed(self) -> bytes:
        """The digest that the aggregator signs."""
        return signing_digest_of("candidate", [self.cid])


@dataclass(frozen=True)
class Vote(Record):
    """A committee member's signed verdict on one candidate."""

    KIND: ClassVar[str] = "vote"

    chain_id: bytes
    height: int
    attempt: int
    step: int
    block: bytes
    """Link to the candidate's header."""
    approve: bool
    server: int
    signature: bytes

    @classmethod
    def from_node(cls, node: Any) -> Self:
        found = fields_of(node, "vote", names_of(cls))
        if type(found["approve"]) is not bool:
            raise MalformedRecord("vote.approve: expected a boolean")
        return cls(
            fixed_bytes(found["chain_id"], "vote.chain_id", DIGEST_BYTES),
            integer(found["height"], "vote.height", 1),
            integer(found["attempt"], "vote.attempt"),
            integer(found["step"], "vote.step"),
            link(found["block"], "vote.block"),
            found["approve"],
            integer(found["server"], "vote.server"),
            fixed_bytes(found["signature"], "vote.signature", SIGNATURE_BYTES),
        )

    @staticmethod
    def signing_digest(
        chain_id: bytes, height: int, attempt: int, step: int, block: bytes, approve: bool
    ) -> bytes:
        return signing_digest_of("vote", [chain_id, height, attempt, step, block, approve])

    @cached_property
    def signed(self) -> bytes:
        """The digest that ``signature`` signs."""
        return self.signing_digest(
            self.chain_id, self.height, self.attempt, self.step, self.block, self.approve
        )


def _tickets_to_node(tickets: tuple[Ticket, ...]) -> list[list[Any]]:
    return [[ticket.server, ticket.proof] for ticket in tickets]


def _tickets_from_node(node: Any, header: Header) -> tuple[Ticket, ...]:
    tickets = []
    for entry in items_of(node, "committee"):
        server, proof = pair(entry, "committee")
        tickets.append(
            Ticket(
                header.height,
                header.attempt,
                integer(server, "committee.server"),
                fixed_bytes(proof, "committee.proof", PROOF_BYTES),
            )
        )
    return tuple(tickets)


def committee_digest(tickets: tuple[Ticket, ...]) -> bytes:
    """What ``Header.committee`` holds: the members and their draws, in their order.

    Of a proof only Gamma counts, its first 32 bytes, which fixes the output beta. The rest may be
    made anew at will by the key's holder, who could else show every server another proof of the
    same draw and have them disagree about a committee on which they agree.
    """
    return digest(encode([[ticket.server, ticket.proof[:GAMMA_BYTES]] for ticket in tickets]))


@dataclass(frozen=True)
class Candidate(Record):
    """A proposed block: its header, signed by the aggregator, with the committee it is for and
    the digests of the updates it aggregates."""

    KIND: ClassVar[str] = "candidate"

    header: Header
    signature: bytes
    committee: tuple[Ticket, ...]
    updates: tuple[bytes, ...]

    def to_node(self) -> dict[str, Any]:
        return {
            "header": self.header.to_node(),
            "signature": self.signature,
            "committee": _tickets_to_node(self.committee),
            "updates": list(self.updates),
        }

    @classmethod
    def from_node(cls, node: Any) -> Self:
        found = fields_of(
            node, "candidate", frozenset(("header", "signature", "committee", "updates"))
        )
        header = Header.from_node(found["header"])
        return cls(
            header,
            fixed_bytes(found["signature"], "candidate.signature", SIGNATURE_BYTES),
            _tickets_from_node(found["committee"], header),
            tuple(
                fixed_bytes(entry, "candidate.updates", DIGEST_BYTES)
                for entry in items_of(found["updates"], "candidate.updates")
            ),
        )


@dataclass(frozen=True)
class Block(Record):
    """A validated block: the updates are gone, the address of the model and the signatures of
    more than two thirds of the committee stay (paper, III.D)."""

    KIND: ClassVar[str] = "block"

    header: Header
    signature: bytes
    committee: tuple[Ticket, ...]
    certificate: tuple[tuple[int, bytes], ...]
    """The approving members and their vote signatures, by ascending server index."""

    def to_node(self) -> dict[str, Any]:
        return {
            "header": self.header.to_node(),
            "signature": self.signature,
            "committee": _tickets_to_node(self.committee),
            "certificate": [[server, signature] for server, signature in self.certificate],
        }

    @classmethod
    def from_node(cls, node: Any) -> Self:
        found = fields_of(
            node, "block", frozenset(("header", "signature", "committee", "certificate"))
        )
        header = Header.from_node(found["header"])
        certificate = []
        for entry in items_of(found["certificate"], "block.certificate"):
            server, signature = pair(entry, "block.certificate")
            certificate.append(
                (
                    integer(server, "block.certificate.server"),
                    fixed_bytes(signature, "block.certificate.signature", SIGNATURE_BYTES),
                )
            )
        return cls(
            header,
            fixed_bytes(found["signature"], "block.signature", SIGNATURE_BYTES),
            _tickets_from_node(found["committee"], header),
            tuple(certificate),
        )

    @property
    def height(self) -> int:
        return self.header.height

    @property
    def cid(self) -> bytes:
        """The link to the block's header: its identity, and the next block's parent."""
        return self.header.cid
