"""Attacks by sending, withholding or altering messages, apart from the vote."""

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
from consensus.server.hooks import AT_ONCE, Outgoing
from consensus.server.relaying import NAMES

if TYPE_CHECKING:
    from consensus.server.edge_server import EdgeServer


@behaviour("silent", recorded=True)
class Silent(Behaviour):
    """Sends nothing, relays nothing, provides nothing."""

    relays = False
    provides = False

    def takes(self, server: EdgeServer, client: bytes) -> bool:
        return False

    def outgoing(self, server: EdgeServer, message: Outgoing) -> Iterable[Outgoing]:
        return ()


@behaviour("abstain", recorded=True)
class Abstain(Behaviour):
    """Takes its seat and then does nothing: it lets its turn pass, does not vote and signs no
    timeout. A committee with a third of such members cannot even close its own views."""

    def proposes(self, server: EdgeServer, candidate: Candidate) -> Candidate | None:
        return None

    def outgoing(self, server: EdgeServer, message: Outgoing) -> Iterable[Outgoing]:
        # Nor a certificate that only it can make, since it needs the vote that it withholds.
        vote = ("candidate", "vote", "timeout", "closure", "lock")
        return () if message.kind in vote else (message,)


@behaviour("withhold", recorded=True)
class Withhold(Behaviour):
    """Proposes and votes, but withholds the contents of its proposals: it sends no update of its
    clients, provides no content, and answers no request."""

    provides = False

    def hears(self, server: EdgeServer, kind: str, body: Any, sender: int) -> bool:
        return kind not in ("want", "status", "fetch")

    def outgoing(self, server: EdgeServer, message: Outgoing) -> Iterable[Outgoing]:
        return () if message.kind == "update" else (message,)


@behaviour("tamper", recorded=True)
class Tamper(Behaviour):
    """Alters the updates that it passes on: a bit of the payload, the sample count, or the
    signature. Updates that reach others by other paths are unaltered."""

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


@behaviour("preempt")
class Preempt(Behaviour):
    """Hands what it hears to half of the others, to each alone, before the gossip gets there: who
    knows it by then has no use for the gossip, and those behind would miss it if nobody passed on
    what it knows."""

    compared = False

    def begins(self, server: EdgeServer) -> None:
        super().begins(server)
        self._chosen: list[int] = []

    def hears(self, server: EdgeServer, kind: str, body: Any, sender: int) -> bool:
        name = NAMES.get(kind)
        if name is not None and self.once(kind, name(body)):
            if not self._chosen:
                everyone = others(server)
                half = self.draws(server).permutation(len(everyone))[: (len(everyone) + 1) // 2]
                self._chosen = [everyone[place] for place in half.tolist()]
            self.send(server, kind, body, self._chosen, AT_ONCE)
        return True


@behaviour("stale", recorded=True)
class Stale(Behaviour):
    """Repeats old messages: in every view those of its earlier views, and blocks, tickets and votes
    of earlier heights, also relabelled as messages of this height."""

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
    """States false heights and views, asks for updates that do not exist and for all that do, and
    answers requests for blocks with invalid ones."""

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
        """An old block relabelled as the block of ``height``, with made-up signatures."""
        header = replace(block.header, height=height)
        signatures = tuple(
            (index, self.draws(server).bytes(SIGNATURE_BYTES))
            for index in range(len(server.genesis.servers))
        )
        certificate = replace(block.certificate, block=header.cid, signatures=signatures)
        return replace(block, header=header, certificate=certificate)
