"""Evidence checked: that two signatures of one server contradict each other.

An honest server never signs two blocks in one phase of one view, proposes two in one view, or
leaves one view with two locks. Both signatures together are proof for anybody, and nobody else can
make them.
"""

from __future__ import annotations

from consensus.records.evidence import LEFT, PROPOSED, Evidence
from consensus.records.genesis import Genesis
from consensus.records.view import proposal_digest
from consensus.records.votes import LockName, Timeout, Vote


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
    if evidence.phase == PROPOSED:
        return proposal_digest(chain, height, view, said)
    return Vote.signing_digest(chain, height, *view, evidence.phase, said)
