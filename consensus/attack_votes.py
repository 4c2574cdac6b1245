"""Attacks on the vote: votes upside down, late, two-faced, and in others' names."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from consensus.behaviour import Behaviour, Outgoing, behaviour
from consensus.blocks import Candidate, Timeout
from consensus.encoding import file_cid
from consensus.records import View, Vote

if TYPE_CHECKING:
    from consensus.edge_server import EdgeServer


def sign_vote(
    server: EdgeServer, phase: str, view: View, block: bytes, name: int | None = None
) -> Vote:
    """A vote for ``block`` signed by ``server``, in its own name or another's."""
    chain, height = server.genesis.chain_id, server.height
    signature = server.signer.sign(Vote.signing_digest(chain, height, *view, phase, block))
    return Vote(
        chain, height, *view, phase, block, server.index if name is None else name, signature
    )


def others(server: EdgeServer) -> list[int]:
    """Every server but this one."""
    return [index for index in range(len(server.genesis.servers)) if index != server.index]


def members(server: EdgeServer, attempt: int) -> Collection[int]:
    """``bft``: the servers with a seat in an attempt of the height in progress; under ``paper``
    none are known beforehand."""
    if server.genesis.parameters.protocol != "bft":
        return ()
    head = server.chain.head
    return server.checks.sortition(server.genesis, head, attempt).committee.weights


def halves(
    attack: Behaviour, server: EdgeServer, attempt: int, among: Collection[int] | None = None
) -> tuple[list[int], list[int]]:
    """The servers outside the circle in two halves on which all of the circle agree, each with
    half of the attempt's members; only those ``among`` some, if given."""
    honest = [index for index in others(server) if index not in attack.colluders]
    seated = members(server, attempt)
    honest.sort(key=lambda index: (index not in seated, index))
    first, second = honest[::2], honest[1::2]
    if among is not None:
        first = [index for index in first if index in among]
        second = [index for index in second if index in among]
    return first, second


@behaviour("invert_votes")
class InvertVotes(Behaviour):
    """Approves incorrect candidates and rejects correct ones (paper, IV.D): with `gaussian`, the
    malicious servers collude, each approving every other's random model."""

    def verdict(self, honest: bool, generator: np.random.Generator) -> bool:
        return not honest


@behaviour("late_votes")
class LateVotes(Behaviour):
    """Sends its votes late: after a quarter to twice MaxVoteDuration, so that some arrive just
    before a view ends, some just after, and some when it is long over."""

    def outgoing(self, server: EdgeServer, message: Outgoing) -> Iterable[Outgoing]:
        if message.kind != "vote":
            return (message,)
        late = float(self.draws(server).uniform(0.25, 2.0)) * server.parameters.vote_us / 1e6
        return (replace(message, delay=message.delay + late),)


@behaviour("equivocate_votes")
class EquivocateVotes(Behaviour):
    """Votes for different blocks before two halves of the members.

    Where a leader of its circle proposed two blocks (`equivocate_candidates`), each half gets the
    votes of both phases for the block it was proposed, at once; where there is one block, the
    second half gets votes for one that nobody has seen. Under ``paper`` one half is told that the
    candidate is approved and the other that it is rejected.
    """

    def begins(self, server: EdgeServer) -> None:
        super().begins(server)
        self._proposed: dict[View, list[bytes]] = {}

    def hears(self, server: EdgeServer, kind: str, body: Any, sender: int) -> bool:
        if kind != "candidate" or body.header.height != server.height:
            return True
        return body.proposer not in self.colluders or self._learn(server, body)

    def _learn(self, server: EdgeServer, candidate: Candidate) -> bool:
        """Note what an ally proposed; whether it is the first thing that it proposed."""
        view, block = candidate.view, candidate.header.cid
        known = self._proposed.setdefault(view, [])
        if block not in known:
            known.append(block)
            if len(known) == 2 and server.index in members(server, view[0]):
                for half, voted in zip(halves(self, server, view[0]), known, strict=True):
                    for phase in ("soft", "cert"):
                        self.send(server, "vote", sign_vote(server, phase, view, voted), half)
        return block == known[0]

    def outgoing(self, server: EdgeServer, message: Outgoing) -> Iterable[Outgoing]:
        body = message.body
        if message.kind == "candidate" and body.proposer == server.index:
            self._learn(server, body)
        if message.kind != "vote" or body.server != server.index or message.to is None:
            return (message,)
        view = (body.attempt, body.step)
        first, second = halves(self, server, body.attempt, message.to)
        first += [index for index in message.to if index in self.colluders]
        if body.phase in ("soft", "cert"):
            phase, block = body.phase, file_cid(body.block)
            known = self._proposed.get(view, [])
            if body.block in known:
                if len(known) < 2:
                    return (replace(message, to=first),)  # the other half is yet to be proposed to
                block = known[1]
        else:
            phase, block = "reject" if body.phase == "approve" else "approve", body.block
        other = sign_vote(server, phase, view, block)
        return replace(message, to=first), replace(message, body=other, to=second)


@behaviour("phantom_votes")
class PhantomVotes(Behaviour):
    """Votes and times out in other servers' names, in those of servers that do not exist, and in
    its own where it has no seat."""

    def hears(self, server: EdgeServer, kind: str, body: Any, sender: int) -> bool:
        if kind == "candidate" and body.header.height == server.height and self.once(body.view):
            phases = ("soft", "cert")
            if server.genesis.parameters.protocol == "paper":
                phases = ("approve", "reject")
            for name in self._names(server):
                for phase in phases:
                    vote = sign_vote(server, phase, body.view, body.header.cid, name)
                    self.send(server, "vote", vote, others(server))
        return True

    def entered(self, server: EdgeServer) -> None:
        if server.genesis.parameters.protocol != "bft":
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
        """Two others, one that does not exist, and itself if it has no seat."""
        count = len(server.genesis.servers)
        draws = self.draws(server)
        names = [int(name) for name in draws.choice(others(server), min(2, count - 1), False)]
        names.append(count + int(draws.integers(2**40)))
        seated = members(server, server.stage()[0])
        if seated and server.index not in seated:
            names.append(server.index)
        return names
