"""Proposals of one server under `bft`: those it makes in its turn, and those it judges.

The vote itself is in `consensus.protocols.bft.vote` and `consensus.protocols.bft.server`.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from functools import partial
from typing import Protocol

from consensus.ledger.validity import InvalidBlock
from consensus.protocols.bft import vote as bft
from consensus.protocols.bft.beacon import BeaconProposals
from consensus.protocols.bft.state import HeightContext, State
from consensus.protocols.bft.view_changes import ViewChanges
from consensus.records.block import Candidate, Turn
from consensus.records.evidence import Evidence
from consensus.records.view import View, proposal_digest
from consensus.records.votes import Certificate, Vote
from consensus.server.message import Kind
from consensus.server.unheard import ANY_NUMBER


class Voting(Protocol):
    """The part of the vote (`consensus.protocols.bft.server.BftParticipant`) that proposals use."""

    context: HeightContext
    state: State
    undecided: Certificate | None
    decided_before: bytes | None
    views: ViewChanges

    def apply(self, step: bft.Step) -> bool:
        """Take over a state of the vote and do what follows from it."""
        ...

    def decide_by(self, certificate: Certificate) -> None:
        """Append the block that ``certificate`` decides."""
        ...

    def members(self, attempt: int) -> list[int]:
        """The others on an attempt's committee."""
        ...

    def tell(self, kind: Kind, body: object, to: Collection[int] | None = None) -> None:
        """Send something of this view, and remember to say it again if need be."""
        ...


class Proposals(BeaconProposals[Voting]):
    """The candidates of one height at one server."""

    def begin(self) -> None:
        super().begin()
        self.first: dict[View, tuple[bytes, bytes]] = {}
        """By view: the first proposed block that this server saw, and its leader's signature."""
        self._judging: dict[bytes, Candidate] = {}
        """Candidates whose contents cannot be judged yet."""
        self._leads = False
        """True if the view in progress is this server's turn."""

    # -- proposing --------------------------------------------------------------------------------

    def enter_view(self, view: View) -> None:
        """Enter a view, which may be this server's turn."""
        self._leads = self._vote.context.leader(view) == self._server.index

    def updates_changed(self) -> None:
        """Go on (`Participant.updates_changed`), or as tickets were collected."""
        self._arm_if_ready()
        if self._judging:
            for candidate in list(self._judging.values()):
                self.judge(candidate)
        if self._server.active:
            self.propose_if_due()

    def unheard_updates(self) -> int:
        """The number of further updates that change nothing (`Participant.unheard_updates`)."""
        if self._judging:
            return 0
        waits_to_arm, waits_to_propose = not self.armed and self._collected, self.is_to_propose()
        if waits_to_propose and self._vote.state.justification is not None:
            return 0
        if waits_to_arm or (waits_to_propose and self._collected):
            return max(0, self._server.updates_missing() - 1)
        return ANY_NUMBER

    def is_to_propose(self) -> bool:
        """True if it is this server's turn, and it has not proposed yet."""
        if not self._leads:
            return False
        state = self._vote.state
        return max(state.promises.proposed, state.promises.left) < state.view

    def _members(self, view: View) -> list[int]:
        return self._vote.members(view[0])

    def arm(self) -> None:
        """Start the timer of the first view."""
        self.armed = True
        self._server.set_timer("view", self.view_us((0, 0)), (0, 0))

    def view_us(self, view: View) -> int:
        """MaxVoteDuration, half as long again with every attempt: once the network behaves, some
        attempt lasts long enough (microseconds)."""
        return self._server.parameters.vote_us * (2 + view[0]) // 2

    def propose_if_due(self) -> None:
        """Propose once, as the leader: the locked block again, or a new one when there are updates
        and tickets enough (lines 4-6)."""
        if not self.is_to_propose():
            return
        server, vote = self._server, self._vote
        view, justification = vote.state.view, vote.state.justification
        if justification is not None and justification.lock is not None:
            candidate = self._again(justification.lock, view)
        else:
            candidate = self.anew(view)
        if candidate is None:
            return
        vote.apply((bft.on_proposing(vote.state), ()))
        if server.behaviour is not None:
            candidate = server.behaviour.proposes(server, candidate)
            if candidate is None:
                return
        server.host.charge("sign")
        vote.tell("candidate", candidate)
        self._note(view, candidate.header.cid, candidate.proposal)
        self.bodies.setdefault(candidate.header.cid, candidate)
        vote.apply(bft.on_candidate(vote.context, vote.state, candidate))

    def _again(self, lock: Certificate, view: View) -> Candidate | None:
        """The locked block, proposed again in a view; None, and its voters are asked for it, if it
        is not here."""
        server = self._server
        body = self.bodies.get(lock.block)
        if body is None:
            server.catch_up.ask([voter for voter, _ in lock.signatures])
            return None
        signed = proposal_digest(server.genesis.chain_id, server.height, view, lock.block)
        turn = Turn(*view, server.index, server.signer.sign(signed))
        return replace(body, justification=self._vote.state.justification, turn=turn)

    def anew(self, view: View) -> Candidate | None:
        candidate = super().anew(view)
        justification = self._vote.state.justification
        return candidate and replace(candidate, justification=justification)

    # -- others' candidates -----------------------------------------------------------------------

    def on_candidate(self, candidate: Candidate) -> bool:
        """Check a proposed block, and vote on it in its turn."""
        server, vote = self._server, self._vote
        view, block = candidate.view, candidate.header.cid
        reason = self._reason_to_refuse(candidate)
        if reason is not None:
            return server.refuse(reason) if reason else False
        server.host.charge("verify", times=2)
        if candidate.settlement is not None:
            server.host.charge("verify", times=candidate.settlement.signature_count)
        if candidate.justification is not None:
            server.host.charge("verify", times=candidate.justification.signature_count)
        server.host.may_relay()
        server.host.charge("vrf_verify", times=self._tickets.unknown(candidate.tickets))
        try:
            server.checks.candidate(server.chain.head, candidate)
            if candidate.justification is not None:
                server.checks.closed(server.chain.head, candidate.justification)
        except InvalidBlock:
            return server.refuse("candidate header")
        if candidate.justification is not None:
            vote.views.note(candidate.justification)
        self.bodies.setdefault(block, candidate)
        self._note(view, block, candidate.proposal)
        before = vote.state
        if not self.armed:
            self.arm()
        vote.apply(bft.on_candidate(vote.context, vote.state, candidate))
        if server.active and vote.undecided is not None:
            vote.decide_by(vote.undecided)
        if server.active:
            self.propose_if_due()  # it may have brought the body of a locked block
        return vote.state is not before or not server.active

    def _reason_to_refuse(self, candidate: Candidate) -> str | None:
        """The reason why a candidate is not looked at, empty if it is known already; else None."""
        state = self._vote.state
        view, block = candidate.view, candidate.header.cid
        if candidate.justification is not None and not candidate.justification.entries:
            return "candidate: justified by nobody"  # before its attempt's committee is formed
        if state.is_far_ahead(view[0]) and not self._is_justified(candidate):
            return "candidate for another attempt"
        known = state.candidates.get(view)
        if known is not None and known.header.cid == block:
            return ""
        if view in state.equivocated and not self._needs(block):
            return "third proposal"  # two are evidence; a leader may make thousands
        reason = bft.follows(self._vote.context, candidate)
        return None if reason is None else f"candidate: {reason}"

    def _is_justified(self, candidate: Candidate) -> bool:
        """True if a candidate of an attempt far ahead comes with what closes the view before."""
        closed, server = candidate.justification, self._server
        if closed is None or candidate.view[0] - closed.attempt not in (0, 1):
            return False
        try:
            server.checks.closed(server.chain.head, closed)
        except InvalidBlock:
            server.host.charge("verify", times=closed.signature_count)
            return False
        return True

    def _needs(self, block: bytes) -> bool:
        """True if a block is locked or decided, so that its body must be had."""
        undecided = self._vote.undecided
        return any(lock.block == block for lock in self._vote.state.promises.locks) or (
            undecided is not None and undecided.block == block
        )

    def hear(self, view: View, vote: Vote) -> None:
        """Learn from a soft vote which block its voter was proposed."""
        known, leader = self.first.get(view), self._vote.context.leader(view)
        if leader is None or (known is not None and known[0] == vote.block):
            return
        server = self._server
        signed = proposal_digest(server.genesis.chain_id, server.height, view, vote.block)
        server.host.charge("verify")
        if server.genesis.suite.verify(
            server.genesis.servers[leader].signing_key, signed, vote.proposal
        ):
            self._note(view, vote.block, vote.proposal)

    def _note(self, view: View, block: bytes, signature: bytes) -> None:
        """Remember a proposal; a second one of the same view is evidence against its leader."""
        first = self.first.setdefault(view, (block, signature))
        leader = self._vote.context.leader(view)
        if first[0] == block or leader is None:
            return
        height, blocks = self._server.height, (first[0], block)
        signatures = (first[1], signature)
        self._server.accuse(Evidence(leader, height, view, "proposal", blocks, signatures))
        self._vote.apply(bft.on_equivocated(self._vote.context, self._vote.state, view))

    # -- judging ----------------------------------------------------------------------------------

    def judge(self, candidate: Candidate) -> None:
        """Find out whether a candidate's contents are right, as soon as its updates and the
        aggregates of the blocks below are here."""
        server, vote, block = self._server, self._vote, candidate.header.cid
        updates = server.pool.pick(candidate.updates)
        if updates is None or server.builds_on_less():
            known = self._judging.get(block)
            if known is None or known.view < candidate.view:
                # The gossip may be about to bring them: ask when it had a moment.
                self._judging[block] = candidate
                server.set_timer("want", server.parameters.ticket_us // 4, candidate.view)
            return
        # What somebody honest has approved in time, so that it is locked, may come at any time.
        locked = candidate.turn is not None
        if not locked and not (self._collected and server.sufficient(len(updates))):
            self._judging[block] = candidate  # right, perhaps, but only after the deadline
            return
        self._judging.pop(block, None)
        timely = locked or (
            server.contents.is_timely(candidate.header) and self._tickets.are_all_in(candidate)
        )
        valid = server.contents.recomputes(candidate, updates)
        decided = vote.decided_before in (None, block)
        approves = valid and timely and decided
        if server.behaviour is not None:
            draws = partial(server.host.generator, server.height, *candidate.view, 1)
            approves = server.behaviour.verdict(approves, draws)
        if approves or not valid:
            vote.apply(bft.on_judged(vote.context, vote.state, block, approves))
        else:
            vote.apply(bft.on_declined(vote.context, vote.state, candidate.view))

    def on_want_timer(self, view: View) -> None:
        """Ask for the updates of the candidate of the view in progress, and later again."""
        for candidate in self._judging.values():
            if candidate.view == view == self._vote.state.view:
                self._want(candidate, self._vote.members(view[0]))
                self._server.set_timer("want", self._server.parameters.ticket_us, view)
                return
