"""Attacks on the end of a view: on the votes and certificates that decide a block, close a view and
carry locks over."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from consensus.adversary.behaviour import Behaviour, behaviour
from consensus.adversary.toolbox import halves, others, sign_vote
from consensus.encoding.unixfs import file_cid
from consensus.records.view import View
from consensus.records.votes import Certificate, Timeout, TimeoutCertificate
from consensus.server.hooks import Outgoing

if TYPE_CHECKING:
    from consensus.server.edge_server import EdgeServer


@behaviour("late_block", recorded=True)
class LateBlock(Behaviour):
    """Withholds decisions: it passes on neither blocks nor certificates that close a view, and
    sends its last vote, which may be the one that decides, to a single server outside of its
    circle."""

    def outgoing(self, server: EdgeServer, message: Outgoing) -> Iterable[Outgoing]:
        if message.kind in ("block", "closure"):
            return ()
        body = message.body
        if (
            message.kind != "vote"
            or body.server != server.index
            or body.phase != server.chain.protocol.deciding
        ):
            return (message,)
        to = others(server) if message.to is None else message.to
        honest = [index for index in to if index not in self.colluders]
        if not honest:
            return ()
        # All of the circle choose the same server, so that it alone can decide.
        return (replace(message, to=[honest[sum(body.block) % len(honest)]]),)


@behaviour("false_locks", recorded=True)
class FalseLocks(Behaviour):
    """Lies about locks: in its timeouts it hides the lock that it knows from one half of
    the others and shows a forged lock to the other half; it passes on certificates that close a
    view without their lock, or with a forged one; and it sends forged and old locks to everyone."""

    def entered(self, server: EdgeServer) -> None:
        if not server.chain.protocol.has_locks or server.stage()[1]:
            return
        view = server.stage()
        self.send(server, "lock", self._forged(server, view), others(server))
        if server.chain.blocks:
            old = server.chain.blocks[-1].certificate
            now = replace(
                old,
                height=server.height,
                attempt=view[0],
                step=0,
                phase=server.chain.protocol.phases[0],
                signatures=old.signatures[:3],
            )
            self.send(server, "lock", now, others(server))

    def outgoing(self, server: EdgeServer, message: Outgoing) -> Iterable[Outgoing]:
        body = message.body
        if message.kind == "closure":
            return (replace(message, body=self._falsified(server, body)),)
        if message.kind != "timeout" or body.server != server.index:
            return (message,)
        first, second = halves(self, server, body.attempt, message.to)
        hides = self._timeout(server, body, None)
        claims = self._timeout(server, body, self._forged(server, body.view))
        return replace(message, body=hides, to=first), replace(message, body=claims, to=second)

    def _forged(self, server: EdgeServer, view: View) -> Certificate:
        """A lock on a block that nobody has proposed, signed by itself alone."""
        block, phase = file_cid(self.draws(server).bytes(8)), server.chain.protocol.phases[0]
        signature = sign_vote(server, phase, view, block).signature
        signers = range(len(server.genesis.servers))
        return Certificate(
            server.height, *view, phase, block, tuple((index, signature) for index in signers)
        )

    def _timeout(self, server: EdgeServer, honest: Timeout, lock: Certificate | None) -> Timeout:
        signed = Timeout.signing_digest(
            honest.chain_id,
            honest.height,
            honest.view,
            honest.everyone,
            None if lock is None else lock.name,
        )
        return replace(honest, signature=server.signer.sign(signed), lock=lock)

    def _falsified(self, server: EdgeServer, closed: TimeoutCertificate) -> TimeoutCertificate:
        if closed.lock is not None:
            return replace(closed, lock=None)
        return replace(closed, lock=self._forged(server, closed.view))
