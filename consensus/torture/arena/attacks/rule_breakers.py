"""Attackers that lie about locks, tickets and times with signatures that are all valid.

Each offers honest servers what one rule of `bft` forbids them to take
(`consensus.torture.mutants.breaks`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from consensus.adversary.behaviour import Behaviour
from consensus.adversary.toolbox import (
    halves,
    members,
    others,
    resigned,
    sign_timeout,
    with_tickets,
)
from consensus.protocols.bft.server import BftParticipant
from consensus.records.block import Candidate
from consensus.records.votes import Certificate, Timeout, TimeoutCertificate
from consensus.server.edge_server import EdgeServer
from consensus.server.hooks import Outgoing
from consensus.torture.arena.attacker import attacker


def _locks(server: EdgeServer) -> list[Certificate]:
    """The locks that a server knows, the lowest first."""
    part = server.participant
    if not isinstance(part, BftParticipant):
        return []
    return sorted(part.state.promises.locks, key=lambda lock: lock.name)


@attacker("two_timeouts")
class TwoTimeouts(Behaviour):
    """Leaves a view with its lock towards one half of the others, and without it towards the
    other; with every lock it knows, where it knows several."""

    def outgoing(self, server: EdgeServer, message: Outgoing) -> Iterable[Outgoing]:
        body = message.body
        if message.kind != "timeout" or body.server != server.index or body.lock is None:
            return (message,)
        first, second = halves(self, server, body.attempt, message.to)
        allowed = [lock for lock in _locks(server) if lock.view <= body.view]
        other = next((lock for lock in allowed if lock.name != body.lock.name), None)
        if body.everyone:
            other = None
        return (
            replace(message, to=first),
            replace(message, body=left_with(server, body, other), to=second),
        )


def left_with(server: EdgeServer, honest: Timeout, lock: Certificate | None) -> Timeout:
    """A timeout of what ``honest`` leaves that names another lock."""
    named = None if lock is None else lock.name
    signed = Timeout.signing_digest(
        honest.chain_id, honest.height, honest.view, honest.everyone, named
    )
    return replace(honest, signature=server.signer.sign(signed), lock=lock)


@attacker("stale_locks")
class StaleLocks(Behaviour):
    """Closes views with a lock that is valid, but not the highest that the signers named: it names
    old locks in its own timeouts, and passes closures on with one of those."""

    def hears(self, server: EdgeServer, kind: str, body: Any, sender: int) -> bool:
        if kind == "closure" and body.height == server.height and body.lock is not None:
            self._restate(server, body)
        return True

    def _restate(self, server: EdgeServer, closed: TimeoutCertificate) -> None:
        named = {name for _, name, _ in closed.entries if name is not None}
        older = [lock for lock in _locks(server) if lock.name < closed.lock.name]  # type: ignore[union-attr]
        if not older or not self.once("restated", closed.view, closed.everyone):
            return
        lock, entries = older[0], closed.entries
        seated = closed.everyone or server.index in members(server, closed.attempt)
        if lock.name not in named and seated and lock.view <= closed.view:
            signed = Timeout.signing_digest(
                server.genesis.chain_id, server.height, closed.view, closed.everyone, lock.name
            )
            mine = (server.index, lock.name, server.signer.sign(signed))
            rest = [entry for entry in entries if entry[0] != server.index]
            entries = tuple(sorted([*rest, mine], key=lambda entry: entry[0]))
        stale = replace(closed, entries=entries, lock=lock)
        self.send(server, "closure", stale, others(server))

    def outgoing(self, server: EdgeServer, message: Outgoing) -> Iterable[Outgoing]:
        body = message.body
        if message.kind == "closure" and body.lock is not None:
            self._restate(server, body)
        if message.kind == "timeout" and body.server == server.index and body.lock is not None:
            older = [lock for lock in _locks(server) if lock.name < body.lock.name]
            if older:
                return (replace(message, body=left_with(server, body, older[0])),)
        return (message,)


@attacker("late_locks")
class LateLocks(Behaviour):
    """Leaves earlier views once more, with a lock of a later one."""

    def entered(self, server: EdgeServer) -> None:
        self._say(server)

    def hears(self, server: EdgeServer, kind: str, body: Any, sender: int) -> bool:
        if kind in ("lock", "closure") and body.height == server.height:
            self._say(server)
        return True

    def _say(self, server: EdgeServer) -> None:
        locks = _locks(server)
        if not locks or not self.once(locks[-1].name):
            return
        attempt, step = locks[-1].view
        for view in [(attempt, before) for before in range(step)]:
            if server.index in members(server, view[0]):
                self.send(server, "timeout", sign_timeout(server, view, locks[-1]), others(server))
        if attempt:
            before = (attempt - 1, 0)
            timeout = sign_timeout(server, before, locks[-1])
            signed = Timeout.signing_digest(
                timeout.chain_id, timeout.height, before, True, locks[-1].name
            )
            timeout = replace(timeout, everyone=True, signature=server.signer.sign(signed))
            self.send(server, "timeout", timeout, others(server))


@attacker("omit_tickets")
class OmitTickets(Behaviour):
    """Leaves out of its blocks the tickets of as many servers outside of its circle as it can, so
    that the circle has more seats of the next height."""

    def proposes(self, server: EdgeServer, candidate: Candidate) -> Candidate | None:
        if candidate.turn is not None or not server.chain.protocol.committees_foreseen:
            return candidate
        parameters = server.parameters
        needed = 2 * parameters.committee_size // 3 + 1
        mine = [each for each in candidate.tickets if each.server in self.colluders]
        theirs = [each for each in candidate.tickets if each.server not in self.colluders]
        return with_tickets(server, candidate, [*mine, *theirs[: max(0, needed - len(mine))]])


@attacker("future_times")
class FutureTimes(Behaviour):
    """Proposes blocks of a time far ahead of all clocks, after which no honest clock would rise
    above the chain's for long."""

    def proposes(self, server: EdgeServer, candidate: Candidate) -> Candidate | None:
        if candidate.turn is not None:
            return candidate
        ahead = (2 + int(self.draws(server).integers(100))) * server.parameters.vote_us
        return resigned(server, candidate, timestamp=candidate.header.timestamp + ahead)
