"""Rules that `tendermint` and `hotstuff` share, in one committee a height whose members propose in
rotation, and that can be switched off."""

from __future__ import annotations

from typing import Final

SHARED: Final = (
    "quorum",
    "quorum-less-one",
    "proposal-signatures",
    "parent",
    "timestamps",
    "chain-id",
    "contents",
    "availability",
    "ticket-proofs",
    "pi-for-beta",
    "written-before-promised",
    "stale-updates",
    "update-signatures",
    "sample-counts",
    "one-update-per-client",
    "fetching",
    "giving-models",
    "models-below",
    "catching-up",
    "saying-again",
    "abstaining",
    "every-ticket",
    "early-tickets",
    "ticket-time",
    "block-time",
)
"""Rules of `bft` whose code is that of both, too, by name."""
