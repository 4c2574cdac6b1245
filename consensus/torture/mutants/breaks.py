"""Rules of the protocol that can be switched off, to see whether the harness notices.

The code under test has no switches: a break replaces some of its functions for as long as it is
applied. Its scenarios are biased to what the rule is there for; if the harness is worth anything,
one of the first thousand violates an invariant.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Final

from consensus.torture.arena.drawing import Bias
from consensus.torture.mutants import stand_ins as do
from consensus.torture.mutants.stand_ins import StandIn

ORDINARY: Final = Bias()
CRASHES = ("crash", "churn")
CUTS = ("partition", "loss", "partition")


@dataclass(frozen=True)
class Break:
    """A rule switched off."""

    name: str
    what: str
    """What goes wrong, in a line."""
    patches: tuple[tuple[str, StandIn], ...]
    """What is replaced, as ``module:name`` or ``module:Class.name``, and what stands in."""
    bias: Bias = ORDINARY

    @contextmanager
    def applied(self) -> Iterator[None]:
        """With the rule off."""
        undo: list[tuple[Any, str, Any]] = []
        try:
            for place, stand_in in self.patches:
                target, name = _find(place)
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


def _find(place: str) -> tuple[Any, str]:
    """The module or class that a place is in, and its name there."""
    module, _, path = place.partition(":")
    target: Any = import_module(f"consensus.{module}")
    *classes, name = path.split(".")
    for each in classes:
        target = getattr(target, each)
    return target, name


def _breaks() -> Iterator[Break]:
    # Certificates.
    yield Break(
        "quorum",
        "two thirds are enough, not more than two thirds",
        (("ledger.committee:Committee.approves", do.two_thirds),),
        Bias(("silent",), (), sizes=(6, 9)),
    )
    yield Break(
        "quorum-less-one",
        "a seat less than more than two thirds is enough",
        (("ledger.committee:Committee.approves", do.one_less),),
        Bias(("silent",)),
    )
    yield Break(
        "vote-signatures",
        "anybody votes in everybody's name",
        (
            ("server.checks:SharedChecks.vote", do.always(True)),
            ("ledger.chain:check_certificate", do.certificate_without("signatures")),
        ),
        Bias(("phantom_votes", "pad_certificates")),
    )
    yield Break(
        "seats",
        "who has no seat votes, too",
        (
            ("protocols.bft.state:Seat.weight", do.a_seat_for_all),
            ("ledger.chain:check_certificate", do.certificate_without("seats")),
        ),
        Bias(("phantom_votes", "pad_certificates"), sizes=(7, 10)),
    )
    yield Break(
        "distinct-signers",
        "a signature that is given twice counts twice",
        (
            ("ledger.chain:check_signers", do.always(None)),
            ("ledger.chain:check_certificate", do.certificate_without("distinct")),
        ),
        Bias(("pad_certificates",)),
    )
    yield Break(
        "timeout-certificates",
        "whatever claims to close a view closes it",
        (("server.checks:SharedChecks.closed", do.always(None)),),
        Bias(("forge_closures",)),
    )
    yield Break(
        "lock-certificates",
        "whatever claims to be a lock is one",
        (
            ("ledger.chain:check_lock", do.always(None)),
            ("server.checks:check_lock", do.always(None)),
        ),
        Bias(("false_locks",)),
    )
    # Proposals.
    yield Break(
        "proposal-signatures",
        "anybody proposes in everybody's name",
        (
            ("server.checks:check_signature", do.always(None)),
            ("ledger.chain:check_signature", do.always(None)),
        ),
        Bias(("impersonate",)),
    )
    yield Break(
        "turns",
        "whoever comes first proposes",
        (
            ("protocols.bft.vote:follows", do.but_for("not its turn")),
            ("ledger.chain:check_turn", do.always(None)),
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
        (("server.edge_server:EdgeServer.recomputes", do.always(True)),),
        Bias(("gaussian",)),
    )
    yield Break(
        "availability",
        "members vote for models that they do not have",
        (("server.edge_server:EdgeServer.recomputes", do.unpublished),),
        Bias(("withhold",)),
    )
    yield Break(
        "locked-judged-anew",
        "a locked block is refused for what came after it was proposed",
        (("protocols.bft.proposals:BftCandidates._judge", do.judged_late),),
        Bias(("late_votes",), (*CRASHES, "skew", *CUTS)),
    )
    # Draws.
    yield Break(
        "ticket-proofs",
        "tickets are not verified",
        (("server.checks:check_ticket", do.unproven),),
        Bias(("forge_tickets",)),
    )
    yield Break(
        "pi-for-beta",
        "draws are taken from the proof, not from the VRF's output",
        (("server.checks:check_ticket", do.by_proof),),
        Bias(("grind",)),
    )
    yield Break(
        "alpha-without-attempt",
        "the committee formed anew is the same",
        (
            ("ledger.chain:form_committee", do.first_attempt),
            ("ledger.chain:aggregator_order", do.first_attempt),
        ),
        Bias(("silent",), CUTS),
    )
    yield Break(
        "empty-seats",
        "seats that no recorded ticket wins stay empty",
        (("ledger.chain:needs_spares", do.always(False)),),
        Bias(("abstain",), ("loss", "delay", "loss"), begin=0.2, last=0.6),
    )
    # The vote.
    yield Break(
        "lock",
        "timeouts carry no lock, and nobody keeps to one",
        (
            ("protocols.bft.state:Promises.told", do.always(None)),
            ("protocols.bft.vote:contradicted", do.always(False)),
        ),
        Bias(("late_block", "late_votes"), CUTS),
    )
    yield Break(
        "cert-without-lock",
        "members certify what they have cast a soft vote for",
        (("protocols.bft.vote:_act", do.blind_lock),),
        Bias(("late_block", "equivocate_candidates", "equivocate_votes"), CUTS),
    )
    yield Break(
        "vote-after-timeout",
        "members vote in views that they have left",
        (("protocols.bft.vote:_left", do.goes_on_voting),),
        Bias(("late_votes",), CUTS),
    )
    # Crashes.
    yield Break(
        "durable-votes",
        "a crash takes the votes that were promised",
        (("protocols.bft.server:BftServer.restart", do.forgetful("soft", "cert", "left")),),
        Bias((), CRASHES),
    )
    yield Break(
        "durable-locks",
        "a crash takes the locks",
        (("protocols.bft.server:BftServer.restart", do.forgetful("locks")),),
        Bias(("late_block",), (*CRASHES, *CRASHES, "partition"), sizes=(4, 5, 7)),
    )
    yield Break(
        "durable-proposals",
        "a leader proposes again after a crash",
        (("protocols.bft.server:BftServer.restart", do.forgetful("proposed", "soft")),),
        Bias((), CRASHES),
    )
    yield Break(
        "durable-bodies",
        "a crash takes locked candidates",
        (("protocols.bft.server:BftServer.restart", do.without_bodies),),
        Bias(("late_block",), ("crash", "crash", "crash", "partition")),
    )
    yield Break(
        "written-before-promised",
        "a crash takes blocks that promises were built on",
        (("protocols.bft.server:BftServer.written_height", do.always(0)),),
        Bias((), ("crash", "crash", "crash")),
    )
    yield Break(
        "said-again-after-a-crash",
        "a timeout that was lost in a crash is not said again",
        (("protocols.bft.vote:begin", do.mute_again),),
        Bias((), ("crash", "crash", "crash", "partition")),
    )
    # Updates.
    yield Break(
        "stale-updates",
        "updates for other blocks are aggregated",
        (("server.checks:check_update", do.but_for("stale", "early", "other parent")),),
        Bias(hostile=True),
    )
    yield Break(
        "update-signatures",
        "updates need no signature",
        (("server.checks:check_update", do.but_for("signature")),),
        Bias(("tamper",), hostile=True),
    )
    yield Break(
        "sample-counts",
        "a client claims any N_u",
        (("server.checks:check_update", do.but_for("sample count")),),
        Bias(hostile=True),
    )
    yield Break(
        "one-update-per-client",
        "all updates of a client count",
        (
            ("ledger.updates:UpdatePool.ordered", do.two_of_a_client),
            ("server.edge_server:EdgeServer.recomputes", do.always(True)),
        ),
        Bias(hostile=True),
    )
    # Staying in step.
    yield Break(
        "fetching",
        "nobody hands on the updates that others lack",
        (("server.edge_server:EdgeServer._send_update", do.always(None)),),
        Bias(("withhold",), ("loss", "partition", "crash")),
    )
    yield Break(
        "catching-up",
        "who is behind gets no blocks",
        (("server.edge_server:EdgeServer.on_status", do.no_catching_up),),
        Bias((), ("crash", "partition")),
    )
    yield Break(
        "saying-again",
        "what was lost on the way is not said again",
        (("server.edge_server:EdgeServer.on_resend", do.no_say_again),),
        Bias((), ("loss", "partition")),
    )
    # Evidence.
    yield Break(
        "evidence",
        "accusations are believed unseen",
        (("protocols.bft.server:BftServer._hear_proposal", do.hearsay),),
        Bias(("slander",)),
    )


def _header(message: str) -> tuple[tuple[str, StandIn], ...]:
    """Without one of the checks of a header."""
    return tuple(
        (f"{module}:check_header", do.unless(message))
        for module in ("ledger.chain", "server.checks")
    )


BREAKS: Final = {each.name: each for each in _breaks()}
"""Every break by the name of the rule that it switches off."""
