"""The network between edge servers with gossip over a redundant mesh instead of a spanning tree.

A message is pushed in full to the peers of a server's mesh, which check it and push it on, in the
manner of libp2p's gossipsub v1.1 (GossipSub, Vyzovitis et al. 2020, arXiv:2007.02754). Copies that
come again are dropped, after they have taken their time in the queues. At its heartbeats a server
repairs its mesh (`consensus.network.peers`) and tells some servers outside of it the names of the
messages that it has (IHAVE); who lacks one asks for it (IWANT). A message's name is its origin and
a number, as is usual with libp2p: who says something again sends a new message.

Left out of v1.1 are peer scores, flood publishing, opportunistic grafting and the adaptive number
of peers told. Every server is connected with every other: the mesh is drawn among all of them, over
links with the latencies of `Topology.latency`. Messages to single servers go the ways of `Network`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial
from itertools import islice
from math import floor
from typing import Any, Final, Literal, get_args

import numpy as np

from consensus.network.network import Backlog, Network
from consensus.network.peers import Degrees, MeshStanding, Peers, first_meshes
from consensus.server.message import Message

KEPT: Final = 5
"""Heartbeats for which a server can send a message that is asked for (mcache_len)."""
TOLD: Final = 3
"""Heartbeats for which it tells others that it has a message (mcache_gossip)."""
MOST_TOLD: Final = 5000
"""Most messages that are named at once, the latest ones (MaxIHaveLength)."""
NAME_BYTES: Final = 40
"""Bytes of a message's name: a key of 32 and a number of 8. Every push carries one."""
CONTROL_BYTES: Final = 16
"""Bytes of a control message beside the names in it."""
Control = Literal["ihave", "iwant", "graft", "prune", "keepalive"]
"""The kinds of control messages."""
CONTROL: Final[tuple[Control, ...]] = get_args(Control)


@dataclass(frozen=True)
class Mesh:
    """The settings of a mesh, and its randomness."""

    draws: Callable[..., np.random.Generator]
    """The generator of the mesh's draws for integer labels: none for the first mesh; a server and
    the number of its heartbeat (0: when its heartbeats fall); and the microsecond at which an epoch
    begins, for whom else servers with few peers push to."""
    degrees: Degrees = field(default_factory=Degrees)
    heartbeat: float = 1.0
    """Simulated seconds between two heartbeats of a server."""


class _Post:
    """A gossiped message under its name, and the servers that have seen it."""

    __slots__ = ("instead", "message", "origin", "seen")

    def __init__(self, message: Message, origin: int, servers: int) -> None:
        self.message = replace(message, size=message.size + NAME_BYTES, gossiped=True)
        """The message as it is pushed, with its name."""
        self.origin = origin
        self.seen = bytearray(servers)
        """By server: its number of lives (`MeshNetwork._lives`) when it first saw the message."""
        self.instead: dict[tuple[str, int], _Post] = {}
        """By kind and identity of the body: what is passed on in its place."""


class MeshNetwork(Network):
    """A `Network` whose gossip goes over a mesh."""

    def __init__(
        self, *parts: Any, mesh: Mesh, is_up: Callable[[int], bool] = lambda server: True
    ) -> None:
        """``parts``: those of a `Network`; ``is_up`` tells if a server is running, which one that
        does not relay may be."""
        super().__init__(*parts)
        self._mesh, self._is_up = mesh, is_up
        env, topology = self.env, self.topology
        servers = range(topology.servers)
        self.peers = [Peers(server, topology.servers, mesh.degrees) for server in servers]
        first_meshes(self.peers, mesh.draws())
        self._first_beats = [
            mesh.heartbeat * float(mesh.draws(server, 0).random()) for server in servers
        ]
        """By server: the simulated second of its first heartbeat."""
        for peers, first in zip(self.peers, self._first_beats, strict=True):
            peers.beats = max(0, floor((env.now - first) / mesh.heartbeat) + 1)
        self._latencies: list[memoryview[float]] = [memoryview(row) for row in topology.latency]
        self._lives = [1] * topology.servers
        """By server: number of its lives, from 1 to 255; what an earlier one has seen is lost."""
        self._kept: list[deque[dict[_Post, None]]] = [
            deque([{}], maxlen=KEPT) for server in servers
        ]
        """By server: the messages that it can send again, its own and those that it has passed on,
        by heartbeat, the latest last."""
        self._drawing: Callable[[], np.random.Generator]
        """The epoch's generator, made when it is first needed: many never are."""
        self._in_hand: tuple[_Post, int] | None = None
        """The message that a server is taking in, and the peer that it has it from."""

    def begin(self, generator: np.random.Generator) -> None:
        """Begin a new epoch (`Network.begin`), in which no message of an earlier one is sent
        again."""
        super().begin(generator)
        self._drawing = cache(partial(self._mesh.draws, round(1e6 * self.env.now)))
        if self._begun == 1:
            for server in range(self.topology.servers):
                self._schedule_beat(server)
        for kept in self._kept:
            kept.clear()
            kept.append({})

    def set_relaying(self, server: int, relays: bool) -> None:
        """Set if ``server`` passes on messages of others (`Network.set_relaying`).

        Its peers do not know: they notice in time that one is down, and never that one only
        listens."""
        super().set_relaying(server, relays)
        if not self._is_up(server):
            self.peers[server].clear()
            self._kept[server].clear()
            self._kept[server].append({})
            self._lives[server] = self._lives[server] % 255 + 1

    def meshes(self) -> tuple[MeshStanding, ...]:
        """The state of each server's mesh."""
        return tuple(peers.standing() for peers in self.peers)

    def restore(self, backlog: Iterable[Backlog], meshes: Iterable[MeshStanding] = ()) -> None:
        """Let queues and meshes be as they were in an earlier world (`Network.restore`)."""
        super().restore(backlog)
        for peers, standing in zip(self.peers, meshes, strict=False):
            peers.restore(standing)

    # -- sending ----------------------------------------------------------------------------------

    def gossip(self, origin: int, message: Message, at: float) -> None:
        """Send ``message`` from ``origin`` to the peers of its mesh, and if these are fewer than D
        to others, leaving at ``at`` seconds (now, if that has passed)."""
        message.gossiped = True
        post = _Post(message, origin, self.topology.servers)
        post.seen[origin] = self._lives[origin]
        self._push(origin, post, at, origin)
        peers = self.peers[origin]
        lacking = peers.degrees.degree - len(peers.mesh)
        if lacking > 0:  # one that has just come back may have no peer yet
            others = peers.draw(lacking, peers.outside() or list(peers.silent), self._drawing)
            self._emit(origin, others, post.message, post, at)

    def pass_on(
        self, server: int, origin: int, message: Message, at: float, before: Collection[int]
    ) -> None:
        """Pass ``message`` on in place of the one that ``server`` is taking in, unless it went to
        the whole mesh ``before``: the mesh is the same for all origins."""
        if self._in_hand is None or before or not self._relays[server]:
            return
        post, sender = self._in_hand
        if message.body != post.message.body:  # else its own copy is the same to everybody
            key = message.kind, id(message.body)
            if key not in post.instead:
                post.instead[key] = _Post(message, origin, self.topology.servers)
            post = post.instead[key]
        post.seen[server] = self._lives[server]
        self._push(server, post, at, sender)

    def _push(self, server: int, post: _Post, at: float, sender: int) -> None:
        """Push a message to the mesh of ``server``, but not to its ``sender`` and its origin."""
        self._kept[server][-1][post] = None
        but = sender, post.origin
        peers = [peer for peer in self.peers[server].mesh if peer not in but]
        self._emit(server, peers, post.message, post, at)

    def _tell(
        self, server: int, peers: Sequence[int], kind: Control, posts: Sequence[_Post]
    ) -> None:
        """Send a control message, which names ``posts``, to some peers."""
        now, size = self.env.now, CONTROL_BYTES + NAME_BYTES * len(posts)
        message = Message(kind, tuple(posts), size, said=now)
        self._emit(server, peers, message, None, now)

    def _emit(
        self, server: int, peers: Sequence[int], message: Message, post: _Post | None, at: float
    ) -> None:
        """Send ``message`` over the links from ``server`` to ``peers``; ``post``: None for control.
        Its deliveries are marked with the sender and the post."""
        if not peers:
            return
        if self.env.now >= self._change_at:
            _ = self.overlay  # notes which faults are active
        origin, tag = server if post is None else post.origin, (server, post)
        self._transmit(server, peers, self._latencies[server], message, origin, tag, at)

    # -- receiving --------------------------------------------------------------------------------

    def _hand_over(self, delivery: Any) -> None:
        """Take in a message that has come through the ingress queue."""
        begun, server, message, origin, tag = delivery
        if tag is False:
            super()._hand_over(delivery)
            return
        if begun != self._begun or not self._is_up(server):
            return
        sender, post = tag
        self.peers[server].heard(sender)
        if post is None:
            self._control(server, sender, message)
            return
        # Else a fault has damaged it, as the sender's signature tells.
        whole = message.body is post.message.body
        if whole and post.seen[server] == self._lives[server]:
            self.duplicates["messages"] += 1
            self.duplicates["bytes"] += message.size
            return
        if whole:
            post.seen[server] = self._lives[server]
        self._in_hand = post, sender
        at = self._receive(server, message, origin)
        self._in_hand = None
        if whole and at is not None and self._relays[server]:
            self._push(server, post, at, sender)

    def _control(self, server: int, sender: int, message: Message) -> None:
        """Act on a control message."""
        posts, peers, lives = message.body, self.peers[server], self._lives[server]
        if type(posts) is not tuple:
            return  # damaged
        if message.kind == "ihave":
            lacking = [post for post in posts if post.seen[server] != lives]
            if lacking:
                self._tell(server, (sender,), "iwant", lacking)
        elif message.kind == "iwant":
            for post in posts:
                if any(post in kept for kept in self._kept[server]):
                    self._emit(server, (sender,), post.message, post, self.env.now)
        elif message.kind == "graft":
            if not peers.graft(sender):
                self._tell(server, (sender,), "prune", ())
        elif message.kind == "prune":
            peers.prune(sender)

    # -- heartbeats -------------------------------------------------------------------------------

    def _schedule_beat(self, server: int) -> None:
        """Schedule the next heartbeat of a server."""
        at = self._first_beats[server] + self.peers[server].beats * self._mesh.heartbeat
        self.env.call_at(at, self._beat, server)

    def _beat(self, server: int) -> None:
        """Repair a server's mesh, show it that the server lives, and tell others what it has."""
        peers = self.peers[server]
        peers.beats += 1
        self._schedule_beat(server)
        if not self._is_up(server):
            return
        draws = cache(partial(self._mesh.draws, server, peers.beats))
        grafted, pruned = peers.beat(draws)
        self._tell(server, grafted, "graft", ())
        self._tell(server, pruned, "prune", ())
        kept = [peer for peer in peers.mesh if peer not in grafted]
        self._tell(server, kept, "keepalive", ())
        windows = islice(reversed(self._kept[server]), TOLD)
        posts = [post for window in windows for post in reversed(window)][:MOST_TOLD]
        if posts and peers.degrees.lazy:
            told = peers.draw(peers.degrees.lazy, peers.outside(), draws)
            self._tell(server, told, "ihave", posts)
        self._kept[server].append({})
