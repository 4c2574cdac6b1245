"""Signatures and key seeds."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consensus.crypto import keys
from consensus.crypto.keys import SigningKey, derive_seed, verify
from consensus.encoding.cid import digest
from tests.helpers.points import MALFORMED_POINTS, NON_CANONICAL_POINTS, ORDER, SMALL_ORDER_POINTS

KEY = SigningKey.from_seed(bytes(range(32)))
MESSAGE = digest(b"message")
SIGNATURE = KEY.sign(MESSAGE)


def test_key_of_rfc_8032() -> None:
    """Section 7.1, test 1."""
    seed = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"
    public = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
    assert SigningKey.from_seed(bytes.fromhex(seed)).public.hex() == public


@given(st.binary(min_size=32, max_size=32), st.binary(min_size=32, max_size=32))
def test_what_is_signed_verifies_and_nothing_else(seed: bytes, message: bytes) -> None:
    key = SigningKey.from_seed(seed)
    signature = key.sign(message)
    assert len(signature) == 64
    assert signature == key.sign(message)
    assert verify(key.public, message, signature)
    assert not verify(key.public, digest(message), signature)
    assert not verify(KEY.public, message, signature)


def test_any_flipped_bit_is_refused() -> None:
    for part in range(3):
        fields = [KEY.public, MESSAGE, SIGNATURE]
        original = fields[part]
        for place in range(len(original)):
            for bit in (0, 3, 7):
                altered = bytearray(original)
                altered[place] ^= 1 << bit
                fields[part] = bytes(altered)
                assert not verify(*fields)


def test_signatures_cannot_be_altered() -> None:
    s = int.from_bytes(SIGNATURE[32:], "little")
    for other in (s + ORDER, s + 2 * ORDER, ORDER, 2**256 - 1):
        assert not verify(KEY.public, MESSAGE, SIGNATURE[:32] + other.to_bytes(32, "little"))


@pytest.mark.parametrize("point", SMALL_ORDER_POINTS + NON_CANONICAL_POINTS + MALFORMED_POINTS)
def test_malformed_points_are_refused(point: bytes) -> None:
    # With a key of small order and s = 0, R = key satisfies the bare equation now and then.
    for s in (bytes(32), SIGNATURE[32:]):
        for nonce in (point, *SMALL_ORDER_POINTS, SIGNATURE[:32]):
            assert not verify(point, MESSAGE, nonce + s)
        assert not verify(KEY.public, MESSAGE, point + s)


@pytest.mark.parametrize(
    "wrong", [None, "", 3, bytearray(32), b"", bytes(31), bytes(33), bytes(65)]
)
def test_other_types_and_lengths_are_refused(wrong: Any) -> None:
    assert not verify(wrong, MESSAGE, SIGNATURE)
    assert not verify(KEY.public, wrong, SIGNATURE)
    assert not verify(KEY.public, MESSAGE, wrong)
    with pytest.raises(ValueError, match="32-byte digest"):
        KEY.sign(wrong)
    with pytest.raises(ValueError, match="32 bytes"):
        SigningKey.from_seed(wrong)


def test_the_same_bytes_are_verified_once(monkeypatch: pytest.MonkeyPatch) -> None:
    keys.forget()
    opened, open_ = [], keys.bindings.crypto_sign_open
    monkeypatch.setattr(
        keys.bindings, "crypto_sign_open", lambda *one: (opened.append(one), open_(*one))[1]
    )
    for _ in range(3):
        assert verify(KEY.public, MESSAGE, SIGNATURE)
        assert not verify(KEY.public, MESSAGE, bytes(64))
    assert len(opened) == 2


def test_what_was_verified_first_is_forgotten_first(monkeypatch: pytest.MonkeyPatch) -> None:
    keys.forget()
    monkeypatch.setattr(keys, "MOST_KNOWN", 2)
    for signature in (SIGNATURE, bytes(64), bytes([1]) * 64):
        verify(KEY.public, MESSAGE, signature)
    assert [signature for _, _, signature in keys._known] == [bytes(64), bytes([1]) * 64]
    keys.forget()


def test_secrets_are_not_printed() -> None:
    assert bytes(range(32)).hex() not in repr(KEY)
    assert repr(bytes(range(32)))[2:-1] not in repr(KEY)


labels = st.lists(st.text(max_size=4) | st.binary(max_size=4) | st.integers(0, 2**64 - 1))


@given(labels, labels)
def test_different_labels_give_different_seeds(
    a: list[str | bytes | int], b: list[str | bytes | int]
) -> None:
    same = [(type(x), x) for x in a] == [(type(x), x) for x in b]
    assert (derive_seed(b"master", *a) == derive_seed(b"master", *b)) == same


def test_seeds() -> None:
    assert len(derive_seed(b"master", "server", 1)) == 32
    assert derive_seed(b"master", "server", 1) != derive_seed(b"other", "server", 1)
    assert derive_seed(b"master", "ab", "c") != derive_seed(b"master", "a", "bc")
    assert derive_seed(b"master", "asb") != derive_seed(b"master", "a", "b")
    with pytest.raises(ValueError, match="empty"):
        derive_seed(b"", "server")
    for out_of_range in (-1, 2**64):
        with pytest.raises(ValueError, match="int label"):
            derive_seed(b"master", out_of_range)
