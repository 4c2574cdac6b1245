"""The record of a sortition win: a VRF output with its proof."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, ClassVar, Self

from consensus.encoding.cid import digest
from consensus.encoding.dag_cbor import encode
from consensus.encoding.fields import (
    GAMMA_BYTES,
    PROOF_BYTES,
    Record,
    fields_of,
    fixed_bytes,
    integer,
    names_of,
)
from consensus.encoding.frozen import frozen


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
        """The VRF input alpha of the draws for ``height``.

        ``seed`` is the randomness that the protocol draws from: under ``bft`` the beacon of the
        height before, under ``paper`` the link to the latest block.
        """
        return encode(["bfedrec/ticket", chain_id, seed, height])


def tickets_digest(tickets: tuple[Ticket, ...]) -> bytes:
    """The digest for ``Header.tickets``: of the servers and their draws, in their order.

    Of a proof only Gamma enters, its first 32 bytes, which fixes the output beta. The key's holder
    can make the rest anew at will. If it entered, a malicious server could show every other server
    a different proof of the same draw, and have them disagree although the draws are the same.
    """
    return digest(encode([[ticket.server, ticket.proof[:GAMMA_BYTES]] for ticket in tickets]))
