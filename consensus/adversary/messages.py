"""Attacks by what is said or not said, whatever the vote."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from consensus.adversary.behaviour import Behaviour, behaviour
from consensus.adversary.toolbox import others
from consensus.encoding.fields import DIGEST_BYTES, SIGNATURE_BYTES
from consensus.ledger.updates import SignedUpdate
from consensus.records.block import Block, Candidate
from consensus.records.sync import Status, Want
from consensus.records.votes import Vote
from consensus.server.hooks import Outgoing

if TYPE_CHECKING:
    from consensus.server.edge_server import EdgeServer


@behaviour("silent", recorded=True)
class Silent(Behaviour):
    """Says nothing, relays nothing, provides nothing."""

    relays = False
    provides = False

    def takes(self, server: EdgeServer, client: bytes) -> bool:
        return False

    def outgoing(self, server: EdgeServer, message: Outgoing) -> Iterable[Outgoing]:
        return ()


@behaviour("abstain", recorded=True)
class Abstain(Behaviour):
    """Takes its seat, and says no more: it lets its turn pass, does not vote and leaves no view. A
    committee of which a third does so cannot even be given up by its members."""

    def proposes(self, server: EdgeServer, candidate: Candidate) -> Candidate | None:
        return None

    def outgoing(self, server: EdgeServer, message: Outgoing) -> Iterable[Outgoing]:
        # Not a certificate either that nobody can make without the vote which it keeps to itself.
        vote = ("candidate", "vote", "timeout", "closure", "lock")
        return () if message.kind in vote else (message,)


@behaviour("withhold", recorded=True)
class Withhold(Behaviour):
    """Proposes and votes, but keeps what its proposals are made of: it hands on no update of its
    clients, provides no content, and answers nobody who asks."""

    provides = False

    def hears(self, server: EdgeServer, kind: str, body: Any, sender: int) -> bool:
        return kind not in ("want", "status")

    def outgoing(self, server: EdgeServer, message: Outgoing) -> Iterable[Outgoing]:
        return () if message.kind == "update" else (message,)


@behaviour("tamper", recorded=True)
class Tamper(Behaviour):
    """Alters the updates that it passes on: a bit of the payload, the sample count, or the
    signature. (What reaches others by other ways reaches them unaltered.)"""

    relays = False

    def hears(self, server: EdgeServer, kind: str, body: Any, sender: int) -> bool:
        if (
            kind == "update"
            and sender != server.index
            and server.checks.update(server.chain.head, body) is None
            and self.once(body.record.digest)
        ):
            self.send(server, "update", self._altered(server, body))
        return True

    def outgoing(self, server: EdgeServer, message: Outgoing) -> Iterable[Outgoing]:
        if message.kind != "update":
            return (message,)
        return (replace(message, body=self._altered(server, message.body)),)

    def _altered(self, server: EdgeServer, update: SignedUpdate) -> SignedUpdate:
        draws, record = self.draws(server), update.record
        kind = int(draws.integers(3))
        self.act(("payload", "samples", "signature")[kind])
        if kind == 0:
            place, bit = int(draws.integers(len(update.payload))), int(draws.integers(8))
            payload = bytearray(update.payload)
            payload[place] ^= 1 << bit
            return replace(update, payload=bytes(payload))
        if kind == 1:
            samples = record.samples + int(draws.choice([-1, 1]))
            return replace(update, record=replace(record, samples=samples))
        signature = draws.bytes(SIGNATURE_BYTES)
        return replace(update, record=replace(record, signature=signature))


@behaviour("stale", recorded=True)
class Stale(Behaviour):
    """Says again what is long over: in every view what it said in earlier ones, and blocks,
    tickets and votes of earlier heights, these also as if they were of this one."""

    def begins(self, server: EdgeServer) -> None:
        super().begins(server)
        self._said: list[Outgoing] = []

    def outgoing(self, server: EdgeServer, message: Outgoing) -> Iterable[Outgoing]:
        if message.kind != "update" and len(self._said) < 16:
            self._said.append(message)
        return (message,)

    def entered(self, server: EdgeServer) -> None:
        for message in self._said:
            self.send(server, message.kind, message.body, message.to)
        view, blocks = server.stage(), server.chain.blocks
        if view[1] or not blocks:
            return
        block = blocks[int(self.draws(server).integers(max(0, len(blocks) - 5), len(blocks)))]
        self.send(server, "block", block, others(server))
        for ticket in block.tickets[:3]:
            self.send(server, "ticket", ticket, others(server))
        for voter, signature in block.certificate.signatures[:3]:
            vote = Vote(
                server.genesis.chain_id,
                block.height,
                *block.certificate.view,
                block.certificate.phase,
                block.cid,
                voter,
                signature,
            )
            now = replace(vote, height=server.height, attempt=view[0], step=0, server=server.index)
            for said in (vote, now):
                self.send(server, "vote", said, others(server))


@behaviour("lie_status", recorded=True)
class LieStatus(Behaviour):
    """Tells absurd tales of where it stands, asks for updates that do not exist and for all that
    do, and answers those who ask with blocks that are none."""

    def entered(self, server: EdgeServer) -> None:
        draws, everyone = self.draws(server), others(server)
        if not everyone:
            return
        to = draws.choice(everyone, min(3, len(everyone)), replace=False).tolist()
        invented = tuple(draws.bytes(DIGEST_BYTES) for _ in range(20))
        far = int(draws.integers(2**40))
        mine = server.chain.height
        for status in (
            Status(mine + 1 + far, far, far),
            Status(mine, far, far, invented, (far, far)),
            Status(0, 0, 0),
            Status(mine, 0, 0),
        ):
            self.send(server, "status", status, to)
        for want in (
            Want(server.height, invented),
            Want(server.height + far, invented),
            Want(server.height, server.pool.digests() * 3),
        ):
            self.send(server, "want", want, to)

    def hears(self, server: EdgeServer, kind: str, body: Any, sender: int) -> bool:
        if kind != "status":
            return True
        if server.chain.blocks and self.once(sender, server.stage()):
            last = server.chain.blocks[-1]
            self.send(server, "block", self._junk(server, last, body.height + 1), [sender])
            self.send(server, "block", self._junk(server, last, last.height), [sender])
        return False

    def _junk(self, server: EdgeServer, block: Block, height: int) -> Block:
        """An old block as if it were that of a height, with made-up signatures."""
        header = replace(block.header, height=height)
        signatures = tuple(
            (index, self.draws(server).bytes(SIGNATURE_BYTES))
            for index in range(len(server.genesis.servers))
        )
        certificate = replace(block.certificate, block=header.cid, signatures=signatures)
        return replace(block, header=header, certificate=certificate)
