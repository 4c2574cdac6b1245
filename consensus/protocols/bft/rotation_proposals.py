"""The proposals of a server under protocols whose one committee a height leads in rotation: each is
made once, in its round, and again with a certificate where a block must not be given up.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection
from dataclasses import replace
from functools import partial
from typing import Any, Protocol, TypeVar

from consensus.ledger.validity import InvalidBlock
from consensus.protocols.bft.beacon import BeaconProposals
from consensus.protocols.bft.standing import MOST_PROPOSALS, HeightContext, view_of
from consensus.records.block import Candidate, Turn
from consensus.records.evidence import Evidence
from consensus.records.view import View, proposal_digest
from consensus.records.votes import Certificate
from consensus.server.message import Kind
from consensus.server.unheard import ANY_NUMBER


class Voting(Protocol):
    """The part of the vote that proposals use."""

    context: HeightContext
    state: Any
    undecided: Certificate | None
    others: list[int]
    """The others on the committee."""

    def apply(self, step: Any) -> bool:
        """Take over a state of the vote and do what follows from it."""
        ...

    def decide_by(self, certificate: Certificate) -> None:
        """Append the block that ``certificate`` decides."""
        ...

    def tell(self, kind: Kind, body: object, to: Collection[int] | None = None) -> None:
        """Send something of this round, and remember to say it again if need be."""
        ...


VoteT = TypeVar("VoteT", bound=Voting)


class RotationProposals(BeaconProposals[VoteT]):
    """The proposals of one height at one server."""

    def begin(self) -> None:
        super().begin()
        self._first: dict[int, tuple[bytes, bytes]] = {}
        """By round: the first proposed block that this server saw, and the proposer's signature."""
        self._judging: dict[bytes, tuple[Candidate, bool]] = {}
        """Proposals whose contents cannot be judged yet; True: a quorum stands behind it."""

    @abstractmethod
    def _heard(self, candidate: Candidate) -> None:
        """Tell the vote of a proposal, its own or another's, that has been checked."""

    @abstractmethod
    def _found(self, block: bytes, valid: bool, declined: bool) -> None:
        """Tell the vote whether a block is valid; ``declined``: though this server would not have
        proposed it now."""

    @abstractmethod
    def _fault_of(self, candidate: Candidate) -> str | None:
        """The reason why a proposal is none that its round allows, or None."""

    @abstractmethod
    def _needs(self, block: bytes) -> bool:
        """True if the body of a block must be had, however many its proposer proposes."""

    # -- its own ----------------------------------------------------------------------------------

    def updates_changed(self) -> None:
        """Go on, as the pool has grown, or the time for updates or for tickets has passed."""
        self._arm_if_ready()
        for candidate, proven in list(self._judging.values()):
            self.judge(candidate, proven)
        if self._server.active:
            self.propose_if_due()

    def unheard_updates(self) -> int:
        """The number of further updates that change nothing (`Participant.unheard_updates`)."""
        if self._judging:
            return 0
        if self._collected and (not self.armed or self.is_to_propose()):
            return max(0, self._server.updates_missing() - 1)
        return ANY_NUMBER

    def _members(self, view: View) -> list[int]:
        return self._vote.others

    def _publish(self, candidate: Candidate) -> None:
        """Sign and send a proposal of its own, or what a malicious server makes of it."""
        server = self._server
        if server.behaviour is not None:
            found = server.behaviour.proposes(server, candidate)
            if found is None:
                return
            candidate = found
        server.host.charge("sign")
        self._vote.tell("candidate", candidate)
        self._note(candidate)
        self.bodies.setdefault(candidate.header.cid, candidate)
        self._heard(candidate)

    def _again(self, proof: Certificate, round: int) -> Candidate | None:
        """The block that a certificate names, proposed again in a round with it as its proof; None,
        and its voters are asked for the block, if it is not here."""
        server = self._server
        body = self.bodies.get(proof.block)
        if body is None:
            server.catch_up.ask([voter for voter, _ in proof.signatures])
            return None
        view = view_of(round)
        signed = proposal_digest(server.genesis.chain_id, server.height, view, proof.block)
        turn = Turn(*view, server.index, server.signer.sign(signed))
        return replace(body, turn=turn, proof=proof)

    # -- others' proposals ------------------------------------------------------------------------

    def on_candidate(self, candidate: Candidate) -> bool:
        """Check a proposal and take it in. Returns True if it is news."""
        server, vote = self._server, self._vote
        reason = self._reason_to_refuse(candidate)
        if reason is not None:
            return server.refuse(reason) if reason else False
        proof, justification = candidate.proof, candidate.justification
        server.host.charge("verify", times=2)
        if candidate.settlement is not None:
            server.host.charge("verify", times=candidate.settlement.signature_count)
        if proof is not None:
            server.host.charge("verify", times=len(proof.signatures))
        if justification is not None:
            server.host.charge("verify", times=justification.signature_count)
        server.host.may_relay()
        server.host.charge("vrf_verify", times=self._tickets.unknown(candidate.tickets))
        try:
            server.checks.candidate(server.chain.head, candidate)
            if proof is not None:
                server.checks.lock(server.chain.head, proof)
            if justification is not None:
                server.checks.closed(server.chain.head, justification)
        except InvalidBlock:
            return server.refuse("candidate header")
        self.bodies.setdefault(candidate.header.cid, candidate)
        self._note(candidate)
        before = vote.state
        self.arm()
        self._heard(candidate)
        if server.active and vote.undecided is not None:
            vote.decide_by(vote.undecided)
        if server.active:
            self.propose_if_due()  # it may have brought the body of the block to be proposed again
        return vote.state is not before or not server.active

    def _reason_to_refuse(self, candidate: Candidate) -> str | None:
        """The reason why a proposal is not looked at, empty if it is known already; else None."""
        vote, round = self._vote, candidate.view[0]
        if round > vote.state.round + vote.context.ahead:
            return "candidate for another attempt"
        known = vote.state.proposals.get(round, ())
        block = candidate.header.cid
        if any(each.header.cid == block for each in known):
            return ""
        if len(known) >= MOST_PROPOSALS and not self._needs(block):
            return "third proposal"  # two are evidence; a proposer may make thousands
        reason = self._fault_of(candidate)
        return None if reason is None else f"candidate: {reason}"

    def _note(self, candidate: Candidate) -> None:
        """Remember a proposal; a second one of the same round is evidence against its proposer."""
        view, block, signature = candidate.view, candidate.header.cid, candidate.proposal
        first = self._first.setdefault(view[0], (block, signature))
        if first[0] != block:
            height, blocks = self._server.height, (first[0], block)
            signatures = first[1], signature
            found = Evidence(candidate.proposer, height, view, "proposal", blocks, signatures)
            self._server.accuse(found)

    # -- judging ----------------------------------------------------------------------------------

    def judge(self, candidate: Candidate, proven: bool) -> None:
        """Find out whether a proposal's contents are right, as soon as its updates and the
        aggregates of the blocks below are here; ``proven``: a quorum stands behind them, so that it
        does not matter when they came."""
        server, block = self._server, candidate.header.cid
        updates = server.pool.pick(candidate.updates)
        if updates is None or server.builds_on_less():
            if block not in self._judging or proven:
                self._judging[block] = candidate, proven
                # The gossip may be about to bring them: ask when it had a moment.
                server.set_timer("want", server.parameters.ticket_us // 4, candidate.view)
            return
        if not proven and not (self._collected and server.sufficient(len(updates))):
            self._judging[block] = candidate, proven  # right, perhaps, but only after the deadline
            return
        self._judging.pop(block, None)
        timely = proven or (
            server.contents.is_timely(candidate.header) and self._tickets.are_all_in(candidate)
        )
        valid = server.contents.recomputes(candidate, updates)
        approves = valid and timely
        if server.behaviour is not None:
            draws = partial(server.host.generator, server.height, *candidate.view, 1)
            approves = server.behaviour.verdict(approves, draws)
        declined = valid and not approves
        self._found(block, approves or declined, declined)

    def on_want_timer(self, round: int) -> None:
        """Ask for the updates of proposals of a round that still lack some, and later again."""
        for candidate, _ in self._judging.values():
            if candidate.view[0] == round:
                self._want(candidate, self._vote.others)
                self._server.set_timer("want", self._server.parameters.ticket_us, candidate.view)
                return
