"""Attacks on the vote: inverted, late and double votes, and votes in others' names."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from consensus.adversary.behaviour import Behaviour, behaviour
from consensus.adversary.toolbox import half_of, halves, members, others, sign_vote, twin_of
from consensus.encoding.unixfs import file_cid
from consensus.records.block import Candidate
from consensus.records.votes import Timeout
from consensus.server.hooks import Outgoing

if TYPE_CHECKING:
    from consensus.server.edge_server import EdgeServer


@behaviour("invert_votes", recorded=True)
class InvertVotes(Behaviour):
    """Approves incorrect candidates and rejects correct ones (paper, IV.D). With `gaussian` the
    malicious servers collude: each approves the others' random aggregates."""

    decides_alone = True

    def verdict(self, honest: bool, draws: Callable[[], np.random.Generator]) -> bool:
        return not honest


@behaviour("late_votes", recorded=True)
class LateVotes(Behaviour):
    """Sends its votes late, by a quarter to twice MaxVoteDuration: some arrive just before a view
    ends, some just after, and some long after."""

    def outgoing(self, server: EdgeServer, message: Outgoing) -> Iterable[Outgoing]:
        if message.kind != "vote":
            return (message,)
        late = float(self.draws(server).uniform(0.25, 2.0)) * server.parameters.vote_us / 1e6
        return (replace(message, delay=message.delay + late),)


@behaviour("equivocate_votes", recorded=True)
class EquivocateVotes(Behaviour):
    """Votes for different blocks towards two halves of the members.

    In the turn of a member of its circle, who may propose two blocks (`equivocate_candidates`), it
    sends each half the votes of both phases for the block that this half gets, at once, and
    withholds its timeout until that is due again. In other turns the second half gets votes for a
    block that nobody has proposed. Under ``paper`` it tells one half that the candidate is
    approved, and the other that it is rejected.
    """

    partner = "equivocate_candidates"

    def begins(self, server: EdgeServer) -> None:
        super().begins(server)
        self._twins: dict[bytes, tuple[int, bytes]] = {}
        """The half that is shown an ally's block, and the block that the other half is shown, by
        the ally's block."""

    def hears(self, server: EdgeServer, kind: str, body: Any, sender: int) -> bool:
        if (
            kind == "candidate"
            and body.header.height == server.height
            and body.proposer in self.colluders
        ):
            self._vote_twice(server, body)
        return True

    def _vote_twice(self, server: EdgeServer, candidate: Candidate) -> None:
        view, header = candidate.view, candidate.header
        seated = server.index in members(server, view[0])
        if not seated or candidate.turn is not None or not self.once("twins", view):
            return
        half, twin = half_of(header), twin_of(candidate).cid
        self._twins[header.cid] = half, twin
        parts = halves(self, server, view[0])
        for phase in server.chain.protocol.phases:
            self.send(server, "vote", sign_vote(server, phase, view, header.cid), parts[half])
            self.send(server, "vote", sign_vote(server, phase, view, twin), parts[1 - half])

    def outgoing(self, server: EdgeServer, message: Outgoing) -> Iterable[Outgoing]:
        body = message.body
        if message.kind == "candidate" and body.proposer == server.index:
            self._vote_twice(server, body)
        elif message.kind == "timeout" and ("twins", body.view) in self._done:
            # Its own server hears of two proposals and gives up at once, which would warn all.
            return () if self.once("timeout", body.view) else (message,)
        if message.kind != "vote" or body.server != server.index or message.to is None:
            return (message,)
        phase, (half, block) = body.phase, self._twins.get(body.block, (0, file_cid(body.block)))
        if phase in ("approve", "reject"):
            phase, block = "reject" if phase == "approve" else "approve", body.block
        other = sign_vote(server, phase, (body.attempt, body.step), block)
        parts = halves(self, server, body.attempt, message.to)
        allies = [index for index in message.to if index in self.colluders]
        return (
            replace(message, to=[*parts[half], *allies]),
            replace(message, body=other, to=parts[1 - half]),
        )


@behaviour("phantom_votes", recorded=True)
class PhantomVotes(Behaviour):
    """Sends votes and timeouts in other servers' names, in those of servers that do not exist, and
    in its own name where it has no seat."""

    def hears(self, server: EdgeServer, kind: str, body: Any, sender: int) -> bool:
        if kind == "candidate" and body.header.height == server.height and self.once(body.view):
            for name in self._names(server):
                for phase in server.chain.protocol.phases:
                    vote = sign_vote(server, phase, body.view, body.header.cid, name)
                    self.send(server, "vote", vote, others(server))
        return True

    def entered(self, server: EdgeServer) -> None:
        if not server.chain.protocol.has_locks:
            return
        view, chain = server.stage(), server.genesis.chain_id
        for everyone in (False, True):
            at = (view[0], 0) if everyone else view
            signed = Timeout.signing_digest(chain, server.height, at, everyone, None)
            signature = server.signer.sign(signed)
            for name in self._names(server):
                timeout = Timeout(chain, server.height, *at, everyone, name, signature, None)
                self.send(server, "timeout", timeout, others(server))

    def _names(self, server: EdgeServer) -> list[int]:
        """Two other servers, one that does not exist, and itself if it has no seat."""
        count = len(server.genesis.servers)
        draws = self.draws(server)
        names = [int(name) for name in draws.choice(others(server), min(2, count - 1), False)]
        names.append(count + int(draws.integers(2**40)))
        seated = members(server, server.stage()[0])
        if seated and server.index not in seated:
            names.append(server.index)
        return names
