"""Files as IPFS stores them: one raw block, or above 256 KiB a balanced tree of blocks.

`file_cid` is the address that an IPFS node gives with `add --cid-version=1 --raw-leaves`. A tree's
leaves are chunks of 262,144 bytes; its inner nodes, of at most 174 links each, are dag-pb messages
(protobuf) that carry a UnixFS entry with the file's size and the size below each link.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from consensus.encoding.cid import (
    PROTOBUF,
    RAW,
    EncodingError,
    cid_text,
    codec,
    is_cid,
    make_cid,
    raw_cid,
)

__all__ = ["file_blocks", "file_cid", "read_file", "varint"]

CHUNK_BYTES: Final = 262_144
LINKS_PER_NODE: Final = 174

_FILE_ENTRY: Final = b"\x08\x02"  # UnixFS field 1, the kind: a file


class _Subtree(NamedTuple):
    cid: bytes
    content: int  # bytes of the file below
    stored: int  # bytes of all blocks below, dag-pb's Tsize


def file_cid(data: bytes) -> bytes:
    """The binary CID of `data` as a file."""
    if len(data) <= CHUNK_BYTES:
        return raw_cid(data)
    return file_blocks(data)[0]


def file_blocks(data: bytes) -> tuple[bytes, list[tuple[bytes, bytes]]]:
    """The root's CID and every (CID, block) of the file, children before their parents.

    A chunk that occurs twice in the file is listed twice.
    """
    blocks: list[tuple[bytes, bytes]] = []
    level: list[_Subtree] = []
    for start in range(0, len(data) or 1, CHUNK_BYTES):
        chunk = bytes(data[start : start + CHUNK_BYTES])
        level.append(_Subtree(raw_cid(chunk), len(chunk), len(chunk)))
        blocks.append((level[-1].cid, chunk))
    while len(level) > 1:
        parents = []
        for start in range(0, len(level), LINKS_PER_NODE):
            children = level[start : start + LINKS_PER_NODE]
            node = _node(children)
            cid = make_cid(PROTOBUF, node)
            stored = len(node) + sum(child.stored for child in children)
            parents.append(_Subtree(cid, sum(child.content for child in children), stored))
            blocks.append((cid, node))
        level = parents
    return level[0].cid, blocks


def read_file(root: bytes, get: Callable[[bytes], bytes]) -> bytes:
    """The file whose root block has the CID `root`, its blocks taken from `get(cid)`.

    Every block must hash to its CID and be as long as its parents say, so the result depends on
    `root` alone. Raises EncodingError otherwise; what `get` raises passes through.
    """
    return b"".join(_read(root, get, None))


def _read(cid: bytes, get: Callable[[bytes], bytes], expected: int | None) -> Iterator[bytes]:
    kind = codec(cid)
    if kind not in (RAW, PROTOBUF):
        raise EncodingError(f"{cid_text(cid)} is not a block of a file")
    block = get(cid)
    if make_cid(kind, block) != cid:
        raise EncodingError(f"the block stored as {cid_text(cid)} has another hash")
    if kind == RAW:
        if expected not in (None, len(block)):
            raise EncodingError(f"{cid_text(cid)} is not as long as its parent says")
        yield block
        return
    children = _parse_node(cid, block)
    if expected not in (None, sum(child.content for child in children)):
        raise EncodingError(f"{cid_text(cid)} is not as long as its parent says")
    for child in children:
        yield from _read(child.cid, get, child.content)


def varint(value: int) -> bytes:
    """`value` >= 0 in base 128, the lowest seven bits first."""
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _field(key: bytes, value: bytes) -> bytes:
    """A length-delimited protobuf field."""
    return key + varint(len(value)) + value


def _node(children: list[_Subtree]) -> bytes:
    """The dag-pb block over `children`: links (field 2) first, then the UnixFS entry (field 1)."""
    links = b"".join(
        _field(b"\x12", _field(b"\x0a", c.cid) + b"\x12\x00" + b"\x18" + varint(c.stored))
        for c in children
    )
    entry = _FILE_ENTRY + b"\x18" + varint(sum(c.content for c in children))
    entry += b"".join(b"\x20" + varint(c.content) for c in children)
    return links + _field(b"\x0a", entry)


def _parse_node(cid: bytes, block: bytes) -> list[_Subtree]:
    """The children of a dag-pb block; refuses every block that `_node` would not have written.

    Every child holds at least one byte, so reading takes no more steps than the file is long,
    whatever nodes a malicious server links together.
    """
    reader = _Reader(block)
    try:
        links = []
        while reader.at(b"\x12"):
            link = _Reader(reader.delimited(b"\x12"))
            child = link.delimited(b"\x0a")
            link.skip(b"\x12\x00")
            links.append((child, link.number(b"\x18")))
        entry = _Reader(reader.delimited(b"\x0a"))
        entry.skip(_FILE_ENTRY)
        entry.number(b"\x18")
        children = [_Subtree(link, entry.number(b"\x20"), stored) for link, stored in links]
    except IndexError:
        children = []
    sound = all(is_cid(child.cid) and child.content > 0 for child in children)
    if not children or not sound or _node(children) != block:
        raise EncodingError(f"{cid_text(cid)} is not a node of a UnixFS file")
    return children


class _Reader:
    """A cursor over protobuf bytes; raises IndexError where they are not as expected."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._place = 0

    def at(self, expected: bytes) -> bool:
        return self._data.startswith(expected, self._place)

    def skip(self, expected: bytes) -> None:
        if not self.at(expected):
            raise IndexError
        self._place += len(expected)

    def number(self, key: bytes) -> int:
        self.skip(key)
        value = 0
        for shift in range(0, 63, 7):
            byte = self._data[self._place]
            self._place += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
        raise IndexError

    def delimited(self, key: bytes) -> bytes:
        size = self.number(key)
        part = self._data[self._place : self._place + size]
        if len(part) != size:
            raise IndexError
        self._place += size
        return part
