"""The rules that every vote of an honest server under `tendermint` keeps, judged from outside.

Lines 22 to 43 of Algorithm 1 are written here once more, from what anybody has said, and line 55,
from what the server has heard: a vote that they forbid is a violation, whether or not it does any
harm.
"""

from __future__ import annotations

from consensus.protocols.tendermint.server import TendermintParticipant
from consensus.records.block import Candidate
from consensus.records.genesis import Genesis
from consensus.records.votes import NIL, Vote
from consensus.server.edge_server import EdgeServer
from consensus.torture.oracle.conduct import Entrances, untimely
from consensus.torture.oracle.reference import Ledger
from consensus.torture.oracle.violation import Violation

Place = tuple[int, int]
"""A server and a height, or a height and a round."""


class RoundConduct:
    """Observes the votes of honest servers. Raises `Violation`."""

    def __init__(
        self, genesis: Genesis, ledger: Ledger, skewed: bool, entrances: Entrances
    ) -> None:
        """``skewed``: true if clocks may be wrong, so that what is timely cannot be judged."""
        self._skewed = skewed
        self._entrances = entrances
        self._genesis = genesis
        self._ledger = ledger
        self._prevoted: dict[tuple[Place, bytes], set[int]] = {}
        """Servers whose prevote for a block somebody has sent, by height and round."""
        self._proposed: dict[Place, set[bytes]] = {}
        """Blocks that the proposer of a height and round has proposed in it."""
        self._locked: dict[Place, tuple[int, bytes]] = {}
        """The round and block of the last precommit of a server for a block, in a height."""

    def proposed(self, candidate: Candidate) -> None:
        """Note a proposal that a server sends: its own, as others may be forged."""
        place = candidate.header.height, candidate.view[0]
        self._proposed.setdefault(place, set()).add(candidate.header.cid)

    def said(self, vote: Vote) -> None:
        """Note a vote that a server sends; it may be forged."""
        if vote.phase != "prevote" or vote.server >= len(self._genesis.servers):
            return
        key = (vote.height, vote.attempt), vote.block
        voters = self._prevoted.setdefault(key, set())
        if vote.server not in voters:
            member = self._genesis.servers[vote.server]
            if self._genesis.suite.verify(member.signing_key, vote.signed, vote.signature):
                voters.add(vote.server)

    def vote(self, server: EdgeServer, vote: Vote) -> None:
        """Check a vote that ``server`` signs for the first time."""
        part = server.participant
        if not isinstance(part, TendermintParticipant):
            return
        height, round, block = vote.height, vote.attempt, vote.block
        if not self._ledger.knows(height):
            return
        seats = self._ledger.form(height, round)
        ahead = {member for member, at in part.state.furthest.items() if at > round}
        if 3 * seats.of(ahead) > seats.total:
            fail(vote, "though it knows f + 1 members to be in later rounds")
        if block == NIL:
            return
        if block not in self._proposed.get((height, round), ()):
            fail(vote, "which nobody proposed in this round")
        place = vote.server, height
        if vote.phase == "precommit":
            self._locked[place] = round, block
            if not self._quorum(height, round, block):
                fail(vote, "without 2f + 1 prevotes of the round")
            return
        if server.lacking:
            fail(vote, "which builds on a model that it has not got")
        since, locked = self._locked.get(place, (-1, block))
        if locked != block and not any(
            self._quorum(height, earlier, block) for earlier in range(since, round)
        ):
            fail(vote, f"though it is locked on another since round {since}")
        for candidate in part.state.proposals.get(round, ()):
            if candidate.header.cid == block and candidate.proof is None and not self._skewed:
                wrong = untimely(server, part.tickets, candidate, 0, self._entrances)
                if wrong:
                    fail(vote, wrong)

    def _quorum(self, height: int, round: int, block: bytes) -> bool:
        seats = self._ledger.form(height, round)
        voters = self._prevoted.get(((height, round), block), set())
        return 3 * seats.of(voters) > 2 * seats.total


def fail(vote: Vote, why: str) -> None:
    """Raise the `Violation` that a vote is."""
    what = "nil" if vote.block == NIL else "a block"
    raise Violation(
        "votes keep the rules",
        f"server {vote.server} cast a {vote.phase} in round {vote.attempt} of height "
        f"{vote.height} for {what} {why}",
    )
