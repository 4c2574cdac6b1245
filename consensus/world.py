"""The simulated world of the edge servers: one clock, the network, and what each server spends.

`World.run_height` plays one height: every server enters it, updates arrive where clients send
them, and it is over when every server has appended the block. What is then still in flight is
void. So between heights the world is a clock reading and a chain head, and a run can be resumed
from there, byte for byte.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import simpy

from consensus.application import Application, Contents
from consensus.byzantine import Behaviour
from consensus.chain import Chain, Head
from consensus.checks import SharedChecks
from consensus.edge_server import EdgeServer, Kind, Timer
from consensus.encoding import file_cid
from consensus.genesis import Genesis
from consensus.keys import SigningKey
from consensus.network import MIB, Message, Network, Topology
from consensus.records import Block
from consensus.updates import SignedUpdate
from consensus.vrf import VrfKey


class Stalled(RuntimeError):
    """A height that no longer makes progress; the message says how far it came."""


@dataclass(frozen=True)
class Costs:
    """Simulated seconds of the operations a server is charged for: a fixed part for each, and a
    part per MiB for those whose size matters."""

    seconds: dict[str, float]
    seconds_per_mib: dict[str, float]


@dataclass(frozen=True)
class Arrival:
    """A client's update on its way: it reaches ``server`` at ``time`` (simulated seconds).

    The update itself is asked for when it arrives, so that it may be computed in the meantime.
    """

    time: float
    server: int
    update: Callable[[], SignedUpdate]


@dataclass
class HeightResult:
    """What one height came to."""

    block: Block
    """The validated block, with the certificate of the first server that had it."""
    contents: Contents
    updates: tuple[SignedUpdate, ...]
    """The aggregated updates in their order (none of a captured block's claim is believed: these
    are those its candidate lists)."""
    captured: bool
    """Whether the block's model is not the aggregate of its updates: the committee was captured."""
    began: float
    """Simulated seconds."""
    ended: float
    appended: list[float] = field(default_factory=list)
    """When each server appended the block."""
    gossip_bytes: Counter[str] = field(default_factory=Counter)
    """Bytes between servers by kind of message, every hop counted."""
    gossip_messages: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    """Messages that honest servers turned away, by reason."""


class _Host:
    """One server's hands in the world (`consensus.edge_server.Host`)."""

    def __init__(self, world: World, index: int) -> None:
        self._world = world
        self._env = world.env
        self._index = index
        self._seconds = world.costs.seconds
        self._seconds_per_byte = {
            operation: seconds / MIB for operation, seconds in world.costs.seconds_per_mib.items()
        }
        self.busy_until = 0.0
        """When this server's processor has done all it was charged."""

    def now_us(self) -> int:
        return round(self._world.env.now * 1e6)

    def charge(self, operation: str, size: int = 0, times: int = 1) -> None:
        seconds = times * self._seconds[operation]
        if size:
            seconds += times * size * self._seconds_per_byte[operation]
        now = self._env.now
        self.busy_until = (self.busy_until if self.busy_until > now else now) + seconds

    def gossip(self, kind: Kind, body: object, size: int) -> None:
        world = self._world
        if kind == "candidate":
            world._listed[body.header.cid] = body.updates  # type: ignore[attr-defined]
        world.messages += 1
        world.network.gossip(self._index, Message(kind, body, size), self.busy_until)

    def timer(self, microseconds: int, timer: Timer) -> None:
        server = self._world.servers[self._index]
        timeout = self._world.env.timeout(microseconds / 1e6)
        timeout.callbacks.append(lambda _: server.on_timeout(timer))

    def publish(self, contents: Contents) -> None:
        self._world._published[file_cid(contents.model)] = contents

    def fetch(self, link: bytes) -> None:
        size = len(self._world._published[link].model)
        self.charge("store_get", size)
        self._world.network.bytes["model"] += size

    def generator(self, *label: int) -> np.random.Generator:
        return self._world.randomness(self._index, *label)

    def appended(self, block: Block) -> None:
        self._world._on_appended(self._index, block, max(self.busy_until, self._world.env.now))


class World:
    """All edge servers on one SimPy clock."""

    def __init__(
        self,
        genesis: Genesis,
        application: Application,
        topology: Topology,
        keys: Sequence[tuple[SigningKey, VrfKey]],
        behaviours: dict[int, Behaviour],
        costs: Costs,
        bandwidth_mib_per_s: float,
        jitter: float,
        network_stream: Callable[[int], np.random.Generator],
        randomness: Callable[..., np.random.Generator],
        head: Head | None = None,
        now: float = 0.0,
    ) -> None:
        """``network_stream(height)`` gives the jitter draws of a height, ``randomness(server,
        *label)`` what a malicious server draws. ``head`` and ``now`` continue an earlier run."""
        self.genesis = genesis
        self.application = application
        self.costs = costs
        self.env = simpy.Environment(initial_time=now)
        self.checks = SharedChecks(genesis, application)
        self.network = Network(self.env, topology, bandwidth_mib_per_s, jitter, self._receive)
        self.randomness = randomness
        self.messages = 0
        self._network_stream = network_stream
        self._hosts = [_Host(self, index) for index in range(len(keys))]
        self.servers = [
            EdgeServer(
                index,
                signing,
                vrf,
                Chain(genesis, head),
                self.checks,
                self._hosts[index],
                behaviours.get(index),
            )
            for index, (signing, vrf) in enumerate(keys)
        ]
        self._handlers: list[dict[str, Callable[..., bool]]] = [
            {
                "update": server.on_update,
                "ticket": server.on_ticket,
                "candidate": server.on_candidate,
                "vote": server.on_vote,
                "block": server.on_block,
            }
            for server in self.servers
        ]
        self._published: dict[bytes, Contents] = {}
        self._listed: dict[bytes, tuple[bytes, ...]] = {}
        self._appended: dict[int, float] = {}
        self._first: Block | None = None
        self._over = self.env.event()

    @property
    def head(self) -> Head:
        """The head that all servers share between heights."""
        return self.servers[0].chain.head

    def run_height(self, arrivals: Sequence[Arrival], patience: float) -> HeightResult:
        """Play one height to its end and commit it to the application.

        Raises `Stalled` if not every server has the block after ``patience`` simulated seconds.
        """
        height = self.head.height + 1
        began = self.env.now
        before = self.head
        self.checks.begin_height()
        self.network.begin(self._network_stream(height))
        self._published.clear()
        self._listed.clear()
        self._appended.clear()
        self._first = None
        self._over = self.env.event()
        bytes_before, messages_before = self.network.bytes.copy(), self.messages
        refused_before = self._refused()
        for host in self._hosts:
            host.busy_until = began
        for server in self.servers:
            server.enter_height()
        for arrival in arrivals:
            self._schedule(arrival, height)
        deadline = self.env.timeout(patience)
        self.env.run(until=self._over | deadline)
        if not self._over.triggered:
            raise Stalled(self._describe_stall(height, patience))
        ended = max(self._appended.values())
        if ended > self.env.now:
            self.env.run(until=ended)
        block = self._first
        assert block is not None
        contents = self._published[block.header.model]
        updates = self._updates_of(block)
        honest = self.checks.aggregate(before, updates)
        self.application.commit(height, before.beacon, contents.model)
        return HeightResult(
            block=block,
            contents=contents,
            updates=updates,
            captured=contents.model != honest.model,
            began=began,
            ended=self.env.now,
            appended=[self._appended[index] for index in range(len(self.servers))],
            gossip_bytes=self.network.bytes - bytes_before,
            gossip_messages=self.messages - messages_before,
            refused=self._refused() - refused_before,
        )

    # -- deliveries -------------------------------------------------------------------------------

    def _schedule(self, arrival: Arrival, height: int) -> None:
        timeout = self.env.timeout(max(arrival.time - self.env.now, 0.0))
        timeout.callbacks.append(lambda _: self._submit(arrival, height))

    def _submit(self, arrival: Arrival, height: int) -> None:
        """A client's update reaches its nearest server, which passes it on if it is fit."""
        if self.head.height >= height and self.servers[arrival.server].chain.height >= height:
            return  # too late: the height is decided
        update = arrival.update()
        message = Message("update", update, update.wire_bytes)
        leave = self._receive(arrival.server, message)
        if leave is not None:
            self.messages += 1
            self.network.gossip(arrival.server, message, leave)

    def _receive(self, server: int, message: Message) -> float | None:
        """Hand a message to a server; when it may be passed on, or None."""
        if not self._handlers[server][message.kind](message.body):
            return None
        busy_until, now = self._hosts[server].busy_until, self.env.now
        return busy_until if busy_until > now else now

    def _on_appended(self, index: int, block: Block, at: float) -> None:
        if self._first is None:
            self._first = block
        elif block.cid != self._first.cid:
            raise AssertionError(
                f"height {block.height}: servers appended different blocks (a fork): "
                f"{self._first.cid.hex()} and {block.cid.hex()}"
            )
        self._appended[index] = at
        if len(self._appended) == len(self.servers):
            self._over.succeed()

    # -- what a height came to --------------------------------------------------------------------

    def _updates_of(self, block: Block) -> tuple[SignedUpdate, ...]:
        digests = self._listed[block.cid]
        for server in self.servers:
            found = server.pool.pick(digests)
            if found is not None:
                return tuple(found)
        raise AssertionError(f"height {block.height}: no server holds the block's updates")

    def _refused(self) -> Counter[str]:
        total: Counter[str] = Counter()
        for server in self.servers:
            if server.behaviour is None:
                total.update(server.refused)
                total.update(server.pool.rejected)
        return total

    def _describe_stall(self, height: int, patience: float) -> str:
        done = len(self._appended)
        furthest = max(server.attempt for server in self.servers)
        pools = [len(server.pool) for server in self.servers]
        return (
            f"height {height}: after {patience:g} simulated seconds {done} of "
            f"{len(self.servers)} servers have a block (attempt {furthest}, "
            f"{min(pools)}-{max(pools)} updates in the pools, quota "
            f"{self.genesis.parameters.quota})"
        )
