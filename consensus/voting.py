"""Voting on the candidates of one height: who said what, and what follows from it.

Plain state without clock or network: the edge server feeds it votes and asks it for the outcome.
A *slot* is (attempt, step): one aggregator's turn before one committee.
"""

from __future__ import annotations

from enum import Enum
from itertools import islice

from consensus.committee import Committee
from consensus.records import Candidate, Vote

Slot = tuple[int, int]


class Outcome(Enum):
    """Where the vote on a candidate stands."""

    OPEN = "open"
    APPROVED = "approved"
    FAILED = "failed"


class Ballot:
    """The votes of one slot, as one server received them."""

    def __init__(self) -> None:
        self.votes: dict[int, Vote] = {}
        """The first vote of each server (signature checked, seat not)."""
        self._tally: tuple[Committee, bytes, int, int, int] | None = None
        """For this committee and block: how many votes were counted, and the weight for and
        against. A slot is asked about after every vote, so only new ones are looked at."""

    def add(self, vote: Vote) -> bool:
        """Count ``vote`` unless its server has voted in this slot; whether it was counted."""
        if vote.server in self.votes:
            return False
        self.votes[vote.server] = vote
        return True

    def outcome(self, committee: Committee, candidate: Candidate) -> Outcome:
        """Algorithm 2, lines 12-16: more than two thirds of the committee's weight approve; or so
        much rejects that this can no longer be reached; or it is open until MaxVoteDuration."""
        block = candidate.header.cid
        counted = approving = rejecting = 0
        tally = self._tally
        if tally is not None and tally[0] is committee and tally[1] == block:
            counted, approving, rejecting = tally[2:]
        for server, vote in islice(self.votes.items(), counted, None):
            weight = committee.weights.get(server, 0)
            if vote.approve and vote.block == block:
                approving += weight
            else:
                rejecting += weight
        self._tally = (committee, block, len(self.votes), approving, rejecting)
        if committee.approves(approving):
            return Outcome.APPROVED
        return Outcome.FAILED if committee.cannot_approve(rejecting) else Outcome.OPEN

    def certificate(
        self, committee: Committee, candidate: Candidate
    ) -> tuple[tuple[int, bytes], ...]:
        """The members' approvals of ``candidate``, by ascending server index."""
        block = candidate.header.cid
        return tuple(
            (server, vote.signature)
            for server, vote in sorted(self.votes.items())
            if vote.approve and vote.block == block and server in committee.weights
        )
