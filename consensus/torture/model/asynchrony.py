"""Claims (1) to (4): with less than a third of every committee malicious, no two blocks are
decided, whatever the network does.

There is no time here: messages arrive at any time or never. Closures are made of real timeouts,
each of which names the highest lock that its server knows. Servers heed no lock but by the closure
that justifies a candidate, and a cert vote need not be for the block that the server soft-voted (as
after a crash): both can only help the adversary. So can not learning a lock, which a server does
here only if ``names_last`` makes it matter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import NamedTuple

from consensus.torture.model.common import Committees, fork, named
from consensus.torture.model.engine import Action


class Server(NamedTuple):
    """State of one honest server in its height."""

    view: int
    known: int
    """0, or 1 + the lock that its next timeout names: the highest it knows, or the last."""
    votes: tuple[int, ...]
    """By view: the blocks it soft-voted, a bit each, and four times those it cert-voted."""
    timeouts: tuple[int, ...]
    """By view: 0 before its timeout, 1 for one without a lock, or 2 + the lock."""


State = tuple[Server, ...]

Said = tuple[tuple[tuple[int, ...], tuple[int, ...]], ...]
"""By server: its votes and its timeouts."""


class Standing(NamedTuple):
    """Locks and closures made of votes and timeouts."""

    formed: tuple[int, ...]
    """Locks: twice the view, and the block."""
    closures: tuple[tuple[int, int], ...]
    """Closed view, and 0 or 1 + the lock that the closure names."""
    wrong: str


@dataclass(frozen=True)
class Asynchrony(Committees[State]):
    """Views with a committee each on a network without any bound, and rules that can be taken
    out."""

    more_than_two_thirds: bool = True
    """A quorum is more than two thirds; else two thirds are enough."""
    one_vote: bool = True
    """A member casts one soft and one cert vote per view."""
    carries_locks: bool = True
    """A closure carries a lock (rule 5)."""
    carries_highest: bool = True
    """A closure carries the highest of its timeouts' locks (rule 5)."""
    names_last: bool = False
    """A timeout names the lock learned last, not the highest."""
    crashes: bool = True
    """A member may cert-vote another block than it soft-voted."""
    leaves: bool = True
    """A member that has sent a timeout votes in that view no more (rule 5)."""
    forks_only: bool = False
    """Wrong is only a second decision."""

    def initial(self) -> State:
        none = (0,) * self.views
        return (Server(0, 0, none, none),) * len(self.seats[0])

    # -- what exists ------------------------------------------------------------------------------

    def quorum(self, view: int, honest: int) -> bool:
        """True if honest members of this weight, with all malicious ones, are a quorum."""
        total = sum(self.seats[view]) + self.malicious[view]
        weight = honest + self.malicious[view]
        return 3 * weight > 2 * total or (not self.more_than_two_thirds and 3 * weight == 2 * total)

    @cached_property
    def standing(self) -> Callable[[Said], Standing]:
        """The standing of what was said, computed once for each."""
        return lru_cache(maxsize=None)(self._standing)

    def _standing(self, said: Said) -> Standing:
        locks = range(2 * self.views)

        def voted(lock: int, shift: int) -> bool:
            view, bit = lock >> 1, 1 << (lock & 1) + shift
            seats = self.seats[view]
            return self.quorum(
                view, sum(s for s, (v, _) in zip(seats, said, strict=True) if v[view] & bit)
            )

        formed = tuple(lock for lock in locks if voted(lock, 0))
        final = tuple(lock for lock in locks if voted(lock, 2))
        closures = tuple(
            (view, name)
            for view in range(self.views - 1)
            for name in (0, *(1 + lock for lock in formed if lock >> 1 <= view))
            if self._closes(said, view, name)
        )
        return Standing(formed, closures, self._wrong(formed, final, closures))

    def _closes(self, said: Said, view: int, name: int) -> bool:
        """True if timeouts make a closure of a view that names a lock (or none, 0)."""
        if name and not self.carries_locks:
            return False
        free = not (self.carries_locks and self.carries_highest)
        seats = zip(self.seats[view], said, strict=True)
        return self.quorum(
            view, sum(s for s, (_, t) in seats if t[view] and (free or t[view] - 1 <= name))
        )

    def _wrong(
        self,
        formed: tuple[int, ...],
        final: tuple[int, ...],
        closures: tuple[tuple[int, int], ...],
    ) -> str:
        forked = fork(final)
        if forked or self.forks_only:
            return forked
        for lock in formed:
            if lock ^ 1 in formed:
                return f"{named(lock)} is locked, and so is the other block"
        for lock in final:
            for view, name in closures:
                if view >= lock >> 1 and not (name > lock and (name - 1 ^ lock) & 1 == 0):
                    carried = named(name - 1) if name else "no lock"
                    return f"{named(lock)} is decided, and a closure of view {view} has {carried}"
        return ""

    def wrong(self, state: State) -> str:
        return self.standing(said(state)).wrong

    # -- steps ------------------------------------------------------------------------------------

    def steps(self, state: State) -> Iterator[tuple[Action, State]]:
        standing = self.standing(said(state))
        fresh = not any(any(server.votes) for server in state)
        for index, server in enumerate(state):
            if index and server == state[index - 1] and self.alike[index]:
                continue
            for action, after in self._server_steps(index, server, standing, fresh):
                yield action, (*state[:index], after, *state[index + 1 :])

    def _server_steps(
        self, index: int, server: Server, standing: Standing, fresh: bool
    ) -> Iterator[tuple[Action, Server]]:
        view, vote = server.view, server.votes[server.view]
        left = server.timeouts[view]
        if self.seats[view][index] and not (left and self.leaves):
            if not vote & 3 or not self.one_vote:
                for block, name in self._allowed(view, standing):
                    if not vote >> block & 1 and not (fresh and block):
                        voted = replaced(server.votes, view, vote | 1 << block)
                        known = self._learned(server, name)
                        action = ("soft-votes", index, 2 * view + block)
                        yield action, server._replace(votes=voted, known=known)
            if not vote & 12 or not self.one_vote:
                for block in (0, 1):
                    lock = 2 * view + block
                    mine = self.crashes or vote >> block & 1
                    if mine and lock in standing.formed and not vote >> 2 + block & 1:
                        voted = replaced(server.votes, view, vote | 4 << block)
                        known = self._learned(server, 1 + lock)
                        yield (
                            ("cert-votes", index, lock),
                            server._replace(votes=voted, known=known),
                        )
        if self.seats[view][index] and not left:
            sent = replaced(server.timeouts, view, 1 + server.known)
            yield ("leaves", index, view, server.known), server._replace(timeouts=sent)
        for closed, name in standing.closures:
            if closed >= view:
                entered = server._replace(view=closed + 1, known=self._learned(server, name))
                yield ("enters", index, closed + 1, name), entered
        if self.names_last:
            for lock in standing.formed:
                if lock >> 1 <= view and server.known != 1 + lock:
                    yield ("is shown", index, lock), server._replace(known=1 + lock)

    def _allowed(self, view: int, standing: Standing) -> list[tuple[int, int]]:
        """The blocks that may be proposed in a view, with the lock that each was justified by."""
        if view == 0:
            return [(0, 0), (1, 0)]
        allowed = []
        for closed, name in standing.closures:
            if closed == view - 1:
                allowed += [((name - 1) & 1, name)] if name else [(0, 0), (1, 0)]
        return allowed

    def _learned(self, server: Server, name: int) -> int:
        return name if self.names_last and name else max(server.known, name)

    def canonical(self, state: State) -> State:
        servers = list(state)
        for start, end in self.classes:
            servers[start:end] = sorted(servers[start:end])
        return tuple(servers)

    def tell(self, action: Action) -> str:
        kind, index, what, *rest = action
        name = int(rest[0]) if rest else 0
        carried = named(name - 1) if name else "no lock"
        if kind == "leaves":
            return f"server {index} leaves view {what}, naming {carried}"
        if kind == "enters":
            return f"server {index} enters view {what} by a closure that names {carried}"
        return f"server {index} {kind} {named(int(what))}"


def said(state: State) -> Said:
    """All votes and timeouts, by server."""
    return tuple([server[2:] for server in state])


def replaced(values: tuple[int, ...], index: int, value: int) -> tuple[int, ...]:
    """The values with another one in a place."""
    return (*values[:index], value, *values[index + 1 :])
