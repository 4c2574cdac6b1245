"""Attackers of protocols whose leaders show certificates (`hotstuff`).

The first keeps within what any server may do, and lets one server alone know what it has made as a
leader; the others offer honest servers certificates that one rule forbids them to take
(`consensus.torture.mutants.hotstuff_breaks`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from consensus.adversary.behaviour import Behaviour
from consensus.protocols.hotstuff.server import HotStuffParticipant
from consensus.protocols.hotstuff.state import PREPARE
from consensus.protocols.hotstuff.vote import highest
from consensus.records.block import Candidate
from consensus.records.votes import Certificate
from consensus.server.edge_server import EdgeServer
from consensus.server.hooks import Outgoing
from consensus.torture.arena.attacker import attacker
from consensus.torture.arena.attacks.rounds import again, oldest_again, one_alone
from consensus.torture.arena.attacks.rule_breakers import left_with


@attacker("lone_certificates")
class LoneCertificates(Behaviour):
    """Shows, as a leader, its prepareQC to nobody in every other view, else its precommitQC to one
    honest server alone, another one in each view, and its blocks to nobody; votes for leaders of
    its circle alone, and leaves views with no prepareQC: so that one server may be locked on a
    block of which the others know nothing."""

    def outgoing(self, server: EdgeServer, message: Outgoing) -> Iterable[Outgoing]:
        body = message.body
        if message.kind == "block":
            return ()
        if message.kind == "vote" and message.to is not None:
            allies = [index for index in message.to if index in self.colluders]
            return (replace(message, to=allies),)
        if message.kind == "timeout" and body.server == server.index and body.lock is not None:
            return (replace(message, body=left_with(server, body, None)),)
        if message.kind == "lock" and body.phase == server.chain.protocol.phases[0]:
            return (message,) if (body.height + body.attempt) % 2 else ()
        if message.kind == "lock":
            alone = one_alone(self, server, body)
            return () if alone is None else (replace(message, to=[alone]),)
        return (message,)


@attacker("old_certificates")
class OldCertificates(Behaviour):
    """Proposes, every other time in its views, the oldest block for which a member of its circle
    has known a prepareQC."""

    def begins(self, server: EdgeServer) -> None:
        super().begins(server)
        self._known: dict[bytes, Certificate] = {}
        """The first prepareQC of each block."""

    def entered(self, server: EdgeServer) -> None:
        self._note(server)

    def hears(self, server: EdgeServer, kind: str, body: object, sender: int) -> bool:
        if kind in ("timeout", "candidate", "lock"):
            self._note(server)
        return True

    def _note(self, server: EdgeServer) -> None:
        for ally in self.circle.servers.values():
            part = ally.participant
            prepared = part.state.promises.locks if isinstance(part, HotStuffParticipant) else ()
            for each in prepared:
                if each.height == server.height and each.phase == PREPARE:
                    self._known.setdefault(each.block, each)

    def proposes(self, server: EdgeServer, candidate: Candidate) -> Candidate | None:
        self._note(server)
        hotstuff = isinstance(server.participant, HotStuffParticipant)
        if not hotstuff or self.draws(server).integers(2):
            return candidate
        known = sorted(self._known.values(), key=lambda each: each.attempt)
        return oldest_again(self, server, known, candidate, "old certificate")


@attacker("borrowed_certificates")
class BorrowedCertificates(Behaviour):
    """Proposes, in its views, a block of an earlier view with the prepareQC of another one."""

    def proposes(self, server: EdgeServer, candidate: Candidate) -> Candidate | None:
        part = server.participant
        if not isinstance(part, HotStuffParticipant):
            return candidate
        proof = highest(part.state)
        if proof is None:
            return candidate
        for body in part.proposals.bodies.values():
            if body.header.cid != proof.block and body.header.attempt <= proof.attempt:
                self.act("borrowed certificate")
                return again(server, body, proof, candidate)
        return candidate
