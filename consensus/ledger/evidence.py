"""Evidence: two signatures of one server that contradict each other.

An honest server never signs two blocks in one phase of one view, proposes two in one view, or
leaves one view with two locks. Both signatures together are proof for anybody, and nobody else can
make them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from consensus.records.genesis import Genesis
from consensus.records.view import View, proposal_digest
from consensus.records.votes import LockName, Timeout, Vote

#: The phase of a timeout that closes a view, and of one that closes an attempt.
LEFT: Final = ("timeout", "recovery")


@dataclass(frozen=True)
class Evidence:
    """Two contradicting signatures of one server."""

    server: int
    height: int
    view: View
    phase: str
    """A vote's phase; ``proposal``; or ``timeout`` or ``recovery`` (a timeout of all servers)."""
    said: tuple[bytes | LockName | None, bytes | LockName | None]
    """Links to the two headers; of timeouts the names of the two locks, None for no lock."""
    signatures: tuple[bytes, bytes]

    @property
    def key(self) -> tuple[str, int, int]:
        """The key under which one piece of evidence is kept: kind, height and server."""
        kind = "timeout" if self.phase in LEFT else self.phase
        return kind if kind in ("proposal", "timeout") else "vote", self.height, self.server


def holds(genesis: Genesis, evidence: Evidence) -> bool:
    """True if both signatures are the server's, and on two different blocks or locks."""
    if evidence.server >= len(genesis.servers) or evidence.said[0] == evidence.said[1]:
        return False
    key = genesis.servers[evidence.server].signing_key
    return all(
        genesis.suite.verify(key, _signed(genesis, evidence, said), signature)
        for said, signature in zip(evidence.said, evidence.signatures, strict=True)
    )


def _signed(genesis: Genesis, evidence: Evidence, said: bytes | LockName | None) -> bytes:
    """The digest that a server signs to say ``said``."""
    chain, height, view = genesis.chain_id, evidence.height, evidence.view
    if evidence.phase in LEFT:
        assert not isinstance(said, bytes)
        return Timeout.signing_digest(chain, height, view, evidence.phase == "recovery", said)
    assert isinstance(said, bytes)
    if evidence.phase == "proposal":
        return proposal_digest(chain, height, view, said)
    return Vote.signing_digest(chain, height, *view, evidence.phase, said)
