"""The mesh of one server in a gossip overlay: whom it pushes messages to, and how that changes.

The rules are those of libp2p's gossipsub v1.1 (libp2p/specs, pubsub/gossipsub): at each heartbeat a
server with fewer than D_low peers in its mesh grafts others up to D, and one with more than D_high
prunes down to D; a peer that was pruned is not grafted again for a minute. Gossipsub leaves to the
transport how a dead peer is noticed. Here a server drops a peer of its mesh that it has heard
nothing from for `PATIENCE` heartbeats, and tries it again after `RETRY` of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

PATIENCE: Final = 3
"""Heartbeats without a sign of life after which a peer is taken for dead."""
RETRY: Final = 10
"""Heartbeats until a peer that was taken for dead is tried again."""
BACKOFF: Final = 60
"""Heartbeats until a pruned peer may be grafted again (v1.1: a minute)."""

MeshStanding = tuple[
    int,
    tuple[tuple[int, int], ...],
    tuple[tuple[int, int], ...],
    tuple[tuple[int, int], ...],
]
"""The state of a server's mesh between two heights: the number of its heartbeats so far, and
`Peers.mesh`, `Peers.pruned` and `Peers.silent` as pairs in their order."""


@dataclass(frozen=True)
class Degrees:
    """The degrees of a mesh."""

    degree: int = 6
    """D: number of peers that a server grafts up to."""
    lazy: int = 6
    """D_lazy: number of peers outside of the mesh that hear at a heartbeat what a server has."""

    @property
    def low(self) -> int:
        """D_low: number of peers below which a server grafts others, two thirds of D."""
        return -(-2 * self.degree // 3)

    @property
    def high(self) -> int:
        """D_high: number of peers above which a server prunes, twice D."""
        return 2 * self.degree


class Peers:
    """The peers of one server."""

    __slots__ = ("beats", "degrees", "mesh", "pruned", "server", "servers", "silent")

    def __init__(self, server: int, servers: int, degrees: Degrees) -> None:
        """``servers``: number of all servers; each knows all others, as the genesis names them."""
        self.server = server
        self.degrees = degrees
        self.servers = servers
        self.beats = 0
        """Number of the heartbeats so far, those while it was down included."""
        self.mesh: dict[int, int] = {}
        """By peer of the mesh: the number of heartbeats since it was last heard."""
        self.pruned: dict[int, int] = {}
        """By peer: the heartbeat before which neither of the two may graft the other."""
        self.silent: dict[int, int] = {}
        """By peer that was taken for dead: the heartbeat at which it is tried again."""

    def clear(self) -> None:
        """Forget all peers, as a crash does."""
        for known in (self.mesh, self.pruned, self.silent):
            known.clear()

    # -- at a heartbeat ---------------------------------------------------------------------------

    def beat(self, draws: Callable[[], np.random.Generator]) -> tuple[list[int], list[int]]:
        """Repair the mesh at a heartbeat; returns the peers to be told that they were grafted, and
        those to be told that they were pruned. ``draws`` gives the heartbeat's generator."""
        for until in (self.pruned, self.silent):
            for peer in [peer for peer, beat in until.items() if beat <= self.beats]:
                del until[peer]
        for peer, missed in list(self.mesh.items()):
            if missed >= PATIENCE:
                del self.mesh[peer]
                self.silent[peer] = self.beats + RETRY
            else:
                self.mesh[peer] = missed + 1
        size = len(self.mesh)
        if size < self.degrees.low:
            grafted = self.draw(self.degrees.degree - size, self.free(), draws)
            self.mesh.update(dict.fromkeys(grafted, 0))
            return grafted, []
        if size > self.degrees.high:
            leaving = self.draw(size - self.degrees.degree, list(self.mesh), draws)
            for peer in leaving:
                self.prune(peer)
            return [], leaving
        return [], []

    def free(self) -> list[int]:
        """The peers that may be grafted, ascending."""
        return [peer for peer in self.outside() if peer not in self.pruned]

    def outside(self) -> list[int]:
        """The peers outside of the mesh that are not taken for dead, ascending."""
        known = {self.server, *self.mesh, *self.silent}
        return [peer for peer in range(self.servers) if peer not in known]

    @staticmethod
    def draw(
        number: int, peers: Sequence[int], draws: Callable[[], np.random.Generator]
    ) -> list[int]:
        """So many of ``peers`` at random, or all if they are no more."""
        if len(peers) <= number:
            return list(peers)
        return [peers[place] for place in draws().permutation(len(peers))[:number].tolist()]

    # -- as messages come -------------------------------------------------------------------------

    def heard(self, peer: int) -> None:
        """Note a sign of life."""
        if self.mesh.get(peer):
            self.mesh[peer] = 0
        elif self.silent:
            self.silent.pop(peer, None)

    def graft(self, peer: int) -> bool:
        """Take a peer that asks for it into the mesh; returns False if that must not be."""
        if peer in self.mesh:
            return True
        if peer in self.pruned or len(self.mesh) >= self.degrees.high:
            return False
        self.mesh[peer] = 0
        return True

    def prune(self, peer: int) -> None:
        """Take a peer out of the mesh for some time."""
        self.mesh.pop(peer, None)
        self.pruned[peer] = self.beats + BACKOFF

    # -- at a checkpoint --------------------------------------------------------------------------

    def standing(self) -> MeshStanding:
        """The state, for `restore`."""
        known = (tuple(each.items()) for each in (self.mesh, self.pruned, self.silent))
        return self.beats, *known  # type: ignore[return-value]

    def restore(self, standing: MeshStanding) -> None:
        """Take on the state of an earlier world."""
        self.clear()
        self.beats, *known = standing
        for own, pairs in zip((self.mesh, self.pruned, self.silent), known, strict=True):
            own.update(pairs)


def first_meshes(peers: Sequence[Peers], draws: np.random.Generator) -> None:
    """Let all servers join the mesh, one after the other in random order, each grafting up to D."""
    for server in draws.permutation(len(peers)).tolist():
        own = peers[server]
        free = [peer for peer in own.free() if len(peers[peer].mesh) < own.degrees.high]
        lacking = max(0, own.degrees.degree - len(own.mesh))
        for peer in own.draw(lacking, free, lambda: draws):
            own.mesh[peer] = 0
            peers[peer].mesh[server] = 0


def check_meshes(standings: Iterable[MeshStanding], servers: int) -> None:
    """Raise ValueError for states that are not those of ``servers`` servers."""
    found = list(standings)
    named = [peer for _, *known in found for pairs in known for peer, _ in pairs]
    if len(found) not in (0, servers) or max(named, default=0) >= servers:
        raise ValueError(f"there are {servers} servers with a mesh each")
