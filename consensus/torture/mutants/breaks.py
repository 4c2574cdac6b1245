"""Rules of the protocol that can be switched off, to see whether the harness notices.

The code under test has no switches: a break replaces some of its functions for as long as it is
applied. Its scenarios are biased to what the rule is there for; if the harness is worth anything,
one of the first thousand violates an invariant.
"""

from __future__ import annotations

from typing import Final

from consensus.ledger import protocol
from consensus.ledger.committee import Committee
from consensus.ledger.updates import UpdatePool
from consensus.protocols.bft import validity as bft_validity
from consensus.protocols.bft import vote
from consensus.protocols.bft.durable import Durable
from consensus.protocols.bft.proposals import Proposals
from consensus.protocols.bft.server import BftParticipant
from consensus.protocols.bft.state import HeightContext, Promises
from consensus.server import checks
from consensus.server.block_contents import BlockContents
from consensus.server.catching_up import CatchUp
from consensus.server.checks import SharedChecks
from consensus.server.edge_server import EdgeServer
from consensus.server.fetching import Fetching
from consensus.torture.arena.drawing import Bias
from consensus.torture.mutants import stand_ins as do
from consensus.torture.mutants.broken_rule import CRASHES, CUTS, Break, imported
from consensus.torture.mutants.certificate_breaks import certificate_breaks
from consensus.torture.mutants.edge_breaks import EDGE_BREAKS
from consensus.torture.mutants.patch import Patch


def _header(message: str) -> tuple[Patch, ...]:
    """Patches that leave out of `check_header` the check that fails with ``message``."""
    return tuple(
        imported(module, "check_header", do.unless(message)) for module in (protocol, checks)
    )


#: Fields of scenarios in which blocks take longer than the timers of the first attempts.
HASTY: Final = (("vote", 100), ("latency", 60.0), ("max_step", 1))

BREAKS: Final = {
    each.name: each
    for each in (
        # Certificates.
        Break(
            "quorum",
            "two thirds are enough, not more than two thirds",
            (Patch(Committee, "approves", do.two_thirds),),
            Bias(("silent",), (), sizes=(6, 9)),
        ),
        Break(
            "quorum-less-one",
            "a seat less than more than two thirds is enough",
            (Patch(Committee, "approves", do.one_less),),
            Bias(("silent",)),
        ),
        *certificate_breaks(bft_validity, HeightContext),
        Break(
            "timeout-certificates",
            "whatever claims to close a view closes it",
            (Patch(SharedChecks, "closed", do.always(None)),),
            Bias(("forge_closures",)),
        ),
        Break(
            "lock-certificates",
            "whatever claims to be a lock is one",
            (Patch(bft_validity, "check_lock", do.always(None)),),
            Bias(("false_locks",)),
        ),
        # Proposals.
        Break(
            "proposal-signatures",
            "anybody proposes in everybody's name",
            (
                imported(checks, "check_signature", do.always(None)),
                imported(protocol, "check_signature", do.always(None)),
            ),
            Bias(("impersonate",)),
        ),
        Break(
            "turns",
            "whoever comes first proposes",
            (
                Patch(vote, "follows", do.but_for("not its turn")),
                Patch(bft_validity, "check_turn", do.always(None)),
            ),
            Bias(("usurp",)),
        ),
        Break(
            "parent",
            "a block may build on another parent",
            _header("its parent is not the block before it"),
            Bias(("bad_headers",)),
        ),
        Break(
            "timestamps",
            "a block's time need not rise",
            _header("its timestamp does not rise"),
            Bias(("bad_headers",)),
        ),
        Break(
            "chain-id",
            "a block may be another chain's",
            _header("it belongs to another chain"),
            Bias(("bad_headers",)),
        ),
        Break(
            "contents",
            "members vote for models that they did not recompute",
            (Patch(BlockContents, "recomputes", do.always(True)),),
            Bias(("gaussian",)),
        ),
        Break(
            "availability",
            "members vote for models that they do not have",
            (Patch(BlockContents, "recomputes", do.unpublished),),
            Bias(("withhold",)),
        ),
        Break(
            "every-proposal",
            "members believe a leader whose first model of a height was right",
            (Patch(BlockContents, "recomputes", do.trusts_the_proven),),
            Bias(("gaussian",), adaptive=True, sizes=(4,), changes=HASTY),
        ),
        Break(
            "locked-judged-anew",
            "a locked block is refused for what came after it was proposed",
            (Patch(Proposals, "judge", do.judged_late),),
            Bias(("late_votes",), (*CRASHES, "skew", *CUTS)),
        ),
        # Draws.
        Break(
            "ticket-proofs",
            "tickets are not verified",
            (imported(checks, "check_ticket", do.unproven),),
            Bias(("forge_tickets",)),
        ),
        Break(
            "pi-for-beta",
            "draws are taken from the proof, not from the VRF's output",
            (imported(checks, "check_ticket", do.by_proof),),
            Bias(("grind",)),
        ),
        Break(
            "alpha-without-attempt",
            "the committee formed anew is the same",
            (
                imported(bft_validity, "form_committee", do.first_attempt),
                imported(bft_validity, "aggregator_order", do.first_attempt),
            ),
            Bias(("silent",), CUTS),
        ),
        Break(
            "empty-seats",
            "seats that no recorded ticket wins stay empty",
            (imported(bft_validity, "racing", do.tickets_alone),),
            Bias(("abstain",), ("loss", "delay", "loss"), begin=0.2, last=0.6),
        ),
        Break(
            "tickets-first",
            "in every attempt those whose tickets were recorded come before the others",
            (imported(bft_validity, "racing", do.tickets_first),),
            Bias(("abstain",), ("crash", "crash"), begin=0.01, last=1.0),
        ),
        # The vote.
        Break(
            "lock",
            "timeouts carry no lock, and nobody keeps to one",
            (
                Patch(Promises, "named_lock", do.always(None)),
                Patch(vote, "contradicted", do.always(False)),
            ),
            Bias(("late_block", "late_votes"), CUTS),
        ),
        Break(
            "cert-without-lock",
            "members certify what they have cast a soft vote for",
            (Patch(vote, "_act", do.blind_lock),),
            Bias(("late_block", "equivocate_candidates", "equivocate_votes"), CUTS),
        ),
        Break(
            "vote-after-timeout",
            "members vote in views that they have left",
            (Patch(vote, "_left", do.goes_on_voting),),
            Bias(("late_votes",), CUTS),
        ),
        # Crashes.
        Break(
            "durable-votes",
            "a crash takes the votes that were promised",
            (Patch(BftParticipant, "begin", do.forgetful("soft", "cert", "left")),),
            Bias((), CRASHES),
        ),
        Break(
            "durable-locks",
            "a crash takes the locks",
            (Patch(BftParticipant, "begin", do.forgetful("locks")),),
            Bias(("late_block",), (*CRASHES, *CRASHES, "partition"), sizes=(4, 5, 7)),
        ),
        Break(
            "durable-proposals",
            "a leader proposes again after a crash",
            (Patch(BftParticipant, "begin", do.forgetful("proposed", "soft")),),
            Bias((), CRASHES),
        ),
        Break(
            "durable-bodies",
            "a crash takes locked candidates",
            (Patch(BftParticipant, "begin", do.without_bodies),),
            Bias(("late_block",), ("crash", "crash", "crash", "partition")),
        ),
        Break(
            "written-before-promised",
            "a crash takes blocks that promises were built on",
            (Patch(Durable, "written_height", do.always(0)),),
            Bias((), ("crash", "crash", "crash")),
        ),
        Break(
            "said-again-after-a-crash",
            "a timeout that was lost in a crash is not said again",
            (Patch(vote, "begin", do.mute_again),),
            Bias((), ("crash", "crash", "crash", "partition")),
        ),
        # Updates.
        Break(
            "stale-updates",
            "updates for other blocks are aggregated",
            (imported(checks, "check_update", do.but_for("stale", "early", "other parent")),),
            Bias(hostile=True),
        ),
        Break(
            "update-signatures",
            "updates need no signature",
            (imported(checks, "check_update", do.but_for("signature")),),
            Bias(("tamper",), hostile=True),
        ),
        Break(
            "sample-counts",
            "a client claims any N_u",
            (imported(checks, "check_update", do.but_for("sample count")),),
            Bias(hostile=True),
        ),
        Break(
            "one-update-per-client",
            "all updates of a client count",
            (
                Patch(UpdatePool, "ordered", do.two_of_a_client),
                Patch(BlockContents, "recomputes", do.always(True)),
            ),
            Bias(hostile=True),
        ),
        # Staying in step.
        Break(
            "fetching",
            "nobody hands on the updates that others lack",
            (Patch(CatchUp, "_updates", do.always(())),),
            Bias(("withhold",), ("loss", "partition", "crash")),
        ),
        Break(
            "giving-models",
            "nobody gives the models that others lack",
            (Patch(Fetching, "on_fetch", do.always(False)),),
            Bias((), ("loss", "partition", "crash")),
        ),
        Break(
            "models-below",
            "members vote without the models of the blocks below",
            (Patch(EdgeServer, "builds_on_less", do.always(False)),),
            Bias(("withhold",), ("loss", "partition", "crash")),
        ),
        Break(
            "catching-up",
            "who is behind gets no blocks",
            (Patch(CatchUp, "on_status", do.no_catching_up),),
            Bias((), ("crash", "partition")),
        ),
        Break(
            "saying-again",
            "what was lost on the way is not said again",
            (Patch(CatchUp, "on_resend", do.no_say_again),),
            Bias((), ("loss", "partition")),
        ),
        # Evidence.
        Break(
            "evidence",
            "accusations are believed unseen",
            (Patch(Proposals, "hear", do.hearsay),),
            Bias(("slander",)),
        ),
        *EDGE_BREAKS,
    )
}
"""Every break by the name of the rule that it switches off."""
