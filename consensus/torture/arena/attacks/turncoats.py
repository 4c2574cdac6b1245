"""Attackers that go back on what their server said while it was honest."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from consensus.adversary.behaviour import Behaviour
from consensus.adversary.toolbox import halves, sign_vote, twin_of
from consensus.encoding.unixfs import file_cid
from consensus.protocols.bft.rotation import RotationParticipant
from consensus.protocols.bft.server import BftParticipant
from consensus.records.block import Candidate
from consensus.records.votes import Timeout, Vote
from consensus.server.edge_server import EdgeServer
from consensus.server.voting import VotingParticipant
from consensus.torture.arena.attacker import attacker
from consensus.torture.arena.attacks.rule_breakers import left_with


@attacker("recant")
class Recant(Behaviour):
    """Goes back on what its server has said in the view in progress until it was corrupted: it
    proposes a second block to one half of the others, votes for a second block of the leader's in
    every phase in which it has voted, and leaves the view again without its lock."""

    def entered(self, server: EdgeServer) -> None:
        part = server.participant
        if not isinstance(part, VotingParticipant):
            return
        for kind, body, to in list(part.said):
            other = self._other(server, body)
            if other is not None and self.once(kind, other.encoded):
                parts = halves(self, server, server.stage()[0], to)
                self.send(server, kind, other, parts[1] if kind == "candidate" else to)

    def _other(self, server: EdgeServer, said: Any) -> Candidate | Vote | Timeout | None:
        """The opposite of what the server has said; None if there is none."""
        if isinstance(said, Candidate) and said.proposer == server.index and said.turn is None:
            header = twin_of(said)
            return replace(said, header=header, signature=server.signer.sign(header.signed))
        if isinstance(said, Vote) and said.server == server.index:
            phase, view = said.phase, (said.attempt, said.step)
            if phase in ("approve", "reject"):
                other = "reject" if phase == "approve" else "approve"
                return sign_vote(server, other, view, said.block)
            return sign_vote(server, phase, view, self._twin(server, said.block))
        if isinstance(said, Timeout) and said.server == server.index and said.lock is not None:
            return left_with(server, said, None)
        return None

    @staticmethod
    def _twin(server: EdgeServer, block: bytes) -> bytes:
        """The second block that the leader of ``block`` may propose."""
        part = server.participant
        body = None
        if isinstance(part, BftParticipant | RotationParticipant):
            body = part.proposals.bodies.get(block)
        return file_cid(block) if body is None else twin_of(body).cid
