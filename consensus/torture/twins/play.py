"""A small world for twins: the protocol's servers on a queue of events, without costs or faults."""

from __future__ import annotations

from collections.abc import Collection
from functools import partial
from heapq import heappop, heappush
from itertools import count
from typing import Any

import numpy as np

from consensus.application import Contents
from consensus.encoding.unixfs import file_cid
from consensus.ledger.chain import Chain
from consensus.ledger.committee import Committee
from consensus.ledger.updates import SignedUpdate
from consensus.ledger.validity import Head, Sortition
from consensus.protocols.bft.protocol import Bft
from consensus.records.block import Block
from consensus.records.evidence import Evidence
from consensus.records.genesis import Genesis, Member, Parameters
from consensus.records.update import UpdateRecord
from consensus.server.checks import SharedChecks
from consensus.server.edge_server import EdgeServer
from consensus.server.host import Timer
from consensus.server.message import Kind
from consensus.torture.arena import rig
from consensus.torture.twins.scenarios import NODES, SERVERS, TWIN, Scenario

DELAY = 0.01
"""Seconds that a message travels; two of them are less than the settle time."""
ROUND = 0.4
"""Seconds of a round: a view ends in it, and the next one begins."""
PATIENCE = 30.0
"""Seconds after the last round within which every honest server must have decided."""


class TurnsOf(Bft):
    """`bft` with a committee of all servers, and with given leaders in the first attempt."""

    def __init__(self, leaders: tuple[int, ...]) -> None:
        self.leaders = leaders

    def sortition(self, genesis: Genesis, head: Head, attempt: int) -> Sortition:
        """The given leaders; in later attempts each server in turn."""
        later = tuple((attempt + step) % SERVERS for step in range(len(self.leaders)))
        committee = Committee(dict.fromkeys(range(SERVERS), 1), SERVERS)
        return Sortition(committee, later if attempt else self.leaders)


class Node:
    """Host of one instance of a server (`consensus.server.host.Host`)."""

    def __init__(self, world: TwinsWorld, node: int) -> None:
        self._world = world
        self._node = node
        self._own: set[bytes] = set()

    def now_us(self) -> int:
        """The clock, in microseconds."""
        return round(self._world.now * 1e6)

    def charge(self, operation: str, size: int = 0, times: int = 1) -> None:
        """Charge nothing: work takes no time here."""

    def may_relay(self) -> None:
        """Do nothing: nobody passes on what others say here."""

    def gossip(self, kind: Kind, body: Any, delay: float = 0.0) -> None:
        """Send to all other nodes, the other twin included."""
        self._world.carry(self._node, range(NODES), kind, body, delay)

    def send(self, to: Collection[int], kind: Kind, body: Any, delay: float = 0.0) -> None:
        """Send to some servers, to both twins if to theirs."""
        nodes = [node for node in range(NODES) if node % SERVERS in to]
        self._world.carry(self._node, nodes, kind, body, delay)

    def timer(self, microseconds: int, timer: Timer) -> None:
        """Fire a timer after so many microseconds."""
        world, node = self._world, self._node
        world.at(microseconds / 1e6, lambda: world.servers[node].on_timer(timer))

    def publish(self, contents: Contents) -> None:
        """Offer contents to all."""
        self._world.published[file_cid(contents.aggregate)] = contents.aggregate

    def stored(self, link: bytes) -> bytes | None:
        """The content at a link; every store has all."""
        return self._world.published.get(link)

    def keep(self, height: int, link: bytes, data: bytes) -> None:
        """Do nothing: it is there."""

    def generator(self, *label: int) -> np.random.Generator:
        """Randomness that is the same for every scenario."""
        return np.random.default_rng((self._node, *label))

    def appended(self, block: Block) -> None:
        """Note nothing: the chains are compared in the end."""

    def accused(self, found: Evidence) -> None:
        """Note nothing: of the twins, one is as right as the other."""


class TwinsWorld:
    """Four servers and the twin of one of them."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.now = 0.0
        self.published: dict[bytes, bytes] = {}
        self._queue: list[tuple[float, int, Any]] = []
        self._numbers = count()
        genesis = genesis_of(len(scenario.leaders))
        protocol = TurnsOf(scenario.leaders)
        checks = SharedChecks(genesis, protocol, rig.TinyApplication())
        head = protocol.first_head(genesis)
        self.servers = [
            EdgeServer(
                node % SERVERS,
                *rig.server_keys(node % SERVERS),
                Chain(genesis, protocol, (), [head]),
                checks,
                Node(self, node),
                protocol.participant_class(),
            )
            for node in range(NODES)
        ]
        for node, server in enumerate(self.servers):
            server.enter_height()
            # The twins know different updates, so that they propose different blocks.
            for client in {0: (0,), SERVERS: (1,)}.get(node, (0, 1)):
                server.receive("update", update_of(genesis, head, client), server.index)

    def at(self, seconds: float, call: Any) -> None:
        """Call after so many seconds."""
        heappush(self._queue, (self.now + seconds, next(self._numbers), call))

    def together(self, one: int, other: int) -> bool:
        """True if two nodes are in one group now."""
        turn = int(self.now / ROUND)
        groups = self.scenario.groups
        return turn >= len(groups) or not (groups[turn] >> one ^ groups[turn] >> other) & 1

    def carry(self, sender: int, to: Collection[int], kind: Kind, body: Any, delay: float) -> None:
        """Bring a message to those of its recipients that are in the sender's group."""
        for node in to:
            if node != sender and self.together(sender, node):
                receive = partial(self.servers[node].receive, kind, body, sender % SERVERS)
                self.at(DELAY + delay, receive)

    def play(self) -> str:
        """Play until all honest servers have decided; return what is wrong, or nothing."""
        honest = [server for server in self.servers if server.index != TWIN]
        end = ROUND * len(self.scenario.groups) + PATIENCE
        while self._queue and self.now < end:
            self.now, _, call = heappop(self._queue)
            call()
            if all(server.chain.height for server in honest):
                break
        decided = {server.chain.head.cid for server in honest if server.chain.height}
        if len(decided) > 1:
            return "two blocks are decided"
        return "" if all(server.chain.height for server in honest) else "a server never decides"


def genesis_of(steps: int) -> Genesis:
    """The genesis of four servers with equal stake, and two clients."""
    keys = [rig.server_keys(index) for index in range(SERVERS)]
    return Genesis(
        Parameters(
            protocol=Bft.name,
            crypto="modelled",
            committee="fixed",
            committee_size=SERVERS,
            max_step=steps,
            vote_us=250_000,
            ticket_us=30_000,
            update_us=100_000,
            quota=1,
            settle_us=50_000,
            recovery_us=0,
            resend_us=100_000,
        ),
        tuple(Member(signing.public, vrf.public, 1) for signing, vrf in keys),
        tuple((rig.client_key(c).public, rig.registered_samples(c)) for c in (0, 1)),
        file_cid(b"initial"),
        {},
    )


def update_of(genesis: Genesis, head: Head, client: int) -> SignedUpdate:
    """A client's update for the first height."""
    key, data = rig.client_key(client), rig.PAYLOAD.pack(client, 1.0)
    what = (head.cid, key.public, rig.registered_samples(client), file_cid(data))
    signature = key.sign(UpdateRecord.signing_digest(genesis.chain_id, 1, *what))
    return SignedUpdate(UpdateRecord(genesis.chain_id, 1, *what, signature), data)
