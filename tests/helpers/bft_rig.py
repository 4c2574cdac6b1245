"""One server under `bft` without a world, and the messages of others."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from consensus.adversary.behaviour import Behaviour
from consensus.ledger.updates import SignedUpdate
from consensus.protocols.bft.server import BftParticipant
from consensus.records.block import Candidate
from consensus.records.view import View
from consensus.records.votes import Certificate
from consensus.server.edge_server import EdgeServer
from tests.helpers.fake_host import FakeHost
from tests.helpers.forge import Forge
from tests.helpers.rules import chain_from, checks_of
from tests.helpers.toy import Toy

SERVERS, CLIENTS, SEATS = 7, 3, 6


def _suited() -> Toy:
    """A federation in which one server has neither seat nor turn in the first attempt, but sits in
    the second, whose first leader has no turn in the first."""
    for seed in range(1_000):
        toy = Toy(
            servers=SERVERS, clients=CLIENTS, committee_size=SEATS, crypto="modelled", seed=seed
        )
        forge = Forge(toy)
        order, members = forge.order(), forge.members()
        idle = set(range(SERVERS)) - set(members) - set(order)
        if order[0] in members and idle & set(forge.members(1)) and forge.order(1)[0] not in order:
            return toy
    raise AssertionError("no seed suits")


TOY = _suited()
"""Seven servers of which six sit, five are more than two thirds, and six more than five sixths."""
FORGE = Forge(TOY)
ORDER = FORGE.order()
MEMBERS = FORGE.members()
LEADER = ORDER[0]
MEMBER = next(server for server in MEMBERS if server not in ORDER)
"""Sits, but does not lead in the first attempt."""
BYSTANDER = next(server for server in range(SERVERS) if server not in MEMBERS)
"""Neither sits nor leads in the first attempt, but sits in the second."""

_LEFT_OUT = {
    "relaying",
    "refused",
    "host",
    "checks",
    "genesis",
    "parameters",
    "signer",
    "prover",
    "behaviour",
    "context",
    "_handlers",
    "_stakes",
    "height_of",
    "contents",
    "catch_up",
    "participant",
    "durable",
    "fetching",
    "gathering",
    "proposals",
    "tickets",
    "server",
    "_server",
    "_vote",
    "_tickets",
    "_chain",
    "_checks",
    "_host",
}


def snapshot(server: EdgeServer) -> dict[str, Any]:
    """Everything that a server remembers but its counters of refusals, to be compared later."""
    part = server.participant
    assert isinstance(part, BftParticipant)
    parts = {
        "server": server,
        "contents": server.contents,
        "catch up": server.catch_up,
        "participant": part,
        "durable": part.durable,
        "fetching": server.fetching,
        "gathering": server.gathering,
        "proposals": part.proposals,
        "tickets": part.tickets,
        "views": part.views,
    }
    return {name: _remembered(holder) for name, holder in parts.items()}


def _remembered(holder: object) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in vars(holder).items():
        if name in _LEFT_OUT:
            continue
        if name == "pool":
            found[name] = (value.digests(), len(value))
        elif name == "chain":
            found[name] = (value.head, len(value.blocks), len(value.heads))
        elif isinstance(value, dict | set | list):
            found[name] = value.copy()
        else:
            found[name] = value
    return found


class Bench:
    """A server of a toy's genesis on a fake host."""

    def __init__(
        self,
        index: int = MEMBER,
        toy: Toy = TOY,
        behaviour: Behaviour | None = None,
        start: bool = True,
    ) -> None:
        self.host = FakeHost()
        self.forge = FORGE if toy is TOY else Forge(toy)
        checks = checks_of(toy.genesis, toy.application)
        self.server = EdgeServer(
            index,
            *toy.keys[index],
            chain_from(toy.genesis),
            checks,
            self.host,
            BftParticipant,
            behaviour,
        )
        assert isinstance(self.server.participant, BftParticipant)
        self.part = self.server.participant
        if start:
            self.server.enter_height()

    @property
    def view(self) -> View:
        return self.part.state.view

    def hear(self, kind: str, *bodies: Any, sender: int | None = None) -> Bench:
        """Messages arrive, each from its own server unless told."""
        for body in bodies:
            who = getattr(body, "server", 0) if sender is None else sender
            self.server.receive(kind, body, who)
        return self

    def tickets(self, servers: Iterable[int] | None = None) -> Bench:
        """Those of ``servers`` (all the others)."""
        for server in range(len(self.forge.toy.keys)) if servers is None else servers:
            if server != self.server.index:
                assert self.server.receive("ticket", self.forge.ticket(server), server)
        return self

    def updates(self, updates: Iterable[SignedUpdate] | None = None) -> Bench:
        return self.hear("update", *(self.forge.updates() if updates is None else updates))

    def wake(self, what: str, view: View | None = None, height: int | None = None) -> Bench:
        """A timer fires, of the view in progress unless told."""
        view = self.view if view is None else view
        self.server.on_timer((what, self.server.height if height is None else height, *view))
        return self

    def ready(self) -> Bench:
        """Tickets and updates are here, and tickets were collected for long enough."""
        return self.tickets().updates().wake("tickets")

    def votes(
        self,
        candidate: Candidate,
        servers: Iterable[int] | None = None,
        phase: str = "soft",
        view: View | None = None,
    ) -> Bench:
        """Votes of ``servers`` (the other members)."""
        attempt, step = candidate.view if view is None else view
        if servers is None:
            servers = [s for s in self.forge.members(attempt) if s != self.server.index]
        for server in servers:
            self.hear("vote", self.forge.vote(candidate, server, phase, (attempt, step)))
        return self

    def timeouts(
        self,
        servers: Iterable[int] | None = None,
        view: View = (0, 0),
        everyone: bool = False,
        lock: Certificate | None = None,
    ) -> Bench:
        """Timeouts of ``servers`` (the other members)."""
        if servers is None:
            servers = [s for s in self.forge.members(view[0]) if s != self.server.index]
        for server in servers:
            self.hear("timeout", self.forge.timeout(server, view, everyone, lock))
        return self

    def said(self, kind: str) -> list[Any]:
        """The bodies that the server sent of one kind."""
        return self.host.all(kind)

    def phases(self) -> list[str]:
        """Of the votes it sent."""
        return [vote.phase for vote in self.said("vote")]

    def fired(self, what: str) -> list[tuple[int, View]]:
        """The timers it set for something: (microseconds, view)."""
        return [
            (after, (attempt, step))
            for after, (name, _, attempt, step) in self.host.timers
            if name == what
        ]
