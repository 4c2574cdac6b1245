"""A view of the vote, (attempt, step), and the digest that a proposer signs in it."""

from __future__ import annotations

from functools import lru_cache

from consensus.encoding.fields import signing_digest_of

View = tuple[int, int]
"""(attempt, step): one aggregator's turn before one committee."""


@lru_cache(maxsize=256)
def proposal_digest(chain_id: bytes, height: int, view: View, block: bytes) -> bytes:
    """The digest (32 bytes) that the leader of ``view`` signs to propose the block with CID
    ``block``."""
    return signing_digest_of("proposal", [chain_id, height, *view, block])
