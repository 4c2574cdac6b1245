"""The codec ``quantised``: A in numbers of a few bits, with a step for each item."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bfedrec.compression.codec import Buffer, Codec, codec
from bfedrec.section import setting_error

STEP_BITS, MIN_BITS, MAX_BITS = 16, 2, 8
"""Bits of the step that an item's numbers share, and the fewest and the most bits of a number."""


def bits_for(r: int, s: int) -> int:
    """The bits b of a number, such that r numbers and their step take at most the bytes of s
    float32."""
    return min((32 * s - STEP_BITS) // r, MAX_BITS)


@codec("quantised", place=3)
@dataclass(frozen=True)
class Quantised(Codec):
    """A of a rank r above s in numbers of few bits: those of an item take at most the bytes of s
    float32.

    Bytes: every item's step (bfloat16), then by item its r levels of b bits, padded to whole bytes:
    N (2 + ceil(r b / 8)), with b = (32 s - 16) / r rounded down, at most 8. Each number is rounded
    to the nearest level. Its error is at most half a step, in a direction that changes with the
    basis from round to round.
    """

    meaning = (
        "the same in numbers of a few bits, as many as fit: an item's numbers and their step take "
        "the bytes of s numbers of 32 bits at most, so that model.rank = 28 at s = 4 leaves 4 bits "
        "for each"
    )
    under_basis = True

    @classmethod
    def size_for(cls, size: int | None, dimension: int, rank: int) -> int:
        size = super().size_for(size, dimension, rank)
        if rank > dimension:
            raise setting_error("model.rank", f"at most model.dimension = {dimension}")
        if bits_for(rank, size) < MIN_BITS:
            raise setting_error(
                "model.rank",
                f"at most {(32 * size - STEP_BITS) // MIN_BITS}, so that numbers of {MIN_BITS} "
                f"bits fit in compression.size = {size}",
            )
        return size

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.bits < MIN_BITS:
            raise ValueError(
                f"codec {self.name!r}: {self.rows} numbers of {MIN_BITS} bits and their step take "
                f"more than size {self.size}"
            )

    @property
    def bits(self) -> int:
        """The bits b of a number."""
        return bits_for(self.rows, self.size)

    @property
    def byte_size(self) -> int:
        return self.items * (2 + self._row)

    @property
    def _row(self) -> int:
        return (self.rows * self.bits + 7) // 8

    def encode(self, A: np.ndarray, beacon: bytes) -> bytes:
        from bfedrec.compression.bits import quantise

        steps, packed = quantise(A, self.bits)
        return steps.astype("<u2").tobytes() + packed.tobytes()

    def decode(self, data: Buffer, beacon: bytes) -> np.ndarray:
        from bfedrec.compression.bits import dequantise

        return dequantise(*self._parts(data), self.rows, self.bits)

    def check(self, data: Buffer) -> str | None:
        from bfedrec.compression.bits import flaw

        return flaw(*self._parts(data), self.rows, self.bits)

    def _parts(self, data: Buffer) -> tuple[np.ndarray, np.ndarray]:
        steps = np.frombuffer(data, "<u2", self.items).astype(np.uint16)
        return steps, np.frombuffer(data, np.uint8, offset=2 * self.items).reshape(-1, self._row)
