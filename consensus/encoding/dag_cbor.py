"""Canonical bytes of the ledger: DAG-CBOR and Merkle roots.

One value has one encoding. All that is signed, hashed or stored is written by `encode`, and all
that arrives is read by `decode`, which refuses every byte string that `encode` would not have
produced.

A CID is held in a record as its 36 binary bytes (CIDv1, sha2-256; see `is_cid`) and becomes an IPLD
link (CBOR tag 42) in the encoding, so that any IPLD explorer can walk from block to block to
aggregate. `libipld` decodes; it does not encode here, because it turns *any* byte string that
begins like a CID into a link: one random 32-byte digest in some two thousand.

CIDs are made in `consensus.encoding.cid`, those of files in `consensus.encoding.unixfs`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any, Final

import libipld

from consensus.encoding.cid import (
    CID_BYTES,
    CID_PREFIXES,
    EncodingError,
    digest,
)

MAX_DEPTH: Final = 64
"""The deepest nesting of lists and maps that is read; the ledger's records stay below ten."""

FREE_ITEMS: Final = 2**16
"""Items (numbers, texts, lists, keys, ...) that a record may hold, however short it is. Records of
up to as many bytes are not counted, as every item takes one at least."""
BYTES_PER_ITEM: Final = 8
"""Bytes that every further item takes on average. An empty list is one byte, and 56 in memory; in
our long records, which list keys, digests and links, an item takes 12 or more."""

_LINK_HEAD: Final = b"\xd8\x2a\x58\x25\x00"  # tag 42, a byte string of 37, the identity multibase


# --- Canonical DAG-CBOR ---------------------------------------------------------------------


def encode(value: Any) -> bytes:
    """The canonical DAG-CBOR bytes of `value`.

    `value` is built from dict (str keys), list, str, bytes, bool, None and int in
    [-2**63, 2**64 - 1]. Floats have no place in what is signed; tuples, bytearrays and NumPy
    scalars are refused too, so that a value equals its own decoding. 36 bytes that are a CID
    (`is_cid`) become a link. Raises EncodingError naming the offending type.
    """
    parts: list[bytes] = []
    _append(parts, (value,), 0)
    return b"".join(parts)


def decode(data: bytes) -> Any:
    """The value whose canonical encoding is `data`; links come back as 36-byte CIDs.

    Raises EncodingError for anything `encode` does not produce: trailing or missing bytes,
    longer integers than needed, unsorted or repeated keys, indefinite lengths, floats, other
    tags, links to anything but a CIDv1 with sha2-256, nesting beyond MAX_DEPTH. So it does for
    more items than FREE_ITEMS and BYTES_PER_ITEM allow, which would take many times the memory of
    their bytes.
    """
    value = decode_loosely(data)
    if encode(value) != data:
        raise EncodingError("not the canonical DAG-CBOR encoding of its value")
    return value


def decode_loosely(data: bytes) -> Any:
    """The value that `data` encodes, without a look at whether `encode` would have given the same
    bytes: a third of the time of `decode`, for readers that hash what they take of it.

    Raises EncodingError for what is no DAG-CBOR, or has too many items, as `decode` does.
    """
    if type(data) is not bytes:
        raise EncodingError(f"encoded records are bytes, not {type(data).__name__}")
    if len(data) > FREE_ITEMS:
        _check_density(data)
    try:
        return libipld.decode_dag_cbor(data)
    except (ValueError, RecursionError, OverflowError, MemoryError) as error:
        raise EncodingError(f"not DAG-CBOR: {error}") from None


def _check_density(data: bytes) -> None:
    """Raise EncodingError as soon as the items so far are too many for their bytes."""
    place = items = 0
    while place < len(data):
        items += 1
        if items > FREE_ITEMS + place // BYTES_PER_ITEM:
            raise EncodingError(f"more than {items - 1:,} items in {place:,} bytes")
        major, short = data[place] >> 5, data[place] & 31
        place += 1
        argument = short
        if short >= 24:
            width = 1 << (short & 7)  # of 1, 2, 4 or 8 bytes; what is beyond is no DAG-CBOR
            argument = int.from_bytes(data[place : place + width])
            place += width
        if major in (2, 3):  # bytes, text
            place += argument


def _head(major: int, argument: int) -> bytes:
    """A CBOR head: the major type's bits (already shifted) with the shortest argument."""
    if argument < 24:
        return bytes((major | argument,))
    if argument < 0x100:
        return bytes((major | 24, argument))
    if argument < 0x10000:
        return bytes((major | 25,)) + argument.to_bytes(2, "big")
    if argument < 0x100000000:
        return bytes((major | 26,)) + argument.to_bytes(4, "big")
    return bytes((major | 27,)) + argument.to_bytes(8, "big")


@lru_cache(maxsize=1 << 10)  # the names of kinds and phases, over and over
def _text(value: str) -> bytes:
    try:
        raw = value.encode()
    except UnicodeEncodeError:
        raise EncodingError("text with a lone surrogate has no UTF-8 encoding") from None
    return _head(0x60, len(raw)) + raw


@lru_cache(maxsize=4096)
def _sorted_keys(keys: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[bytes, ...]]:
    """The keys in DAG-CBOR's order, by length, then by bytes; and the encoding of each.

    Sorting the encodings gives just that, for the head grows with the length. Records of one
    kind share their keys, hence the memo.
    """
    for key in keys:
        if type(key) is not str:
            raise EncodingError(f"map keys are text, not {type(key).__name__}")
    ordered = sorted(keys, key=_text)
    return tuple(ordered), tuple(map(_text, ordered))


_BYTES_HEADS: Final = tuple(_head(0x40, length) for length in range(256))
_LIST_HEADS: Final = tuple(_head(0x80, length) for length in range(256))
_SMALL: Final = tuple(_head(0x00, value) for value in range(256))


def _append(
    parts: list[bytes], values: Iterable[Any], depth: int, keys: Iterator[bytes] | None = None
) -> None:
    """Append the encoded values of a container to `parts`, in a map each value after its key.

    Scalars are encoded in this loop rather than by a call each: records are full of them, and a run
    encodes millions of records.
    """
    append = parts.append
    for value in values:
        if keys is not None:
            append(next(keys))
        kind = type(value)
        if kind is bytes:
            size = len(value)
            if size == CID_BYTES and value[:4] in CID_PREFIXES:  # as `is_cid` has it
                append(_LINK_HEAD)
            else:
                append(_BYTES_HEADS[size] if size < 256 else _head(0x40, size))
            append(value)
        elif kind is int:
            if 0 <= value < 256:
                append(_SMALL[value])
            elif 0 <= value < 2**64:
                append(_head(0x00, value))
            elif -(2**63) <= value < 0:
                append(_head(0x20, -1 - value))
            else:
                raise EncodingError("integers lie in [-2**63, 2**64 - 1]")
        elif kind is str:
            append(_text(value))
        elif kind is list:
            if depth == MAX_DEPTH:
                raise EncodingError(f"lists and maps nest at most {MAX_DEPTH} deep")
            size = len(value)
            append(_LIST_HEADS[size] if size < 256 else _head(0x80, size))
            _append(parts, value, depth + 1)
        elif kind is dict:
            if depth == MAX_DEPTH:
                raise EncodingError(f"lists and maps nest at most {MAX_DEPTH} deep")
            append(_head(0xA0, len(value)))
            names, encoded = _sorted_keys(tuple(value))
            _append(parts, map(value.__getitem__, names), depth + 1, iter(encoded))
        elif value is None:
            append(b"\xf6")
        elif kind is bool:
            append(b"\xf5" if value else b"\xf4")
        else:
            raise EncodingError(f"{kind.__name__} has no place in a record")


# --- Merkle root ----------------------------------------------------------------------------


def merkle_root(leaves: Sequence[bytes]) -> bytes:
    """The Merkle tree hash of `leaves` in their order, 32 bytes (RFC 6962, section 2.1).

    Leaves and inner nodes are hashed under different prefixes, so that neither passes for the
    other, and an odd node is carried up rather than doubled, so that two lists of different
    length never share a root. No leaves: the hash of nothing.
    """
    if not leaves:
        return digest(b"")
    level = [digest(b"\x00" + leaf) for leaf in leaves]
    while len(level) > 1:
        paired = [digest(b"\x01" + a + b) for a, b in zip(level[::2], level[1::2], strict=False)]
        level = paired + level[len(paired) * 2 :]
    return level[0]
