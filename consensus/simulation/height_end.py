"""The end of the height in progress: the servers that have its block, and those that wait for each
other until all of them do.

At a height after which servers meet, it is over once every honest server that is up, and was not
behind, has the block and its aggregate; under faults at the latest `GRACE` resend times after two
thirds of them do. At any other height it is over as soon as one honest server has the block, and
the others follow while that one goes on.
"""

from __future__ import annotations

from math import inf
from typing import Protocol

import simpy

from consensus.faults.faults import Faults
from consensus.network.clock import Clock
from consensus.records.block import Block
from consensus.server.edge_server import EdgeServer

#: Under faults a height after which servers meet ends this many resend times after two thirds of
#: them are done with it; the others catch up during the next heights.
GRACE = 3


class World(Protocol):
    """The part of a world that the end of a height depends on."""

    env: Clock
    servers: list[EdgeServer]
    faults: Faults | None


class HeightEnd:
    """The servers that are done with the height in progress, and the event of its end."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.over = world.env.event()
        """The event that the height is over."""
        self.appended: dict[int, float] = {}
        """By server that has the height's block: the simulated second since when."""
        self._complete: dict[int, float] = {}
        """By server that has the block and its aggregate: the simulated second since when."""
        self._waited_for: set[int] = set()
        """Honest servers that the height waits for."""
        self._meets = True
        self._closing = False

    def begin(self, meets: bool) -> None:
        """Begin a height; ``meets``: true if servers meet after it. It waits for nobody yet."""
        self.over = self._world.env.event()
        self.appended, self._complete = {}, {}
        self._waited_for = set()
        self._meets, self._closing = meets, False

    @property
    def at(self) -> float:
        """The simulated second at which the last server was done, where servers meet; else that at
        which the first honest one was."""
        if self._meets:
            return max([*self.appended.values(), *self._complete.values()])
        servers = self._world.servers
        honest = [at for i, at in self.appended.items() if servers[i].behaviour is None]
        return min(honest or self.appended.values())

    def in_time(self) -> dict[int, float]:
        """By server that has appended the block: since when. Where servers do not meet, those that
        are done with it only after the end are left out."""
        last = inf if self._meets else self.at
        return {server: at for server, at in sorted(self.appended.items()) if at <= last}

    def waits_for(self, server: int) -> None:
        """Wait for an honest server, too, unless it has the block."""
        if server not in self.appended:
            self._waited_for.add(server)

    def has_block(self, server: int, block: Block, at: float) -> None:
        """Note that a server has appended the height's block at simulated second ``at``."""
        self.appended[server] = at
        self.kept(server, block, at)

    def kept(self, server: int, block: Block | None, at: float) -> None:
        """Go on, as a server has appended the height's ``block`` or got an aggregate."""
        if block is None or server not in self.appended or server in self._complete:
            return
        if not self._meets:
            if not self.over.triggered and self._opens(server):
                self.over.succeed()
        elif block.header.aggregate_cid not in self._world.servers[server].lacking:
            self._complete[server] = at
            self.without(server, block)

    def without(self, server: int, block: Block | None) -> None:
        """Wait for a server no longer, as it is done or has gone down; ``block``: the height's, if
        some server has it."""
        self._waited_for.discard(server)
        if self._meets and block is not None and not self.over.triggered:
            self._see_whether_over()

    def _opens(self, server: int) -> bool:
        """True if the next height may begin as this server has the block: an honest one shows it
        to the others."""
        servers = self._world.servers
        return servers[server].behaviour is None or not any(s.behaviour is None for s in servers)

    def _see_whether_over(self) -> None:
        world = self._world
        if not self._waited_for:
            self.over.succeed()
        elif world.faults is not None and not self._closing:
            have = sum(world.servers[index].behaviour is None for index in self._complete)
            if have > 2 * len(self._waited_for):
                self._closing = True
                grace = GRACE * world.servers[0].parameters.resend_us / 1e6
                world.env.call_at(world.env.now + grace, _end, self.over)


def _end(over: simpy.Event) -> None:
    if not over.triggered:
        over.succeed()
