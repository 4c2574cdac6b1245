"""The K largest of many numbers, found by counting: where top-K sparsification spent its time."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numba import njit

from bfedrec.compression.codec import FLOAT, INDEX, Buffer, Codec

HALF = 16
"""A magnitude's bits are counted in two halves."""


def largest(values: np.ndarray, K: int) -> np.ndarray:
    """The places (int64[K], ascending) of the K numbers of largest magnitude in ``values``
    (float32[n], n >= K >= 1), the first in place where they are equal. NaN counts as largest of
    all."""
    return _largest(values.view(np.uint32), K)


@njit(nogil=True, cache=True)
def _largest(bits, K):  # type: ignore[no-untyped-def]
    # Floats without their sign are ordered like the integers of the same bits.
    magnitude = np.uint32(0x7FFFFFFF)
    high = np.zeros(1 << (31 - HALF), np.int64)
    for number in bits:
        high[(number & magnitude) >> HALF] += 1
    upper, left = _reached(high, K)
    low = np.zeros(1 << HALF, np.int64)
    for number in bits:
        if (number & magnitude) >> HALF == upper:
            low[number & ((1 << HALF) - 1)] += 1
    lower, equal = _reached(low, left)
    least = (upper << HALF) | lower
    places = np.empty(K, np.int64)
    found = 0
    for place in range(bits.size):
        number = bits[place] & magnitude
        if number < least:
            continue
        if number == least:
            if equal == 0:
                continue
            equal -= 1
        places[found] = place
        found += 1
    return places


@njit(nogil=True, cache=True)
def _reached(counts, K):  # type: ignore[no-untyped-def]
    """Where the K-th from above lies, and how many of its kind are among the K."""
    for kind in range(counts.size - 1, -1, -1):
        if counts[kind] >= K:
            return kind, K
        K -= counts[kind]
    raise ValueError("fewer than K numbers")


NEGATIVE_ZERO = 1 << 31


@dataclass(frozen=True)
class Random(Codec):
    """Random sparsification: the numbers at K = s N places, which all draw from the beacon.

    Bytes: the values in the order of their places, 4 K bytes. They are sent as they are, not
    divided by the share p = s/d of places: then what decodes from an encoding encodes to it again,
    so that the aggregate comes down without loss, and its mean over the draws is p A. The step
    makes up for p.
    """

    name = "random"

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
        return super().check(data) or _signed_zero(data)

    def places(self, beacon: bytes) -> np.ndarray:
        """The round's places in A, row after row: int64[K], ascending."""
        return _places(beacon, self.rows * self.items, self.size * self.items)


@lru_cache(maxsize=4)
def _places(beacon: bytes, count: int, drawn: int) -> np.ndarray:
    """So many of ``count`` places, without replacement: those with the least of as many draws of
    64 bits, which are the same in every version of the library."""
    digest = hashlib.sha256(b"bfedrec places" + beacon).digest()
    bits = np.random.Philox(key=np.frombuffer(digest[:16], "<u8")).random_raw(count)
    places = np.flatnonzero(bits <= np.partition(bits, drawn - 1)[drawn - 1])[:drawn]
    places.flags.writeable = False
    return places


@dataclass(frozen=True)
class TopK(Codec):
    """The K = s N numbers of largest magnitude, the first in place where they are equal.

    Bytes: their values, then their places in A (row after row, ascending, 32 bits each): 8 K bytes.
    An update with fewer numbers than K is filled up with the zeros of lowest place.
    """

    name = "top_k"

    @property
    def byte_size(self) -> int:
        return (FLOAT.itemsize + INDEX.itemsize) * self.size * self.items

    def encode(self, A: np.ndarray, beacon: bytes) -> bytes:
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
        return _signed_zero(data[: FLOAT.itemsize * len(values)])

    def _parts(self, data: Buffer) -> tuple[np.ndarray, np.ndarray]:
        K = self.size * self.items
        return np.frombuffer(data, FLOAT, K), np.frombuffer(data, INDEX, K, FLOAT.itemsize * K)


def _signed_zero(values: Buffer) -> str | None:
    if (np.frombuffer(values, INDEX) == NEGATIVE_ZERO).any():
        return "a zero has a sign"
    return None
