"""Ed25519 signatures of the ledger's participants: signing, strict verification, key seeds.

A signature always covers a 32-byte digest, never the message itself: an update of 59 KB is then
hashed once, not by each signature operation.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field
from typing import Final

from nacl import bindings
from nacl.exceptions import CryptoError

__all__ = ["SigningKey", "derive_seed", "verify"]

SEED_BYTES: Final = 32
PUBLIC_BYTES: Final = 32
DIGEST_BYTES: Final = 32
SIGNATURE_BYTES: Final = 64
MOST_KNOWN: Final = 1 << 17
"""Number of signatures of which is remembered whether they are right."""

_known: dict[tuple[bytes, bytes, bytes], bool] = {}


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A participant's Ed25519 key pair (RFC 8032), made from a 32-byte seed."""

    public: bytes
    """The 32-byte public key, by which others know the participant."""
    _secret: bytes = field(repr=False)  # libsodium's form: seed, then public key

    @classmethod
    def from_seed(cls, seed: bytes) -> SigningKey:
        """The key pair of a 32-byte seed; the same seed gives the same keys.

        Raises ValueError for a seed of another type or length.
        """
        if type(seed) is not bytes or len(seed) != SEED_BYTES:
            raise ValueError(f"a signing key's seed is {SEED_BYTES} bytes (see derive_seed)")
        public, secret = bindings.crypto_sign_seed_keypair(seed)
        return cls(public, secret)

    def sign(self, digest: bytes) -> bytes:
        """Sign a 32-byte digest; return the 64-byte signature, which is deterministic.

        Raises ValueError for a digest of another type or length.
        """
        if type(digest) is not bytes or len(digest) != DIGEST_BYTES:
            raise ValueError(f"what is signed is a {DIGEST_BYTES}-byte digest of the message")
        return bindings.crypto_sign(digest, self._secret)[:SIGNATURE_BYTES]


def verify(public: bytes, digest: bytes, signature: bytes) -> bool:
    """True if `signature` (64 bytes) is the signature of `public` (32 bytes) on `digest` (32
    bytes).

    False for malformed input too: other types or lengths, keys or nonces of small order,
    non-canonical points, s >= L. The result for the same bytes is computed once per process (the
    last 2**17 are kept); the simulated time of a check is charged by the caller, to every server
    that checks.
    """
    if not (type(public) is type(digest) is type(signature) is bytes):
        return False
    if (len(public), len(digest), len(signature)) != (PUBLIC_BYTES, DIGEST_BYTES, SIGNATURE_BYTES):
        return False
    check = (public, digest, signature)
    known = _known.get(check)
    if known is None:
        try:
            bindings.crypto_sign_open(signature + digest, public)
            known = True
        except CryptoError:
            known = False
        remember(*check, known)
    return known


def remember(public: bytes, digest: bytes, signature: bytes, right: bool) -> None:
    """Remember what `verify` has found, here or in a helper (`consensus.crypto.ahead`)."""
    if len(_known) >= MOST_KNOWN:
        del _known[next(iter(_known))]
    _known[public, digest, signature] = right


def forget() -> None:
    """Forget what `verify` has found."""
    _known.clear()


def derive_seed(master: bytes, *labels: str | int | bytes) -> bytes:
    """Derive the 32-byte seed of the key that `labels` name from the run's master seed.

    HMAC-SHA-256 under `master` over the labels, each with its type and length, so that no two
    different lists of labels share a seed, and one seed does not reveal another. An int label lies
    in [0, 2**64). Raises ValueError for an empty master or an int out of range.
    """
    if not master:
        raise ValueError("the master seed is empty")
    message = b"bfedrec/seed"
    for label in labels:
        if isinstance(label, int):
            if not 0 <= label < 2**64:
                raise ValueError(f"an int label lies in [0, 2**64), not {label}")
            kind, raw = b"i", label.to_bytes(8, "big")
        elif isinstance(label, str):
            kind, raw = b"s", label.encode()
        else:
            kind, raw = b"b", label
        message += kind + len(raw).to_bytes(8, "big") + raw
    return hmac.digest(master, message, "sha256")
