"""Draws that the next block records: one server's ticket, and the tickets of others (`bft`)."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Literal, Protocol

from consensus.crypto.suites import Prover
from consensus.ledger.chain import Chain
from consensus.ledger.committee import (
    Draw,
    InvalidTicket,
    all_announce,
    is_worth_announcing,
)
from consensus.records.block import Candidate
from consensus.records.genesis import Genesis, Parameters
from consensus.records.ticket import Ticket
from consensus.server.checks import SharedChecks
from consensus.server.host import Host
from consensus.server.message import Kind
from consensus.server.unheard import Inbox


class Drawer(Protocol):
    """The part of a server that drawing and collecting tickets uses."""

    index: int
    height: int
    chain: Chain
    genesis: Genesis
    parameters: Parameters
    checks: SharedChecks
    host: Host
    prover: Prover
    inbox: Inbox

    def say(self, kind: Kind, body: object, to: Collection[int] | None = None) -> None:
        """Send to some, or to all."""
        ...

    def refuse(self, reason: str) -> Literal[False]:
        """Count a message that is turned away."""
        ...


class Tickets:
    """The tickets for the next height that one server has."""

    def __init__(self, server: Drawer) -> None:
        self._server = server
        self.begin()

    def begin(self) -> None:
        """Begin a height: nothing is drawn yet."""
        self.held: dict[int, tuple[Ticket, int]] = {}
        """By server: its ticket, and since when it is here (microseconds)."""
        self._announced: set[int] = set()
        self._shown: set[int] = set()
        """Servers whose tickets it has shown to all, as a candidate had left them out."""
        self._early_until = self._server.host.now_us() + self._server.parameters.ticket_us // 2
        """The end (microseconds) of the time in which a ticket comes early enough for every
        aggregator, which collects for twice as long."""

    def draw(self) -> bool:
        """Make this server's ticket; returns True if it is worth announcing."""
        server = self._server
        beacon, height = server.chain.head.beacon, server.height + 1
        alpha = server.chain.protocol.alpha(server.genesis, server.chain.head)
        proof, beta = server.prover.prove(alpha)
        server.host.charge("vrf_prove")
        draw = Draw(server.index, beta)
        if not is_worth_announcing(server.chain.head.electorate(server.genesis), draw):
            return False
        ticket = Ticket(height, server.index, proof)
        server.checks.vouch(beacon, ticket, draw)
        self._keep(ticket)
        return True

    def announce(self, who: Iterable[int]) -> None:
        """Send one's ticket, if there is one, to those of ``who`` that have not got it."""
        server = self._server
        mine = self.held.get(server.index)
        if mine is None:
            return
        to = [other for other in who if other not in self._announced and other != server.index]
        self._announced.update(to)
        server.say("ticket", mine[0], to)

    def announce_again(self) -> None:
        """Repeat one's ticket to all who were sent it."""
        mine = self.held.get(self._server.index)
        if mine is not None:
            self._server.say("ticket", mine[0], list(self._announced))

    def add(self, ticket: Ticket) -> bool:
        """Check another server's ticket and keep it; returns True if it is new and right."""
        if ticket.server in self.held:
            return False
        server = self._server
        server.host.charge("vrf_verify")
        try:
            server.checks.ticket(server.genesis, server.chain.head.beacon, ticket)
        except InvalidTicket:
            return server.refuse("ticket proof")
        self._keep(ticket)
        return True

    def _keep(self, ticket: Ticket) -> None:
        self.held[ticket.server] = (ticket, self._server.host.now_us())
        self._server.inbox.note(("ticket", ticket.server))

    def take_in(self, tickets: Iterable[tuple[Ticket, int]]) -> None:
        """Keep tickets of other servers that were found right, each with the time at which it came
        (microseconds)."""
        self.held.update((each[0].server, each) for each in tickets)

    def recorded(self) -> tuple[Ticket, ...]:
        """The tickets as a block records them, by ascending server."""
        return tuple(self.held[server][0] for server in sorted(self.held))

    def holders(self) -> tuple[int, ...]:
        """The servers whose tickets are here, in ascending order."""
        return tuple(sorted(self.held))

    def all_but(self, known: Collection[int]) -> list[Ticket]:
        """The tickets here but for those of the servers ``known``."""
        theirs = set(known)
        return [ticket for server, (ticket, _) in self.held.items() if server not in theirs]

    def may_lack_some(self) -> bool:
        """True if others may have draws that are not here, as all servers with stake announce
        theirs; where only the best are announced nobody knows how many there are."""
        server = self._server
        electorate = server.chain.head.electorate(server.genesis)
        return all_announce(electorate) and any(
            stake and index not in self.held and index != server.index
            for index, stake in enumerate(electorate.stakes)
        )

    def unknown(self, tickets: tuple[Ticket, ...]) -> int:
        """The number of these tickets that are not here."""
        drawers, _ = self._server.checks.drawers(tickets)
        return len(drawers) - sum(map(self.held.__contains__, drawers))

    def are_all_in(self, candidate: Candidate) -> bool:
        """True if a candidate records every ticket that came so early, or has been here for so
        long, that its aggregator, too, must have had it: none is left out of the next height's
        draws. What is left out is shown to the others, or every candidate would lack what somebody
        has."""
        _, listed = self._server.checks.drawers(candidate.tickets)
        if listed.issuperset(self.held):
            return True
        waited_since = self._server.host.now_us() - self._server.parameters.ticket_us
        latest = max(self._early_until, waited_since)
        lacking = [
            ticket
            for server, (ticket, since) in self.held.items()
            if server not in listed and since <= latest
        ]
        for ticket in lacking:
            if ticket.server not in self._shown:
                self._shown.add(ticket.server)
                self._server.say("ticket", ticket)
        return not lacking
