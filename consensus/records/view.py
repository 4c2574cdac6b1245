"""A view, (attempt, step), and the digest of a proposal in it."""

from __future__ import annotations

from functools import lru_cache

from consensus.encoding.fields import signing_digest_of

View = tuple[int, int]
"""(attempt, step): one aggregator's turn before one committee."""


@lru_cache(maxsize=256)
def proposal_digest(chain_id: bytes, height: int, view: View, block: bytes) -> bytes:
    """What the leader of ``view`` signs to propose ``block`` in it."""
    return signing_digest_of("proposal", [chain_id, height, *view, block])
