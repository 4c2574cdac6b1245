"""Codecs that send float32 numbers as they are: the whole Delta Q, or A under a basis."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bfedrec.compression.codec import FLOAT, Buffer, Codec


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
