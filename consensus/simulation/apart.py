"""The distances between servers of which each goes on by itself: how much later than the first one
the others append a block, and by how many blocks they are behind it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from consensus.server.edge_server import EdgeServer


@dataclass(frozen=True)
class Apart:
    """Distances between honest servers from the end of one height to that of the next."""

    appended: int = 0
    """Number of blocks that servers appended of which it is known when the first one did."""
    seconds: float = 0.0
    """Simulated seconds after the first server, summed over these blocks."""
    most_seconds: float = 0.0
    """The greatest of these times."""
    heights: int = 0
    """Number of blocks by which the last honest server that is up is behind the first, as that
    appends the height's block: one if it lacks this block alone."""


class Distances:
    """The measuring of `Apart` while the servers go on."""

    def __init__(self) -> None:
        self._first: dict[int, float] = {}
        """By height: the simulated second at which the first server appended its block."""
        self._times: list[float] = []

    def begin(self) -> None:
        """Begin to measure anew, where all servers begin a height together."""
        self._first.clear()
        self._times.clear()

    def note(self, height: int, at: float, honest: bool) -> None:
        """Note that a server appended the block of ``height`` at simulated second ``at``."""
        first = self._first.setdefault(height, at)
        if honest:
            self._times.append(max(0.0, at - first))

    def told(self, height: int, servers: Sequence[EdgeServer], up: Sequence[bool]) -> Apart:
        """The distances since they were last told, as the block of ``height`` is there first."""
        heights = [
            server.chain.height
            for server in servers
            if server.behaviour is None and up[server.index]
        ]
        times, self._times = self._times, []
        lowest = min(heights, default=height)
        for old in [known for known in self._first if known <= lowest]:
            del self._first[old]
        return Apart(len(times), sum(times), max(times, default=0.0), max(0, height - lowest))
