"""The verifiable random function ECVRF-EDWARDS25519-SHA512-TAI (RFC 9381, section 5).

The holder of a key proves that beta is *the* output of the key on the input alpha. Nobody can
predict beta without the secret, and nobody, not even the holder, can find two betas for one alpha.

The names are the RFC's: Y public key, x secret scalar, H the hash of alpha on the curve, Gamma = x
H, c challenge, s response, B base point, L the group's order. Point and scalar arithmetic is
libsodium's. The RFC admits a public key or Gamma with a component of small order; libsodium's
multiplication refuses it, and so does this module: no honest prover makes one, and an altered proof
is refused.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

from nacl import bindings
from nacl.exceptions import CryptoError

__all__ = ["InvalidProof", "VrfKey", "output", "verify"]

PROOF_BYTES: Final = 80
SECRET_BYTES: Final = 96
BETA_BYTES: Final = 64

_SUITE: Final = b"\x03"
_FIELD: Final = 2**255 - 19
_ORDER: Final = 2**252 + 27742317777372353535851937790883648493
_IDENTITY: Final = (1).to_bytes(32, "little")

_add = bindings.crypto_core_ed25519_add
_sub = bindings.crypto_core_ed25519_sub
_times = bindings.crypto_scalarmult_ed25519_noclamp  # refuses points outside the prime subgroup
_times_base = bindings.crypto_scalarmult_ed25519_base_noclamp


class InvalidProof(ValueError):
    """Error: a proof that does not show what it claims, or a public key that no key pair has."""


@dataclass(frozen=True, slots=True)
class VrfKey:
    """A VRF key pair, made from a 32-byte seed (the RFC's SK)."""

    public: bytes
    """The 32-byte public key Y."""
    _scalar: int = field(repr=False)  # x, reduced modulo L
    _nonce_prefix: bytes = field(repr=False)  # second half of the hashed seed (RFC 8032)

    @classmethod
    def from_seed(cls, seed: bytes) -> VrfKey:
        """The key pair of a 32-byte seed; the same seed gives the same keys.

        Raises ValueError for a seed of another type or length.
        """
        if type(seed) is not bytes or len(seed) != 32:
            raise ValueError("a VRF key's seed is 32 bytes (see keys.derive_seed)")
        hashed = hashlib.sha512(seed).digest()
        x = int.from_bytes(hashed[:32], "little")
        x = (x & ((1 << 254) - 8)) | (1 << 254)  # RFC 8032, section 5.1.5
        x %= _ORDER
        return cls(_times_base(x.to_bytes(32, "little")), x, hashed[32:])

    @property
    def secret(self) -> bytes:
        """All that the key pair consists of, for `from_secret` in another process (96 bytes)."""
        return self.public + self._scalar.to_bytes(32, "little") + self._nonce_prefix

    @classmethod
    def from_secret(cls, secret: bytes) -> VrfKey:
        """The key pair with this `secret`."""
        return cls(secret[:32], int.from_bytes(secret[32:64], "little"), secret[64:])

    def prove(self, alpha: bytes) -> tuple[bytes, bytes]:
        """Return (pi, beta): the 80-byte proof for `alpha` and its 64-byte output (section 5.1)."""
        h = _encode_to_curve(self.public, alpha)
        gamma = _times(self._scalar.to_bytes(32, "little"), h)
        nonce = hashlib.sha512(self._nonce_prefix + h).digest()  # section 5.4.2.2
        k = bindings.crypto_core_ed25519_scalar_reduce(nonce)
        c = _challenge(self.public, h, gamma, _times_base(k), _times(k, h))
        s = (int.from_bytes(k, "little") + int.from_bytes(c, "little") * self._scalar) % _ORDER
        return gamma + c + s.to_bytes(32, "little"), _gamma_to_beta(gamma)


def verify(public: bytes, alpha: bytes, pi: bytes) -> bytes:
    """Verify `pi` (80 bytes) for `alpha` under `public` (32 bytes); return the 64-byte beta.

    Section 5.3, with the key validation of 5.4.5. Raises InvalidProof for a wrong proof and for
    malformed input: other types or lengths, a key of small order, non-canonical or off-curve
    points, points outside the prime-order subgroup, s >= L. The result for the same bytes is
    computed once per process (the last 2**15 are kept).
    """
    if not (type(public) is type(alpha) is type(pi) is bytes):
        raise InvalidProof("public key, alpha and proof are bytes")
    if len(public) != 32 or len(pi) != PROOF_BYTES:
        raise InvalidProof(f"a public key has 32 bytes and a proof {PROOF_BYTES}")
    beta = _verify(public, alpha, pi)
    if beta is None:
        raise InvalidProof("the proof does not hold for this public key and input")
    return beta


def output(public: bytes, alpha: bytes, pi: bytes) -> bytes:
    """The 64-byte beta that the proof ``pi`` claims to show, which is not checked (section 5.2,
    proof_to_hash); it does not depend on the key or alpha. Raises InvalidProof for bytes whose
    Gamma is no point."""
    try:
        return _gamma_to_beta(pi[:32])
    except (CryptoError, TypeError, ValueError):
        raise InvalidProof("the proof has no point of the curve") from None


@lru_cache(maxsize=1 << 15)
def _verify(public: bytes, alpha: bytes, pi: bytes) -> bytes | None:
    gamma, c, s = pi[:32], pi[32:48], pi[48:]
    if int.from_bytes(s, "little") >= _ORDER:
        return None
    scalar = c + bytes(16)
    try:
        # Multiplying by c also establishes that Y and Gamma are canonical points of the
        # prime-order subgroup. It refuses c = 0 and s = 0 too, which no proof has but by a
        # chance of 2**-128.
        u = _sub(_times_base(s), _times(scalar, public))
        h = _encode_to_curve(public, alpha)
        v = _sub(_times(s, h), _times(scalar, gamma))
    except CryptoError:
        return None
    if _challenge(public, h, gamma, u, v) != c:
        return None
    return _gamma_to_beta(gamma)


def _eightfold(point: bytes) -> bytes:
    """The cofactor (8) times `point`, by three doublings; works for any point, unlike `_times`."""
    point = _add(point, point)
    point = _add(point, point)
    return _add(point, point)


# Kept from proving to verifying, which in one simulation follow each other closely.
@lru_cache(maxsize=1 << 12)
def _encode_to_curve(public: bytes, alpha: bytes) -> bytes:
    """Hash alpha to the point H of the curve by try and increment (section 5.4.1.1)."""
    for counter in range(256):
        hashed = hashlib.sha512(
            _SUITE + b"\x01" + public + alpha + bytes((counter,)) + b"\x00"
        ).digest()[:32]
        # libsodium's addition takes coordinates modulo the field; RFC 8032 decoding does not.
        if int.from_bytes(hashed, "little") & ((1 << 255) - 1) >= _FIELD:
            continue
        try:
            point = _eightfold(hashed)
        except CryptoError:  # no point of the curve has this y
            continue
        if point != _IDENTITY:
            return point
    raise InvalidProof("alpha hashes to no point of the curve")  # chance 2**-256


def _challenge(*points: bytes) -> bytes:
    """The challenge c, 16 bytes, from Y, H, Gamma, U and V (section 5.4.3)."""
    return hashlib.sha512(_SUITE + b"\x02" + b"".join(points) + b"\x00").digest()[:16]


@lru_cache(maxsize=1 << 12)
def _gamma_to_beta(gamma: bytes) -> bytes:
    """The output beta, 64 bytes, of the point Gamma (section 5.2)."""
    return hashlib.sha512(_SUITE + b"\x03" + _eightfold(gamma) + b"\x00").digest()
