"""The codec ``svd``: the largest singular triples of an update."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bfedrec.compression.codec import FLOAT, Buffer, Codec, codec


@codec("svd", place=5)
@dataclass(frozen=True)
class Svd(Codec):
    """The s largest singular triples: A' is approximated by U diag(S) V'.

    Bytes: U (N x s), S (s, descending) and V (d x s), each row after row: 4 (N s + s + d s) bytes.
    The largest entry of each column of V is positive; where A has a lower rank, the rest is 0.
    Unlike under the other codecs, several encodings may decode to the same update.
    """

    meaning = "the s largest singular triples of Delta Q"

    @property
    def byte_size(self) -> int:
        return FLOAT.itemsize * self.size * (self.items + 1 + self.rows)

    def encode(self, A: np.ndarray, beacon: bytes) -> bytes:
        from bfedrec.compression.decomposition import truncated_svd

        with np.errstate(over="ignore"):  # what becomes infinite, `check` refuses
            return b"".join(part.astype(FLOAT).tobytes() for part in truncated_svd(A, self.size))

    def decode(self, data: Buffer, beacon: bytes) -> np.ndarray:
        from bfedrec.compression.decomposition import product

        U, S, V = self._parts(data)
        with np.errstate(over="ignore"):
            return product(U, S, V).astype(np.float32)

    def check(self, data: Buffer) -> str | None:
        _, S, _ = self._parts(data)
        if not np.isfinite(np.frombuffer(data, FLOAT)).all():
            return "not all numbers are finite"
        if S[-1] < 0 or (S[1:] > S[:-1]).any():
            return "the singular values do not descend to 0 or more"
        if not np.isfinite(self.decode(data, b"")).all():
            return "not all numbers are finite"
        return None

    def _parts(self, data: Buffer) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        numbers = np.frombuffer(data, FLOAT)
        U, S, V = np.split(numbers, [self.items * self.size, (self.items + 1) * self.size])
        return U.reshape(self.items, self.size), S, V.reshape(self.rows, self.size)
