"""The bytes that clients fetch, under two accounts.

"Only A travels" assumes that a client has followed every round. Sampled without replacement, an
ML-1M client returns after about a hundred. The paper's tables count one A per participant
(``broadcast``). A returning client really needs every A it missed, or a snapshot of Q and the A's
since, whichever is less (``catch_up``). Both are counted in every run; the config chooses the one
that is charged to the simulated clock.
"""

from __future__ import annotations

import numpy as np


class Downlink:
    """The bytes that each client would have to fetch, height by height.

    With every A comes the header of its block, which proves its address. In the first round there
    is no A yet: its participants fetch Q(0) (Algorithm 1, line 3).
    """

    def __init__(
        self, clients: int, initial_bytes: int, snapshot_bytes: int, snapshot_every: int
    ) -> None:
        """``initial_bytes``: size of Q(0); ``snapshot_bytes``: size of a later snapshot, of Q
        and of the optimizer's state; ``snapshot_every``: rounds between two."""
        self._initial_bytes = initial_bytes
        self._snapshot_bytes = snapshot_bytes
        self._snapshot_every = snapshot_every
        self._seen = np.full(clients, -1, np.int64)
        """Height of the last A that each client has merged; -1: not even Q(0)."""
        self._total = [0]
        """Bytes of all headers and aggregates of heights 1 ... h, at index h."""

    def fetch(self, clients: np.ndarray, height: int) -> dict[str, np.ndarray]:
        """Bytes (int64[m]) that each of ``clients`` fetches to train at ``height``, by account."""
        total = np.array(self._total, np.int64)
        latest = height - 1
        one = self._initial_bytes if latest == 0 else total[latest] - total[latest - 1]
        base = latest - latest % self._snapshot_every
        whole = self._snapshot_bytes if base else self._initial_bytes
        snapshot = whole + total[latest] - total[base]
        seen = self._seen[clients]
        missed = total[latest] - total[np.maximum(seen, 0)]
        return {
            "broadcast": np.full(len(clients), one, np.int64),
            "catch_up": np.where(seen < 0, snapshot, np.minimum(missed, snapshot)),
        }

    def committed(
        self, height: int, clients: np.ndarray, header_bytes: int, aggregate_bytes: int
    ) -> None:
        """Note the block of ``height``; its participants ``clients`` now have all A's before it."""
        self._seen[clients] = height - 1
        self._total.append(self._total[-1] + header_bytes + aggregate_bytes)
