"""The codec ``levels``: A in integers on a scale that all clients share, so that they can be summed
as they are."""

from __future__ import annotations

from dataclasses import dataclass, replace
from hashlib import blake2b
from math import frexp, ldexp

import numpy as np

from bfedrec.compression.codec import Buffer, Codec, codec, parameter
from bfedrec.compression.codecs.quantised import Quantised
from bfedrec.learning.optimizer import Progress


@codec("levels", place=8)
@dataclass(frozen=True)
class Levels(Codec):
    """A of a rank r above s in levels from -L to L of one step for all clients and items.

    The step is 2^-step_bits in the first round and falls linearly, as steps of training may, to its
    `final_permille` in the last; rounded to 8 significant bits, so that its products with levels
    are exact.

    A number is rounded to one of the two levels next to it, at random, so that it is right in the
    mean; beyond L it is cut. Bytes in the clear: level + L in as few bits as hold 2L, row after
    row: ceil(r N bits / 8). The sum of levels is the level of the sum, which is what
    ``aggregation.secure`` needs; there lanes are wider, and masked. Aggregates, whose levels would
    be fractions, travel as `Quantised` of size s.
    """

    meaning = (
        "the same in integers on one public scale, whose sums are exact: what aggregation.secure "
        "sums under masks; the aggregate travels as quantised"
    )
    under_basis = True
    tells_touched = False
    scheduled = True

    levels: int = parameter(4, 1, 127, "the greatest level, L")
    step_bits: int = parameter(4, 0, 24, "a level is 2^-step_bits in the first round")
    final_permille: int = parameter(
        1_000, 1, 1_000, "a level in the last round, in thousandths of that in the first"
    )
    share: float = 1.0
    """The step in the present round, as a share of that in the first."""

    @classmethod
    def size_for(cls, size: int | None, dimension: int, rank: int) -> int:
        return Quantised.size_for(size, dimension, rank)

    @property
    def step(self) -> float:
        """The number that a level of 1 stands for."""
        significant, exponent = frexp(self.share * 2.0**-self.step_bits)
        return ldexp(round(significant * 256) / 256, exponent)

    def at(self, progress: Progress) -> Codec:
        return replace(self, share=progress.falling(1.0, self.final_permille / 1000))

    @property
    def bits(self) -> int:
        """Bits of a level in the clear."""
        return (2 * self.levels).bit_length()

    @property
    def byte_size(self) -> int:
        return (self.rows * self.items * self.bits + 7) // 8

    def of_aggregates(self) -> Codec:
        return Quantised(self.rows, self.items, self.size)

    def rounded(self, A: np.ndarray, beacon: bytes) -> np.ndarray:
        """The levels of A, int16[r, N]; 0 for numbers that are none.

        What rounding draws follows from A and the height, and from nothing else: the same update
        has the same levels whenever it is encoded.
        """
        A = np.ascontiguousarray(A, np.float32)
        seed = blake2b(A.data.cast("B"), key=beacon[:64], digest_size=16).digest()
        draws = np.random.Generator(np.random.PCG64(int.from_bytes(seed, "little")))
        with np.errstate(over="ignore", invalid="ignore"):
            levels = A / np.float32(self.step)
            levels[np.isnan(levels)] = 0
            levels += draws.random(A.shape, np.float32)
        np.floor(levels, out=levels)
        return np.clip(levels, -self.levels, self.levels, out=levels).astype(np.int16)

    def encode(self, A: np.ndarray, beacon: bytes) -> bytes:
        from bfedrec.compression.lanes import pack

        codes = self.rounded(A, beacon) + np.int16(self.levels)
        codes[~np.isfinite(A)] = 2 * self.levels + 1  # which no level has, and `check` refuses
        return pack(codes.reshape(-1), self.bits)

    def decode(self, data: Buffer, beacon: bytes) -> np.ndarray:
        levels = self._codes(data).astype(np.float32) - np.float32(self.levels)
        return (levels * np.float32(self.step)).reshape(self.rows, self.items)

    def check(self, data: Buffer) -> str | None:
        from bfedrec.compression.lanes import spare_bits_set

        if (self._codes(data) > 2 * self.levels).any():
            return "not all numbers are finite"
        if spare_bits_set(data, self.rows * self.items, self.bits):
            return "unused bits are set"
        return None

    def _codes(self, data: Buffer) -> np.ndarray:
        from bfedrec.compression.lanes import unpack

        return unpack(data, self.rows * self.items, self.bits)
