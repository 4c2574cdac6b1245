"""Rules of `tendermint` that can be switched off: those of Algorithm 1, and those that it shares
with `bft` (`consensus.torture.mutants.breaks`) and `hotstuff`
(`consensus.torture.mutants.standing_breaks`)."""

from __future__ import annotations

from typing import Final

from consensus.protocols.bft import standing
from consensus.protocols.bft.rotation import RotationParticipant
from consensus.protocols.tendermint import validity as rules
from consensus.protocols.tendermint import vote
from consensus.protocols.tendermint.proposals import Proposals
from consensus.protocols.tendermint.server import TendermintParticipant
from consensus.protocols.tendermint.state import STEPS
from consensus.torture.arena.drawing import Bias
from consensus.torture.mutants import breaks, stand_ins
from consensus.torture.mutants import round_stand_ins as do
from consensus.torture.mutants.broken_rule import CRASHES, CUTS, Break, imported
from consensus.torture.mutants.certificate_breaks import certificate_breaks
from consensus.torture.mutants.patch import Patch
from consensus.torture.mutants.standing_breaks import SHARED

#: Scenarios in which heights take several rounds, with values locked in some.
LOCKED: Final = ("equivocate_candidates", "equivocate_votes", "late_block", "lone_locks")

_ROUNDS = (
    Break(
        "prevote-lock",
        "members prevote what their lock forbids (lines 23 and 29)",
        (Patch(vote, "_line_22", do.unlocked), Patch(vote, "_line_28", do.unlocked)),
        Bias(LOCKED, CUTS),
    ),
    Break(
        "newer-proof",
        "any proof of lock unlocks, however old (lockedRound_p <= vr, line 29)",
        (Patch(vote, "_line_28", do.unlocked),),
        Bias(("fresh_values", "lone_locks", "stale_proofs"), sizes=(7, 10)),
    ),
    Break(
        "proofs",
        "whatever claims to be 2f + 1 prevotes is that (line 28)",
        (Patch(rules, "check_proof", stand_ins.always(None)),),
        Bias(("false_proofs", "late_block"), CUTS),
    ),
    Break(
        "precommit-quorum",
        "members precommit what they have prevoted (line 36)",
        (Patch(vote, "_line_36", do.precommits_what_it_prevoted),),
        Bias(("equivocate_candidates", "equivocate_votes"), CUTS),
    ),
    Break(
        "same-round",
        "prevotes of several rounds make a quorum together (line 36)",
        (Patch(vote, "_line_36", do.quorum_of_any_rounds),),
        Bias(LOCKED, CUTS),
    ),
    Break(
        "turns",
        "whoever comes first proposes (lines 14, 22 and 28)",
        (
            Patch(vote, "follows", stand_ins.but_for("not its turn")),
            imported(standing, "check_turn", stand_ins.always(None)),
        ),
        Bias(("usurp",)),
    ),
    Break(
        "valid-value",
        "proposers do not propose validValue_p (lines 15-16)",
        (Patch(Proposals, "propose_if_due", do.forgets_its_value),),
        Bias(("late_block", "lone_locks"), CUTS, sizes=(4,)),
    ),
    Break(
        "timeout-propose",
        "members wait for a proposal for ever (lines 57-60)",
        (Patch(TendermintParticipant, "schedule", do.without_first_timer),),
        Bias(("abstain",)),
    ),
    Break(
        "timeout-prevote",
        "members wait for 2f + 1 equal prevotes for ever (lines 34-35, 61-64)",
        (Patch(TendermintParticipant, "_do", do.without_timer(STEPS[1])),),
        Bias(("equivocate_candidates", "invert_votes"), CUTS),
    ),
    Break(
        "timeout-precommit",
        "members wait for 2f + 1 equal precommits for ever (lines 47-48, 65-67)",
        (Patch(TendermintParticipant, "_do", do.without_timer(STEPS[2])),),
        Bias(("abstain",)),
    ),
    Break(
        "later-round",
        "members do not follow f + 1 others into a later round (lines 55-56)",
        (Patch(vote, "_line_55", stand_ins.always(None)),),
        Bias((), CUTS),
    ),
    Break(
        "growing-timeouts",
        "a round takes no longer than the one before",
        (Patch(TendermintParticipant, "schedule", do.timers_of_round_0),),
        Bias(changes=(("vote", 30), ("latency", 60.0), ("topology", "ring"))),
    ),
    Break(
        "durable-votes",
        "a crash takes the votes that were cast in a round",
        (Patch(RotationParticipant, "begin", stand_ins.forgetful("said")),),
        Bias((), CRASHES),
    ),
    Break(
        "durable-lock",
        "a crash takes lockedValue_p and lockedRound_p",
        (Patch(RotationParticipant, "begin", stand_ins.forgetful("locked")),),
        Bias(LOCKED, (*CRASHES, *CRASHES, "partition"), sizes=(4, 5, 7)),
    ),
    Break(
        "durable-proposals",
        "a proposer proposes again after a crash",
        (Patch(RotationParticipant, "begin", stand_ins.forgetful("proposed", "said")),),
        Bias((), CRASHES),
    ),
)

BREAKS: Final = {
    each.name: each
    for each in (
        *_ROUNDS,
        *certificate_breaks(rules, standing.HeightContext),
        *(breaks.BREAKS[name] for name in SHARED),
    )
}
"""Every break by the name of the rule that it switches off."""
