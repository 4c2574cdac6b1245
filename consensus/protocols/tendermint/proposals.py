"""Proposals of one server under `tendermint`: those it makes in its rounds (getValue()), and those
it judges (valid(v)).

The vote itself is in `consensus.protocols.tendermint.vote` and
`consensus.protocols.tendermint.server`; proposing in rotation is in
`consensus.protocols.bft.rotation_proposals`.
"""

from __future__ import annotations

from typing import Protocol

from consensus.protocols.bft.rotation_proposals import RotationProposals, Voting
from consensus.protocols.bft.standing import view_of
from consensus.protocols.tendermint import vote as tendermint
from consensus.protocols.tendermint.state import PROPOSE, STEPS, State
from consensus.records.block import Candidate
from consensus.records.votes import Certificate


class RoundVoting(Voting, Protocol):
    """The part of the vote (`consensus.protocols.tendermint.server.TendermintParticipant`) that
    proposals use."""

    state: State

    def take_in_votes(self, proof: Certificate) -> bool:
        """Take in the prevotes of a checked proof of lock."""
        ...

    def schedule(self, what: str, round: int) -> None:
        """Start the timer of a step of a round."""
        ...


class Proposals(RotationProposals[RoundVoting]):
    """The proposals of one height at one server."""

    def is_to_propose(self) -> bool:
        """True if it is the proposer of round_p, has not proposed, and still may (line 14)."""
        state, context = self._vote.state, self._vote.context
        return (
            state.step == PROPOSE
            and state.promises.proposed < state.round
            and context.proposer(state.round) == self._server.index
        )

    def arm(self) -> None:
        """Start the timer of round 0."""
        if not self.armed:
            self.armed = True
            self._vote.schedule(STEPS[PROPOSE], 0)

    def propose_if_due(self) -> None:
        """Propose once, in its round: validValue_p, or a new value when there are updates and
        tickets enough (lines 14-19)."""
        if not self.is_to_propose():
            return
        vote = self._vote
        round, valid = vote.state.round, vote.state.promises.valid
        candidate = self.anew(view_of(round)) if valid is None else self._again(valid, round)
        if candidate is not None:
            vote.apply((tendermint.on_proposing(vote.state), ()))
            self._publish(candidate)

    def _heard(self, candidate: Candidate) -> None:
        vote = self._vote
        if candidate.proof is not None and candidate.proposer != self._server.index:
            vote.take_in_votes(candidate.proof)
        if self._server.active:
            vote.apply(tendermint.on_proposal(vote.context, vote.state, candidate))

    def _found(self, block: bytes, valid: bool, declined: bool) -> None:
        vote = self._vote
        vote.apply(tendermint.on_judged(vote.context, vote.state, block, valid, declined))

    def _fault_of(self, candidate: Candidate) -> str | None:
        return tendermint.follows(self._vote.context, candidate)

    def _needs(self, block: bytes) -> bool:
        """True if a quorum stands behind a block."""
        return tendermint.is_proven(self._vote.context, self._vote.state, block)
