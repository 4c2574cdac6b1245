"""Rules of the protocol that can be switched off, to see whether the harness notices.

The code under test has no switches: a break replaces some of its functions for as long as it is
applied. Its scenarios are biased to what the rule is there for; if the harness is worth anything,
one of the first thousand violates an invariant.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Final

from consensus.ledger import protocol, validity
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
from consensus.torture.arena.drawing import Bias
from consensus.torture.mutants import stand_ins as do
from consensus.torture.mutants.stand_ins import StandIn

ORDINARY: Final = Bias()
CRASHES = ("crash", "churn")
CUTS = ("partition", "loss", "partition")


Patch = tuple[ModuleType | type, str, StandIn]
"""A module or class, the name of its function that is replaced, and what stands in."""


@dataclass(frozen=True)
class Break:
    """A rule switched off."""

    name: str
    what: str
    """What goes wrong, in a line."""
    patches: tuple[Patch, ...]
    """What is replaced, and what stands in."""
    bias: Bias = ORDINARY

    def __post_init__(self) -> None:
        """Refuse, by AttributeError, a patch of what its owner does not have."""
        for owner, name, _ in self.patches:
            getattr(owner, name)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """With the rule off."""
        undo: list[tuple[Any, str, Any]] = []
        try:
            for target, name, stand_in in self.patches:
                inherited = name not in target.__dict__
                original = getattr(target, name)
                undo.append((target, name, None if inherited else original))
                setattr(target, name, stand_in(original))
            yield
        finally:
            for target, name, own in reversed(undo):
                if own is None:
                    delattr(target, name)
                else:
                    setattr(target, name, own)


def _breaks() -> Iterator[Break]:
    # Certificates.
    yield Break(
        "quorum",
        "two thirds are enough, not more than two thirds",
        ((Committee, "approves", do.two_thirds),),
        Bias(("silent",), (), sizes=(6, 9)),
    )
    yield Break(
        "quorum-less-one",
        "a seat less than more than two thirds is enough",
        ((Committee, "approves", do.one_less),),
        Bias(("silent",)),
    )
    yield Break(
        "vote-signatures",
        "anybody votes in everybody's name",
        (
            (SharedChecks, "vote", do.always(True)),
            *_certificate("signatures"),
        ),
        Bias(("phantom_votes", "pad_certificates")),
    )
    yield Break(
        "seats",
        "who has no seat votes, too",
        (
            (HeightContext, "weight", do.a_seat_for_all),
            *_certificate("seats"),
        ),
        Bias(("phantom_votes", "pad_certificates"), sizes=(7, 10)),
    )
    yield Break(
        "distinct-signers",
        "a signature that is given twice counts twice",
        (
            (validity, "check_signers", do.always(None)),
            (bft_validity, "check_signers", do.always(None)),
            *_certificate("distinct"),
        ),
        Bias(("pad_certificates",)),
    )
    yield Break(
        "timeout-certificates",
        "whatever claims to close a view closes it",
        ((SharedChecks, "closed", do.always(None)),),
        Bias(("forge_closures",)),
    )
    yield Break(
        "lock-certificates",
        "whatever claims to be a lock is one",
        ((bft_validity, "check_lock", do.always(None)),),
        Bias(("false_locks",)),
    )
    # Proposals.
    yield Break(
        "proposal-signatures",
        "anybody proposes in everybody's name",
        (
            (checks, "check_signature", do.always(None)),
            (protocol, "check_signature", do.always(None)),
        ),
        Bias(("impersonate",)),
    )
    yield Break(
        "turns",
        "whoever comes first proposes",
        (
            (vote, "follows", do.but_for("not its turn")),
            (bft_validity, "check_turn", do.always(None)),
        ),
        Bias(("usurp",)),
    )
    yield Break(
        "parent",
        "a block may build on another parent",
        _header("its parent is not the block before it"),
        Bias(("bad_headers",)),
    )
    yield Break(
        "timestamps",
        "a block's time need not rise",
        _header("its timestamp does not rise"),
        Bias(("bad_headers",)),
    )
    yield Break(
        "chain-id",
        "a block may be another chain's",
        _header("it belongs to another chain"),
        Bias(("bad_headers",)),
    )
    yield Break(
        "contents",
        "members vote for models that they did not recompute",
        ((BlockContents, "recomputes", do.always(True)),),
        Bias(("gaussian",)),
    )
    yield Break(
        "availability",
        "members vote for models that they do not have",
        ((BlockContents, "recomputes", do.unpublished),),
        Bias(("withhold",)),
    )
    yield Break(
        "locked-judged-anew",
        "a locked block is refused for what came after it was proposed",
        ((Proposals, "judge", do.judged_late),),
        Bias(("late_votes",), (*CRASHES, "skew", *CUTS)),
    )
    # Draws.
    yield Break(
        "ticket-proofs",
        "tickets are not verified",
        ((checks, "check_ticket", do.unproven),),
        Bias(("forge_tickets",)),
    )
    yield Break(
        "pi-for-beta",
        "draws are taken from the proof, not from the VRF's output",
        ((checks, "check_ticket", do.by_proof),),
        Bias(("grind",)),
    )
    yield Break(
        "alpha-without-attempt",
        "the committee formed anew is the same",
        (
            (bft_validity, "form_committee", do.first_attempt),
            (bft_validity, "aggregator_order", do.first_attempt),
        ),
        Bias(("silent",), CUTS),
    )
    yield Break(
        "empty-seats",
        "seats that no recorded ticket wins stay empty",
        ((bft_validity, "needs_spares", do.always(False)),),
        Bias(("abstain",), ("loss", "delay", "loss"), begin=0.2, last=0.6),
    )
    # The vote.
    yield Break(
        "lock",
        "timeouts carry no lock, and nobody keeps to one",
        (
            (Promises, "told", do.always(None)),
            (vote, "contradicted", do.always(False)),
        ),
        Bias(("late_block", "late_votes"), CUTS),
    )
    yield Break(
        "cert-without-lock",
        "members certify what they have cast a soft vote for",
        ((vote, "_act", do.blind_lock),),
        Bias(("late_block", "equivocate_candidates", "equivocate_votes"), CUTS),
    )
    yield Break(
        "vote-after-timeout",
        "members vote in views that they have left",
        ((vote, "_left", do.goes_on_voting),),
        Bias(("late_votes",), CUTS),
    )
    # Crashes.
    yield Break(
        "durable-votes",
        "a crash takes the votes that were promised",
        ((BftParticipant, "begin", do.forgetful("soft", "cert", "left")),),
        Bias((), CRASHES),
    )
    yield Break(
        "durable-locks",
        "a crash takes the locks",
        ((BftParticipant, "begin", do.forgetful("locks")),),
        Bias(("late_block",), (*CRASHES, *CRASHES, "partition"), sizes=(4, 5, 7)),
    )
    yield Break(
        "durable-proposals",
        "a leader proposes again after a crash",
        ((BftParticipant, "begin", do.forgetful("proposed", "soft")),),
        Bias((), CRASHES),
    )
    yield Break(
        "durable-bodies",
        "a crash takes locked candidates",
        ((BftParticipant, "begin", do.without_bodies),),
        Bias(("late_block",), ("crash", "crash", "crash", "partition")),
    )
    yield Break(
        "written-before-promised",
        "a crash takes blocks that promises were built on",
        ((Durable, "written_height", do.always(0)),),
        Bias((), ("crash", "crash", "crash")),
    )
    yield Break(
        "said-again-after-a-crash",
        "a timeout that was lost in a crash is not said again",
        ((vote, "begin", do.mute_again),),
        Bias((), ("crash", "crash", "crash", "partition")),
    )
    # Updates.
    yield Break(
        "stale-updates",
        "updates for other blocks are aggregated",
        ((checks, "check_update", do.but_for("stale", "early", "other parent")),),
        Bias(hostile=True),
    )
    yield Break(
        "update-signatures",
        "updates need no signature",
        ((checks, "check_update", do.but_for("signature")),),
        Bias(("tamper",), hostile=True),
    )
    yield Break(
        "sample-counts",
        "a client claims any N_u",
        ((checks, "check_update", do.but_for("sample count")),),
        Bias(hostile=True),
    )
    yield Break(
        "one-update-per-client",
        "all updates of a client count",
        (
            (UpdatePool, "ordered", do.two_of_a_client),
            (BlockContents, "recomputes", do.always(True)),
        ),
        Bias(hostile=True),
    )
    # Staying in step.
    yield Break(
        "fetching",
        "nobody hands on the updates that others lack",
        ((CatchUp, "_send_update", do.always(None)),),
        Bias(("withhold",), ("loss", "partition", "crash")),
    )
    yield Break(
        "catching-up",
        "who is behind gets no blocks",
        ((CatchUp, "on_status", do.no_catching_up),),
        Bias((), ("crash", "partition")),
    )
    yield Break(
        "saying-again",
        "what was lost on the way is not said again",
        ((CatchUp, "on_resend", do.no_say_again),),
        Bias((), ("loss", "partition")),
    )
    # Evidence.
    yield Break(
        "evidence",
        "accusations are believed unseen",
        ((Proposals, "hear", do.hearsay),),
        Bias(("slander",)),
    )


def _header(message: str) -> tuple[Patch, ...]:
    """Without one of the checks of a header."""
    return tuple((module, "check_header", do.unless(message)) for module in (protocol, checks))


def _certificate(what: str) -> tuple[Patch, ...]:
    """Without one of the checks of a certificate, be it of a block or a lock."""
    return tuple(
        (module, "check_certificate", do.certificate_without(what))
        for module in (protocol, bft_validity)
    )


BREAKS: Final = {each.name: each for each in _breaks()}
"""Every break by the name of the rule that it switches off."""
