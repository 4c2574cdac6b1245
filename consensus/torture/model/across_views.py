"""Claim (6), with (5): no certified block is overtaken while messages arrive in time, though half
of every committee be malicious.

Views 0, 1, ... have a committee each. Leaders and a part of the seats are malicious; what they sign
exists whenever it helps them. A *fact* is a thing that an honest server has told all: it is known
to every honest server ``delay`` later at most. A closure needs no timeouts here, it names any lock
that exists, or none: the claim holds however closures come about, recovery included, so that no
server needs to time out.

Left out, as it can only bind the adversary: facts arrive at the last moment, but for closures,
which may reach a server earlier; a closure is told once; servers neither pass on what malicious
ones send them nor show locks upon a bad candidate. A malicious server may have shown a higher lock
to one that shows its highest: instead, that one shows any lock from its highest upwards.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache

from consensus.torture.model.across_views_state import (
    ACTIVE,
    Server,
    Standing,
    State,
    Step,
    Votes,
    cast,
    put,
)
from consensus.torture.model.common import Ages, Committees, fork, named, told
from consensus.torture.model.engine import Action


@dataclass(frozen=True)
class AcrossViews(Committees[State]):
    """Views with a committee each, messages within ``delay`` ticks, and the rules of honest
    servers, each of which can be taken out."""

    delay: int = 1
    settle: int = 3
    listens: bool = True
    """Soft votes in later views wait until others could show locks (rule 2)."""
    heeds_locks: bool = True
    """A candidate is refused by members that know a higher lock on another block (rule 2)."""
    heeds_proposals: bool = True
    """Members that know two proposals of a view vote for neither (rule 2)."""
    waits: bool = True
    """A narrow lock is certified after ``settle`` only (rule 3)."""
    shows_on_entry: bool = True
    """A server that enters a view by a closure with a lower lock than its own shows its own."""
    shows_when_past: bool = True
    """A server past a view shows its lock upon a closure with a lower one."""
    shows_block: bool = True
    """A server that has decided shows the block upon a closure without it."""
    answers_lower: bool = True
    """A closure with a lock on the decided block of a view before its decision is answered, too."""
    checks_lock_view: bool = True
    """A closure names no lock of a later view."""
    forks_only: bool = False
    """Wrong is only a second decision, not yet a second lock beside a certified block."""

    # -- what exists ------------------------------------------------------------------------------

    @cached_property
    def totals(self) -> tuple[int, ...]:
        """By view: the weight of all members."""
        return tuple(sum(s) + m for s, m in zip(self.seats, self.malicious, strict=True))

    def weight(self, votes: tuple[Votes, ...], lock: int, kinds: tuple[int, ...]) -> int:
        """The weight of the votes of some kinds for a lock, those of malicious members included."""
        view, seats = lock >> 1, self.seats[lock >> 1]
        honest = sum(seats[i] for i, vote in enumerate(votes) if vote[view] in kinds)
        return honest + self.malicious[view]

    @cached_property
    def standing(self) -> Callable[[tuple[Votes, ...]], Standing]:
        """The standing of the votes, computed once for each."""
        return lru_cache(maxsize=None)(self._standing)

    def _standing(self, votes: tuple[Votes, ...]) -> Standing:
        locks = range(2 * self.views)
        quorum = [2 * self.totals[lock >> 1] for lock in locks]
        formed, final = (
            tuple(
                lock
                for lock in locks
                if 3 * self.weight(votes, lock, tuple(k + (lock & 1) for k in kinds)) > quorum[lock]
            )
            for kinds in ((1, 3), (3,))
        )
        return Standing(formed, final, self._wrong(votes, formed, final))

    def _wrong(
        self, votes: tuple[Votes, ...], formed: tuple[int, ...], final: tuple[int, ...]
    ) -> str:
        forked = fork(final)
        if forked or self.forks_only:
            return forked
        for vote in votes:
            for view in range(self.views):
                for lock in formed:
                    if vote[view] >= 3 and lock >> 1 >= view and (lock & 1) != vote[view] - 3:
                        mine = named(2 * view + vote[view] - 3)
                        return f"{mine} is certified, and {named(lock)} locked"
        return ""

    def contradicted(self, known: int, view: int, block: int, base: int) -> bool:
        """True if a known lock on another block lies above the base, up to the view."""
        other = 1 - block
        return self.heeds_locks and any(
            known >> 2 * above + other & 1 for above in range(base + 1, view + 1)
        )

    def public(self, ages: Ages, fact: int) -> bool:
        """True if everybody knows a fact."""
        return ages[fact] == self.delay + 2

    # -- the specification ------------------------------------------------------------------------

    def initial(self) -> State:
        count, names = len(self.seats[0]), 2 * self.views
        return State(
            (Server(0, 0, 0, -1, 0, 0, ACTIVE),) * count,
            ((0,) * self.views,) * count,
            (0,) * names,
            (0,) * names,
            (0,) * (self.views - 1) * (names + 1),
            (0, 0),
        )

    def wrong(self, state: State) -> str:
        return self.standing(state.votes).wrong

    def steps(self, state: State) -> Iterator[Step]:
        standing = self.standing(state.votes)
        previous = None
        for index, server in enumerate(state.servers):
            both = (server, state.votes[index])
            if both == previous and self.alike[index]:
                continue
            previous = both
            if server.decided == ACTIVE:
                yield from self._votes(state, index, server, standing)
                yield from self._entries(state, index, server, standing)
                for lock in standing.final:
                    decided = server._replace(listened=0, settled=0, base=-1, known=0, decided=lock)
                    yield ("decides", index, lock), put(state, index, decided)
            yield from self._hears(state, index, server, standing)
        yield from self._tick(state)

    def tell(self, action: Action) -> str:
        kind, index, *rest = (*action, 0)
        numbers = [int(value) for value in rest]
        who = f"server {index}"
        match kind:
            case "soft":
                lock, base = numbers[:2]
                why = f"by {named(2 * base + (lock & 1))}" if base >= 0 else "as a new block"
                return f"{who} soft-votes {named(lock)}, justified {why}"
            case "enters" | "hears":
                closed, name = divmod(numbers[0], 2 * self.views + 1)
                what = named(name - 1) if name else "no lock"
                how = "by" if kind == "enters" else "of"
                shown = f", and shows {named(numbers[1])}" if numbers[1] >= 0 else ""
                return f"{who} {kind} {how} a closure of view {closed} that names {what}{shown}"
            case "tick":
                return "a tick passes"
            case "shows":
                return f"{who} hears a closure without {named(numbers[0])}, and shows the block"
            case _:
                return f"{who} {kind} {named(numbers[0])}"

    # -- votes ------------------------------------------------------------------------------------

    def _votes(
        self, state: State, index: int, server: Server, standing: Standing
    ) -> Iterator[Step]:
        view = server.view
        if not self.seats[view][index]:
            return
        vote = state.votes[index][view]
        if vote == 0 and (view == 0 or not self.listens or server.listened > self.settle):
            yield from self._soft_votes(state, index, server, standing)
        elif vote in (1, 2):
            yield from self._cert_votes(state, index, server, standing)

    def _soft_votes(
        self, state: State, index: int, server: Server, standing: Standing
    ) -> Iterator[Step]:
        view = server.view
        allowed = [(0, -1, 0), (1, -1, 0)]
        for lock in standing.formed if view else ():
            if lock >> 1 < view or not self.checks_lock_view:
                allowed.append((lock & 1, lock >> 1, 1 << lock))
        if not any(map(any, state.votes)):
            del allowed[1]  # nothing has happened yet that tells the blocks apart
        for block, base, learned in allowed:
            lock, known = 2 * view + block, server.known | learned
            if self.heeds_proposals and self.public(state.proposals, lock ^ 1):
                continue
            if self.contradicted(known, view, block, base):
                continue
            after = cast(state, index, view, 1 + block)
            after = put(after, index, server._replace(listened=0, base=base, known=known))
            yield (
                ("soft", index, lock, base),
                after._replace(proposals=told(state.proposals, lock)),
            )

    def _cert_votes(
        self, state: State, index: int, server: Server, standing: Standing
    ) -> Iterator[Step]:
        view = server.view
        block = state.votes[index][view] - 1
        lock = 2 * view + block
        if lock not in standing.formed:
            return
        if self.heeds_proposals and self.public(state.proposals, lock ^ 1):
            return
        known = server.known | 1 << lock
        if self.contradicted(known, view, block, server.base):
            return
        soft = self.weight(state.votes, lock, (1 + block, 3 + block))
        certain = 6 * soft > 5 * self.totals[view]
        if certain or not self.waits or server.settled > self.settle:
            after = put(state, index, server._replace(settled=0, base=-1, known=known))
            yield ("cert-votes", index, lock), cast(after, index, view, 3 + block)
        if not server.settled:
            waiting = server._replace(settled=1, known=known)
            yield ("waits, having locked", index, lock), put(state, index, waiting)

    # -- closures ---------------------------------------------------------------------------------

    def _entries(
        self, state: State, index: int, server: Server, standing: Standing
    ) -> Iterator[Step]:
        """Receive a closure of this view or a later one, from whomever."""
        for closed in range(server.view, self.views - 1):
            for name in (0, *(1 + lock for lock in standing.formed)):
                if name and self.checks_lock_view and (name - 1) >> 1 > closed:
                    continue
                closure = closed * (2 * self.views + 1) + name
                seat = self.seats[closed + 1][index] > 0
                known = server.known | (1 << name - 1 if name else 0)
                entered = Server(
                    closed + 1, int(seat), 0, -1, known, server.heard | 1 << closure, ACTIVE
                )
                after = put(state, index, entered)
                if seat:
                    after = after._replace(closures=told(after.closures, closure))
                reacts = self.shows_on_entry
                for shown, final in self._shows(after, index, name, standing, reacts):
                    yield ("enters", index, closure, shown), final

    def _hears(
        self, state: State, index: int, server: Server, standing: Standing
    ) -> Iterator[Step]:
        """Hear of a closure that an honest server has told, and that is over here."""
        for closure, age in enumerate(state.closures):
            if not 0 < age < self.delay + 2 or server.heard >> closure & 1:
                continue
            closed, name = divmod(closure, 2 * self.views + 1)
            heard = server.heard | 1 << closure
            if server.decided != ACTIVE:
                after, mine = put(state, index, server._replace(heard=heard)), server.decided
                carried = name and (name - 1) & 1 == mine & 1
                if self.answers_lower:
                    carried = carried and (name - 1) >> 1 >= mine >> 1
                if self.shows_block and closed >= mine >> 1 and not carried:
                    after = after._replace(blocks=told(after.blocks, mine & 1))
                    yield ("shows", index, mine), after
                else:
                    yield ("hears", index, closure, -1), after
            elif closed < server.view:
                known = server.known | (1 << name - 1 if name else 0)
                after = put(state, index, server._replace(known=known, heard=heard))
                reacts = self.shows_when_past
                for shown, final in self._shows(after, index, name, standing, reacts):
                    yield ("hears", index, closure, shown), final

    def _shows(
        self, state: State, index: int, name: int, standing: Standing, reacts: bool
    ) -> Iterator[tuple[int, State]]:
        """Show the highest lock, or a higher one, if it is above the one that a closure names."""
        server = state.servers[index]
        highest = server.known.bit_length() - 1
        if not reacts or highest < 0 or (name and highest >> 1 <= (name - 1) >> 1):
            yield -1, state
            return
        for lock in standing.formed:
            if lock >= highest:
                after = put(state, index, server._replace(known=server.known | 1 << lock))
                yield lock, after._replace(locks=told(after.locks, lock))

    # -- time -------------------------------------------------------------------------------------

    def _tick(self, state: State) -> Iterator[Step]:
        """Let a tick pass, unless something is due that must be heard first."""
        due = self.delay + 1
        for closure, age in enumerate(state.closures):
            if age == due and not all(s.heard >> closure & 1 for s in state.servers):
                return
        if due in state.blocks:
            return  # everybody has the block: nobody votes any more
        public = sum(1 << lock for lock, age in enumerate(state.locks) if age == due)
        end = self.settle + 1
        servers = tuple(
            server
            if server.decided != ACTIVE
            else Server(
                server.view,
                server.listened and min(server.listened + 1, end),
                server.settled and min(server.settled + 1, end),
                server.base,
                server.known | public,
                server.heard,
                ACTIVE,
            )
            for server in state.servers
        )
        facts = (tuple([a + (0 < a <= due) for a in ages]) for ages in state[2:])
        yield ("tick",), State(servers, state.votes, *facts)

    # -- states that are alike --------------------------------------------------------------------

    def canonical(self, state: State) -> State:
        """Sort servers that are alike, and forget what can matter no more."""
        over = self.delay + 2
        servers, closures = state.servers, state.closures
        everywhere, active, first = -1, -1, self.views
        for server in servers:
            everywhere &= server.heard
            if server.decided == ACTIVE:
                active &= server.known
                first = min(first, server.view)
        closures = tuple([over if a and everywhere >> c & 1 else a for c, a in enumerate(closures)])
        under_way = sum([1 << c for c, a in enumerate(closures) if 0 < a < over])
        pairs = [
            (s if s.heard & under_way == s.heard else s._replace(heard=s.heard & under_way), votes)
            for s, votes in zip(servers, state.votes, strict=True)
        ]
        for start, end in self.classes:
            pairs[start:end] = sorted(pairs[start:end])
        proposals = (0,) * 2 * first + state.proposals[2 * first :]
        locks = tuple(
            [over if a and active >> lock & 1 else a for lock, a in enumerate(state.locks)]
        )
        sorted_servers, sorted_votes = zip(*pairs, strict=True)
        return State(sorted_servers, sorted_votes, proposals, locks, closures, state.blocks)
