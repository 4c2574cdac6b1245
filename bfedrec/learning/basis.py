"""Bases: the matrix B (d x r) under which a round's updates are trained, and their registry.

Every client of a round must hold the same B, or the mean of their A means nothing; B therefore
follows from data that all of them have: the height's beacon, or the merged Q. A basis is a class
with one method; docs/extending.md shows a whole one.
"""

from __future__ import annotations

import hashlib
import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, TypeVar

import numpy as np

from bfedrec.parts import Part, array_of, fixed, register
from consensus.registry import Registry


@dataclass(frozen=True)
class Basis(Part, ABC):
    """A rule by which all clients of a round compute the same B. It has no parameters."""

    kind_of_part: ClassVar[str] = "basis"
    drawn_once: ClassVar[bool] = False
    """True if the beacon of the first height is used at every height."""

    @classmethod
    def fits(cls, d: int, r: int) -> bool:
        """True if there is such a basis of rank r in d dimensions."""
        return 1 <= r <= d

    @abstractmethod
    def columns(self, d: int, r: int, beacon: bytes, Q: np.ndarray | None) -> np.ndarray:
        """Orthonormal columns, float64[d, r], from the beacon or from Q (float32[N, d])."""

    def matrix(self, d: int, r: int, beacon: bytes, Q: np.ndarray | None = None) -> np.ndarray:
        """This round's B: float32[d, r], orthogonal columns of length sqrt(d/r).

        The length makes E[B B'] = I under `Seeded`: B A then stands for a full-rank update on
        average. Raises ValueError for a rank that does not fit, or if Q is needed and missing.
        """
        if not 1 <= r <= d:
            raise ValueError(f"rank {r} is not between 1 and the dimension {d}")
        if not self.fits(d, r):
            raise ValueError(f"the {self.name} basis has no rank {r} in {d} dimensions")
        found = self.columns(d, r, beacon, None if Q is None else fixed(Q))
        columns = array_of(self.method("columns"), found, (d, r))
        return np.ascontiguousarray(columns * math.sqrt(d / r), np.float32)


BASES: Registry[type[Basis]] = Registry(Basis.kind_of_part)

Kind = TypeVar("Kind", bound=type[Basis])


def register_basis(name: str) -> Callable[[Kind], Kind]:
    """Register a basis under the name that configs and the genesis use.

    Raises ValueError as `bfedrec.parts.register`.
    """
    return register(BASES, name)


def basis(name: str, d: int, r: int, beacon: bytes, Q: np.ndarray | None = None) -> np.ndarray:
    """B, float32[d, r], of the basis called ``name`` (`Basis.matrix`); raises ValueError for an
    unknown name."""
    return BASES.named(name)().matrix(d, r, beacon, Q)


@register_basis("seeded")
@dataclass(frozen=True)
class Seeded(Basis):
    """Columns drawn from each height's beacon."""

    meaning = "drawn from each height's beacon"

    def columns(self, d: int, r: int, beacon: bytes, Q: np.ndarray | None) -> np.ndarray:
        return _orthonormal(d, r, beacon)


@register_basis("svd")
@dataclass(frozen=True)
class LeadingVectors(Basis):
    """The top r right singular vectors of Q, the paper's "update B from Q"; the signs are fixed so
    that each column's largest entry is positive."""

    meaning = "the top right singular vectors of Q"

    def columns(self, d: int, r: int, beacon: bytes, Q: np.ndarray | None) -> np.ndarray:
        if Q is None or Q.shape[1] != d:
            raise ValueError(f"the svd basis needs Q with {d} columns")
        # Eigenvectors of Q'Q are Q's right singular vectors, at d x d instead of N x d.
        Q64 = Q.astype(np.float64)
        columns = np.linalg.eigh(Q64.T @ Q64)[1][:, : -r - 1 : -1]
        return np.asarray(columns * np.where(_leading(columns) < 0, -1.0, 1.0))


@register_basis("fixed")
@dataclass(frozen=True)
class Fixed(Seeded):
    """Columns drawn from the first height's beacon, the same at all heights."""

    meaning = "drawn once"
    drawn_once = True


@register_basis("hadamard")
@dataclass(frozen=True)
class Hadamard(Basis):
    """r of the d Walsh functions, with signs by row: a subsampled randomised Hadamard transform
    (Ailon and Chazelle, 2006), with the choice and the signs drawn from each height's beacon. At
    r = d it is a rotation that costs next to nothing to draw."""

    meaning = "Walsh functions with signs drawn from each height's beacon, d a power of two"

    @classmethod
    def fits(cls, d: int, r: int) -> bool:
        return super().fits(d, r) and d & (d - 1) == 0

    def columns(self, d: int, r: int, beacon: bytes, Q: np.ndarray | None) -> np.ndarray:
        generator = _drawn_from(beacon)
        signs = generator.integers(0, 2, d) * 2 - 1
        chosen = np.sort(generator.permutation(d)[:r])
        walsh = np.ones((1, 1), np.float64)
        while len(walsh) < d:
            walsh = np.block([[walsh, walsh], [walsh, -walsh]])
        return signs[:, None] * walsh[:, chosen] / math.sqrt(d)


@register_basis("identity")
@dataclass(frozen=True)
class Identity(Basis):
    """The identity, for updates of the whole Q (r = d): B A is A, and a step on A is a step on
    Q."""

    meaning = "I, for the whole Delta Q (model.rank = model.dimension)"

    @classmethod
    def fits(cls, d: int, r: int) -> bool:
        return r == d

    def columns(self, d: int, r: int, beacon: bytes, Q: np.ndarray | None) -> np.ndarray:
        return np.eye(d)


def _leading(columns: np.ndarray) -> np.ndarray:
    """The entry of largest magnitude of each column."""
    return columns[np.abs(columns).argmax(axis=0), np.arange(columns.shape[1])]


def _drawn_from(beacon: bytes) -> np.random.Generator:
    """The generator of a basis that follows from a height's beacon."""
    digest = hashlib.sha256(b"bfedrec basis" + beacon).digest()
    return np.random.Generator(np.random.Philox(key=np.frombuffer(digest[:16], "<u8")))


def _orthonormal(d: int, r: int, beacon: bytes) -> np.ndarray:
    """A uniformly distributed orthonormal d x r matrix (float64), drawn from `beacon`.

    Gaussian columns, made orthonormal by Gram-Schmidt, twice for accuracy; written out because a
    library's QR may sum in an order that depends on the machine.
    """
    columns = _drawn_from(beacon).standard_normal((r, d))
    for k in range(r):
        for _ in range(2):
            for earlier in columns[:k]:
                columns[k] -= math.fsum(columns[k] * earlier) * earlier
        columns[k] /= math.sqrt(math.fsum(columns[k] ** 2))
    return columns.T
