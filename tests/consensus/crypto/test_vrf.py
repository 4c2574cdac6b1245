"""The verifiable random function, against RFC 9381 and against malformed input."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nacl import bindings
from nacl.exceptions import CryptoError

from consensus.crypto import vrf
from consensus.crypto.vrf import InvalidProof, VrfKey, verify
from tests.helpers.points import (
    IDENTITY,
    MALFORMED_POINTS,
    NON_CANONICAL_POINTS,
    ORDER,
    SMALL_ORDER_POINTS,
)

VECTORS = json.loads(
    Path(__file__)
    .parents[2]
    .joinpath("vectors")
    .joinpath("rfc9381_ecvrf_edwards25519_sha512_tai.json")
    .read_text()
)
KEY = VrfKey.from_seed(bytes(range(32)))
ALPHA = b"chain, beacon, height, attempt"
PI, BETA = KEY.prove(ALPHA)

add = bindings.crypto_core_ed25519_add


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: f"example {vector['example']}")
def test_vectors_of_the_rfc(vector: dict[str, str]) -> None:
    key = VrfKey.from_seed(bytes.fromhex(vector["sk"]))
    alpha = bytes.fromhex(vector["alpha"])
    assert key.public.hex() == vector["pk"]
    assert vrf._encode_to_curve(key.public, alpha).hex() == vector["H"]
    pi, beta = key.prove(alpha)
    assert pi.hex() == vector["pi"]
    assert beta.hex() == vector["beta"]
    assert verify(key.public, alpha, pi).hex() == vector["beta"]


@settings(deadline=None)
@given(st.binary(min_size=32, max_size=32), st.binary(max_size=200), st.binary(max_size=200))
def test_what_is_proven_verifies_and_nothing_else(seed: bytes, alpha: bytes, other: bytes) -> None:
    key = VrfKey.from_seed(seed)
    pi, beta = key.prove(alpha)
    assert (len(pi), len(beta)) == (80, 64)
    assert (pi, beta) == key.prove(alpha)
    assert verify(key.public, alpha, pi) == beta
    if other != alpha:
        with pytest.raises(InvalidProof):
            verify(key.public, other, pi)
    with pytest.raises(InvalidProof):
        verify(KEY.public, alpha, pi)


def test_any_flipped_bit_is_refused() -> None:
    for place in range(80):
        for bit in range(8):
            altered = bytearray(PI)
            altered[place] ^= 1 << bit
            with pytest.raises(InvalidProof):
                verify(KEY.public, ALPHA, bytes(altered))
    for place in range(32):
        altered = bytearray(KEY.public)
        altered[place] ^= 1 << place % 8
        with pytest.raises(InvalidProof):
            verify(bytes(altered), ALPHA, PI)


def test_a_scalar_has_one_encoding() -> None:
    s = int.from_bytes(PI[48:], "little")
    for other in (s + ORDER, s + 7 * ORDER, ORDER, 2**256 - 1, 0):
        with pytest.raises(InvalidProof):
            verify(KEY.public, ALPHA, PI[:48] + other.to_bytes(32, "little"))
    with pytest.raises(InvalidProof):
        verify(KEY.public, ALPHA, PI[:32] + bytes(16) + PI[48:])


@pytest.mark.parametrize("point", SMALL_ORDER_POINTS + NON_CANONICAL_POINTS + MALFORMED_POINTS)
def test_malformed_points_are_refused(point: bytes) -> None:
    for pi in (PI, point + PI[32:]):
        with pytest.raises(InvalidProof):
            verify(point, ALPHA, pi)
    with pytest.raises(InvalidProof):
        verify(KEY.public, ALPHA, point + PI[32:])


@pytest.mark.parametrize("public", SMALL_ORDER_POINTS)
def test_a_key_of_small_order_proves_nothing(public: bytes) -> None:
    """With x Y = 0 anybody could answer for it: Gamma of small order, U = s B, V = s H."""
    s = (12345).to_bytes(32, "little")
    u = bindings.crypto_scalarmult_ed25519_base_noclamp(s)
    for counter in range(16):
        alpha = b"%d" % counter
        h = vrf._encode_to_curve(public, alpha)
        v = bindings.crypto_scalarmult_ed25519_noclamp(s, h)
        c = vrf._challenge(public, h, public, u, v)
        with pytest.raises(InvalidProof):
            verify(public, alpha, public + c + s)


@pytest.mark.parametrize("torsion", SMALL_ORDER_POINTS[1:])
def test_a_proof_cannot_be_altered_by_its_maker(torsion: bytes) -> None:
    """Gamma + T with c T = 0 satisfies the equations; RFC 9381 would accept, we do not."""
    gamma = add(PI[:32], torsion)
    h = vrf._encode_to_curve(KEY.public, ALPHA)
    for nonce in range(1, 200):
        k = nonce.to_bytes(32, "little")
        u = bindings.crypto_scalarmult_ed25519_base_noclamp(k)
        v = bindings.crypto_scalarmult_ed25519_noclamp(k, h)
        c = vrf._challenge(KEY.public, h, gamma, u, v)
        if int.from_bytes(c, "little") % 8 == 0:
            break
    s = (nonce + int.from_bytes(c, "little") * KEY._scalar) % ORDER
    with pytest.raises(InvalidProof):
        verify(KEY.public, ALPHA, gamma + c + s.to_bytes(32, "little"))
    honest = vrf._challenge(KEY.public, h, PI[:32], u, v)
    s = (nonce + int.from_bytes(honest, "little") * KEY._scalar) % ORDER
    another = PI[:32] + honest + s.to_bytes(32, "little")
    assert verify(KEY.public, ALPHA, another) == BETA  # another nonce, but never another beta


def test_points_of_small_order_are_what_they_are_called() -> None:
    assert len(set(SMALL_ORDER_POINTS)) == 8
    for point in SMALL_ORDER_POINTS:
        assert vrf._eightfold(point) == IDENTITY
    for point in MALFORMED_POINTS:
        with pytest.raises(CryptoError):
            add(point, IDENTITY)


@pytest.mark.parametrize(
    "wrong", [None, "", 3, bytearray(80), b"", bytes(31), bytes(79), bytes(81)]
)
def test_other_types_and_lengths_are_refused(wrong: Any) -> None:
    with pytest.raises(InvalidProof):
        verify(wrong, ALPHA, PI)
    with pytest.raises(InvalidProof):
        verify(KEY.public, wrong, PI)
    with pytest.raises(InvalidProof):
        verify(KEY.public, ALPHA, wrong)
    with pytest.raises(ValueError, match="32 bytes"):
        VrfKey.from_seed(wrong)


def test_outputs_look_uniform() -> None:
    """1,000 outputs of several keys: no bit is set much more or less often than half the time."""
    keys = [VrfKey.from_seed(hashlib.sha256(b"%d" % i).digest()) for i in range(5)]
    betas = [key.prove(b"%d" % i)[1] for key in keys for i in range(200)]
    assert len(set(betas)) == 1_000
    for bit in range(512):
        count = sum(beta[bit // 8] >> bit % 8 & 1 for beta in betas)
        assert 500 - 80 < count < 500 + 80  # five standard deviations


def test_the_same_bytes_are_verified_once() -> None:
    vrf._verify.cache_clear()
    for _ in range(3):
        assert verify(KEY.public, ALPHA, PI) == BETA
        with pytest.raises(InvalidProof):
            verify(KEY.public, b"another", PI)
    assert vrf._verify.cache_info().misses == 2


def test_secrets_are_not_printed() -> None:
    assert repr(KEY) == f"VrfKey(public={KEY.public!r})"
