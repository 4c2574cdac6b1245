"""Rules of `hotstuff` that can be switched off: those of Algorithm 2, and those that it shares with
`bft` (`consensus.torture.mutants.breaks`) and `tendermint`
(`consensus.torture.mutants.standing_breaks`)."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from consensus.protocols.bft import standing
from consensus.protocols.bft.rotation import RotationParticipant
from consensus.protocols.bft.rotation_proposals import RotationProposals
from consensus.protocols.hotstuff import validity as rules
from consensus.protocols.hotstuff import vote
from consensus.protocols.hotstuff.server import HotStuffParticipant
from consensus.torture.arena.drawing import Bias
from consensus.torture.mutants import breaks, stand_ins, standing_breaks
from consensus.torture.mutants import view_stand_ins as do
from consensus.torture.mutants.broken_rule import CRASHES, CUTS, Break, imported
from consensus.torture.mutants.certificate_breaks import certificate_breaks
from consensus.torture.mutants.patch import Patch

#: Scenarios in which heights take several views, with blocks locked in some.
LOCKED: Final = ("fresh_values", "late_block", "lone_certificates")

SHARED: Final = (
    *(name for name in standing_breaks.SHARED if name != "abstaining"),
    "timeout-certificates",
)
"""Rules of `bft` whose code is that of `hotstuff`, too. One has scenarios of its own here."""

_VIEWS = (
    Break(
        "safe-node",
        "members prepare what their lock forbids (safeNode)",
        (Patch(vote, "is_safe", stand_ins.always(True)),),
        Bias(LOCKED, CUTS, sizes=(4,)),
    ),
    Break(
        "newer-certificate",
        "any prepareQC unlocks, however old (safeNode's rule of liveness)",
        (Patch(vote, "is_safe", do.any_certificate),),
        Bias(("fresh_values", "lone_certificates", "old_certificates"), CUTS, sizes=(10, 13)),
    ),
    Break(
        "unlocking",
        "a lock is never left (safeNode's rule of liveness)",
        (Patch(vote, "is_safe", do.locked_for_ever),),
        Bias(("fresh_values", "lone_certificates"), sizes=(4, 7)),
    ),
    Break(
        "justified",
        "a block is proposed with the prepareQC of another one",
        (Patch(vote, "follows", stand_ins.but_for("proof of another value")),),
        Bias(("borrowed_certificates", "equivocate_candidates", "late_block"), CUTS),
    ),
    Break(
        "locking",
        "members commit without a lock",
        (Patch(vote, "_commit", do.keeps_no_lock),),
        Bias(LOCKED, CUTS, sizes=(4,)),
    ),
    Break(
        "prepare-quorum",
        "members precommit what they have prepared",
        (Patch(vote, "_precommit", do.precommits_what_it_prepared),),
        Bias(("equivocate_candidates", "equivocate_votes"), CUTS),
    ),
    Break(
        "third-phase",
        "members commit what is prepared, and not what is precommitted",
        (Patch(vote, "_commit", do.commits_what_is_prepared),),
        Bias(LOCKED, CUTS),
    ),
    Break(
        "prepared-before-locked",
        "members commit without the prepareQC that they are to tell of",
        (Patch(vote, "_commit", do.commits_unprepared),),
        Bias((), ("loss", "loss", "reorder")),
    ),
    Break(
        "named-certificates",
        "the next leader is told of no prepareQC",
        (Patch(vote, "on_timer", do.names_nothing),),
        Bias(("late_block", "lone_certificates"), CUTS, sizes=(4,)),
    ),
    Break(
        "highest-certificate",
        "leaders do not propose the block of highQC",
        (Patch(vote, "highest", stand_ins.always(None)),),
        Bias(("late_block", "lone_certificates"), CUTS, sizes=(4,)),
    ),
    Break(
        "turns",
        "whoever comes first proposes",
        (
            Patch(vote, "follows", stand_ins.but_for("not its turn")),
            imported(standing, "check_turn", stand_ins.always(None)),
        ),
        Bias(("usurp",)),
    ),
    Break(
        "locked-judged-anew",
        "a block that is proposed again is refused for what came after it was proposed",
        (Patch(RotationProposals, "judge", do.judged_as_new),),
        Bias(("late_block", "lone_certificates"), (*CRASHES, "skew", *CUTS), sizes=(4,)),
    ),
    Break(
        "view-timer",
        "members wait for their leader for ever",
        (Patch(HotStuffParticipant, "schedule", do.without_timers),),
        Bias(("abstain",)),
    ),
    Break(
        "growing-timers",
        "a view takes no longer than the one before",
        (Patch(HotStuffParticipant, "schedule", do.timers_of_view_0),),
        Bias(changes=(("vote", 30), ("latency", 60.0), ("topology", "ring"))),
    ),
    Break(
        "durable-votes",
        "a crash takes the votes that were cast in a view",
        (Patch(RotationParticipant, "begin", stand_ins.forgetful("said")),),
        Bias(("equivocate_candidates",), (*CRASHES, *CRASHES)),
    ),
    Break(
        "durable-view",
        "a crash takes the view that a server is in",
        (Patch(RotationParticipant, "begin", stand_ins.forgetful("round", "said")),),
        Bias(("late_votes",), (*CRASHES, *CRASHES, *CUTS)),
    ),
    Break(
        "durable-lock",
        "a crash takes lockedQC",
        (Patch(RotationParticipant, "begin", stand_ins.forgetful("locked")),),
        Bias(LOCKED, (*CRASHES, *CRASHES, "partition"), sizes=(4, 5, 7)),
    ),
    Break(
        "durable-certificate",
        "a crash takes prepareQC",
        (Patch(RotationParticipant, "begin", stand_ins.forgetful("prepared")),),
        Bias(("late_block",), (*CRASHES, *CRASHES, "partition"), sizes=(4, 5, 7)),
    ),
    Break(
        "durable-proposals",
        "a leader proposes again after a crash",
        (Patch(RotationParticipant, "begin", stand_ins.forgetful("proposed", "said")),),
        Bias((), CRASHES),
    ),
    # Whoever is back late is shown certificates of a later view, in which it has promised nothing:
    # views are to be long, with two blocks to vote for, and several servers are to crash, as most
    # crashes are of too many to lose their promises.
    replace(
        breaks.BREAKS["abstaining"],
        bias=Bias(
            ("equivocate_candidates",),
            ("crash",) * 4,
            hard=True,
            sizes=(7,),
            changes=(("vote", 4000),),
        ),
    ),
)
_CERTIFICATES = (
    Break(
        "certificates",
        "whatever claims to be a prepareQC or precommitQC is one",
        (Patch(rules, "check_shown", stand_ins.always(None)),),
        Bias(("false_locks", "false_proofs")),
    ),
    *certificate_breaks(rules, standing.HeightContext),
)

BREAKS: Final = {
    each.name: each for each in (*_VIEWS, *_CERTIFICATES, *(breaks.BREAKS[name] for name in SHARED))
}
"""Every break by the name of the rule that it switches off."""
