"""The interface of a codec (an update float32[r, N] to bytes and back) and the registry of codecs.

Numbers are little-endian, and every encoding of a codec has the same size, so that a client's time
on the wire is known before it trains. What is lost is lost for good: servers aggregate what they
decode, and everybody merges what decodes from the aggregate's bytes.

A codec is a class. The fields it adds are its parameters, which a config gives as
``compression.FIELD`` and the genesis records. A whole codec:

    @codec("shifted")
    @dataclass(frozen=True)
    class Shifted(Codec):
        \"""All numbers as integers of 32 bits, in units of 2^-shift.\"""

        meaning = "integers in units of 2^-shift"

        shift: int = parameter(16, 0, 30, "bits after the point")

        @property
        def byte_size(self):
            return 4 * self.rows * self.items

        def encode(self, A, beacon):
            return np.rint(A * 2.0**self.shift).astype("<i4").tobytes()

        def decode(self, data, beacon):
            numbers = np.frombuffer(data, "<i4") / 2.0**self.shift
            return numbers.astype(np.float32).reshape(self.rows, self.items)

        def check(self, data):
            return None

It may stand in any file that is imported before a config is read. Reading a config imports no
compiler: a codec imports compiled arithmetic in the method that needs it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from bfedrec.parts import Kind, Part, parameter, register
from bfedrec.section import setting_error
from consensus.registry import Registry

__all__ = ["CODECS", "FLOAT", "INDEX", "Buffer", "Codec", "codec", "parameter", "signed_zero"]

FLOAT = np.dtype("<f4")
INDEX = np.dtype("<u4")
Buffer = bytes | memoryview
NEGATIVE_ZERO = 1 << 31
"""The bits of -0."""


@dataclass(frozen=True)
class Codec(Part, ABC):
    """A format of updates of one shape.

    ``rows`` is r: the rank under `low_rank`, otherwise the dimension d. ``size`` is the transmitted
    size s: about s N numbers travel. ``beacon``, where it is asked for, is the height's.
    """

    kind_of_part: ClassVar[str] = "codec"
    under_basis: ClassVar[bool] = False
    """Whether it encodes A (r x N), which is trained under the basis; otherwise clients train the
    whole Delta Q (d x N)."""
    lossless: ClassVar[bool] = False
    """Whether every update decodes to itself: then nothing is fed back, and both directions are
    alike."""
    tells_touched: ClassVar[bool] = True
    """Whether the items that a client touched are read off its update: those with a number but 0.
    If not, rules that want to know it have a mask sent along (`bfedrec.compression.exchange`), and
    `decode` must not depend on the beacon."""

    rows: int
    items: int
    size: int

    @classmethod
    def size_for(cls, size: int | None, dimension: int, rank: int) -> int:
        """s, where a config gives ``size`` (None: the rank) for a model of this dimension and rank;
        a validation error on the config's key where they do not fit."""
        if (size or rank) > dimension:
            key = "compression.size" if size else "model.rank"
            raise setting_error(key, f"at most model.dimension = {dimension}")
        return size or rank

    @classmethod
    def refuses_feedback(cls) -> str | None:
        """Why there is nothing that a client could keep for its next update, or None."""
        if cls.lossless:
            return "which loses nothing"
        if cls.under_basis:
            return "whose losses lie in a basis that is gone when a client returns"
        return None

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


def signed_zero(values: Buffer) -> str | None:
    """A flaw of float32 values that stand for an update: that one of them is -0; or None."""
    if (np.frombuffer(values, INDEX) == NEGATIVE_ZERO).any():
        return "a zero has a sign"
    return None


CODECS: Registry[type[Codec]] = Registry(Codec.kind_of_part)


def codec(name: str) -> Callable[[Kind], Kind]:
    """Register a codec under the name that configs and the genesis use.

    Raises ValueError as `bfedrec.parts.register`.
    """
    return register(CODECS, name, taken=("kind", "size", "downlink", "error_feedback"))
