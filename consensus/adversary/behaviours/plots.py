"""Plots of a whole circle against ``bft``: a malicious leader lets a few honest members decide a
block, or certify it, and leads the others on without its lock.

Both need a circle with so many seats of a committee that a sixth of it, or a little more, makes a
quorum with them. They are what PROTOCOL.md's claims (5) and (6) are about: within their premise
neither forks a chain whose servers show what they know.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from consensus.adversary.behaviour import Behaviour, behaviour
from consensus.adversary.toolbox import others, sign_timeout, sign_vote
from consensus.records.block import Block, Candidate
from consensus.records.view import View
from consensus.records.votes import Certificate, Timeout, TimeoutCertificate, Vote
from consensus.server.hooks import Outgoing

if TYPE_CHECKING:
    from consensus.ledger.committee import Committee
    from consensus.ledger.validity import Sortition
    from consensus.server.edge_server import EdgeServer


@dataclass(frozen=True)
class Sides:
    """The members of a committee as a plot divides them."""

    allies: tuple[int, ...]
    """Members of the circle."""
    shown: tuple[int, ...]
    """Honest members who see the block: with the allies just enough to decide it."""
    led_on: tuple[int, ...]
    """Honest members who are made to leave the view without the lock: at most a third of the
    weight, so that those who see the block do not leave with them."""


def sides_of(
    committee: Committee, circle: Collection[int], last: Collection[int] = ()
) -> Sides | None:
    """The sides of a plot, or None where the circle's seats are too few for one.

    The block is shown to the members that come last in the order in which members pass a decision
    on; only to those in ``last``, if it is given.
    """
    seats = list(committee.weights)
    allies = tuple(server for server in seats if server in circle)
    shown: list[int] = []
    for server in reversed(seats):
        if committee.approves(committee.weight_of([*allies, *shown])):
            break
        if server not in circle and (not last or server in last):
            shown.append(server)
    if not shown or not committee.approves(committee.weight_of([*allies, *shown])):
        return None
    led_on: list[int] = []
    for server in seats:
        if server not in circle and server not in shown:
            if committee.holds_back(committee.weight_of([*led_on, server])):
                break
            led_on.append(server)
    if not committee.approves(committee.weight_of([*allies, *led_on])):
        return None
    return Sides(allies, tuple(shown), tuple(led_on))


@dataclass
class Scheme:
    """The plan of a circle for one height, which all its members know."""

    candidate: Candidate
    """The block that only some are shown, as it was proposed."""
    sides: Sides
    votes: dict[tuple[str, int], Vote] = field(default_factory=dict)
    """Votes of the honest members who were shown the block, by phase and server."""
    timeouts: dict[int, Timeout] = field(default_factory=dict)
    """Timeouts of those who were led on, by server."""
    decided: Block | None = None
    """The block with its certificate, once the circle has one."""
    released: bool = False
    """True once the decision was shown."""
    rivals: set[int] = field(default_factory=set)
    """Honest members who certified another block in a later attempt."""

    @property
    def view(self) -> View:
        """The view in which the block is proposed."""
        return self.candidate.view


class Plot(Behaviour):
    """The base of both plots: one view of a height, in which one of the circle leads."""

    phases: ClassVar[tuple[str, ...]] = ()
    """Phases of the allies' votes that are sent with the proposal."""

    def scheme(self, server: EdgeServer) -> Scheme | None:
        """The plan of the height in progress; None before there is one."""
        height, plan = self.circle.schemes.get(self.name, (0, None))
        return plan if height == server.height else None

    def sides(self, server: EdgeServer, view: View) -> Sides | None:
        """The sides of a plot in ``view``, or None where none is possible."""
        raise NotImplementedError

    def timeout(self, ally: int, view: View, lock: Certificate | None = None) -> Timeout:
        """A timeout of a member of the circle, whose keys all members use."""
        return sign_timeout(self.circle.servers[ally], view, lock)

    def proposes(self, server: EdgeServer, candidate: Candidate) -> Candidate | None:
        if self.scheme(server) is not None or candidate.turn is not None or not _plots(server):
            return candidate
        sides = self.sides(server, candidate.view)
        if sides is None or not set(sides.allies) <= self.circle.servers.keys():
            return candidate
        scheme = Scheme(candidate, sides)
        self.circle.schemes[self.name] = server.height, scheme
        self.act("plot")
        self.send(server, "candidate", candidate, sides.shown)
        for index in sides.allies:
            for phase in self.phases:
                ally = self.circle.servers[index]
                vote = sign_vote(ally, phase, candidate.view, candidate.header.cid)
                self.send(server, "vote", vote, sides.shown)
        self.begun(server, scheme)
        return None

    def begun(self, server: EdgeServer, scheme: Scheme) -> None:
        """Go on with the plot, as its leader, once its block was shown."""
        raise NotImplementedError

    def hears(self, server: EdgeServer, kind: str, body: Any, sender: int) -> bool:
        scheme = self.scheme(server)
        if scheme is None or kind != "candidate" or body.header.height != server.height:
            return True
        if body.view > scheme.view and self.once("on", body.view):
            # Who has decided passes nothing on: all are to see what the others propose now.
            self.send(server, "candidate", body, others(server))
        return True

    def outgoing(self, server: EdgeServer, message: Outgoing) -> Iterable[Outgoing]:
        scheme, body = self.scheme(server), message.body
        if scheme is None:
            return (message,)
        in_view = message.kind in ("vote", "timeout") and (body.attempt, body.step) == scheme.view
        return () if in_view or message.kind == "block" else (message,)


@behaviour("hide_quorum")
class HideQuorum(Plot):
    """Lets a few honest members decide a block that nobody else has seen (``bft``).

    In the turn of one of the circle its block, and all of the circle's votes, go to just as many
    honest members as make a quorum with the circle. Up to a third of the others get the circle's
    timeouts of the view, the last one only when the few have decided: so the view is closed by a
    certificate without their lock. From then on only what the few say can save the height.
    """

    phases = ("soft", "cert")

    def sides(self, server: EdgeServer, view: View) -> Sides | None:
        return sides_of(_committee(server, view[0]), self.colluders)

    def begun(self, server: EdgeServer, scheme: Scheme) -> None:
        for index in scheme.sides.allies:
            last = index == scheme.sides.allies[-1]
            timeout = self.timeout(index, scheme.view)
            delay = 1.9 * _settle(server) if last else 0.0
            self.send(server, "timeout", timeout, scheme.sides.led_on, delay=delay)


@behaviour("split_closures")
class SplitClosures(Plot):
    """Closes one view by two certificates (``bft``).

    In the last turn of an attempt, if one of the circle has it, its block is shown to honest
    members who have no seat in the next attempt's committee, and certified by them. Then they, and
    they alone, get a certificate that closes the view with the lock on it; the circle signs other
    timeouts, without the lock, for those who go on. The decision is shown to one server once the
    others have certified another block.
    """

    phases = ("soft",)

    def entered(self, server: EdgeServer) -> None:
        view = server.stage()
        turns = _turns(server, view[0])
        if not _plots(server) or view[1] + 1 >= len(turns) or server.index != turns[-1]:
            return
        if self.sides(server, (view[0], len(turns) - 1)) is not None:
            # The views before the plot's are closed soon, though the others could use them.
            for index in sorted(self.colluders & _committee(server, view[0]).weights.keys()):
                if index in self.circle.servers:
                    self.send(server, "timeout", self.timeout(index, view), others(server))

    def sides(self, server: EdgeServer, view: View) -> Sides | None:
        if view[1] + 1 != len(_turns(server, view[0])):
            return None
        now, after = _committee(server, view[0]), _committee(server, view[0] + 1)
        moved = [index for index in now.weights if index not in after.weights]
        return sides_of(now, self.colluders, moved) if moved else None

    def begun(self, server: EdgeServer, scheme: Scheme) -> None:
        for index in scheme.sides.allies[:-1]:
            timeout = self.timeout(index, scheme.view)
            self.send(server, "timeout", timeout, scheme.sides.led_on)

    def hears(self, server: EdgeServer, kind: str, body: Any, sender: int) -> bool:
        scheme = self.scheme(server)
        if scheme is not None and kind in ("vote", "timeout") and body.height == server.height:
            if (body.attempt, body.step) == scheme.view:
                self._collect(server, scheme, body)
            elif body.attempt > scheme.view[0] and kind == "vote" and body.phase == "cert":
                self._wait_for_rivals(server, scheme, body)
        return super().hears(server, kind, body, sender)

    def _collect(self, server: EdgeServer, scheme: Scheme, body: Vote | Timeout) -> None:
        """Take in what the honest sides say in the plot's view; split it when all have spoken."""
        sides = scheme.sides
        if isinstance(body, Timeout) and body.server in sides.led_on:
            scheme.timeouts[body.server] = body
        elif isinstance(body, Vote) and body.server in sides.shown:
            scheme.votes[body.phase, body.server] = body
        if (
            scheme.decided is None
            and len(scheme.votes) == 2 * len(sides.shown)
            and len(scheme.timeouts) == len(sides.led_on)
        ):
            self._split(server, scheme)

    def _split(self, server: EdgeServer, scheme: Scheme) -> None:
        """Close the view for the one side with the lock, for the other without it."""
        self.act("split")
        view, candidate, sides = scheme.view, scheme.candidate, scheme.sides
        lock, decision = (self._certificate(server, scheme, phase) for phase in ("soft", "cert"))
        scheme.decided = Block(
            candidate.header,
            candidate.signature,
            candidate.tickets,
            decision,
            candidate.settlement,
        )
        known = [
            *scheme.timeouts.values(),
            *(self.timeout(index, view, lock) for index in sides.allies),
        ]
        entries = sorted(
            (each.server, None if each.lock is None else each.lock.name, each.signature)
            for each in known
        )
        closure = TimeoutCertificate(server.height, *view, False, tuple(entries), lock)
        self.send(server, "closure", closure, sides.shown)
        last = self.timeout(sides.allies[-1], view)
        self.send(server, "timeout", last, sides.led_on, delay=0.4 * _settle(server))

    def _certificate(self, server: EdgeServer, scheme: Scheme, phase: str) -> Certificate:
        block, view = scheme.candidate.header.cid, scheme.view
        votes = [vote for (said, _), vote in scheme.votes.items() if said == phase]
        for index in scheme.sides.allies:
            votes.append(sign_vote(self.circle.servers[index], phase, view, block))
        signatures = sorted((vote.server, vote.signature) for vote in votes)
        return Certificate(server.height, *view, phase, block, tuple(signatures))

    def _wait_for_rivals(self, server: EdgeServer, scheme: Scheme, vote: Vote) -> None:
        """Show the decision once another block has as many votes as decide it with the circle's."""
        over = scheme.decided is None or scheme.released
        if over or vote.server in self.colluders or vote.block == scheme.candidate.header.cid:
            return
        scheme.rivals.add(vote.server)
        seated = _committee(server, vote.attempt)
        voters = [*scheme.rivals, *(self.colluders & seated.weights.keys())]
        if seated.approves(seated.weight_of(voters)):
            self.act("release")
            assert scheme.decided is not None
            self.send(server, "block", scheme.decided, scheme.sides.shown[:1])
            scheme.released = True


def _plots(server: EdgeServer) -> bool:
    return server.chain.protocol.has_locks


def _settle(server: EdgeServer) -> float:
    return server.parameters.settle_us / 1e6


def _committee(server: EdgeServer, attempt: int) -> Committee:
    return _sortition(server, attempt).committee


def _turns(server: EdgeServer, attempt: int) -> tuple[int, ...]:
    return _sortition(server, attempt).order


def _sortition(server: EdgeServer, attempt: int) -> Sortition:
    return server.checks.sortition(server.genesis, server.chain.head, attempt)
