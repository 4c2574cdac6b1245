"""Rules of `bft` that matter at the edge of its premises: what a server owes the others once it has
decided or gone on, which lock a timeout names, how long a vote waits."""

from __future__ import annotations

from typing import Final

from consensus.ledger.committee import Committee
from consensus.protocols.bft import validity, vote
from consensus.protocols.bft.durable import Durable
from consensus.protocols.bft.proposals import Proposals
from consensus.protocols.bft.rotation_proposals import RotationProposals
from consensus.protocols.bft.server import BftParticipant
from consensus.protocols.bft.state import Promises
from consensus.protocols.bft.tickets import Tickets
from consensus.server.block_contents import BlockContents
from consensus.torture.arena.drawing import Bias
from consensus.torture.mutants import stand_ins as do
from consensus.torture.mutants.broken_rule import CUTS, Break
from consensus.torture.mutants.patch import Patch

#: Scenarios in which heights have several locks.
LOCKED: Final = ("late_block", "late_votes")

EDGE_BREAKS: Final = (
    Break(
        "showing-decisions",
        "a server that has decided lets others go on without the block",
        (Patch(BftParticipant, "goes_on", do.always(False)),),
        Bias(("hide_quorum",), half=True),
    ),
    Break(
        "showing-locks",
        "a server that has gone on lets others enter a view without its lock",
        (Patch(vote, "lacking", do.always(None)),),
        Bias(("split_closures",), half=True),
    ),
    Break(
        "settling",
        "a narrow lock is certified at once",
        (Patch(Committee, "overwhelms", do.always(True)),),
        Bias(("equivocate_candidates", "equivocate_votes"), half=True),
    ),
    Break(
        "five-sixths",
        "a lock of two thirds is certified at once",
        (Patch(Committee, "overwhelms", do.as_approves),),
        Bias(("hide_quorum",), half=True),
    ),
    Break(
        "listening",
        "members vote before others have shown their locks",
        (Patch(vote, "on_closed", do.hears_at_once),),
        Bias(("hide_quorum",), half=True),
    ),
    Break(
        "highest-lock",
        "a closure carries any lock that its signers named",
        (Patch(validity, "check_timeout_certificate", do.any_named_lock),),
        Bias((*LOCKED, "stale_locks", "two_timeouts"), CUTS),
    ),
    Break(
        "attempts-lock",
        "a timeout of a whole attempt names no lock of its later steps",
        (Patch(Promises, "named_lock", do.first_step_alone),),
        Bias(LOCKED, (*CUTS, "loss"), changes=(("recovery", 2000),)),
    ),
    Break(
        "lock-learned-last",
        "a timeout names the lock that was learned last",
        (Patch(Promises, "named_lock", do.learned_last),),
        Bias((*LOCKED, "stale_locks", "two_timeouts"), CUTS),
    ),
    Break(
        "no-later-lock",
        "a view may be left with a lock of a later one",
        (Patch(validity, "check_no_later", do.always(None)),),
        Bias((*LOCKED, "late_locks"), CUTS),
    ),
    Break(
        "one-timeout",
        "a view is left with another lock after a crash",
        (Patch(Promises, "named_lock", do.forgets_what_it_told),),
        Bias(LOCKED, ("crash", "crash", *CUTS), hard=True),
    ),
    Break(
        "abstaining",
        "a server that has lost its promises makes others",
        (Patch(Durable, "abstains", do.votes_again),),
        Bias((), ("crash", "crash", "crash"), hard=True, sizes=(7, 10, 13)),
    ),
    Break(
        "every-ticket",
        "members vote for blocks that leave out tickets",
        (Patch(Tickets, "are_all_in", do.always(True)),),
        Bias(("omit_tickets",)),
    ),
    Break(
        "early-tickets",
        "members vote for blocks that leave out tickets which came early",
        (Patch(Tickets, "begin", do.no_ticket_is_early),),
        Bias(("choose_draws",)),
    ),
    Break(
        "ticket-time",
        "members judge a block before the time for draws is over",
        (
            Patch(Proposals, "judge", do.judged_at_once),
            Patch(RotationProposals, "judge", do.judged_at_once),
        ),
        Bias(("choose_draws",)),
    ),
    Break(
        "block-time",
        "a block may be of any later time",
        (Patch(BlockContents, "is_timely", do.always(True)),),
        Bias(("future_times",)),
    ),
)
"""The breaks of this file (`consensus.torture.mutants.breaks.BREAKS`)."""
