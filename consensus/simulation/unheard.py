"""The judge of what servers may take in without hearing of it, for `CompiledNetwork`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from consensus.server.edge_server import EdgeServer
from consensus.server.message import Message
from consensus.server.unheard import Credit, Fit, Taken
from consensus.simulation.host import WorldHost


class JudgedWorld(Protocol):
    """The part of a world that the judge looks at."""

    hosts: list[WorldHost]
    servers: list[EdgeServer]


class Judge:
    """The judge of a world (`consensus.network.intake.Unheard`)."""

    def __init__(self, world: JudgedWorld) -> None:
        self._world = world

    def fit(self, sender: int, message: Message) -> tuple[Fit, float] | None:
        """Say how a message may be taken in unheard, and the simulated seconds of work on it."""
        world = self._world
        found = world.servers[sender].fit(message.kind, message.body)
        if found is None:
            return None
        return found, world.hosts[sender].cost(found.operation, found.size)

    def credits(self, server: int) -> Sequence[Credit]:
        """List what a server need not hear of until it does something."""
        world = self._world
        return () if world.hosts[server].hears_all() else world.servers[server].credits()

    def take_in(self, server: int, taken: Iterable[Taken]) -> None:
        """Let a server count what it has taken in unheard."""
        self._world.servers[server].take_in(taken)
