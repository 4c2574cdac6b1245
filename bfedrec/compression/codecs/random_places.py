"""The codec ``random``: the numbers at places that are drawn from the height's beacon."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from bfedrec.compression.codec import FLOAT, Buffer, Codec, codec, signed_zero


@codec("random", place=4)
@dataclass(frozen=True)
class Random(Codec):
    """Random sparsification: the numbers at K = s N places, which are drawn from the beacon.

    Bytes: the values in the order of their places, 4 K bytes. They are not divided by the share p =
    s/d of places. A decoded update then encodes to the same bytes again, so that the aggregate
    comes down without loss, and its mean over the draws is p A; the step makes up for p.
    """

    meaning = "s N numbers of Delta Q at places drawn from the height's beacon"

    @property
    def byte_size(self) -> int:
        return FLOAT.itemsize * self.size * self.items

    def encode(self, A: np.ndarray, beacon: bytes) -> bytes:
        # Adding 0 makes +0 of -0: one update, one encoding.
        return (A.ravel()[self.places(beacon)] + FLOAT.type(0)).astype(FLOAT).tobytes()

    def decode(self, data: Buffer, beacon: bytes) -> np.ndarray:
        A = np.zeros(self.rows * self.items, np.float32)
        A[self.places(beacon)] = np.frombuffer(data, FLOAT)
        return A.reshape(self.rows, self.items)

    def check(self, data: Buffer) -> str | None:
        return super().check(data) or signed_zero(data)

    def places(self, beacon: bytes) -> np.ndarray:
        """The round's places in A, row after row: int64[K], ascending."""
        return _places(beacon, self.rows * self.items, self.size * self.items)


@lru_cache(maxsize=4)
def _places(beacon: bytes, count: int, drawn: int) -> np.ndarray:
    """``drawn`` of ``count`` places, without replacement, int64, ascending: those with the least of
    as many draws of 64 bits, which are the same in every version of the library."""
    digest = hashlib.sha256(b"bfedrec places" + beacon).digest()
    bits = np.random.Philox(key=np.frombuffer(digest[:16], "<u8")).random_raw(count)
    places = np.flatnonzero(bits <= np.partition(bits, drawn - 1)[drawn - 1])[:drawn]
    places.flags.writeable = False
    return places
