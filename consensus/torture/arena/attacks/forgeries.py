"""Attackers that forge proposals, votes and certificates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from consensus.adversary.behaviour import Behaviour
from consensus.adversary.toolbox import members, others, resigned, sign_vote
from consensus.encoding.cid import digest
from consensus.encoding.fields import SIGNATURE_BYTES
from consensus.encoding.unixfs import file_cid
from consensus.protocols.bft.rotation import RotationParticipant
from consensus.protocols.bft.server import BftParticipant
from consensus.records.block import Block, Candidate
from consensus.records.votes import Certificate, Timeout, TimeoutCertificate
from consensus.server.edge_server import EdgeServer
from consensus.torture.arena.attacker import attacker

#: Most times that one signature stands in a forged certificate.
MOST_REPEATED: Final = 1000
#: Number of proposals that a flooder makes in its turn.
FLOOD: Final = 30


@attacker("impersonate", recorded=True)
class Impersonate(Behaviour):
    """Makes a second proposal in the name of every leader whose proposal it gets."""

    def hears(self, server: EdgeServer, kind: str, body: Any, sender: int) -> bool:
        if kind == "candidate" and body.header.height == server.height and self.once(body.view):
            twin = resigned(server, body, timestamp=body.header.timestamp + 1)
            self.send(server, "candidate", twin, others(server))
        return True


@attacker("usurp", recorded=True)
class Usurp(Behaviour):
    """Proposes as soon as it can, in other leaders' turns too."""

    def hears(self, server: EdgeServer, kind: str, body: Any, sender: int) -> bool:
        part = server.participant
        if not isinstance(part, BftParticipant | RotationParticipant):
            return True
        if kind in ("update", "ticket") and server.active:
            view = part.stage()
            if part.context.leader(view) != server.index:
                candidate = part.proposals.anew(view)
                if candidate is not None and self.once(view):
                    self.send(server, "candidate", candidate, others(server))
        return True


@attacker("pad_certificates", recorded=True)
class PadCertificates(Behaviour):
    """Sends blocks that were not decided: their certificates repeat its own signature, or give it
    in all members' names."""

    def hears(self, server: EdgeServer, kind: str, body: Any, sender: int) -> bool:
        if kind == "candidate" and body.header.height == server.height and self.once(body.view):
            seated = members(server, body.view[0])
            phase = server.chain.protocol.deciding
            signature = sign_vote(server, phase, body.view, body.header.cid).signature
            most = server.parameters.committee_size * max(server.genesis.stakes)
            whole = min(most, MOST_REPEATED)
            if server.index in seated:
                self._block(server, body, [(server.index, signature)] * whole)
            self._block(server, body, [(name, signature) for name in sorted(seated)])
            everyone = range(len(server.genesis.servers))
            self._block(server, body, [(name, signature) for name in everyone])
        return True

    def _block(
        self, server: EdgeServer, candidate: Candidate, signatures: Sequence[tuple[int, bytes]]
    ) -> None:
        header = candidate.header
        certificate = Certificate(
            header.height,
            *candidate.view,
            server.chain.protocol.deciding,
            header.cid,
            tuple(signatures),
        )
        block = Block(
            header, candidate.signature, candidate.tickets, certificate, candidate.settlement
        )
        self.send(server, "block", block, others(server))


@attacker("bad_headers", recorded=True)
class BadHeaders(Behaviour):
    """Proposes blocks with another parent, chain identifier or timestamp, and valid otherwise."""

    def proposes(self, server: EdgeServer, candidate: Candidate) -> Candidate | None:
        if candidate.turn is not None:
            return candidate
        what = ("parent", "chain", "time")[int(self.draws(server).integers(3))]
        self.act(what)
        if what == "parent":
            return resigned(server, candidate, parent=file_cid(b"another block"))
        if what == "chain":
            return resigned(server, candidate, chain_id=digest(b"another chain"))
        return resigned(server, candidate, timestamp=max(0, server.chain.head.timestamp))


@attacker("slander", recorded=True)
class Slander(Behaviour):
    """Votes for blocks that nobody proposed, with a made-up signature of the leader."""

    def entered(self, server: EdgeServer) -> None:
        view = server.stage()
        if server.index in members(server, view[0]):
            draws = self.draws(server)
            vote = sign_vote(server, "soft", view, file_cid(draws.bytes(8)))
            vote = replace(vote, proposal=draws.bytes(SIGNATURE_BYTES))
            self.send(server, "vote", vote, others(server))


@attacker("forge_closures", recorded=True)
class ForgeClosures(Behaviour):
    """Closes the view in progress, or a far one, with its own signature in all members' names."""

    def entered(self, server: EdgeServer) -> None:
        attempt, step = server.stage()
        far = int(self.draws(server).integers(2, 9))
        for at in ((attempt, step), (attempt + far, 0)):
            for everyone in (False, True):
                view = (at[0], 0) if everyone else at
                signed = Timeout.signing_digest(
                    server.genesis.chain_id, server.height, view, everyone, None
                )
                signature = server.signer.sign(signed)
                names = range(len(server.genesis.servers))
                if not everyone:
                    names = sorted(members(server, at[0]))  # type: ignore[assignment]
                entries = tuple((name, None, signature) for name in names)
                closed = TimeoutCertificate(server.height, *view, everyone, entries, None)
                self.send(server, "closure", closed, others(server))


@attacker("flood", recorded=True)
class Flood(Behaviour):
    """Makes many proposals in its turn, all of them valid."""

    def proposes(self, server: EdgeServer, candidate: Candidate) -> Candidate | None:
        if candidate.turn is None:
            for later in range(1, FLOOD):
                twin = resigned(server, candidate, timestamp=candidate.header.timestamp + later)
                self.send(server, "candidate", twin, others(server))
        return candidate
