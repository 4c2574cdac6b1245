"""Codecs: how an update (float32[r, N]) becomes bytes, and what is read from them again.

Numbers are little-endian, and every encoding of a codec has the same size, so that a client's time
on the wire is known before it trains. What is lost is lost for good: servers aggregate what they
decode, and everybody merges what decodes from the model's bytes. A codec of one's own is a subclass
with its entry in CODECS and its name in `compression_settings.py`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

FLOAT = np.dtype("<f4")
INDEX = np.dtype("<u4")
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
    If not, rules that want to know it have a mask sent along (`bfedrec.compression.exchange`), and
    `decode` must not depend on the beacon."""

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
