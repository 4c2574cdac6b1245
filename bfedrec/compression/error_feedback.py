"""Error feedback: a client adds to its next update what the codec lost of the last one.

A client u sends the encoding of A_u + e_u, and then keeps e_u <- A_u + e_u - D, where D is what
that encoding decodes to (Seide et al. 2014; Stich et al. 2018; Karimireddy et al. 2019). The
residual e_u lies in Delta Q, whose coordinates are the same in every round. It never leaves the
client, which is not told whether the block holds its update, and takes it for received.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from bfedrec.compression.exchange import Exchange
from bfedrec.learning.upload import Diverged, Upload


class ErrorFeedback:
    """The residuals of some clients, and the updates that they send with them."""

    def __init__(self, exchange: Exchange, residuals: Mapping[int, bytes] | None = None) -> None:
        """``residuals``: of earlier updates, by client, as `pack` writes them; other clients have
        none."""
        self._exchange = exchange
        self.residuals: dict[int, bytes] = dict(residuals or {})
        """The packed residual of each client after its last update."""

    def sent(
        self, uploads: Sequence[Upload], beacon: bytes, attack: Callable[[int], str | None]
    ) -> list[Upload]:
        """The uploads that clients send instead of their trained ``uploads``, in a round with this
        beacon. A client that follows an ``attack`` (its name by client; None: honest) forges its
        upload from its training alone, and keeps its residual until it is honest again.

        Raises Diverged, naming the client, where numbers get too large.
        """
        return [
            self._sent(upload, beacon) if attack(upload.client) is None else upload
            for upload in uploads
        ]

    def _sent(self, upload: Upload, beacon: bytes) -> Upload:
        client, A, touched = upload.client, upload.A.copy(), upload.touched.copy()
        items, rows = unpack(self.residuals.get(client, b""), len(A))
        touched[items] = True
        with np.errstate(over="ignore", invalid="ignore"):  # refused below
            A[:, items] += rows.T
            payload = self._exchange.encode(A, touched, beacon)
            left = A - self._exchange.decode(payload, beacon).A
        if not np.isfinite(left).all():
            raise Diverged(
                f"client {client}'s residual is no longer finite numbers; lower training.item_step"
            )
        self.residuals[client] = pack(left)
        return replace(upload, A=A, touched=touched, payload=payload)


def pack(residual: np.ndarray) -> bytes:
    """A residual (float32[r, N]) by item: the k items with a number but 0 (int32, ascending), then
    their rows (float32[k, r]), little-endian; 4 k (1 + r) bytes."""
    items = np.flatnonzero(residual.any(axis=0))
    return items.astype("<i4").tobytes() + residual[:, items].T.astype("<f4").tobytes()


def unpack(data: bytes, r: int) -> tuple[np.ndarray, np.ndarray]:
    """Items (int32[k]) and rows (float32[k, r]) of a residual that `pack` encoded."""
    k = len(data) // (4 * (1 + r))
    return np.frombuffer(data, "<i4", k), np.frombuffer(data, "<f4", offset=4 * k).reshape(k, r)
