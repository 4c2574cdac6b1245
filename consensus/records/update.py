"""The record of a client's signed update."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, ClassVar, Self

from consensus.encoding.cid import digest
from consensus.encoding.fields import (
    DIGEST_BYTES,
    KEY_BYTES,
    SIGNATURE_BYTES,
    Record,
    computed_once,
    fields_of,
    fixed_bytes,
    integer,
    link,
    names_of,
    signing_digest_of,
)
from consensus.encoding.frozen import frozen


@frozen
class UpdateRecord(Record):
    """A client's signed statement: this payload (its A_u), at this height, from N_u samples."""

    KIND: ClassVar[str] = "update"

    chain_id: bytes
    height: int
    parent: bytes
    """Link to the block that the client trained on: an update is valid for one height of one chain.
    """
    client: bytes
    """The client's Ed25519 public key."""
    samples: int
    """Sample count N_u, the weight of the update."""
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
    @lru_cache(maxsize=64)  # computed for signing, and again for checking
    def signing_digest(
        chain_id: bytes, height: int, parent: bytes, client: bytes, samples: int, payload: bytes
    ) -> bytes:
        """The digest (32 bytes) that the client signs to send this update."""
        return signing_digest_of("update", [chain_id, height, parent, client, samples, payload])

    @computed_once
    def signed(self) -> bytes:
        """The digest (32 bytes) that ``signature`` signs."""
        return self.signing_digest(
            self.chain_id, self.height, self.parent, self.client, self.samples, self.payload
        )

    @computed_once
    def digest(self) -> bytes:
        """Digest of the encoded update: its name in candidates, and its leaf in a block's Merkle
        tree."""
        return digest(self.encoded)
