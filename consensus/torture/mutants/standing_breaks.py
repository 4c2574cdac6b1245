"""Rules that `tendermint` and `hotstuff` share, in one committee a height whose members propose in
rotation, and that can be switched off."""

from __future__ import annotations

from types import ModuleType
from typing import Final

from consensus.ledger import validity
from consensus.protocols.bft import validity as bft_validity
from consensus.protocols.bft.standing import HeightContext
from consensus.server.checks import SharedChecks
from consensus.torture.arena.drawing import Bias
from consensus.torture.mutants import stand_ins
from consensus.torture.mutants.broken_rule import Break, imported, of_certificates
from consensus.torture.mutants.patch import Patch

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
    "block-time",
)
"""Rules of `bft` whose code is that of both, too, by name."""


def certificate_breaks(rules: ModuleType) -> tuple[Break, ...]:
    """The rules of votes and of the certificates that they make; ``rules``: the protocol's own
    validity rules."""
    return (
        Break(
            "vote-signatures",
            "anybody votes in everybody's name",
            (
                Patch(SharedChecks, "vote", stand_ins.always(True)),
                *of_certificates(rules, "signatures"),
            ),
            Bias(("phantom_votes", "pad_certificates")),
        ),
        Break(
            "seats",
            "who has no seat votes, too",
            (
                Patch(HeightContext, "weight", lambda original: lambda self, server: 1),
                *of_certificates(rules, "seats"),
            ),
            Bias(("phantom_votes", "pad_certificates"), sizes=(7, 10)),
        ),
        Break(
            "distinct-signers",
            "a signature that is given twice counts twice",
            (
                Patch(validity, "check_signers", stand_ins.always(None)),
                imported(bft_validity, "check_signers", stand_ins.always(None)),
                *of_certificates(rules, "distinct"),
            ),
            Bias(("pad_certificates",)),
        ),
    )
