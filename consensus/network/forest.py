"""The trees of shortest paths of an overlay, as arrays for compiled loops."""

from __future__ import annotations

import numpy as np

from consensus.network import arrays
from consensus.network.arrays import Arrays
from consensus.network.topology import Overlay

MOST_BYTES = 2**27
"""Bytes of the trees that are at hand at once."""


class Forest:
    """The trees of some origins in the overlay in use."""

    def __init__(self, servers: int, table: Arrays) -> None:
        """``table``: where loops find the trees."""
        self._servers = servers
        self._put = table.put
        self._tree_of = self._put(arrays.TREE_OF, np.full(servers, -1, np.int64))
        self._overlay: Overlay | None = None
        self._paths: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        self._planted = 0
        self._make_room(1)

    def belongs_to(self, overlay: Overlay | None) -> None:
        """Be the forest of ``overlay``: the trees of another are dropped."""
        if overlay is not self._overlay:
            self._overlay = overlay
            self._clear()

    def paths(self, origin: int) -> tuple[np.ndarray, np.ndarray]:
        """Seconds (float64[servers]) and number of links (uint16[servers]) of the paths from an
        origin."""
        found = self._paths.get(origin)
        if found is None:
            assert self._overlay is not None
            tree = self._overlay.tree(origin)
            found = np.frombuffer(tree.seconds), np.frombuffer(tree.hops, np.uint16)
            self._paths[origin] = found
        return found

    def grow(self, origin: int) -> None:
        """Have the tree of an origin at hand."""
        room = len(self._trees[0])
        if self._planted == room:
            most = max(1, MOST_BYTES // (24 * self._servers))
            if room < most:
                had = self._trees
                self._make_room(min(most, max(16, 2 * room)))
                for part, old in zip(self._trees, had, strict=True):
                    part[:room] = old
            else:
                self._clear()
        overlay, place = self._overlay, self._planted
        assert overlay is not None
        starts, children, delays = (part[place] for part in self._trees)
        parents = np.frombuffer(overlay.tree(origin).parents, np.int32)
        onward = np.argsort(parents, kind="stable")  # first the servers without a parent
        ordered = parents[onward]
        starts[:] = np.searchsorted(ordered, np.arange(len(parents) + 1))
        without = int(starts[0])
        starts -= without
        onward = onward[without:]
        children[: len(onward)] = onward
        delays[: len(onward)] = overlay.latency[ordered[without:], onward]
        self._tree_of[origin] = place
        self._planted = place + 1

    def _clear(self) -> None:
        self._tree_of[:] = -1
        self._planted = 0
        self._paths.clear()

    def _make_room(self, trees: int) -> None:
        servers, put = self._servers, self._put
        self._trees = (
            put(arrays.STARTS, np.empty((trees, servers + 1), np.int64)),
            put(arrays.CHILDREN, np.empty((trees, servers), np.int64)),
            put(arrays.DELAYS, np.empty((trees, servers))),
        )
