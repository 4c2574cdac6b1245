"""The paces at which the servers of a world go from height to height: all together, or each on its
own between the heights after which they meet."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from typing import Protocol

from consensus.adversary.behaviour import Behaviour
from consensus.application import Application
from consensus.faults.faults import Lifecycle
from consensus.ledger.validity import Head
from consensus.network.clock import Clock
from consensus.network.network import Network
from consensus.records.block import Block
from consensus.records.evidence import Evidence
from consensus.server.checks import SharedChecks
from consensus.server.edge_server import EdgeServer
from consensus.simulation.accounts import evidence_between
from consensus.simulation.apart import Apart, Distances
from consensus.simulation.height_end import HeightEnd
from consensus.simulation.host import WorldHost
from consensus.simulation.results import Arrival, Inquiry
from consensus.simulation.spec import WorldSpec
from consensus.simulation.starts import Starts
from consensus.simulation.submissions import Submissions

#: A server that is more heights than this behind the first one only follows until it is nearer, as
#: does one that is behind where servers last met.
#: Nobody decides those heights with it any more, and the state of the application that it would
#: take to recompute their contents need not be kept.
FAR_BEHIND = 16


class PacedWorld(Protocol):
    """The part of a world that a pace uses (`consensus.simulation.world.World`)."""

    env: Clock
    application: Application
    behaviours: dict[int, Behaviour]
    checks: SharedChecks
    head: Head
    hosts: list[WorldHost]
    network: Network
    servers: list[EdgeServer]

    def at(self, time: float, call: Callable[[], None]) -> None:
        """Call ``call`` at ``time`` in simulated seconds, or now if that has passed."""
        ...

    def on_entered(self, server: EdgeServer) -> None:
        """Note that a server has entered a height on its own."""
        ...


class Together:
    """The pace at which servers meet after every height, and all begin the next one together."""

    def __init__(self, world: PacedWorld, submissions: Submissions, end: HeightEnd) -> None:
        self._world = world
        self._submissions = submissions
        self._end = end

    def meets(self, height: int) -> bool:
        """True if servers wait for each other after a height; they begin the first together."""
        return True

    def playing(self, height: int) -> Sequence[EdgeServer]:
        """The servers that play a height, or all if none does."""
        return self._world.servers

    def forget(self, needed_after: int) -> None:
        """Forget what concerns earlier heights, as the one after the world's head begins; servers
        may need what comes after the height ``needed_after``."""

    def begin(self, height: int, arrivals: Sequence[Arrival | Inquiry]) -> None:
        """Begin a height, of whose clients ``arrivals`` come."""
        self._submissions.begin(height, arrivals)

    def entered(self, server: EdgeServer) -> None:
        """Go on, as a server has entered a height."""

    def decided(self, server: EdgeServer, block: Block, at: float) -> None:
        """Go on, as a server has appended ``block`` at simulated second ``at``."""
        head = self._world.head
        if block.height <= head.height:
            server.enter_height(catching_up=server.chain.height < head.height)
            if not server.catching_up and server.behaviour is None:
                self._end.waits_for(server.index)

    def is_late(self, server: EdgeServer, block: Block) -> bool:
        """True if the block, which the world's chain has, is one that the server appends late."""
        return True

    def kept(self, server: EdgeServer, at: float) -> None:
        """Go on, as a server has got an aggregate at simulated second ``at``."""

    def crashed(self, server: EdgeServer) -> None:
        """Go on without a server that has gone down."""

    def restart(self, server: EdgeServer, event: Lifecycle) -> None:
        """Let a server that is up again come back."""
        server.restart(event.lost_tail, self._world.head.height)

    def committing(self) -> None:
        """Prepare for the application to go on by a height."""

    def evidence(self, height: int) -> tuple[Evidence, ...]:
        """The evidence that comes with the result of a height."""
        return evidence_between(self._world.servers, height, height)

    def apart(self, height: int) -> Apart | None:
        """The distances between servers as the first one has the block of ``height``, if they are
        measured."""
        return None


class OnTheirOwn(Together):
    """The pace at which a server goes on to the next height as soon as it has decided one, except
    where servers meet."""

    def __init__(
        self,
        world: PacedWorld,
        submissions: Submissions,
        end: HeightEnd,
        starts: Starts,
        every: int,
    ) -> None:
        """``every``: heights between two after which servers meet; 0: they never do."""
        super().__init__(world, submissions, end)
        self._starts = starts
        self._every = every
        self._distances = Distances()
        self._met = 0
        """The height after which servers last met."""
        self._told: set[tuple[str, int, int]] = set()
        """The keys of the evidence that has come with a result since."""

    def meets(self, height: int) -> bool:
        return not height or (self._every > 0 and height % self._every == 0)

    def playing(self, height: int) -> Sequence[EdgeServer]:
        servers = self._world.servers
        return [server for server in servers if server.height == height] or servers

    def forget(self, needed_after: int) -> None:
        world, head = self._world, self._world.head.height
        if self.meets(head):
            self._met = head
            self._distances.begin()
            self._told.clear()
            for server in world.servers:  # a world that is resumed here does not know either
                server.catch_up.forget_corrected()
        else:
            world.network.let_go()
            world.network.measure_anew()
        world.checks.forget(max(needed_after, self._known_to_all()) - 1)
        for server, host in zip(world.servers, world.hosts, strict=True):
            if host.up and not server.catching_up and self._is_far_behind(server):
                host.lives += 1
                server.enter_height(catching_up=True)

    def begin(self, height: int, arrivals: Sequence[Arrival | Inquiry]) -> None:
        self._starts.begin(height, arrivals)

    def entered(self, server: EdgeServer) -> None:
        self._see_ready(server, self._world.env.now)

    def decided(self, server: EdgeServer, block: Block, at: float) -> None:
        self._distances.note(block.height, at, server.behaviour is None)
        to_come = block.height > self._world.head.height
        if not (to_come and self.meets(block.height)):
            self.go_on(server, at)

    def go_on(self, server: EdgeServer, at: float) -> None:
        """Let a server enter its next height at simulated second ``at``, unless it crashes."""
        host = self._world.hosts[server.index]
        lives = host.lives
        self._world.at(at, lambda: self.enter(server) if host.lives == lives and host.up else None)

    def enter(self, server: EdgeServer) -> None:
        """Let a server enter the height after its head, while others are where they are."""
        world, behaviour = self._world, server.behaviour
        world.network.heard(server.index)
        if behaviour is not None:
            behaviour.begins(server)
            world.network.set_relaying(server.index, behaviour.relays)
        server.enter_height(catching_up=self._is_far_behind(server))
        world.on_entered(server)

    def is_late(self, server: EdgeServer, block: Block) -> bool:
        return block.height < self._world.head.height and server.behaviour is None

    def kept(self, server: EdgeServer, at: float) -> None:
        self._see_ready(server, at)

    def crashed(self, server: EdgeServer) -> None:
        self._starts.stop(server.index)

    def restart(self, server: EdgeServer, event: Lifecycle) -> None:
        if server.behaviour is not None:
            server.behaviour.begins(server)
        server.restart(event.lost_tail, self._known_to_all())
        self._world.on_entered(server)

    def committing(self) -> None:
        self._world.checks.keep(self._world.head.height, copy(self._world.application))

    def evidence(self, height: int) -> tuple[Evidence, ...]:
        found = evidence_between(self._world.servers, self._met + 1, height)
        fresh = tuple(each for each in found if each.key not in self._told)
        self._told.update(each.key for each in fresh)
        return fresh

    def apart(self, height: int) -> Apart | None:
        up = [host.up for host in self._world.hosts]
        return self._distances.told(height, self._world.servers, up)

    def _is_far_behind(self, server: EdgeServer) -> bool:
        return server.chain.height < self._known_to_all()

    def _known_to_all(self) -> int:
        """The height up to which servers only follow: up to where they met, or far behind."""
        return max(self._met, self._world.head.height - FAR_BEHIND)

    def _see_ready(self, server: EdgeServer, at: float) -> None:
        """Let clients start at a server that is at a height, with all that comes before it."""
        if server.active and not server.catching_up and not server.lacking:
            self._starts.ready(server.index, server.height, at)


def pace_of(
    spec: WorldSpec, world: PacedWorld, submissions: Submissions, end: HeightEnd
) -> Together:
    """The pace that a spec names."""
    if spec.meets_every == 1:
        return Together(world, submissions, end)
    starts = Starts(world.env, submissions, spec.topology.latency, spec.retry_seconds)
    return OnTheirOwn(world, submissions, end, starts, spec.meets_every)
