"""The codec ``ternary``: A in three levels, with a step for each item."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bfedrec.compression.codec import Buffer, Codec, codec, parameter
from bfedrec.learning.gradients import Unwritten
from bfedrec.section import setting_error

DIGITS = 5
"""Levels in a byte."""


@codec("ternary", place=7)
@dataclass(frozen=True)
class Ternary(Codec):
    """A of a rank r above s in numbers of three levels: -1, 0 or 1 times the item's step.

    Bytes: every item's step (bfloat16, or the exponent of a power of two), then by item its r
    levels, five to a byte as digits to the base 3: N (step_bytes + ceil(r / 5)), at most the 4 s N
    of s float32. A step is a share of the largest magnitude of an item's numbers, so that at least
    one of them has a level other than 0; numbers below half a step are lost.
    """

    meaning = (
        "the same in three levels (-1, 0, 1), five to a byte: model.rank = 64 takes 15 bytes an "
        "item at s = 4"
    )
    under_basis = True

    cut_permille: int = parameter(
        700, 1, 1_000, "the step, in thousandths of an item's largest magnitude"
    )
    step_bytes: int = parameter(
        2, 1, 2, "bytes of a step: 2 for 8 significant bits, 1 for a power of two"
    )

    @classmethod
    def size_for(cls, size: int | None, dimension: int, rank: int) -> int:
        if size is None:
            raise setting_error("compression.size", "the size s whose bytes may be used, as 4")
        size = super().size_for(size, dimension, rank)
        if rank > dimension:
            raise setting_error("model.rank", f"at most model.dimension = {dimension}")
        if _byte_size(rank, 1) > 4 * size:
            most = DIGITS * (4 * size - 1)
            raise setting_error(
                "model.rank", f"at most {most}, so that they fit in compression.size = {size}"
            )
        return size

    def __post_init__(self) -> None:
        super().__post_init__()
        if _byte_size(self.rows, self.step_bytes) > 4 * self.size:
            raise ValueError(
                f"codec {self.name!r}: {self.rows} levels and a step of {self.step_bytes} bytes "
                f"take more than size {self.size}"
            )

    @property
    def byte_size(self) -> int:
        return self.items * _byte_size(self.rows, self.step_bytes)

    def encode(self, A: np.ndarray, beacon: bytes) -> bytes:
        from bfedrec.compression.ternary import ternarise

        return ternarise(A, self.cut_permille / 1000, self.step_bytes)

    def encode_unwritten(
        self, updates: Unwritten, beacon: bytes, threads: int | None = None
    ) -> list[bytes]:
        from bfedrec.compression.ternary_gradients import ternarise_gradients

        cut = self.cut_permille / 1000
        return ternarise_gradients(updates.gradients, cut, self.step_bytes, threads)

    def decode(self, data: Buffer, beacon: bytes) -> np.ndarray:
        from bfedrec.compression.ternary import unternarise

        return unternarise(*self._parts(data), self.rows, self.step_bytes)

    def total(self, datas: Sequence[Buffer], beacon: bytes) -> np.ndarray:
        from bfedrec.compression.ternary import total

        return total(datas, self.rows, self.items, self.step_bytes)

    def check(self, data: Buffer) -> str | None:
        from bfedrec.compression.ternary import flaw

        return flaw(*self._parts(data), self.rows, self.step_bytes)

    @property
    def _step(self) -> str:
        return f"<u{self.step_bytes}"

    def _parts(self, data: Buffer) -> tuple[np.ndarray, np.ndarray]:
        steps = np.frombuffer(data, self._step, self.items).astype(np.uint16)
        packed = np.frombuffer(data, np.uint8, offset=self.step_bytes * self.items)
        return steps, packed.reshape(self.items, -1)


def _byte_size(rows: int, step_bytes: int) -> int:
    """Bytes of one item."""
    return step_bytes + -(-rows // DIGITS)
