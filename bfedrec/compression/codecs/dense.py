"""The codec ``dense``: the whole Delta Q as float32 numbers (FedMF)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bfedrec.compression.codec import FLOAT, Buffer, Codec, codec
from bfedrec.section import setting_error


@codec("dense", place=1)
@dataclass(frozen=True)
class Dense(Codec):
    """All of Delta Q, row after row: exactly 4 r N bytes."""

    meaning = "all of Delta Q (FedMF, with model.dimension at the transmitted size)"
    lossless = True
    tells_touched = False

    @classmethod
    def size_for(cls, size: int | None, dimension: int, rank: int) -> int:
        if size not in (None, dimension):
            raise setting_error(
                "compression.size",
                f"null or model.dimension = {dimension}, as compression.kind is {cls.name}",
            )
        return dimension

    @property
    def byte_size(self) -> int:
        return FLOAT.itemsize * self.rows * self.items

    def encode(self, A: np.ndarray, beacon: bytes) -> bytes:
        return np.ascontiguousarray(A, FLOAT).tobytes()

    def decode(self, data: Buffer, beacon: bytes) -> np.ndarray:
        return np.frombuffer(data, FLOAT).reshape(self.rows, self.items)
