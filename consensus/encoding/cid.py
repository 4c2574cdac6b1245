"""Content identifiers (CIDs): addresses of content, made from the hash of its bytes.

A CID is held as its 36 binary bytes (CIDv1: version, codec, sha2-256, 32 bytes of digest) and
written for people in base32. They are the addresses that an IPFS node gives to the same bytes.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from typing import Final

__all__ = [
    "CBOR",
    "PROTOBUF",
    "RAW",
    "EncodingError",
    "cid_text",
    "codec",
    "digest",
    "is_cid",
    "make_cid",
    "node_cid",
    "parse_cid",
    "raw_cid",
]

RAW: Final = 0x55
"""Multicodec of a raw block: the bytes of a small file, or of one chunk of a large one."""
PROTOBUF: Final = 0x70
"""Multicodec of dag-pb: an inner node of a file's UnixFS tree."""
CBOR: Final = 0x71
"""Multicodec of dag-cbor: a block or another record of the ledger."""

CID_BYTES: Final = 36

_PREFIXES: Final = {kind: bytes((1, kind, 0x12, 0x20)) for kind in (RAW, PROTOBUF, CBOR)}
_CODECS: Final = {prefix: kind for kind, prefix in _PREFIXES.items()}
CID_PREFIXES: Final = frozenset(_CODECS)
"""The possible first four bytes of a 36-byte CID, one for each codec."""


class EncodingError(ValueError):
    """Error: a value without a canonical encoding, or bytes that are not one."""


def digest(data: bytes) -> bytes:
    """The SHA-256 of `data`, 32 bytes; this digest is signed, and carried by a CID."""
    return hashlib.sha256(data).digest()


def make_cid(kind: int, data: bytes) -> bytes:
    """The binary CIDv1, 36 bytes, of a block of multicodec `kind` (RAW, PROTOBUF or CBOR)."""
    return _PREFIXES[kind] + digest(data)


def raw_cid(data: bytes) -> bytes:
    """The CID of `data` as one raw block (base32 text `bafkrei...`)."""
    return make_cid(RAW, data)


def node_cid(data: bytes) -> bytes:
    """The CID of the canonical DAG-CBOR bytes `data` of a record (base32 text `bafyrei...`)."""
    return make_cid(CBOR, data)


def is_cid(value: object) -> bool:
    """True if `value` is a binary CID as records hold them.

    That is: 36 bytes; version 1; codec raw, dag-pb or dag-cbor; sha2-256 of 32 bytes.
    """
    return type(value) is bytes and len(value) == CID_BYTES and value[:4] in _CODECS


def codec(cid: bytes) -> int:
    """The multicodec of a binary CID: RAW, PROTOBUF or CBOR. Raises EncodingError."""
    if not is_cid(cid):
        raise EncodingError("not a CID: expected 36 bytes of CIDv1 with sha2-256")
    return _CODECS[cid[:4]]


def cid_text(cid: bytes) -> str:
    """A binary CID as people and IPFS nodes write it: 'b' and lower-case base32, unpadded."""
    codec(cid)
    return "b" + base64.b32encode(cid).decode().rstrip("=").lower()


def parse_cid(text: str) -> bytes:
    """The binary CID that `cid_text` wrote as `text`. Raises EncodingError."""
    body = text[1:].upper()
    try:
        cid = base64.b32decode(body + "=" * (-len(body) % 8))
    except (binascii.Error, ValueError):
        raise EncodingError(f"not a base32 CID: {text[:80]!r}") from None
    if not is_cid(cid) or cid_text(cid) != text:
        raise EncodingError(f"not a base32 CIDv1 with sha2-256: {text[:80]!r}")
    return cid
