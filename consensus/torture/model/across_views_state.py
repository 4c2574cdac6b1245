"""The states of `consensus.torture.model.across_views`."""

from __future__ import annotations

from typing import NamedTuple

from consensus.torture.model.common import Ages
from consensus.torture.model.engine import Action

ACTIVE = -1

Votes = tuple[int, ...]
"""By view: 0 for none, 1 + block for a soft vote, 3 + block for a cert vote, too."""


class Server(NamedTuple):
    """State of one honest server in its height."""

    view: int
    listened: int
    """1 + the ticks since it entered its view, up to ``settle`` + 1; 0 where it matters not."""
    settled: int
    """1 + the ticks since it knew the lock of its view, up to ``settle`` + 1; 0 if it does not."""
    base: int
    """The view of the lock that its candidate was justified with; -1 for none."""
    known: int
    """The locks that it knows, a bit each."""
    heard: int
    """The closures under way that have reached it, a bit each."""
    decided: int
    """The lock whose block it has decided; `ACTIVE` while it has not."""


class State(NamedTuple):
    """All servers, and for each fact 0, or 1 + the ticks since it was told; ``delay`` + 2 once
    everybody knows it."""

    servers: tuple[Server, ...]
    votes: tuple[Votes, ...]
    """By server."""
    proposals: Ages
    """By view and block: an honest soft vote for it."""
    locks: Ages
    """By view and block: shown to all."""
    closures: Ages
    """By closed view and lock, 0 for none."""
    blocks: Ages
    """By block: shown to all, with what decides it."""


Step = tuple[Action, State]


class Standing(NamedTuple):
    """Locks formed and decided by votes, and what is wrong with that."""

    formed: tuple[int, ...]
    final: tuple[int, ...]
    wrong: str


def put(state: State, index: int, server: Server) -> State:
    """The state with another server in a place."""
    servers = (*state[0][:index], server, *state[0][index + 1 :])
    return State(servers, *state[1:])


def cast(state: State, index: int, view: int, vote: int) -> State:
    """The state after a vote."""
    mine = state[1][index]
    mine = (*mine[:view], vote, *mine[view + 1 :])
    return State(state[0], (*state[1][:index], mine, *state[1][index + 1 :]), *state[2:])
