"""The interface of a codec (an update float32[r, N] to bytes and back) and the registry of codecs.

Numbers are little-endian, and all encodings of a codec have the same size, so that the time of a
client's upload is known before it trains. Servers aggregate decoded updates, and all merge the
decoded aggregate: what an encoding loses is not recovered.

A codec is a class. The fields it adds are its parameters, which a config gives as
``compression.FIELD`` and the genesis records. docs/extending.md shows a whole one.
It stands in a file of `bfedrec.compression.codecs`, which is found there, or in a plugin. Reading a
config imports no compiler: a codec imports compiled arithmetic in the method that needs it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, TypeVar

import numpy as np

from bfedrec.learning.gradients import Unwritten
from bfedrec.learning.optimizer import Progress
from bfedrec.parts import Part, PartError, array_of, parameter, register
from bfedrec.section import setting_error
from consensus.registry import LAST, Registry

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
    size s: about s N numbers travel. ``beacon``, where a method takes it, is that of the height.
    """

    kind_of_part: ClassVar[str] = "codec"
    under_basis: ClassVar[bool] = False
    """True if it encodes A (r x N), which is trained under the basis; otherwise clients train the
    whole Delta Q (d x N)."""
    lossless: ClassVar[bool] = False
    """True if every update decodes to itself: then error feedback has nothing to keep, and both
    directions use the same format."""
    tells_touched: ClassVar[bool] = True
    """True if an update shows the items that its client touched: those with a number other than 0.
    If not, aggregation rules that need them have a mask sent along
    (`bfedrec.compression.exchange`), and `decode` must not depend on the beacon."""

    rows: int
    items: int
    size: int

    @classmethod
    def size_for(cls, size: int | None, dimension: int, rank: int) -> int:
        """The transmitted size s, given the config's ``size`` (None: the rank) for a model of this
        dimension and rank. Raises a validation error on the config's key where they do not fit."""
        if (size or rank) > dimension:
            key = "compression.size" if size else "model.rank"
            raise setting_error(key, f"at most model.dimension = {dimension}")
        return size or rank

    @classmethod
    def refuses_feedback(cls) -> str | None:
        """Return the reason why error feedback has no effect, or None."""
        if cls.lossless:
            return "which loses nothing"
        if cls.under_basis:
            return "whose losses lie in a basis that is gone when a client returns"
        return None

    @property
    @abstractmethod
    def byte_size(self) -> int:
        """Number of bytes of every encoding."""

    scheduled: ClassVar[bool] = False
    """True if it changes from round to round, so that the genesis records the number of rounds."""

    def at(self, progress: Progress) -> Codec:
        """The codec in one round of a run."""
        return self

    def of_aggregates(self) -> Codec:
        """The codec of aggregates where ``downlink`` is "same"."""
        return self

    @abstractmethod
    def encode(self, A: np.ndarray, beacon: bytes) -> bytes:
        """The bytes of A, float32[r, N]; numbers that are not finite may be encoded as such."""

    def encode_unwritten(
        self, updates: Unwritten, beacon: bytes, threads: int | None = None
    ) -> list[bytes]:
        """The bytes of each of a cohort's updates; ``threads``: at most so many, None for all
        processors. A codec that can encodes them without their numbers being written out."""
        return [self.encode(updates.update(place), beacon) for place in range(len(updates.P))]

    @abstractmethod
    def decode(self, data: Buffer, beacon: bytes) -> np.ndarray:
        """The update in ``data`` that passed `check`, as float32[r, N], perhaps read-only."""

    def encoded(self, A: np.ndarray, beacon: bytes) -> bytes:
        """The bytes that `encode` gives. Raises PartError for another number than `byte_size`,
        which servers would refuse."""
        return self._sized(self.encode(A, beacon), "encode")

    def encoded_unwritten(
        self, updates: Unwritten, beacon: bytes, threads: int | None = None
    ) -> list[bytes]:
        """The bytes that `encode_unwritten` gives. Raises PartError as `encoded`."""
        found = self.encode_unwritten(updates, beacon, threads)
        return [self._sized(data, "encode_unwritten") for data in found]

    def _sized(self, data: bytes, method: str) -> bytes:
        if not isinstance(data, bytes | bytearray | memoryview):
            raise PartError(f"{self.method(method)} returned {type(data).__name__}, and not bytes")
        if len(data) != self.byte_size:
            told = f"{len(data)} bytes, and not byte_size = {self.byte_size}"
            raise PartError(f"{self.method(method)} returned {told}")
        return data

    def decoded(self, data: Buffer, beacon: bytes) -> np.ndarray:
        """The update that `decode` gives. Raises PartError where it is not float32[r, N]."""
        shape = (self.rows, self.items)
        return array_of(self.method("decode"), self.decode(data, beacon), shape, FLOAT)

    def total(self, datas: Sequence[Buffer], beacon: bytes) -> np.ndarray:
        """The sum of the updates in ``datas``, float64[r, N], each added to that of those before
        it."""
        from bfedrec.aggregation.kernels import add  # a config is read without a compiler

        total = np.zeros((self.rows, self.items), np.float64)
        for data in datas:
            add(total, self.decoded(data, beacon))
        return total

    def check(self, data: Buffer) -> str | None:
        """Return the reason why ``data``, of length `byte_size`, is no encoding, or None."""
        if not np.isfinite(np.frombuffer(data, FLOAT)).all():
            return "not all numbers are finite"
        return None


def signed_zero(values: Buffer) -> str | None:
    """Return the flaw of float32 values if one of them is -0, else None."""
    if (np.frombuffer(values, INDEX) == NEGATIVE_ZERO).any():
        return "a zero has a sign"
    return None


CODECS: Registry[type[Codec]] = Registry(Codec.kind_of_part)

Kind = TypeVar("Kind", bound=type[Codec])


def codec(name: str, place: int = LAST) -> Callable[[Kind], Kind]:
    """Register a codec under the name that configs and the genesis use, at this place in lists.

    Raises ValueError as `bfedrec.parts.register`.
    """
    return register(CODECS, name, taken=("kind", "size", "downlink", "error_feedback"), place=place)
