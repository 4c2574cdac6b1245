"""The world without a barrier between heights: a server that has appended a block enters the next
height at once."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, ClassVar

import numpy as np
import simpy

from consensus.adversary.behaviour import Behaviour
from consensus.adversary.delays import DELAYS, Schedule
from consensus.crypto.suites import Signer
from consensus.faults.faults import Faults, Lifecycle
from consensus.network.network import Network
from consensus.records.block import Block
from consensus.records.genesis import Genesis
from consensus.server.edge_server import EdgeServer
from consensus.server.host import Timer
from consensus.server.message import Kind, Message
from consensus.simulation.adversary import Adversary
from consensus.simulation.host import WorldHost
from consensus.simulation.observer import UNSEEN, Observer
from consensus.simulation.paces import OnTheirOwn
from consensus.simulation.spec import WorldSpec
from consensus.simulation.starts import Starts
from consensus.simulation.submissions import Submissions
from consensus.simulation.world import World
from consensus.torture.arena import rig
from consensus.torture.arena.clients import Clients
from consensus.torture.arena.corrupting import corrupting_of
from consensus.torture.arena.scenario import Scenario
from consensus.torture.arena.schedule import ScheduledNetwork
from consensus.torture.arena.witness import Witness

#: Approximate bytes of a message, by its kind, which save encoding most of them.
SIZES = {
    "update": 300,
    "ticket": 150,
    "candidate": 1500,
    "vote": 350,
    "timeout": 400,
    "closure": 900,
    "lock": 600,
    "block": 1800,
    "status": 200,
    "want": 150,
    "fetch": 100,
    "model": 100,
}


class NotedSigner:
    """A signer that records the order and the times of its signatures, as a vote may be sent long
    after it was signed."""

    def __init__(self, signer: Signer, now: Callable[[], float]) -> None:
        self.public = signer.public
        self.order: dict[bytes, int] = {}
        """The place of each digest's first signature in the order of signing."""
        self.times: dict[bytes, float] = {}
        """The simulated second of each digest's first signature."""
        self._sign = signer.sign
        self._now = now

    def sign(self, digest: bytes, /) -> bytes:
        """Sign a digest, and record it at its first signature."""
        if digest not in self.order:
            self.order[digest] = len(self.order)
            self.times[digest] = self._now()
        return self._sign(digest)


class TortureHost(WorldHost):
    """The host of one server, which reports to the witness."""

    _world: TortureWorld

    def gossip(self, kind: Kind, body: Any, delay: float = 0.0) -> None:
        """Send to all; the witness hears at once of what leaves later, and then again."""
        if self.up and delay > 0.0:
            self._world.witness.said(self._index, kind, body, None)
        super().gossip(kind, body, delay)

    def send(self, to: Collection[int], kind: Kind, body: Any, delay: float = 0.0) -> None:
        """Send to some; the witness hears at once of what leaves later, and then again."""
        if self.up and delay > 0.0:
            self._world.witness.said(self._index, kind, body, to)
        super().send(to, kind, body, delay)

    def _show(self, kind: Kind, body: Any, to: Collection[int] | None, leaves: float) -> None:
        """Show a message to the observer, then to the witness, who may find a violation in it."""
        super()._show(kind, body, to, leaves)
        self._world.witness.said(self._index, kind, body, to)

    def timer(self, microseconds: int, timer: Timer) -> None:
        """Set a timer, and report those of a height, a view and a lock to the witness."""
        if timer[0] in ("tickets", "settle", "listen"):
            self._world.settled += timer[0] == "settle"
            self._world.witness.timed(self._index, timer)
        super().timer(microseconds, timer)


class TortureWorld(World):
    """All servers and clients of a scenario on one clock, without a barrier between heights."""

    host_class = TortureHost
    compiled: ClassVar[bool] = False
    """Deliver in a compiled loop what servers need not hear of: slower for so few servers."""

    def __init__(
        self,
        scenario: Scenario,
        genesis: Genesis,
        behaviours: dict[int, Behaviour],
        faults: Faults,
        witness: Witness,
        observer: Observer = UNSEEN,
    ) -> None:
        self.scenario = scenario
        self.witness = witness
        self.settled = 0
        """Number of times that a lock had to wait for the settle timer."""
        self.clients = Clients(self, scenario.clients, scenario.hostile, scenario.seed)
        keys = [rig.server_keys(index) for index in range(scenario.servers)]
        self.signers = [NotedSigner(signer, lambda: self.env.now) for signer, _ in keys]
        self._waiting: set[int] = set()
        self._target = 0
        self._reached: simpy.Event | None = None
        self._held: dict[int, Callable[[], None]] = {}
        """By server that waits at the barrier: how it enters the next height."""
        seed = scenario.seed
        self._onlooker = observer
        self._corrupting = corrupting_of(scenario, behaviours, witness)
        self._streams: dict[int, np.random.Generator] = {}
        spec = WorldSpec(
            genesis,
            rig.TinyApplication(),
            rig.graph_of(scenario),
            [(self.signers[index], prover) for index, (_, prover) in enumerate(keys)],
            behaviours,
            rig.COSTS,
            rig.BANDWIDTH,
            rig.JITTER,
            lambda height: rig.stream(seed, 1),
            self._stream_of,
            faults,
            observer=Adversary(observer, self._corrupting) if self._corrupting else observer,
            compiled=self.compiled,
            mesh=rig.mesh_of(scenario),
            meets_every=0,
        )
        super().__init__(spec)

    def make_network(self, spec: WorldSpec) -> Network:
        """The network of the links, or one on which an adversary chooses when messages arrive."""
        scenario = self.scenario
        if not scenario.bound:
            return super().make_network(spec)
        network = ScheduledNetwork(
            self.env, spec.topology, rig.BANDWIDTH, rig.JITTER, self._receive, spec.faults
        )
        strategy, bound = DELAYS.named(scenario.delays), scenario.bound / 1e3
        network.schedule = Schedule(strategy, scenario.servers, spec.behaviours, bound)
        network.schedule.begin(rig.stream(scenario.seed, 7))
        return network

    def make_pace(self, spec: WorldSpec, submissions: Submissions) -> OnTheirOwn:
        """The pace of servers that never meet."""
        starts = Starts(self.env, submissions, spec.topology.latency, spec.retry_seconds)
        self._own_pace = OnTheirOwn(self, submissions, self._end, starts, spec.meets_every)
        return self._own_pace

    @property
    def greatest_delay(self) -> float:
        """The greatest delay between honest servers that the adversary chose, in seconds; 0 where
        there is none."""
        network = self.network
        return network.schedule.held.greatest if isinstance(network, ScheduledNetwork) else 0.0

    # -- running ----------------------------------------------------------------------------------

    def start(self) -> None:
        """Let every server enter the first height."""
        self.network.begin(self._network_stream(1))
        for index in range(len(self.servers)):
            if self.hosts[index].up:
                self._own_pace.enter(self.servers[index])
        self._look(self.servers[0])

    def open_height(self, height: int) -> None:
        """Let clients make updates for heights up to ``height``."""
        self.clients.open = height
        for server in self.servers:
            self.clients.begin(server.chain.head)

    def end(self) -> None:
        """Clear all parts. They refer to each other in circles; without these they are freed at
        once, with no run of the garbage collector."""
        parts = (self.env, self.checks, self.network, self.clients, self.witness)
        participants = [server.participant for server in self.servers]
        for part in (*self.hosts, *self.servers, *participants, *parts):
            vars(part).clear()
        vars(self).clear()

    def backlog(self) -> float:
        """Seconds until every server has finished its work and sent all its messages."""
        latest = max(host.busy_until for host in self.hosts)
        return max(latest, *self.network._egress_free, *self.network._ingress_free) - self.env.now

    def holders(self, link: bytes) -> set[int]:
        """The servers that hold the content at ``link``."""
        return self.providers.holders(link)

    def when_all_at(self, height: int, servers: Collection[int]) -> simpy.Event:
        """An event that succeeds once all of ``servers`` have the block of ``height``, but for
        those that are corrupted meanwhile."""
        self._waiting = {i for i in servers if self.servers[i].chain.height < height}
        self._target = height
        reached = self._reached = self.env.event()
        if not self._waiting:
            reached.succeed()
        return reached

    # -- from height to height --------------------------------------------------------------------

    def on_entered(self, server: EdgeServer) -> None:
        """Let clients begin the height, if it is new to them."""
        self.clients.begin(server.chain.head)

    def on_appended(self, index: int, block: Block, at: float) -> None:
        """Report the block to the witness, and let the server enter the next height at ``at``."""
        server = self.servers[index]
        self.witness.appended(server, block)
        self._look(server)
        if block.header.height >= self._target:
            self._wait_no_more(index)
        if not self.scenario.barrier:
            self._own_pace.go_on(server, at)
            return
        self._held[index] = lambda: self._own_pace.go_on(server, at)
        self._open_barrier()

    def _open_barrier(self) -> None:
        """Let servers go on that have waited for the honest ones."""
        honest = [
            server.chain.height
            for server in self.servers
            if server.behaviour is None and self.hosts[server.index].up
        ]
        least = min(honest, default=0)
        for index in [i for i in self._held if self.servers[i].chain.height <= least]:
            self._held.pop(index)()

    def _wait_no_more(self, index: int) -> None:
        """Wait no longer for a server, if that was waited for."""
        self._waiting.discard(index)
        reached = self._reached
        if reached is not None and not self._waiting and not reached.triggered:
            reached.succeed()

    def go_on_without(self, index: int) -> None:
        if self.servers[index].behaviour is not None:
            self._wait_no_more(index)
        if not self.hosts[index].up:
            self._held.pop(index, None)
        self._open_barrier()

    def _look(self, server: EdgeServer) -> None:
        """Let an adversary that corrupts servers look at where one has got to."""
        if self._corrupting is not None:
            self._corrupting.follow(self, server.chain.head, self._onlooker)

    def _restart(self, event: Lifecycle) -> None:
        super()._restart(event)
        self.witness.cut(self.servers[event.server])

    def _stream_of(self, server: int, *label: int) -> np.random.Generator:
        """The one stream of a server, made at its first draw, as many never draw."""
        stream = self._streams.get(server)
        if stream is None:
            stream = self._streams[server] = rig.stream(self.scenario.seed, 2, server)
        return stream

    def message(self, kind: Kind, body: Any) -> Message:
        """Return a message with the usual size of its kind; nothing is encoded."""
        return Message(kind, body, SIZES[kind])
