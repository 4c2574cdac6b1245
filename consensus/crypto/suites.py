"""Suites of cryptography, by name: the signatures and the VRF that participants use.

The two suites have keys, signatures, proofs and outputs of the same sizes, and refuse the same
altered, swapped or malformed bytes, so that everything built on them runs unchanged on either.

`REAL` is Ed25519 (`consensus.crypto.keys`) and the VRF of RFC 9381 (`consensus.crypto.vrf`).

`MODELLED` replaces each computation on the curve by a hash keyed with the *public* key, a hundred
times faster. It is no cryptography: nothing is secret, so code written against it can sign and draw
for anybody. It is meant for sweeps of simulations, in which all the code is ours: a simulated
forger (a malicious server that alters bytes or tries other keys) fails as it does with `REAL`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import blake2b
from typing import Final, Protocol

from consensus.crypto import keys, vrf

__all__ = ["MODELLED", "REAL", "SUITES", "Prover", "Signer", "Suite", "suite_named"]


class Signer(Protocol):
    """A participant's key pair for signatures."""

    @property
    def public(self) -> bytes:
        """The 32-byte public key, by which others know the participant."""

    def sign(self, digest: bytes, /) -> bytes:
        """Sign a 32-byte digest; return the 64-byte signature. Deterministic. Raises ValueError."""


class Prover(Protocol):
    """A server's key pair for the verifiable random function."""

    @property
    def public(self) -> bytes:
        """The 32-byte public key."""

    def prove(self, alpha: bytes, /) -> tuple[bytes, bytes]:
        """Return (pi, beta): the 80-byte proof for `alpha` and its 64-byte output."""


@dataclass(frozen=True)
class Suite:
    """One implementation of signatures and of the verifiable random function."""

    name: str
    """Name of the suite in a genesis and in a config."""
    signing_key: Callable[[bytes], Signer] = field(repr=False)
    """signing_key(seed): the key pair of a 32-byte seed; raises ValueError for other bytes."""
    verify: Callable[[bytes, bytes, bytes], bool] = field(repr=False)
    """verify(public, digest, signature): True if it is that key's signature on the digest; False
    for malformed input too, other types and lengths included."""
    vrf_key: Callable[[bytes], Prover] = field(repr=False)
    """vrf_key(seed): the key pair of a 32-byte seed; raises ValueError for other bytes."""
    vrf_verify: Callable[[bytes, bytes, bytes], bytes] = field(repr=False)
    """vrf_verify(public, alpha, pi): the 64-byte beta that the proof shows; raises
    `vrf.InvalidProof` for a wrong proof and for malformed input."""
    vrf_output: Callable[[bytes, bytes, bytes], bytes] = field(repr=False)
    """vrf_output(public, alpha, pi): the 64-byte beta that the proof claims to show, which is not
    checked, for readers of what was checked before; raises `vrf.InvalidProof` for bytes that are
    none."""


# --- Modelled ---------------------------------------------------------------------------------
# The tags keep hashes of different purposes apart. All parts after a tag have a fixed length, but
# for at most one, the last; so no two inputs give the same bytes to hash.

_SEED_BYTES: Final = 32
_PUBLIC_BYTES: Final = keys.PUBLIC_BYTES
_DIGEST_BYTES: Final = keys.DIGEST_BYTES


@dataclass(frozen=True, slots=True)
class _ModelledSigner:
    """A signer named by the hash of its 32-byte seed; it holds no secret."""

    public: bytes

    @classmethod
    def from_seed(cls, seed: bytes) -> _ModelledSigner:
        if type(seed) is not bytes or len(seed) != _SEED_BYTES:
            raise ValueError(f"a signing key's seed is {_SEED_BYTES} bytes")
        return cls(blake2b(b"modelled signing key" + seed, digest_size=32).digest())

    def sign(self, digest: bytes) -> bytes:
        if type(digest) is not bytes or len(digest) != keys.DIGEST_BYTES:
            raise ValueError(f"what is signed is a {keys.DIGEST_BYTES}-byte digest of the message")
        return modelled_signature(self.public, digest)


@lru_cache(maxsize=1 << 12)  # one signer, many verifiers
def modelled_signature(public: bytes, digest: bytes) -> bytes:
    """The modelled suite's 64-byte signature of `digest` under the key `public`."""
    return blake2b(b"signature" + public + digest).digest()


def _modelled_verify(public: bytes, digest: bytes, signature: bytes) -> bool:
    return (
        type(public) is type(digest) is type(signature) is bytes
        and len(public) == _PUBLIC_BYTES
        and len(digest) == _DIGEST_BYTES
        and signature == modelled_signature(public, digest)
    )


# Beta is the hash of key and alpha. A proof has the parts of a real one: Gamma (32 bytes, beta's
# second half), which fixes beta; s (the last 32), which the key's holder is free to choose; and c
# (the 16 between), which ties s to Gamma. So here too one beta has many valid proofs, and in a
# protocol that compared proofs instead of betas a server could try many to be drawn (grinding).


@dataclass(frozen=True, slots=True)
class _ModelledProver:
    """A prover named by the hash of its 32-byte seed; it holds no secret."""

    public: bytes

    @classmethod
    def from_seed(cls, seed: bytes) -> _ModelledProver:
        if type(seed) is not bytes or len(seed) != _SEED_BYTES:
            raise ValueError(f"a VRF key's seed is {_SEED_BYTES} bytes")
        return cls(blake2b(b"modelled VRF key" + seed, digest_size=32).digest())

    def prove(self, alpha: bytes) -> tuple[bytes, bytes]:
        if type(alpha) is not bytes:
            raise TypeError("alpha is bytes")
        beta = blake2b(b"beta" + self.public + alpha).digest()
        s, gamma = beta[:32], beta[32:]
        return gamma + blake2b(b"c" + gamma + s).digest()[:16] + s, beta


def _modelled_vrf_verify(public: bytes, alpha: bytes, pi: bytes) -> bytes:
    if not (type(public) is type(alpha) is type(pi) is bytes):
        raise vrf.InvalidProof("public key, alpha and proof are bytes")
    if len(public) != keys.PUBLIC_BYTES or len(pi) != vrf.PROOF_BYTES:
        raise vrf.InvalidProof(
            f"a public key has {keys.PUBLIC_BYTES} bytes and a proof {vrf.PROOF_BYTES}"
        )
    beta = blake2b(b"beta" + public + alpha).digest()
    gamma = pi[:32]
    if gamma != beta[32:] or pi[32:48] != blake2b(b"c" + gamma + pi[48:]).digest()[:16]:
        raise vrf.InvalidProof("the proof does not hold for this public key and input")
    return beta


def _modelled_vrf_output(public: bytes, alpha: bytes, pi: bytes) -> bytes:
    return blake2b(b"beta" + public + alpha).digest()


# --- The suites -------------------------------------------------------------------------------

REAL: Final = Suite(
    "real", keys.SigningKey.from_seed, keys.verify, vrf.VrfKey.from_seed, vrf.verify, vrf.output
)
MODELLED: Final = Suite(
    "modelled",
    _ModelledSigner.from_seed,
    _modelled_verify,
    _ModelledProver.from_seed,
    _modelled_vrf_verify,
    _modelled_vrf_output,
)

SUITES: Final = {suite.name: suite for suite in (REAL, MODELLED)}


def suite_named(name: str) -> Suite:
    """The suite that a genesis or a config names. Raises ValueError that lists the known names."""
    suite = SUITES.get(name) if isinstance(name, str) else None
    if suite is None:
        raise ValueError(f"no suite of cryptography is called {name!r}: use {', '.join(SUITES)}")
    return suite
