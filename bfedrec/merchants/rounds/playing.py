"""A whole round of several members in one process, one after the other."""

from __future__ import annotations

from collections.abc import Sequence

from bfedrec.merchants.rounds.member import Member
from consensus.ethereum.records import Round


def play_round(members: Sequence[Member]) -> Round:
    """Have every member train and publish, then aggregate and attest; the round as it then is.

    What was done before, by an earlier call that was interrupted, is not done again. Members that
    are missing hold up nobody as long as more than half of the round's merchants are here. Passes
    on what members raise (`bfedrec.merchants.rounds.member.FAILURES`).
    """
    registry = members[0].registry
    number = registry.current_round()
    for member in members:
        member.train()
        member.publish()
    for member in members:
        if registry.current_round() == number:
            member.attest()
    return registry.read_round(number)
