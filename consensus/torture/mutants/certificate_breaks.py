"""Rules of votes and of the certificates that they make, which all protocols of certificates have,
and that can be switched off."""

from __future__ import annotations

from types import ModuleType

from consensus.ledger import validity
from consensus.protocols.bft import validity as bft_validity
from consensus.server.checks import SharedChecks
from consensus.torture.arena.drawing import Bias
from consensus.torture.mutants import stand_ins
from consensus.torture.mutants.broken_rule import Break, imported, of_certificates
from consensus.torture.mutants.patch import Patch


def certificate_breaks(rules: ModuleType, context: type) -> tuple[Break, ...]:
    """The rules; ``rules``: the protocol's own validity rules, ``context``: its class of what a
    server knows of a height, whose `weight` is a server's seats."""
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
                Patch(context, "weight", stand_ins.a_seat_for_all),
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
