"""Attackers of protocols with rounds and proofs of lock (`tendermint`; some of `hotstuff`, too).

The first keeps within what any server may do, and shows its votes to one server alone; the others
offer honest servers proofs that one rule forbids them to take
(`consensus.torture.mutants.tendermint_breaks`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from consensus.adversary.behaviour import Behaviour
from consensus.adversary.toolbox import members, others, sign_vote
from consensus.encoding.unixfs import file_cid
from consensus.protocols.bft.rotation import RotationParticipant
from consensus.protocols.bft.standing import certificate_of
from consensus.protocols.tendermint.server import TendermintParticipant
from consensus.protocols.tendermint.state import STEPS
from consensus.records.block import Candidate, Turn
from consensus.records.view import proposal_digest
from consensus.records.votes import NIL, Certificate, Vote
from consensus.server.edge_server import EdgeServer
from consensus.server.hooks import Outgoing
from consensus.torture.arena.attacker import attacker


@attacker("lone_locks")
class LoneLocks(Behaviour):
    """Shows its prevotes to one honest server alone, another one in each round and the same for all
    of its circle, and no precommit to anybody: so that one server may lock a value of which the
    others know nothing."""

    def outgoing(self, server: EdgeServer, message: Outgoing) -> Iterable[Outgoing]:
        body = message.body
        if message.kind == "lock":
            return ()
        if message.kind != "vote" or body.server != server.index:
            return (message,)
        if body.phase == server.chain.protocol.deciding:
            return ()
        alone = one_alone(self, server, body)
        return (message,) if alone is None else (replace(message, to=[alone]),)


def one_alone(attack: Behaviour, server: EdgeServer, said: Vote | Certificate) -> int | None:
    """The honest server that alone is shown what is said of a round: another one in each round, the
    same for all of the circle; None if there is none."""
    honest = [index for index in others(server) if index not in attack.colluders]
    return honest[(said.height + 3 * said.attempt) % len(honest)] if honest else None


def _proofs(server: EdgeServer) -> Iterator[Certificate]:
    """The proofs of lock that a server could make, the oldest first."""
    part = server.participant
    if isinstance(part, TendermintParticipant):
        for (phase, round, block), tally in sorted(part.state.votes.items(), key=lambda e: e[0][1]):
            quorum = part.context.committee.approves(tally.weight)
            if phase == STEPS[1] and block != NIL and quorum:
                yield certificate_of(server.height, phase, round, block, tally)


def again(server: EdgeServer, body: Candidate, proof: Certificate, instead: Candidate) -> Candidate:
    """A block proposed again by ``server``, with a proof, in place of a candidate of its own."""
    chain_id, view = server.genesis.chain_id, instead.view
    signed = proposal_digest(chain_id, server.height, view, body.header.cid)
    turn = Turn(*view, server.index, server.signer.sign(signed))
    return replace(body, turn=turn, proof=proof, justification=instead.justification)


def oldest_again(
    attack: Behaviour,
    server: EdgeServer,
    proofs: Iterable[Certificate],
    instead: Candidate,
    what: str,
) -> Candidate:
    """The block of the first of ``proofs``, the oldest first, that is of an earlier round and whose
    body is here, proposed again with it and counted as ``what``; ``instead`` if that is of the same
    block, or there is none."""
    part = server.participant
    assert isinstance(part, RotationParticipant)
    for proof in proofs:
        body = part.proposals.bodies.get(proof.block)
        if body is not None and proof.attempt < instead.view[0]:
            if proof.block == instead.header.cid:
                return instead
            attack.act(what)
            return again(server, body, proof, instead)
    return instead


@attacker("fresh_values")
class FreshValues(Behaviour):
    """Proposes a new value in its rounds, though it knows one that is valid already."""

    def proposes(self, server: EdgeServer, candidate: Candidate) -> Candidate | None:
        part = server.participant
        if candidate.turn is None or not isinstance(part, RotationParticipant):
            return candidate
        fresh = part.proposals.anew(candidate.view)
        if fresh is None:
            return candidate
        return replace(fresh, justification=candidate.justification)


@attacker("stale_proofs")
class StaleProofs(Behaviour):
    """Proposes, every other time in its rounds, the oldest value for which it knows a proof of
    lock."""

    def proposes(self, server: EdgeServer, candidate: Candidate) -> Candidate | None:
        tendermint = isinstance(server.participant, TendermintParticipant)
        if not tendermint or self.draws(server).integers(2):
            return candidate
        return oldest_again(self, server, _proofs(server), candidate, "stale proof")


@attacker("false_proofs")
class FalseProofs(Behaviour):
    """Proposes, in its rounds, a block of an earlier round that is not the valid value, with a
    proof of lock of the round before that it has signed in all members' names; and shows everybody
    such proofs."""

    def entered(self, server: EdgeServer) -> None:
        round, _ = server.stage()
        forged = self._forged(server, file_cid(self.draws(server).bytes(8)), round)
        if forged is not None:
            self.send(server, "lock", forged, others(server))

    def proposes(self, server: EdgeServer, candidate: Candidate) -> Candidate | None:
        part, round = server.participant, candidate.view[0]
        if not isinstance(part, RotationParticipant):
            return candidate
        for body in part.proposals.bodies.values():
            if body.header.attempt < round and body.header.cid != candidate.header.cid:
                forged = self._forged(server, body.header.cid, round - 1)
                if forged is not None:
                    self.act("false proof")
                    return again(server, body, forged, candidate)
        return candidate

    def _forged(self, server: EdgeServer, block: bytes, round: int) -> Certificate | None:
        phase = server.chain.protocol.phases[0]
        signature = sign_vote(server, phase, (round, 0), block).signature
        signers = tuple((name, signature) for name in sorted(members(server, round)))
        return Certificate(server.height, round, 0, phase, block, signers) if signers else None
