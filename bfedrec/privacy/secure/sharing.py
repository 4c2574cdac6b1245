"""Shamir's secret sharing, byte by byte in GF(2^8).

Every byte of a secret is the constant term of a polynomial of degree t - 1 whose other
coefficients are uniform; share x is its value at x = 1, ..., n. Any t shares give the secret by
Lagrange's formula at 0. Fewer say nothing: the secret and t - 1 shares are a linear map of the t
coefficients whose matrix has full rank, so that every secret fits every t - 1 shares (a test has
the rank). Any field of more than n elements will do; in this one every byte string is a secret and
a share, so that none has to be refused, and products are looked up for whole arrays at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

import numpy as np

MOST_SHARES: Final = 255
"""Points other than 0 in GF(2^8)."""
_POLYNOMIAL: Final = 0x11B
"""x^8 + x^4 + x^3 + x + 1, that of AES."""


def _tables() -> tuple[np.ndarray, np.ndarray]:
    """Products (uint8[256, 256]) and inverses (uint8[256], 0 for 0) of the field."""
    powers, value = [], 1
    for _ in range(255):
        powers.append(value)
        value ^= value << 1  # times the generator x + 1
        if value & 0x100:
            value ^= _POLYNOMIAL
    logarithm = np.zeros(256, np.int64)
    logarithm[powers] = np.arange(255)
    table = np.array(powers, np.uint8)
    products = table[(logarithm[:, None] + logarithm[None, :]) % 255]
    products[0, :] = products[:, 0] = 0
    inverses = table[(255 - logarithm) % 255]
    inverses[0] = 0
    return products, inverses


PRODUCTS, INVERSES = _tables()


def split(secret: bytes, threshold: int, shares: int, randomness: bytes) -> np.ndarray:
    """Shares 1 to ``shares`` of a secret of L bytes, uint8[shares, L], any ``threshold`` of which
    give it.

    ``randomness``: (threshold - 1) L uniform bytes, the coefficients. Raises ValueError for another
    number of them, and for a threshold or a number of shares out of range.
    """
    if not 1 <= threshold <= shares <= MOST_SHARES:
        raise ValueError(f"{threshold} of {shares} shares: expected 1 to {MOST_SHARES}")
    length = len(secret)
    if len(randomness) != (threshold - 1) * length:
        raise ValueError(f"{threshold - 1} coefficients of {length} bytes are needed")
    coefficients = np.frombuffer(randomness, np.uint8).reshape(threshold - 1, length)
    powers = _powers(threshold, shares)[:, :, None]  # from the highest down, as the coefficients
    terms = PRODUCTS.reshape(-1).take(powers | coefficients)
    return np.bitwise_xor.reduce(terms, axis=1) ^ np.frombuffer(secret, np.uint8)


@lru_cache(maxsize=64)
def _powers(threshold: int, shares: int) -> np.ndarray:
    """x^(threshold - 1) ... x^1 of the points x = 1, ..., ``shares``, as the places of their rows
    in the table of products, int64[shares, threshold - 1]."""
    points = np.arange(1, shares + 1)
    found = np.empty((shares, threshold - 1), np.int64)
    power = np.ones(shares, np.uint8)
    for column in reversed(range(threshold - 1)):
        power = PRODUCTS[points, power]
        found[:, column] = power
    return found << 8


def combine(points: Sequence[int], shares: np.ndarray) -> bytes:
    """The secret of as many shares (uint8[t, L]) as the threshold says, of these distinct points
    (1 to 255). Raises ValueError for points that are not."""
    if len(set(points)) != len(points) or not all(1 <= x <= MOST_SHARES for x in points):
        raise ValueError(f"shares are of distinct points from 1 to {MOST_SHARES}, not {points}")
    terms = PRODUCTS[_weights(tuple(points))[:, None], shares]
    return np.bitwise_xor.reduce(terms, axis=0).tobytes()


@lru_cache(maxsize=256)
def _weights(points: tuple[int, ...]) -> np.ndarray:
    """The values at 0 of Lagrange's polynomials of these points, uint8[t]."""
    weights = []
    for x in points:
        weight = 1
        for other in points:
            if other != x:
                weight = int(PRODUCTS[weight, PRODUCTS[other, INVERSES[other ^ x]]])
        weights.append(weight)
    return np.array(weights, np.uint8)
