"""A shared model as bytes: round trip, and what is refused in one line."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bfedrec.merchants.interactions import Catalogue
from bfedrec.merchants.model import (
    DIMENSION,
    LARGEST,
    MAGIC,
    PayloadError,
    Shared,
    decode,
    digest_of,
    encode,
    initial_shared,
    payload_size,
)
from bfedrec.streams import Streams

CATALOGUE = Catalogue(np.array([3, 8, 20], np.int64))
SIZE = payload_size(3)
HEADER = SIZE - 4 * 3 * (DIMENSION + 1)


def payload() -> bytes:
    return encode(initial_shared(3, Streams(1)), CATALOGUE)


def test_a_model_comes_back_as_it_was() -> None:
    shared = initial_shared(3, Streams(1))
    found = decode(payload(), CATALOGUE)
    assert found.factors.dtype == found.biases.dtype == np.float32
    assert (found.factors == shared.factors).all()
    assert (found.biases == shared.biases).all()
    assert encode(found, CATALOGUE) == payload()
    assert len(payload()) == SIZE
    assert len(digest_of(payload())) == 32
    stacked = shared.stacked()
    assert stacked.shape == (DIMENSION + 1, 3)
    assert (Shared.unstacked(stacked).factors == shared.factors).all()


def changed(place: int, content: bytes) -> bytes:
    found = bytearray(payload())
    found[place : place + len(content)] = content
    return bytes(found)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "has 0 bytes instead of"),
        (payload()[:-1], f"has {SIZE - 1} bytes instead of {SIZE}"),
        (payload() + b"\x00", f"has {SIZE + 1} bytes instead of {SIZE}"),
        (changed(0, b"X"), "does not begin as a model of version 1"),
        (changed(8, struct.pack("<II", 20, 3)), "has shape 20 x 3 instead of 3 x 20"),
        (changed(8, struct.pack("<II", 2**32 - 1, 1)), "has shape 4294967295 x 1"),
        (changed(16, b"\xff"), "is of another catalogue"),
        (changed(HEADER, struct.pack("<f", np.nan)), "a factor is not a finite number"),
        (changed(SIZE - 4, struct.pack("<f", -np.inf)), "a bias is not a finite number"),
        (changed(HEADER, struct.pack("<f", 64.01)), "a factor is larger than 64"),
        (changed(SIZE - 4, struct.pack("<f", -1e30)), "a bias is larger than 64"),
    ],
)
def test_anything_else_is_refused_in_one_line(content: bytes, told: str) -> None:
    with pytest.raises(PayloadError) as caught:
        decode(content, CATALOGUE)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_gigabyte_is_refused_by_its_length_alone() -> None:
    class Huge(bytes):
        """Bytes that claim a length and would fail if they were read."""

        def __len__(self) -> int:
            return 2**30

    with pytest.raises(PayloadError, match="has 1,073,741,824 bytes"):
        decode(Huge(), CATALOGUE)


@given(st.binary(min_size=SIZE, max_size=SIZE) | st.binary(max_size=100))
def test_random_bytes_are_refused(content: bytes) -> None:
    with pytest.raises(PayloadError):
        decode(content, CATALOGUE)


@given(st.integers(0, SIZE - 1), st.integers(1, 255))
def test_a_changed_byte_is_refused_or_another_model(place: int, by: int) -> None:
    content = changed(place, bytes([payload()[place] ^ by]))
    try:
        found = decode(content, CATALOGUE)
    except PayloadError:
        return
    assert place >= HEADER
    assert encode(found, CATALOGUE) == content


def test_what_would_be_refused_is_not_encoded() -> None:
    shared = initial_shared(3, Streams(1))
    for number in (np.nan, np.inf, LARGEST * 1.01):
        shared.factors[1, 1] = number
        with pytest.raises(PayloadError, match="a factor is"):
            encode(shared, CATALOGUE)
    with pytest.raises(ValueError, match="does not fit a catalogue of 3"):
        encode(initial_shared(4, Streams(1)), CATALOGUE)
    assert payload().startswith(MAGIC)
