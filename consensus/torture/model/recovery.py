"""Claim (7): an attempt that two thirds of all stake close leaves no decided block behind, though
messages take longer than ``settle`` allows for.

View 0 is the last of attempt 0, view 1 the first of attempt 1, with another committee; less than a
third of both is malicious, and at most a third of all stake. Messages of honest servers arrive
within ``delay`` ticks, and the time of view 0 ends at all honest servers within ``spread``. A
server gives the attempt up ``recovery`` ticks after that. Nobody waits for others' locks here. All
members have soft-voted A in view 0: by claim (1) that is the one block to be locked there.

Left out, as it can only bind the adversary: facts arrive at the last moment, but for the first
timeout without a lock, which may reach a server earlier; who has decided shows the block upon that
alone or, when all honest members have decided, after ``relay`` ticks.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from consensus.torture.model.common import alike, classes
from consensus.torture.model.engine import Action, Spec


class Server(NamedTuple):
    """State of one honest server in its height."""

    view: int = 0
    over: int = 0
    """0, or 1 + the ticks since the time of view 0 ended here, up to ``recovery`` + 1."""
    certified: int = 0
    """1 once it has cert-voted A in view 0."""
    other: int = 0
    """1 once it has soft-voted B in view 1."""
    left: int = 0
    """Its timeout of view 0: 0 before, 1 if it names no lock, 2 for the lock on A."""
    gave_up: int = 0
    """Its timeout of the attempt, likewise."""
    known: int = 0
    """1 if it knows the lock on A."""
    heard: int = 0
    """1 once the alarm has reached it."""
    decided: int = 0
    """1 once it has decided A."""


class State(NamedTuple):
    """All servers, and for each fact 0, or 1 + the ticks since it was told; ``delay`` + 2 once
    everybody knows it."""

    servers: tuple[Server, ...]
    ended: int = 0
    """0, or 1 + the ticks since view 0 ended at the first server, up to ``spread`` + 1."""
    alarm: int = 0
    """An honest timeout of view 0 without a lock was sent."""
    lock: int = 0
    """The lock on A was named in an honest timeout."""
    block: int = 0
    """A was shown to all, with what decides it."""
    relay: int = 0
    """0, or 1 + the ticks since all honest members have decided, up to ``relay`` + 1."""


Step = tuple[Action, State]


@dataclass(frozen=True)
class Recovery(Spec[State]):
    """Two attempts with a committee each, and rules that can be taken out."""

    seats: tuple[tuple[int, ...], tuple[int, ...]]
    """By view: the weight of every honest server; alike servers stand side by side."""
    malicious: tuple[int, int]
    stakes: tuple[int, ...]
    malicious_stake: int
    delay: int = 1
    spread: int = 1
    recovery: int = 6
    relay: int = 1
    names_lock: bool = True
    """A timeout of an attempt names the highest lock that its server knows (rule 6)."""
    shows_block: bool = True
    """A server that has decided shows the block upon a timeout without it."""
    repeats: bool = True
    """A member that has left and gets no further says its timeout again once all have heard it."""
    forks_only: bool = False
    """Wrong is only another block in the next attempt, not yet a closure without the lock."""

    def initial(self) -> State:
        return State((Server(),) * len(self.stakes))

    # -- what exists ------------------------------------------------------------------------------

    def quorum(self, view: int, who: list[bool]) -> bool:
        """True if servers, with all malicious members, are a quorum of a view's committee."""
        honest = sum(seat for seat, does in zip(self.seats[view], who, strict=True) if does)
        total = sum(self.seats[view]) + self.malicious[view]
        return 3 * (honest + self.malicious[view]) > 2 * total

    def final(self, state: State) -> bool:
        """True if a quorum of cert votes decides A."""
        return self.quorum(0, [s.certified == 1 for s in state.servers])

    def closures(self, state: State) -> list[int]:
        """0 if view 0 or its attempt can be closed without a lock, 1 if with the lock on A."""
        found = []
        total = sum(self.stakes) + self.malicious_stake
        for name in (0, 1):
            left = [0 < s.left <= 1 + name for s in state.servers]
            gave_up = [0 < s.gave_up <= 1 + name for s in state.servers]
            stake = sum(s for s, does in zip(self.stakes, gave_up, strict=True) if does)
            if self.quorum(0, left) or 3 * (stake + self.malicious_stake) >= 2 * total:
                found.append(name)
        return found

    def wrong(self, state: State) -> str:
        if not self.final(state):
            return ""
        if self.quorum(1, [s.other == 1 for s in state.servers]):
            return "A is decided, and B locked in the next attempt"
        holds = any(s.certified and not s.decided for s in state.servers)
        if holds and not self.forks_only and 0 in self.closures(state):
            return "A can be decided, and the next attempt begins without its lock"
        return ""

    # -- steps ------------------------------------------------------------------------------------

    def steps(self, state: State) -> Iterator[Step]:
        closures, final = self.closures(state), self.final(state)
        for index, server in enumerate(state.servers):
            if index and self.alike[index] and server == state.servers[index - 1]:
                continue
            if not server.decided:
                if server.view:
                    yield from self._in_view_1(state, index, server, closures)
                else:
                    yield from self._in_view_0(state, index, server)
                    for name in closures:
                        after = server._replace(view=1, over=0, known=name | server.known)
                        yield ("enters the next attempt", index, name), put(state, index, after)
                if final:
                    yield ("decides A", index, 0), put(state, index, server._replace(decided=1))
            if 0 < state.alarm < self.delay + 2 and not server.heard:
                yield self._hears(state, index, server)
        yield from self._tick(state)

    def _in_view_0(self, state: State, index: int, server: Server) -> Iterator[Step]:
        member = self.seats[0][index] > 0
        if member and not server.left and not server.certified:
            after = server._replace(certified=1, known=1)
            yield ("cert-votes A", index, 0), put(state, index, after)
        if not server.over:
            ended = state._replace(ended=state.ended or 1)
            if not member:
                yield ("is out of time", index, 0), put(ended, index, server._replace(over=1))
            elif server.known:
                left = put(ended, index, server._replace(over=1, left=2))
                yield ("leaves view 0", index, 1), left._replace(lock=state.lock or 1)
            else:
                left = put(ended, index, server._replace(over=1, left=1, heard=1))
                yield ("leaves view 0", index, 0), left._replace(alarm=state.alarm or 1)
        if server.over > self.recovery and not server.gave_up:
            name = server.known if self.names_lock else 0
            left = put(state, index, server._replace(gave_up=1 + name))
            yield ("gives up", index, name), left._replace(lock=state.lock or name)

    def _in_view_1(
        self, state: State, index: int, server: Server, closures: list[int]
    ) -> Iterator[Step]:
        if self.seats[1][index] and not server.other and 0 in closures and not server.known:
            after = server._replace(other=1)
            yield ("soft-votes B in the next attempt", index, 0), put(state, index, after)

    def _hears(self, state: State, index: int, server: Server) -> Step:
        after = put(state, index, server._replace(heard=1))
        if server.decided and self.shows_block:
            action = ("hears a timeout without a lock, and shows A, decided", index, 0)
            return action, after._replace(block=state.block or 1)
        return ("hears a timeout without a lock", index, 0), after

    def _tick(self, state: State) -> Iterator[Step]:
        """Let a tick pass, unless something must happen first."""
        due, servers = self.delay + 1, state.servers
        if state.block == due:
            return  # everybody has the block: nobody votes any more
        if state.ended > self.spread and any(not (s.over or s.view or s.decided) for s in servers):
            return
        if state.alarm == due and not all(server.heard for server in servers):
            return
        members = zip(self.seats[0], servers, strict=True)
        relay = state.relay or int(all(server.decided for seat, server in members if seat))
        older = tuple(
            server._replace(
                over=server.over and min(server.over + 1, self.recovery + 1),
                known=server.known or int(state.lock == due),
            )
            for server in servers
        )
        facts = (state.alarm, state.lock, state.block)
        alarm, lock, block = (age + (0 < age <= due) for age in facts)
        if alarm > due and self.repeats and any(stuck(server) for server in servers):
            alarm, older = 1, tuple(s._replace(heard=int(stuck(s))) for s in older)
        if not block and relay == self.relay:
            block = 1
        ended = state.ended and min(state.ended + 1, self.spread + 1)
        relay = relay and min(relay + 1, self.relay + 1)
        yield ("tick",), State(older, ended, alarm, lock, block, relay)

    # -- states that are alike --------------------------------------------------------------------

    @cached_property
    def alike(self) -> list[bool]:
        """By server: True if it has the seats and the stake of the one before."""
        return alike((*self.seats, self.stakes))

    @cached_property
    def classes(self) -> list[tuple[int, int]]:
        """The ranges of servers that are alike."""
        return classes((*self.seats, self.stakes))

    def canonical(self, state: State) -> State:
        servers = [
            server._replace(
                view=0 if server.decided else server.view,
                over=0 if server.decided else server.over,
                known=0 if server.decided else server.known,
                heard=server.heard if 0 < state.alarm < self.delay + 2 else 0,
            )
            for server in state.servers
        ]
        for start, end in self.classes:
            servers[start:end] = sorted(servers[start:end])
        return state._replace(servers=tuple(servers))

    def tell(self, action: Action) -> str:
        if action[0] == "tick":
            return "a tick passes"
        kind, index, name = action
        return f"server {index} {kind}" + (", with the lock on A" if name else "")


def stuck(server: Server) -> bool:
    """True if a member has left view 0 without a lock, and is still there."""
    return server.left == 1 and not server.view and not server.decided


def put(state: State, index: int, server: Server) -> State:
    """The state with another server in a place."""
    servers = (*state.servers[:index], server, *state.servers[index + 1 :])
    return state._replace(servers=servers)
