"""The paper's protocol at the tests' bench: what servers sign, and one server without a world."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from typing import Any

from consensus.adversary.behaviour import Behaviour
from consensus.ledger.committee import Draw, may_sit
from consensus.ledger.updates import SignedUpdate
from consensus.ledger.validity import Head
from consensus.protocols.paper.server import PaperParticipant
from consensus.protocols.paper.validity import CANDIDATES_PER_SEAT
from consensus.records.block import Block, Candidate
from consensus.records.ticket import Ticket
from consensus.records.view import View
from consensus.records.votes import Certificate, Vote
from consensus.server.edge_server import EdgeServer
from tests.helpers.fake_host import FakeHost
from tests.helpers.forge import Forge
from tests.helpers.rules import chain_from, checks_of
from tests.helpers.toy import Toy


class PaperForge(Forge):
    """Tickets, candidates, votes and blocks of `paper` on top of a head of a toy's chain."""

    def __init__(self, toy: Toy, head: Head | None = None) -> None:
        super().__init__(toy, head)
        self.size = toy.genesis.parameters.committee_size
        self.winners = [
            server
            for server in range(len(toy.keys))
            if may_sit(toy.genesis, self.draw(server)[1], CANDIDATES_PER_SEAT)
        ]
        """The servers that may sit."""

    def draw(self, server: int, height: int | None = None) -> tuple[Ticket, Draw]:
        """A server's honest draw for the height that is made."""
        height = self.height if height is None else height
        alpha = Ticket.alpha(self.genesis.chain_id, self.head.cid, height)
        proof, beta = self.toy.keys[server][1].prove(alpha)
        return Ticket(height, server, proof), Draw(server, beta)

    def seats(self, servers: Iterable[int] | None = None) -> tuple[Ticket, ...]:
        """The tickets of these servers (as many winners as there are seats), in this order."""
        return tuple(map(self.ticket, self.winners[: self.size] if servers is None else servers))

    def candidate(  # type: ignore[override]
        self,
        listed: Sequence[SignedUpdate] | None = None,
        view: View = (0, 0),
        aggregator: int | None = None,
        tickets: tuple[Ticket, ...] | None = None,
        **more: Any,
    ) -> Candidate:
        """What server 0 (or another) would propose from ``listed`` updates (all)."""
        return super().candidate(
            listed,
            view,
            0 if aggregator is None else aggregator,
            self.seats() if tickets is None else tickets,
            **more,
        )

    def vote(  # type: ignore[override]
        self, candidate: Candidate, server: int, phase: str = "approve", **more: Any
    ) -> Vote:
        return super().vote(candidate, server, phase, **more)

    def block(  # type: ignore[override]
        self,
        candidate: Candidate | None = None,
        signers: Iterable[int] | None = None,
        phase: str = "approve",
        view: View | None = None,
    ) -> Block:
        """``candidate`` with the approvals of ``signers`` (its whole committee)."""
        candidate = self.candidate() if candidate is None else candidate
        if signers is None:
            signers = sorted(ticket.server for ticket in candidate.tickets)
        certificate: Certificate = self.certificate(candidate, phase, signers, view, super().vote)
        return Block(candidate.header, candidate.signature, candidate.tickets, certificate)


class Bench:
    """A server of a toy's genesis on a fake host, and what others send it."""

    def __init__(self, index: int, toy: Toy, behaviour: Behaviour | None = None) -> None:
        self.host = FakeHost()
        self.forge = PaperForge(toy)
        self.server = EdgeServer(
            index,
            *toy.keys[index],
            chain_from(toy.genesis),
            checks_of(toy.genesis, toy.application),
            self.host,
            PaperParticipant,
            behaviour,
        )
        assert isinstance(self.server.participant, PaperParticipant)
        self.part = self.server.participant
        self.server.enter_height()

    def hear(self, kind: Any, *bodies: Any, sender: int = 0) -> Bench:
        """Messages arrive."""
        for body in bodies:
            self.server.receive(kind, body, sender)
        return self

    def wake(self, what: str, slot: View | None = None) -> Bench:
        """A timer of the slot in progress fires."""
        attempt, step = self.part.state.slot if slot is None else slot
        self.server.on_timer((what, self.server.height, attempt, step))
        return self

    def ready(self) -> Bench:
        """All updates are here, and the committee has announced itself."""
        self.hear("update", *self.forge.updates())
        return self.hear("ticket", *self.forge.seats())

    def timers(self, what: str) -> list[tuple[int, View]]:
        """The timers set for ``what``: (microseconds, slot)."""
        return [
            (microseconds, (timer[2], timer[3]))
            for microseconds, timer in self.host.timers
            if timer[0] == what
        ]

    def state(self) -> dict[str, Any]:
        """Everything that the server remembers, but its counters."""
        kept = {"refused", "pool", "chain", "genesis", "parameters", "behaviour", "checks", "host"}
        kept |= {"signer", "prover", "_handlers", "_early_from", "_asked", "answers"}
        kept |= {"height_of", "relaying", "gathering"}
        kept |= {"contents", "catch_up", "fetching", "participant", "server", "_server"}
        kept |= {"_chain", "_checks", "_host"}
        server = self.server
        parts = (server, server.contents, server.catch_up, server.fetching, self.part)
        state = {
            f"{type(part).__name__}.{name}": value
            for part in parts
            for name, value in vars(part).items()
            if name not in kept
        }
        state["updates"] = self.server.pool.digests()
        state["head"] = self.server.chain.head
        return copy.deepcopy(state)
