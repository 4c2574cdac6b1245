"""The merchants' model: matrix factorisation with biases, half of it shared and half kept at home.

The strength of user u and product i is predicted as m + b_u + b_i + p_u . q_i. A merchant shares q
and b_i of all products of the catalogue. p_u and b_u stay home with the mean m: they describe
persons, whose rows could be told from one another and from their purchases; no other merchant could
use them, since users are not numbered alike; and they would be most of the bytes.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from typing import Final

import numpy as np

from bfedrec.learning.factorization import initial_factors
from bfedrec.merchants.interactions import Catalogue
from bfedrec.streams import Streams

DIMENSION: Final = 20
INITIAL_SCALE: Final = 0.3
"""Initial factors are normal with standard deviation INITIAL_SCALE / sqrt(d)."""
LARGEST: Final = 64.0
"""Greatest magnitude of a number that is shared. Trained ones stay below 3; the bound limits what a
single merchant can move an average by."""

MAGIC: Final = b"shopmf\x00\x01"
_HEADER: Final = struct.Struct("<8sII32s")
"""Magic, number of products N, factors d, SHA-256 of the catalogue's ids."""


class PayloadError(ValueError):
    """Bytes that are no model of this catalogue; the text is one line for people."""


@dataclass(frozen=True)
class Shared:
    """The part of a model that merchants share."""

    factors: np.ndarray
    """float32[N, d]: q."""
    biases: np.ndarray
    """float32[N]: b_i."""

    def stacked(self) -> np.ndarray:
        """float32[d + 1, N]: factors and biases as aggregation rules take them."""
        return np.vstack([self.factors.T, self.biases])

    @classmethod
    def unstacked(cls, numbers: np.ndarray) -> Shared:
        """The inverse of `stacked`."""
        return cls(
            np.ascontiguousarray(numbers[:-1].T, np.float32),
            np.ascontiguousarray(numbers[-1], np.float32),
        )

    def problem(self) -> str | None:
        """A reason not to use these numbers, or None: all are finite and at most `LARGEST`."""
        for name, part in (("factor", self.factors), ("bias", self.biases)):
            if not np.isfinite(part).all():
                return f"a {name} is not a finite number"
            if part.size and np.abs(part).max() > LARGEST:
                return f"a {name} is larger than {LARGEST:g}"
        return None


@dataclass(frozen=True)
class Home:
    """The part of a model that stays with the merchant."""

    factors: np.ndarray
    """float32[M, d]: p."""
    biases: np.ndarray
    """float32[M]: b_u."""
    mean: np.float32
    """m: the mean of the strengths to train on, negatives included as 0."""


def initial_shared(products: int, streams: Streams, dimension: int = DIMENSION) -> Shared:
    """The model from which every merchant starts: random factors, biases 0.

    It has to be one and the same: factors that were trained from different beginnings lie in
    different bases, and their mean means nothing.
    """
    generator = streams.generator("shop_initial", 0)
    factors = initial_factors(products, dimension, INITIAL_SCALE, generator)
    return Shared(factors, np.zeros(products, np.float32))


def initial_home(
    users: int, mean: float, streams: Streams, merchant: int = 0, dimension: int = DIMENSION
) -> Home:
    """A merchant's own part before its first round: random factors, biases 0."""
    generator = streams.generator("shop_initial", 1, merchant)
    factors = initial_factors(users, dimension, INITIAL_SCALE, generator)
    return Home(factors, np.zeros(users, np.float32), np.float32(mean))


# -- as bytes -------------------------------------------------------------------------------------


def payload_size(products: int, dimension: int = DIMENSION) -> int:
    """The number of bytes of every model of a catalogue, so that nobody fetches more."""
    return _HEADER.size + 4 * products * (dimension + 1)


def encode(shared: Shared, catalogue: Catalogue) -> bytes:
    """The bytes of a model: a header, q and b_i as little-endian float32.

    Raises PayloadError for numbers that `decode` would refuse, ValueError for another shape.
    """
    N, d = shared.factors.shape
    if len(catalogue) != N or shared.biases.shape != (N,):
        raise ValueError(f"a model of {N} products does not fit a catalogue of {len(catalogue)}")
    problem = shared.problem()
    if problem:
        raise PayloadError(f"model: {problem}")
    header = _HEADER.pack(MAGIC, N, d, catalogue.digest)
    return b"".join(
        [header, *(part.astype("<f4").tobytes() for part in (shared.factors, shared.biases))]
    )


def decode(payload: bytes, catalogue: Catalogue, dimension: int = DIMENSION) -> Shared:
    """The model in a payload, which may come from anyone.

    Raises PayloadError, one line, for any other length than `payload_size`, another magic, shape or
    catalogue, numbers that are not finite, or larger than `LARGEST`. The length is compared first,
    so that a refusal costs next to nothing; a payload that passes is the only one of its model.
    """
    N, size = len(catalogue), payload_size(len(catalogue), dimension)
    if len(payload) != size:
        raise PayloadError(f"model: has {len(payload):,} bytes instead of {size:,}")
    magic, products, factors, digest = _HEADER.unpack_from(payload)
    if magic != MAGIC:
        raise PayloadError("model: does not begin as a model of version 1")
    if (products, factors) != (N, dimension):
        raise PayloadError(f"model: has shape {products} x {factors} instead of {N} x {dimension}")
    if digest != catalogue.digest:
        raise PayloadError("model: is of another catalogue")
    numbers = np.frombuffer(payload, "<f4", offset=_HEADER.size).astype(np.float32)
    shared = Shared(numbers[: N * dimension].reshape(N, dimension), numbers[N * dimension :])
    problem = shared.problem()
    if problem:
        raise PayloadError(f"model: {problem}")
    return shared


def digest_of(payload: bytes) -> bytes:
    """SHA-256 of a payload, which is registered beside its address."""
    return hashlib.sha256(payload).digest()
