"""Canonical bytes, CIDs and files."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import libipld
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from consensus.encoding import unixfs
from consensus.encoding.cid import (
    PROTOBUF,
    EncodingError,
    cid_text,
    digest,
    is_cid,
    make_cid,
    node_cid,
    parse_cid,
    raw_cid,
)
from consensus.encoding.dag_cbor import decode, decode_loosely, encode, merkle_root
from consensus.encoding.unixfs import file_blocks, file_cid, read_file

CHUNK = 262_144
VECTORS = json.loads(Path(__file__).parents[2].joinpath("vectors").joinpath("cid.json").read_text())
INPUTS = {
    "empty": b"",
    r"b'hello world\n'": b"hello world\n",
    "1 MiB of zero bytes": bytes(1 << 20),
}
CID = raw_cid(b"model")

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.text()
    | st.binary()
    | st.binary(min_size=32, max_size=40).map(lambda tail: b"\x01" + tail)
    | st.binary().map(raw_cid),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


# --- DAG-CBOR -------------------------------------------------------------------------------


@given(values)
def test_a_value_equals_its_decoding(value: Any) -> None:
    data = encode(value)
    assert decode(data) == value
    assert encode(decode(data)) == data


@given(values, st.data())
def test_altered_bytes_are_another_value_or_none(value: Any, data: st.DataObject) -> None:
    encoded = bytearray(encode(value))
    place = data.draw(st.integers(0, len(encoded) - 1))
    encoded[place] ^= data.draw(st.integers(1, 255))
    try:
        other = decode(bytes(encoded))
    except EncodingError:
        return
    assert encode(other) == encoded


@given(st.binary(max_size=60))
@example(b"\xd8\x2a\x45\x00\x01\x55\x12\x00")
def test_any_bytes_decode_or_are_refused(data: bytes) -> None:
    try:
        value = decode(data)
    except EncodingError:
        return
    assert encode(value) == data


def test_encoding_is_that_of_other_implementations() -> None:
    record = {
        "kind": "update",
        "z": [None, True, False, 0, 23, 24, 255, 256, 65535, 65536, 2**32, 2**64 - 1, -1, -(2**63)],
        "aa": {"model": CID, "empty": {}, "text": "r × N"},
        "signature": bytes(64),
    }
    assert encode(record) == libipld.encode_dag_cbor(record)
    assert encode(record).startswith(b"\xa4\x61z")  # the shortest key first


def test_only_cids_become_links() -> None:
    assert encode(CID) == b"\xd8\x2a\x58\x25\x00" + CID
    assert decode(encode({"model": CID})) == {"model": CID}
    # libipld would write each of these as a link to nowhere.
    for impostor in (b"\x01" * 32, b"\x01" * 36, b"\x12\x20" + bytes(32), CID + b"x"):
        assert encode(impostor)[:1] == b"\x58"
        assert decode(encode(impostor)) == impostor


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "nothing"),
        (b"\x00\x00", "trailing bytes"),
        (b"\x18\x01", "an integer longer than needed"),
        (b"\x1b\x00\x00\x00\x00\x00\x00\x00\x01", "an integer longer than needed"),
        (b"\x3b\xff\xff\xff\xff\xff\xff\xff\xff", "an integer below -2**63"),
        (b"\xa2\x61b\x01\x61a\x02", "unsorted keys"),
        (b"\xa2\x62aa\x01\x61b\x02", "a longer key first"),
        (b"\xa2\x61a\x01\x61a\x02", "a repeated key"),
        (b"\xa1\x01\x02", "a key that is no text"),
        (b"\x9f\x01\xff", "an indefinite length"),
        (b"\x5f\x41a\xff", "an indefinite length"),
        (b"\x58\x01a", "a length longer than needed"),
        (b"\xfb" + bytes(8), "a float"),
        (b"\xfb\x7f\xf8" + bytes(6), "NaN"),
        (b"\xf9\x00\x00", "a half float"),
        (b"\xf7", "undefined"),
        (b"\xc1\x01", "another tag"),
        (b"\x62\xff\xff", "text that is not UTF-8"),
        (b"\x82\x01", "a list cut short"),
        (b"\x9b" + b"\xff" * 8, "a list longer than memory"),
        (b"\x5b\x7f" + b"\xff" * 7, "bytes longer than memory"),
        (b"\x58\x24" + CID, "a CID that is not a link"),
        (b"\xd8\x2a\x58\x24" + CID, "a link without its multibase"),
        (b"\xd8\x2a\x58\x26\x00" + CID + b"x", "a link with trailing bytes"),
        (b"\xd8\x2a\x58\x23\x00\x12\x20" + bytes(32), "a link to a CIDv0"),
        (b"\xd8\x2a\x58\x25\x00\x01\x55\x1b\x20" + bytes(32), "a link by another hash"),
        (b"\xd8\x2a\x45\x00\x01\x55\x12\x00", "a link to an empty hash"),
        (b"\x81" * 65 + b"\x01", "too deep"),
        (b"\x81" * 500 + b"\x01", "too deep"),
        (b"\x81" * 1_000_000 + b"\x01", "far too deep"),
        (b"\xa1\x61a" * 200_000 + b"\x01", "far too deep"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_not_canonical_is_refused(data: bytes, why: str) -> None:
    with pytest.raises(EncodingError):
        decode(data)


@pytest.mark.parametrize("data", [b"", b"\x81" * 2000, b"\xff", b"\x80\x80", b"\x80" * 2**17])
def test_what_is_no_encoding_is_refused_loosely_too(data: bytes) -> None:
    with pytest.raises(EncodingError):
        decode_loosely(data)


def test_what_is_read_loosely_is_the_same_value() -> None:
    value = {"b": [1, b"x", None], "aa": {"c": True}}
    assert decode_loosely(encode(value)) == value
    longer = b"\x18\x01"  # 1, in two bytes
    assert decode_loosely(longer) == 1
    with pytest.raises(EncodingError):
        decode(longer)


@pytest.mark.parametrize(
    "value",
    [1.0, math.nan, 2**64, -(2**63) - 1, (1, 2), {1}, bytearray(b"a"), "\ud800", object()],
    ids=lambda value: type(value).__name__,
)
def test_what_has_no_place_in_a_record_is_refused(value: Any) -> None:
    for wrapped in (value, [value], {"key": value}):
        with pytest.raises(EncodingError):
            encode(wrapped)


def test_map_keys_are_text() -> None:
    for key in (1, b"a", None, "\ud800"):
        with pytest.raises(EncodingError):
            encode({key: 1})


def test_depth_is_bounded() -> None:
    value: Any = 1
    for _ in range(64):
        value = [value]
    assert decode(encode(value)) == value
    for deeper in ([value], {"a": value}):
        with pytest.raises(EncodingError, match="64 deep"):
            encode(deeper)
    circle: list[Any] = []
    circle.append(circle)
    with pytest.raises(EncodingError, match="64 deep"):
        encode(circle)


@pytest.mark.parametrize("value", ["text", bytearray(b"\x01"), memoryview(b"\x01"), None, 1])
def test_only_bytes_are_decoded(value: Any) -> None:
    with pytest.raises(EncodingError, match="are bytes"):
        decode(value)


# --- CIDs -----------------------------------------------------------------------------------


@pytest.mark.parametrize("vector", VECTORS["vectors"], ids=lambda vector: vector["input"])
def test_addresses_of_a_real_node(vector: dict[str, str]) -> None:
    assert cid_text(file_cid(INPUTS[vector["input"]])) == vector["v1_raw_leaves"]


@given(st.binary())
def test_text_and_back(data: bytes) -> None:
    for cid in (raw_cid(data), node_cid(data), make_cid(PROTOBUF, data)):
        assert is_cid(cid)
        assert parse_cid(cid_text(cid)) == cid
        assert cid_text(cid) == libipld.encode_cid(cid)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "b",
        cid_text(CID).upper(),
        cid_text(CID)[:-1],
        cid_text(CID) + "a",
        cid_text(CID) + "=",
        "B" + cid_text(CID)[1:],
        "z" + cid_text(CID)[1:],
        cid_text(CID)[:-1] + "7",  # unused bits set
        "b0" + cid_text(CID)[2:],
        "bé" + cid_text(CID)[2:],
        VECTORS["vectors"][0]["v0"],
    ],
)
def test_text_that_is_no_cid(text: str) -> None:
    with pytest.raises(EncodingError):
        parse_cid(text)


@pytest.mark.parametrize("cid", [b"", CID[:-1], CID + b"x", b"\x01" * 36, b"\x12\x20" + bytes(32)])
def test_bytes_that_are_no_cid(cid: bytes) -> None:
    assert not is_cid(cid)
    with pytest.raises(EncodingError, match="not a CID"):
        cid_text(cid)


# --- Files ----------------------------------------------------------------------------------


def oracle(data: bytes) -> str:
    """The address that an independent implementation gives."""
    aleph_cid = pytest.importorskip("aleph_cid", reason="the oracle of addresses is not installed")
    hasher = aleph_cid.CidHasher.for_ipfs_v1_raw_leaves()
    hasher.update(data)
    text: str = hasher.finalize()
    return text


def pattern(size: int) -> bytes:
    """Bytes whose chunks all differ."""
    block = hashlib.shake_256(b"pattern").digest(CHUNK + 7)
    return (block * (size // len(block) + 1))[:size]


@pytest.mark.parametrize(
    "size",
    [
        0,
        1,
        CHUNK - 1,
        CHUNK,
        CHUNK + 1,
        2 * CHUNK,
        5 * CHUNK + 17,
        174 * CHUNK,  # as much as one node links
        174 * CHUNK + 1,
        350 * CHUNK,
    ],
)
def test_files_at_the_borders_of_chunks_and_nodes(size: int) -> None:
    data = pattern(size)
    root, blocks = file_blocks(data)
    assert root == file_cid(data) == blocks[-1][0]
    assert read_file(root, dict(blocks).__getitem__) == data
    assert cid_text(root) == oracle(data)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 1 << 21), st.binary(min_size=1, max_size=32))
def test_files_of_any_size(size: int, seed: bytes) -> None:
    data = hashlib.shake_256(seed).digest(size)
    root, blocks = file_blocks(data)
    assert read_file(root, dict(blocks).__getitem__) == data
    assert cid_text(root) == oracle(data)


def test_blocks_come_before_their_parents() -> None:
    _, blocks = file_blocks(pattern(400 * CHUNK))
    seen: set[bytes] = set()
    for cid, block in blocks:
        if cid[1] == PROTOBUF:
            links = block.count(b"\x0a\x24\x01")
            assert links == sum(child in block for child in seen)
        seen.add(cid)


@pytest.mark.parametrize("place", [0, 100, -1])
def test_an_altered_block_is_refused(place: int) -> None:
    data = pattern(3 * CHUNK)
    root, blocks = file_blocks(data)
    for cid, block in blocks:
        altered = bytearray(block)
        altered[place] ^= 1
        held = dict(blocks) | {cid: bytes(altered)}
        with pytest.raises(EncodingError, match="another hash"):
            read_file(root, held.__getitem__)


def forged(change: Callable[[bytes], bytes]) -> tuple[bytes, dict[bytes, bytes]]:
    """A file whose root block was rewritten, with the CID that goes with it."""
    root, blocks = file_blocks(pattern(2 * CHUNK))
    held = dict(blocks)
    block = change(held[root])
    cid = make_cid(PROTOBUF, block)
    return cid, held | {cid: block}


@pytest.mark.parametrize(
    "change",
    [
        lambda block: b"",
        lambda block: block[:-1],
        lambda block: block + b"\x00",
        lambda block: block[:20],
        lambda block: block.replace(b"\x08\x02\x18", b"\x08\x01\x18"),  # a folder
        lambda block: block.replace(b"\x20\x80\x80\x10", b"\x20\x81\x80\x10"),  # sizes off by one
        lambda block: block.replace(b"\x18\x80\x80\x20", b"\x18\x82\x80\x20").replace(
            b"\x20\x80\x80\x10", b"\x20\x81\x80\x10"
        ),  # every size off by one, in agreement
        lambda block: block.replace(b"\x20\x80\x80\x10", b"\x20\x00"),  # empty children
        lambda block: block.replace(b"\x01\x55\x12\x20", b"\x01\x71\x12\x20", 1),  # a record below
        lambda block: b"\x0a\x04\x08\x02\x18\x00",  # no children
        lambda block: b"\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff" + block,
    ],
)
def test_a_forged_tree_is_refused(change: Callable[[bytes], bytes]) -> None:
    cid, held = forged(change)
    with pytest.raises(EncodingError):
        read_file(cid, held.__getitem__)


def test_a_tree_that_outgrows_its_file_is_refused() -> None:
    """Nodes that link the level below 174 times, with nothing at the bottom, would never end."""
    held = {raw_cid(b""): b""}
    cid = raw_cid(b"")
    for _ in range(9):
        block = unixfs._node([unixfs._Subtree(cid, 0, 0)] * 174)
        cid = make_cid(PROTOBUF, block)
        held[cid] = block
    with pytest.raises(EncodingError, match="not a node"):
        read_file(cid, held.__getitem__)


def test_a_record_is_not_a_file() -> None:
    with pytest.raises(EncodingError, match="not a block of a file"):
        read_file(node_cid(b"\x01"), lambda cid: b"\x01")
    with pytest.raises(EncodingError, match="not a CID"):
        read_file(b"\x01", lambda cid: b"\x01")


# --- Merkle root ----------------------------------------------------------------------------


def test_roots_by_hand() -> None:
    def leaf(data: bytes) -> bytes:
        return digest(b"\x00" + data)

    def node(left: bytes, right: bytes) -> bytes:
        return digest(b"\x01" + left + right)

    a, b, c, d, e = (leaf(bytes((i,))) for i in range(5))
    leaves = [bytes((i,)) for i in range(5)]
    assert merkle_root([]) == digest(b"")
    assert merkle_root(leaves[:1]) == a
    assert merkle_root(leaves[:2]) == node(a, b)
    assert merkle_root(leaves[:3]) == node(node(a, b), c)
    assert merkle_root(leaves) == node(node(node(a, b), node(c, d)), e)


def test_root_of_the_rfc_6962_test_tree() -> None:
    """The tree of eight leaves in Certificate Transparency's reference tests."""
    leaves = [
        bytes.fromhex(leaf)
        for leaf in (
            "",
            "00",
            "10",
            "2021",
            "3031",
            "40414243",
            "5051525354555657",
            "606162636465666768696a6b6c6d6e6f",
        )
    ]
    root = "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"
    assert merkle_root(leaves).hex() == root


@given(st.lists(st.binary(max_size=70), max_size=9), st.lists(st.binary(max_size=70), max_size=9))
def test_different_lists_have_different_roots(a: list[bytes], b: list[bytes]) -> None:
    assert (merkle_root(a) == merkle_root(b)) == (a == b)


def test_repeating_the_last_leaf_changes_the_root() -> None:
    assert merkle_root([b"a", b"b", b"c"]) != merkle_root([b"a", b"b", b"c", b"c"])
