"""Codecs: how an update (float32[r, N]) becomes bytes, and what is read from them again.

Numbers are little-endian, and every encoding of a codec has the same size, so that a client's time
on the wire is known before it trains. What is lost is lost for good: servers aggregate what they
decode, and everybody merges what decodes from the model's bytes. A codec of one's own is a subclass
with its entry in CODECS and its name in `compression_settings.py`.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import numpy as np

from bfedrec.compression_settings import MIN_BITS, quantised_bits
from bfedrec.quantised import dequantise, flaw, quantise
from bfedrec.selection import largest
from bfedrec.svd import product, truncated_svd

FLOAT = np.dtype("<f4")
INDEX = np.dtype("<u4")
NEGATIVE_ZERO = 1 << 31
Buffer = bytes | memoryview


@dataclass(frozen=True)
class Codec(ABC):
    """A format of updates of one shape.

    ``rows`` is r: the rank under `low_rank`, otherwise the dimension d. ``size`` is the transmitted
    size s: about s N numbers travel. ``beacon``, where it is asked for, is the height's.
    """

    name: ClassVar[str]
    tells_touched: ClassVar[bool] = True
    """Whether the items that a client touched are read off its update: those with a number but 0.
    If not, rules that want to know it have a mask sent along (`bfedrec.exchange`), and `decode`
    must not depend on the beacon."""

    rows: int
    items: int
    size: int

    @property
    @abstractmethod
    def byte_size(self) -> int:
        """Bytes of every encoding."""

    @abstractmethod
    def encode(self, A: np.ndarray, beacon: bytes) -> bytes:
        """The bytes of A, float32[r, N]; numbers that are not finite may be encoded as such."""

    @abstractmethod
    def decode(self, data: Buffer, beacon: bytes) -> np.ndarray:
        """What `check` finds well-formed, as float32[r, N], perhaps read-only."""

    def check(self, data: Buffer) -> str | None:
        """Why ``data`` is no encoding, or None. Its length is `byte_size`."""
        if not np.isfinite(np.frombuffer(data, FLOAT)).all():
            return "not all numbers are finite"
        return None


@dataclass(frozen=True)
class Dense(Codec):
    """All of it, row after row: exactly 4 r N bytes."""

    name = "dense"
    tells_touched = False

    @property
    def byte_size(self) -> int:
        return FLOAT.itemsize * self.rows * self.items

    def encode(self, A: np.ndarray, beacon: bytes) -> bytes:
        return np.ascontiguousarray(A, FLOAT).tobytes()

    def decode(self, data: Buffer, beacon: bytes) -> np.ndarray:
        return np.frombuffer(data, FLOAT).reshape(self.rows, self.items)


@dataclass(frozen=True)
class LowRank(Dense):
    """A of rank r = s, all of it; what it stands for is B A."""

    name = "low_rank"


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


@dataclass(frozen=True)
class Svd(Codec):
    """The s largest singular triples: A' is taken for U diag(S) V'.

    Bytes: U (N x s), S (s, descending) and V (d x s), each row after row: 4 (N s + s + d s) bytes.
    The largest entry of each column of V is positive; where A has a lower rank, the rest is 0.
    Other numbers may decode to the same update: of this codec alone it is not so that one update
    has one encoding.
    """

    name = "svd"

    @property
    def byte_size(self) -> int:
        return FLOAT.itemsize * self.size * (self.items + 1 + self.rows)

    def encode(self, A: np.ndarray, beacon: bytes) -> bytes:
        with np.errstate(over="ignore"):  # what becomes infinite, `check` refuses
            return b"".join(part.astype(FLOAT).tobytes() for part in truncated_svd(A, self.size))

    def decode(self, data: Buffer, beacon: bytes) -> np.ndarray:
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


@dataclass(frozen=True)
class Quantised(Codec):
    """A of a rank r above s in numbers of few bits: an item's take the bytes of s float32 at most.

    Bytes: every item's step (bfloat16), then by item its r levels of b bits, filled up to whole
    bytes: N (2 + ceil(r b / 8)), with b = (32 s - 16) / r rounded down, 8 at most. The nearest
    level is taken: a number is off by half a step at most, in a direction that turns with the basis
    from round to round.
    """

    name = "quantised"

    def __post_init__(self) -> None:
        if self.bits < MIN_BITS:
            raise ValueError(
                f"codec {self.name!r}: {self.rows} numbers of {MIN_BITS} bits and their step take "
                f"more than size {self.size}"
            )

    @property
    def bits(self) -> int:
        """b, of a number."""
        return quantised_bits(self.rows, self.size)

    @property
    def byte_size(self) -> int:
        return self.items * (2 + self._row)

    @property
    def _row(self) -> int:
        return (self.rows * self.bits + 7) // 8

    def encode(self, A: np.ndarray, beacon: bytes) -> bytes:
        steps, packed = quantise(A, self.bits)
        return steps.astype("<u2").tobytes() + packed.tobytes()

    def decode(self, data: Buffer, beacon: bytes) -> np.ndarray:
        return dequantise(*self._parts(data), self.rows, self.bits)

    def check(self, data: Buffer) -> str | None:
        return flaw(*self._parts(data), self.rows, self.bits)

    def _parts(self, data: Buffer) -> tuple[np.ndarray, np.ndarray]:
        steps = np.frombuffer(data, "<u2", self.items).astype(np.uint16)
        return steps, np.frombuffer(data, np.uint8, offset=2 * self.items).reshape(-1, self._row)


def _signed_zero(values: Buffer) -> str | None:
    if (np.frombuffer(values, INDEX) == NEGATIVE_ZERO).any():
        return "a zero has a sign"
    return None


CODECS: dict[str, type[Codec]] = {
    codec.name: codec for codec in (LowRank, Quantised, Dense, Random, TopK, Svd)
}


def codec_named(name: str, rows: int, items: int, size: int) -> Codec:
    """The codec of that name for updates float32[rows, items].

    Raises ValueError for an unknown name, which lists the names there are, and for a size outside
    1 ... rows.
    """
    if name not in CODECS:
        raise ValueError(f"codec {name!r} is not one of {', '.join(CODECS)}")
    if type(size) is not int or not 1 <= size <= rows:
        raise ValueError(f"codec {name!r}: a transmitted size of 1 to {rows}, not {size!r}")
    if rows * items > 2**32:
        raise ValueError(f"codec {name!r}: {rows} x {items} numbers have no place of 32 bits")
    return CODECS[name](rows, items, size)
