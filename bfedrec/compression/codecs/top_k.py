"""The codec ``top_k``: the numbers of largest magnitude, with their places."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bfedrec.compression.codec import FLOAT, INDEX, Buffer, Codec, codec, signed_zero


@codec("top_k", place=6)
@dataclass(frozen=True)
class TopK(Codec):
    """The K = s N numbers of largest magnitude; of equal ones the first.

    Bytes: their values, then their places in A (row after row, ascending, 32 bits each): 8 K bytes.
    An update with fewer than K numbers other than 0 is filled up with the zeros of lowest place.
    """

    meaning = "the s N largest numbers of Delta Q, with their 32-bit places"

    @property
    def byte_size(self) -> int:
        return (FLOAT.itemsize + INDEX.itemsize) * self.size * self.items

    def encode(self, A: np.ndarray, beacon: bytes) -> bytes:
        from bfedrec.compression.selection import largest

        values = np.ascontiguousarray(A, FLOAT).ravel()
        places = largest(values, self.size * self.items)
        chosen = values[places] + FLOAT.type(0)
        return chosen.astype(FLOAT).tobytes() + places.astype(INDEX).tobytes()

    def decode(self, data: Buffer, beacon: bytes) -> np.ndarray:
        A = np.zeros(self.rows * self.items, np.float32)
        values, places = self._parts(data)
        A[places] = values
        return A.reshape(self.rows, self.items)

    def check(self, data: Buffer) -> str | None:
        values, places = self._parts(data)
        if not np.isfinite(values).all():
            return "not all numbers are finite"
        if places[-1] >= self.rows * self.items or (places[1:] <= places[:-1]).any():
            return "the places are not ascending places of the update"
        zeros = np.flatnonzero(values == 0)
        # Where the last zero stands at its own place in the list, nothing before it is left out.
        if len(zeros) and places[zeros[-1]] != zeros[-1]:
            return "zeros are not at the lowest places"
        return signed_zero(data[: FLOAT.itemsize * len(values)])

    def _parts(self, data: Buffer) -> tuple[np.ndarray, np.ndarray]:
        K = self.size * self.items
        return np.frombuffer(data, FLOAT, K), np.frombuffer(data, INDEX, K, FLOAT.itemsize * K)
