"""Evidence: two signatures of one server that contradict each other.

An honest server never signs two blocks in one phase of one view, nor proposes two in one view. Both
signatures together are proof for anybody, and nobody else can make them.
"""

from __future__ import annotations

from dataclasses import dataclass

from consensus.records.genesis import Genesis
from consensus.records.view import View, proposal_digest
from consensus.records.votes import Vote


@dataclass(frozen=True)
class Evidence:
    """Two contradicting signatures of one server."""

    server: int
    height: int
    view: View
    phase: str
    """A vote's phase, or ``proposal``."""
    blocks: tuple[bytes, bytes]
    """Links to the two headers."""
    signatures: tuple[bytes, bytes]

    @property
    def key(self) -> tuple[str, int, int]:
        """The key under which one piece of evidence is kept: kind, height and server."""
        return "proposal" if self.phase == "proposal" else "vote", self.height, self.server


def holds(genesis: Genesis, evidence: Evidence) -> bool:
    """True if both signatures are the server's, and on two different blocks."""
    if evidence.server >= len(genesis.servers) or evidence.blocks[0] == evidence.blocks[1]:
        return False
    key = genesis.servers[evidence.server].signing_key
    for block, signature in zip(evidence.blocks, evidence.signatures, strict=True):
        if evidence.phase == "proposal":
            signed = proposal_digest(genesis.chain_id, evidence.height, evidence.view, block)
        else:
            signed = Vote.signing_digest(
                genesis.chain_id, evidence.height, *evidence.view, evidence.phase, block
            )
        if not genesis.suite.verify(key, signed, signature):
            return False
    return True
