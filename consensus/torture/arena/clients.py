"""The clients of a scenario, some of them hostile.

An honest client makes one update for every height and submits it to an edge server. If that server
is down, behind or refuses it, the client tries the next one, and it checks after a while that its
update is still there (a malicious server may have dropped it, and a crash may have lost it). A
hostile client submits updates that nobody may aggregate.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial
from math import nan
from typing import Any, Protocol

from consensus.encoding.cid import digest
from consensus.encoding.unixfs import file_cid
from consensus.ledger.updates import SignedUpdate
from consensus.ledger.validity import Head
from consensus.network.clock import Clock
from consensus.network.network import Network
from consensus.records.genesis import Genesis
from consensus.records.update import UpdateRecord
from consensus.server.edge_server import EdgeServer
from consensus.torture.arena import rig
from consensus.torture.arena.scenario import Scenario
from consensus.torture.arena.witness import Witness

#: Seconds that a client takes from hearing of a block to bringing its update, at least and most.
TRAINING = (0.02, 0.2)
#: Seconds after which a client that was turned away tries the next server.
NEXT = 0.5
#: The kinds of updates that a hostile client submits.
HOSTILE = (
    "two updates",
    "inflated N_u",
    "stale",
    "early",
    "other parent",
    "other chain",
    "not finite",
    "shape",
    "forged",
)


class ClientsWorld(Protocol):
    """The part of a world that clients use (`consensus.torture.arena.world.TortureWorld`)."""

    env: Clock
    genesis: Genesis
    network: Network
    servers: list[EdgeServer]
    scenario: Scenario
    witness: Witness

    def at(self, time: float, call: Callable[[], None]) -> None:
        """Call ``call`` at ``time`` in simulated seconds, or now if that has passed."""
        ...

    def is_up(self, index: int) -> bool:
        """True if server ``index`` is running."""
        ...


class Clients:
    """All clients of a scenario; the last ``hostile`` of them are hostile."""

    def __init__(self, world: ClientsWorld, count: int, hostile: int, seed: int) -> None:
        self.world = world
        self.keys = [rig.client_key(index) for index in range(count)]
        self.honest = count - hostile
        self.open = 0
        """The highest height for which clients make updates."""
        self.acted: Counter[str] = Counter()
        """Number of each action of hostile clients."""
        self.accepted: dict[bytes, dict[int, float]] = {}
        """By digest of an honest client's update and by server that took it in while it was honest:
        the simulated second since which it has had it."""
        self.by_digest: dict[bytes, SignedUpdate] = {}
        self._updates: dict[tuple[int, bytes], SignedUpdate] = {}
        self._begun: set[int] = set()
        self._again = 2 * world.scenario.resend / 1e3
        self._losing = any(fault.get("lost_tail") for fault in world.scenario.faults)
        self._random = rig.stream(seed, 3).random

    # -- schedule ---------------------------------------------------------------------------------

    def begin(self, head: Head) -> None:
        """Let clients train for the height after ``head``, if they have not begun yet."""
        height = head.height + 1
        if height > self.open or height in self._begun:
            return
        self._begun.add(height)
        least, most = TRAINING
        for client in range(len(self.keys)):
            bring = self._bring if client < self.honest else self._trouble
            self._later(least + (most - least) * self._random(), bring, client, height, client)

    def _later(self, seconds: float, call: Any, *arguments: Any) -> None:
        self.world.at(self.world.env.now + seconds, partial(call, *arguments))

    # -- honest clients ---------------------------------------------------------------------------

    def _bring(self, client: int, height: int, where: int) -> None:
        """Submit the update of a height to a server, until an honest one has it."""
        world = self.world
        server = world.servers[where % len(world.servers)]
        honest = server.behaviour is None
        if server.chain.height >= height and honest:
            if self._losing:  # a crash may undo the block
                self._later(self._again, self._bring, client, height, where)
            return
        if not (world.is_up(server.index) and server.active and server.height == height):
            self._later(NEXT, self._bring, client, height, where + 1)
            return
        update = self.update(client, server.chain.head)
        if not honest and not server.behaviour.takes(server, update.record.client):  # type: ignore[union-attr]
            self._later(NEXT, self._bring, client, height, where + 1)
            return
        self._hand_in(server, update)
        if honest:
            takers = self.accepted.setdefault(update.record.digest, {})
            takers.setdefault(server.index, world.env.now)
        # An honest server keeps it while it is up; a malicious one may have dropped it.
        self._later(self._again, self._bring, client, height, where if honest else where + 1)

    def _hand_in(self, server: EdgeServer, update: SignedUpdate) -> None:
        # Noted before the server gets it: one that outweighs all others may decide with it at once.
        self.world.witness.handed_in(update)
        self.world.network.heard(server.index)
        if server.receive("update", update, server.index, gossiped=True):
            server.say("update", update)

    def update(self, client: int, head: Head) -> SignedUpdate:
        """A client's update for the height after ``head``; the same record at every call."""
        found = self._updates.get((client, head.cid))
        if found is None:
            found = self._updates[client, head.cid] = self.make(client, head)
            self.by_digest[found.record.digest] = found
        return found

    def make(self, who: int, head: Head, **changes: Any) -> SignedUpdate:
        """A new update of client ``who``, signed with ``changes`` to its fields or to its payload
        (``data``)."""
        data = changes.pop("data", None)
        if data is None:
            data = rig.PAYLOAD.pack(2 * self._random() - 1, float(head.height))
        fields = {
            "chain_id": self.world.genesis.chain_id,
            "height": head.height + 1,
            "parent": head.cid,
            "client": self.keys[who].public,
            "samples": rig.registered_samples(who),
            "payload": file_cid(data),
            **changes,
        }
        signature = self.keys[who].sign(UpdateRecord.signing_digest(*fields.values()))
        return SignedUpdate(UpdateRecord(**fields, signature=signature), data)

    # -- hostile clients --------------------------------------------------------------------------

    def _trouble(self, client: int, height: int, where: int) -> None:
        """Submit updates of every hostile kind to some servers."""
        world = self.world
        heads = [
            server
            for server in world.servers
            if world.is_up(server.index) and server.active and server.height == height
        ]
        if not heads:
            if all(server.chain.height < height for server in world.servers):
                self._later(NEXT, self._trouble, client, height, where)
            return
        for turn in range(3):
            what = HOSTILE[int(self._random() * len(HOSTILE))]
            self.acted[what] += 1
            server = heads[(where + turn) % len(heads)]
            for update in self._hostile(client, server, what):
                self._hand_in(heads[int(self._random() * len(heads))], update)

    def _hostile(self, client: int, server: EdgeServer, what: str) -> list[SignedUpdate]:
        head = server.chain.head
        match what:
            case "two updates":
                return [self.make(client, head) for _ in range(3)]
            case "inflated N_u":
                return [self.make(client, head, samples=10**6)]
            case "stale":
                heads = server.chain.heads
                return [self.make(client, heads[max(0, len(heads) - 2)])]
            case "early":
                return [self.make(client, head, height=head.height + 2)]
            case "other parent":
                return [self.make(client, head, parent=file_cid(b"another block"))]
            case "other chain":
                return [self.make(client, head, chain_id=digest(b"another chain"))]
            case "not finite":
                return [self.make(client, head, data=rig.PAYLOAD.pack(nan, 0.0))]
            case "shape":
                return [self.make(client, head, data=bytes(12))]
            case _:  # forged: in the name of an honest client
                victim = int(self._random() * self.honest)
                return [self.make(client, head, client=self.keys[victim].public)]
