"""The ledger's vocabulary: what servers and clients say to each other, as frozen records.

Every record has one canonical byte form (DAG-CBOR, `consensus.encoding`): what is signed, hashed,
counted on the wire and stored is that form and nothing else. ``from_node`` refuses whatever is
not exactly a record: unknown or missing fields, wrong types, lengths or ranges raise
`MalformedRecord` and nothing is built.

Links (content identifiers, CIDs) are 36-byte binary CIDv1; times are integer microseconds of
simulated time; nothing here is a float.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, ClassVar, Self

from consensus.encoding import digest, encode, node_cid
from consensus.fields import (
    DIGEST_BYTES,
    GAMMA_BYTES,
    KEY_BYTES,
    PROOF_BYTES,
    SIGNATURE_BYTES,
    Record,
    computed_once,
    fields_of,
    fixed_bytes,
    integer,
    link,
    names_of,
    one_of,
    optional_link,
    signing_digest_of,
)
from consensus.frozen import frozen

View = tuple[int, int]
"""(attempt, step): one aggregator's turn before one committee."""


@frozen
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
    @lru_cache(maxsize=64)  # signed, and checked soon after
    def signing_digest(
        chain_id: bytes, height: int, parent: bytes, client: bytes, samples: int, payload: bytes
    ) -> bytes:
        return signing_digest_of("update", [chain_id, height, parent, client, samples, payload])

    @computed_once
    def signed(self) -> bytes:
        """The digest that ``signature`` signs."""
        return self.signing_digest(
            self.chain_id, self.height, self.parent, self.client, self.samples, self.payload
        )

    @computed_once
    def digest(self) -> bytes:
        """The update's name in candidates and in the Merkle tree of a block."""
        return digest(self.encoded)


@frozen
class Ticket(Record):
    """A server's draw for the committees of a height, proven by its VRF.

    It needs no signature: nobody else could have made the proof.
    """

    KIND: ClassVar[str] = "ticket"

    height: int
    """The height whose committees the draw is for."""
    server: int
    """Index of the server in the genesis."""
    proof: bytes

    @classmethod
    def from_node(cls, node: Any) -> Self:
        found = fields_of(node, "ticket", names_of(cls))
        return cls(
            integer(found["height"], "ticket.height", 1),
            integer(found["server"], "ticket.server"),
            fixed_bytes(found["proof"], "ticket.proof", PROOF_BYTES),
        )

    @staticmethod
    @lru_cache(maxsize=64)
    def alpha(chain_id: bytes, seed: bytes, height: int) -> bytes:
        """The VRF input. ``seed`` is what the protocol draws from: under ``bft`` the beacon of the
        height before, under ``paper`` the link to the latest block."""
        return encode(["bfedrec/ticket", chain_id, seed, height])


@frozen
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
    tickets: bytes
    """Digest of the draws that the block carries (`tickets_digest`): under ``bft`` those of the
    next height, under ``paper`` those of the committee that approved it."""
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
            fixed_bytes(found["tickets"], "header.tickets", DIGEST_BYTES),
            fixed_bytes(found["updates"], "header.updates", DIGEST_BYTES),
            integer(found["count"], "header.count", 1),
            integer(found["samples"], "header.samples", 1),
            link(found["model"], "header.model"),
            optional_link(found["snapshot"], "header.snapshot"),
        )

    @computed_once
    def cid(self) -> bytes:
        return node_cid(self.encoded)

    @property
    def view(self) -> View:
        """The view in which the block was first proposed."""
        return self.attempt, self.step

    @computed_once
    def signed(self) -> bytes:
        """The digest that the aggregator signs."""
        return proposal_digest(self.chain_id, self.height, self.view, self.cid)


@lru_cache(maxsize=256)
def proposal_digest(chain_id: bytes, height: int, view: View, block: bytes) -> bytes:
    """What the leader of ``view`` signs to propose ``block`` in it."""
    return signing_digest_of("proposal", [chain_id, height, *view, block])


PHASES = ("soft", "cert", "approve", "reject")
"""What a vote says: the two phases of ``bft``, and the verdicts of ``paper``."""


@frozen
class Vote(Record):
    """A committee member's signed vote on one proposed block, in one view (attempt, step)."""

    KIND: ClassVar[str] = "vote"

    chain_id: bytes
    height: int
    attempt: int
    step: int
    phase: str
    """One of `PHASES`."""
    block: bytes
    """Link to the block's header."""
    server: int
    signature: bytes
    proposal: bytes = b""
    """With a soft vote: the proposer's signature on what is voted for (`proposal_digest`), so that
    whoever holds another proposal of the same view sees that its leader made two."""

    @classmethod
    def from_node(cls, node: Any) -> Self:
        found = fields_of(node, "vote", names_of(cls))
        proposal = found["proposal"]
        if proposal != b"":
            fixed_bytes(proposal, "vote.proposal", SIGNATURE_BYTES)
        return cls(
            fixed_bytes(found["chain_id"], "vote.chain_id", DIGEST_BYTES),
            integer(found["height"], "vote.height", 1),
            integer(found["attempt"], "vote.attempt"),
            integer(found["step"], "vote.step"),
            one_of(found["phase"], "vote.phase", PHASES),
            link(found["block"], "vote.block"),
            integer(found["server"], "vote.server"),
            fixed_bytes(found["signature"], "vote.signature", SIGNATURE_BYTES),
            proposal,
        )

    @staticmethod
    @lru_cache(maxsize=1024)  # all members sign the same
    def signing_digest(
        chain_id: bytes, height: int, attempt: int, step: int, phase: str, block: bytes
    ) -> bytes:
        return signing_digest_of("vote", [chain_id, height, attempt, step, phase, block])

    @computed_once
    def signed(self) -> bytes:
        """The digest that ``signature`` signs."""
        return self.signing_digest(
            self.chain_id, self.height, self.attempt, self.step, self.phase, self.block
        )


def tickets_digest(tickets: tuple[Ticket, ...]) -> bytes:
    """What ``Header.tickets`` holds: the servers and their draws, in their order.

    Of a proof only Gamma counts, its first 32 bytes, which fixes the output beta. The rest may be
    made anew at will by the key's holder, who could else show every server another proof of the
    same draw and have them disagree about draws on which they agree.
    """
    return digest(encode([[ticket.server, ticket.proof[:GAMMA_BYTES]] for ticket in tickets]))
