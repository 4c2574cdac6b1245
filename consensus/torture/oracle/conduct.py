"""The rules that every signature of an honest server under `bft` keeps, judged from outside.

PROTOCOL.md's rules 2, 3 and 5 are written here once more, from what the server knows at the time:
a vote or a timeout that they forbid is a violation, whether or not it does any harm.
"""

from __future__ import annotations

from collections.abc import Mapping

from consensus.protocols.bft.server import BftParticipant
from consensus.protocols.bft.tickets import Tickets
from consensus.records.block import Candidate
from consensus.records.genesis import Genesis
from consensus.records.view import View
from consensus.records.votes import Certificate, LockName, Timeout, Vote
from consensus.server.edge_server import EdgeServer
from consensus.torture.oracle.violation import Violation

#: Microseconds by which a server that nothing slows down may see another time when it votes than
#: when it judged.
INSTANT = 2_000

MEASURED = 2_000
"""Further microseconds that it spends in between on measuring the use of updates, where that is
paid."""

Place = tuple[int, int, View]
"""A server, a height and a view."""

Entrances = Mapping[tuple[int, int], int]
"""By server and height: the microsecond of its clock at which it entered the height last."""


def untimely(
    server: EdgeServer,
    tickets: Tickets,
    candidate: Candidate,
    waited_us: int,
    entrances: Entrances,
) -> str:
    """The reason why a server may not approve of a new block now, nor ``waited_us`` microseconds
    ago: it is too early in its height, a ticket is left out, or the time is wrong. Empty if there
    is none."""
    parameters, clock = server.parameters, server.host.now_us()
    entered = entrances[server.index, server.height]
    if clock < entered + parameters.ticket_us:
        return "before the time for draws is over"
    rule = server.genesis.incentives
    instant = INSTANT if rule is None or not rule.use else INSTANT + MEASURED
    slack = waited_us + round(instant * server.host.slowness())  # type: ignore[attr-defined]
    listed = {ticket.server for ticket in candidate.tickets}
    for who, (_, since) in tickets.held.items():
        early = since <= entered + parameters.ticket_us // 2
        if who not in listed and (early or since + parameters.ticket_us + slack < clock):
            return f"which leaves out the ticket of server {who}"
    latest = max(clock + parameters.vote_us, server.chain.head.timestamp + 1)
    return "which is of a time far ahead" if candidate.header.timestamp > latest else ""


class Conduct:
    """Observes the votes and timeouts of honest servers. Raises `Violation`."""

    def __init__(self, genesis: Genesis, skewed: bool, entrances: Entrances) -> None:
        """``skewed``: true if clocks may be wrong, so that what is timely cannot be judged."""
        self._parameters = genesis.parameters
        self._entrances = entrances
        self._skewed = skewed
        self._listens: dict[Place, int] = {}
        """The time in microseconds from which a server waits for locks in a view."""
        self._settles: dict[Place, int] = {}
        """The time in microseconds from which a server's lock settles."""
        self._named: dict[tuple[Place, bool], LockName | None] = {}
        """The lock that a server named on leaving a view, or (True) an attempt."""
        self._restarted: set[tuple[int, int]] = set()
        """Servers that crashed in a height."""

    def timed(self, index: int, what: str, place: tuple[int, View], now_us: int) -> None:
        """Note that a server sets a timer for a height and view."""
        if what == "listen":
            self._listens[(index, *place)] = now_us
        elif what == "settle":
            self._settles[(index, *place)] = now_us

    def restarted(self, server: EdgeServer) -> None:
        """Note that a server is back from a crash."""
        self._restarted.add((server.index, server.height))

    # -- votes ------------------------------------------------------------------------------------

    def vote(self, server: EdgeServer, vote: Vote, now_us: int) -> None:
        """Check a vote of ``server``, at a time in microseconds."""
        part = server.participant
        if not isinstance(part, BftParticipant) or vote.height != server.height:
            return
        view = vote.attempt, vote.step
        candidate = part.state.candidates.get(view)
        if candidate is None or candidate.header.cid != vote.block:
            self._fail(server, vote, "which is not what its view's leader proposed")
            return
        if view in part.state.equivocated and vote.phase == "soft":
            self._fail(server, vote, "though it knows two proposals of the leader")
        base = _base(candidate)
        for lock in part.state.promises.locks:
            if lock.block != vote.block and base < lock.view <= view:
                self._fail(server, vote, f"though it knows a lock of {lock.view} on another")
        if vote.phase == "soft":
            self._soft(server, part, candidate, vote, now_us)
        else:
            self._cert(server, part, vote, now_us)

    def _soft(
        self,
        server: EdgeServer,
        part: BftParticipant,
        candidate: Candidate,
        vote: Vote,
        now_us: int,
    ) -> None:
        view, parameters = candidate.view, self._parameters
        if server.lacking:
            self._fail(server, vote, "which builds on a model that it has not got")
        self._justified(server, candidate, vote)
        place = (server.index, server.height, view)
        if parameters.settle_us and view != (0, 0):
            since = self._listens.get(place)
            if since is None or now_us - since < parameters.settle_us - 1:
                self._fail(server, vote, "before others could show their locks")
        if candidate.turn is not None or self._skewed:
            return
        # It may have judged when it entered the view, and voted once it had listened.
        wrong = untimely(server, part.tickets, candidate, parameters.settle_us, self._entrances)
        if wrong:
            self._fail(server, vote, wrong)

    def _justified(self, server: EdgeServer, candidate: Candidate, vote: Vote) -> None:
        view, justification = candidate.view, candidate.justification
        if justification is None:
            if view != (0, 0) or candidate.turn is not None:
                self._fail(server, vote, "which nothing justifies")
            return
        lock = justification.lock
        if lock is not None and lock.block != vote.block:
            self._fail(server, vote, "which is not the locked block")
        if lock is None and candidate.turn is not None:
            self._fail(server, vote, "proposed again without a lock")

    def _cert(self, server: EdgeServer, part: BftParticipant, vote: Vote, now_us: int) -> None:
        view, parameters = (vote.attempt, vote.step), self._parameters
        name = (*view, vote.block)
        if all(lock.name != name for lock in part.state.promises.locks):
            self._fail(server, vote, "without a lock on it")
        tally = part.state.votes.get(("soft", view, vote.block))
        total = part.context.sortition(view[0]).committee.total
        certain = tally is not None and 6 * tally.weight > 5 * total
        if parameters.settle_us and not certain:
            since = self._settles.get((server.index, server.height, view))
            if since is None or now_us - since < parameters.settle_us - 1:
                self._fail(server, vote, "before its lock had settled")

    # -- timeouts ---------------------------------------------------------------------------------

    def timeout(self, server: EdgeServer, timeout: Timeout) -> None:
        """Check a timeout of ``server``: it names the highest lock that may be named, and the same
        one each time."""
        part = server.participant
        if not isinstance(part, BftParticipant) or timeout.height != server.height:
            return
        name = None if timeout.lock is None else timeout.lock.name
        place = ((server.index, server.height, timeout.view), timeout.everyone)
        if place in self._named or (server.index, server.height) in self._restarted:
            if self._named.setdefault(place, name) != name:
                raise Violation(
                    "the highest lock is named",
                    f"server {server.index} left {timeout.view} of height {timeout.height} twice",
                )
            return
        self._named[place] = name
        end = (timeout.attempt + 1, -1) if timeout.everyone else timeout.view
        known = [lock.name for lock in part.state.promises.locks if lock.view <= end]
        if name != max(known, default=None):
            raise Violation(
                "the highest lock is named",
                f"server {server.index} left {timeout.view} of height {timeout.height} with "
                f"{_view_of(timeout.lock)}, though it knows {max(known, default=(None,))[:2]}",
            )

    @staticmethod
    def _fail(server: EdgeServer, vote: Vote, why: str) -> None:
        raise Violation(
            "votes keep the rules",
            f"server {server.index} cast a {vote.phase} vote in {(vote.attempt, vote.step)} of "
            f"height {vote.height} for a block {why}",
        )


def _base(candidate: Candidate) -> View:
    justification = candidate.justification
    if justification is None or justification.lock is None:
        return -1, 0
    return justification.lock.view


def _view_of(lock: Certificate | None) -> str:
    return "no lock" if lock is None else f"the lock of {lock.view}"
