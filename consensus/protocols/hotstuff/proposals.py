"""Proposals of one server under `hotstuff`: those it makes in its views, and those it judges.

The vote itself is in `consensus.protocols.hotstuff.vote` and `consensus.protocols.hotstuff.server`;
proposing in rotation is in `consensus.protocols.bft.rotation_proposals`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

from consensus.protocols.bft.rotation_proposals import RotationProposals, Voting
from consensus.protocols.bft.standing import view_of
from consensus.protocols.hotstuff import vote as hotstuff
from consensus.protocols.hotstuff.state import State
from consensus.records.block import Candidate


class ViewVoting(Voting, Protocol):
    """The part of the vote (`consensus.protocols.hotstuff.server.HotStuffParticipant`) that
    proposals use."""

    state: State

    def schedule(self, round: int) -> None:
        """Start the timer of a view."""
        ...


class Proposals(RotationProposals[ViewVoting]):
    """The proposals of one height at one server."""

    def is_to_propose(self) -> bool:
        """True if it leads curView, has not proposed in it, and has heard of n - f members that
        they have left the view before."""
        state = self._vote.state
        return (
            state.promises.proposed < state.round
            and self._vote.context.proposer(state.round) == self._server.index
            and (state.round == 0 or state.closed is not None)
            and state.decided is None
        )

    def arm(self) -> None:
        """Start the timer of view 0."""
        if not self.armed:
            self.armed = True
            self._vote.schedule(0)

    def propose_if_due(self) -> None:
        """Propose once, in its view: the block of highQC, or a new one when there are updates and
        tickets enough."""
        if not self.is_to_propose():
            return
        vote = self._vote
        round, high = vote.state.round, hotstuff.highest(vote.state)
        candidate = self.anew(view_of(round)) if high is None else self._again(high, round)
        if candidate is not None:
            vote.apply((hotstuff.on_proposing(vote.state), ()))
            self._publish(replace(candidate, justification=vote.state.closed))

    def _heard(self, candidate: Candidate) -> None:
        vote = self._vote
        vote.apply(hotstuff.on_proposal(vote.context, vote.state, candidate))

    def _found(self, block: bytes, valid: bool, declined: bool) -> None:
        vote = self._vote
        vote.apply(hotstuff.on_judged(vote.context, vote.state, block, valid, declined))

    def _fault_of(self, candidate: Candidate) -> str | None:
        return hotstuff.follows(self._vote.context, candidate)

    def _needs(self, block: bytes) -> bool:
        """True if a quorum stands behind a block."""
        return hotstuff.is_proven(self._vote.context, self._vote.state, block)
