"""Key agreement, and the masks that key streams make: X25519 of libsodium, BLAKE2b, and ChaCha20 of
OpenSSL, which is three times as fast as libsodium's with its authenticator."""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b
from typing import Final

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms
from nacl import bindings

from bfedrec.compression.lanes import centred, lane_type, pack, packed_size, unpack
from bfedrec.privacy.secure.scheme import Scheme

KEY: Final = 32
"""Bytes of an X25519 key, of a self-mask's seed, and of a share of either."""
COMMITMENT: Final = 16
"""Bytes of a commitment to a share, which is 32 bytes of a uniform distribution."""
SEALED: Final = 2 * KEY
"""Bytes of a sealed pair of shares."""
START: Final = (1).to_bytes(4, "little") + bytes(12)
"""The counter of a key stream's first block, and its nonce: 1 and 0, as in RFC 8439's AEAD."""


@lru_cache(maxsize=4)
def _zeros(length: int) -> bytes:
    return bytes(length)


def key_stream(key: bytes, length: int) -> bytes:
    """``length`` pseudorandom bytes of a 32-byte key that is used for nothing else: ChaCha20 (RFC
    8439) with nonce 0, from block 1 on."""
    return Cipher(algorithms.ChaCha20(key, START), None).encryptor().update(_zeros(length))


def public_key(secret: bytes) -> bytes:
    """The X25519 public key (32 bytes) of a secret one."""
    return bindings.crypto_scalarmult_base(secret)


def agreement(secret: bytes, public: bytes) -> bytes:
    """The 32 bytes that two X25519 keys agree on. Raises ValueError for a public key of small
    order, with which all secret keys agree on the same."""
    try:
        return bindings.crypto_scalarmult(secret, public)
    except Exception as error:
        raise ValueError("a public key of small order") from error


def is_usable(public: bytes) -> bool:
    """True if secret keys can agree on something secret with this public key."""
    try:
        agreement(bytes(KEY), public)
    except ValueError:
        return False
    return True


def pair_seed(agreed: bytes, round_id: bytes) -> bytes:
    """The seed of the mask that two members of a group share."""
    return blake2b(agreed, key=round_id, digest_size=KEY, person=b"pair mask").digest()


def self_seed(secret: bytes, round_id: bytes) -> bytes:
    """The seed of a member's self-mask, from its secret b_u."""
    return blake2b(secret, key=round_id, digest_size=KEY, person=b"self mask").digest()


def pad(agreed: bytes, round_id: bytes, dealer: int, holder: int) -> bytes:
    """The one-time pad of the pair of shares that ``dealer`` seals for ``holder`` (positions)."""
    told = agreed + bytes((dealer, holder))
    return blake2b(told, key=round_id, digest_size=SEALED, person=b"sealed shares").digest()


def commitment(share: bytes, round_id: bytes, dealer: int, holder: int, kind: int) -> bytes:
    """The commitment to a share: of the mask's key (``kind`` 0) or of the self-mask's seed (1); or
    to that seed itself (2), which is the dealer's."""
    told = share + bytes((dealer, holder, kind))
    return blake2b(told, key=round_id, digest_size=COMMITMENT, person=b"share").digest()


def xor(one: bytes, other: bytes) -> bytes:
    """Bitwise exclusive or of as many bytes."""
    found = int.from_bytes(one, "little") ^ int.from_bytes(other, "little")
    return found.to_bytes(len(one), "little")


class Lanes:
    """The lanes of one update or of a sum: levels, and counts where the scheme has them.

    Adding wraps around at 2^8 or 2^16, of which 2^k is a divisor.
    """

    def __init__(self, scheme: Scheme, levels: np.ndarray, counts: np.ndarray) -> None:
        """``levels``: uint[rows items]; ``counts``: uint[items], or uint[0]."""
        self.scheme, self.levels, self.counts = scheme, levels, counts

    @classmethod
    def zero(cls, scheme: Scheme) -> Lanes:
        """Lanes of zeros."""
        return cls.of_stream(scheme, bytes(scheme.stream_size))

    @classmethod
    def of(cls, scheme: Scheme, levels: np.ndarray, touched: np.ndarray) -> Lanes:
        """The lanes of one client's levels (int[rows, items], from -L to L) and of the items that
        it touched (bool[items])."""
        kind, count = lane_type(scheme.bits), lane_type(scheme.count_bits)
        counts = touched if scheme.counted else touched[:0]
        return cls(scheme, levels.reshape(-1).astype(kind), counts.astype(count))

    @classmethod
    def of_stream(cls, scheme: Scheme, stream: bytes) -> Lanes:
        """The lanes that a key stream of `Scheme.stream_size` bytes makes; read-only."""
        kind, count = lane_type(scheme.bits), lane_type(scheme.count_bits)
        numbers = scheme.rows * scheme.items
        levels = np.frombuffer(stream, kind, numbers)
        return cls(scheme, levels, np.frombuffer(stream, count, offset=levels.nbytes))

    @classmethod
    def unpacked(cls, scheme: Scheme, body: memoryview) -> Lanes:
        """The lanes in a message's body of `Scheme.body_size` bytes."""
        numbers, items = scheme.rows * scheme.items, scheme.items * scheme.counted
        size = packed_size(numbers, scheme.bits)
        levels = unpack(body[:size], numbers, scheme.bits)
        return cls(scheme, levels, unpack(body[size:], items, scheme.count_bits))

    @property
    def centred(self) -> np.ndarray:
        """The levels modulo 2^k, int32[rows, items] from -2^(k - 1) on."""
        return centred(self.levels, self.scheme.bits).reshape(self.scheme.rows, self.scheme.items)

    def packed(self) -> bytes:
        """The body of a message."""
        counts = pack(self.counts, self.scheme.count_bits) if self.scheme.counted else b""
        return pack(self.levels, self.scheme.bits) + counts

    def add(self, other: Lanes) -> None:
        """Add other lanes to these, in place."""
        np.add(self.levels, other.levels, out=self.levels)
        np.add(self.counts, other.counts, out=self.counts)

    def subtract(self, other: Lanes) -> None:
        """Take other lanes from these, in place."""
        np.subtract(self.levels, other.levels, out=self.levels)
        np.subtract(self.counts, other.counts, out=self.counts)

    def copy(self) -> Lanes:
        """Lanes that can be added to."""
        return Lanes(self.scheme, self.levels.copy(), self.counts.copy())


def mask_of(scheme: Scheme, seed: bytes) -> Lanes:
    """The mask that a seed expands to: lanes without a pattern, read-only."""
    return Lanes.of_stream(scheme, key_stream(seed, scheme.stream_size))
