"""Files as IPFS stores them: one raw block, or above 256 KiB a balanced tree of blocks.

`file_cid` is the address that an IPFS node gives with `add --cid-version=1 --raw-leaves`. A tree's
leaves are chunks of 262,144 bytes; its inner nodes, of at most 174 links each, are dag-pb messages
(protobuf) that carry a UnixFS entry with the file's size and the size below each link.
"""

from __future__ import annotations

import io
from collections.abc import Callable
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

__all__ = [
    "CHUNK_BYTES",
    "file_blocks",
    "file_cid",
    "file_links",
    "most_bytes",
    "read_file",
    "varint",
]

CHUNK_BYTES: Final = 262_144
LINKS_PER_NODE: Final = 174

SMALL_FILE: Final = 16 * 2**20
"""Bytes that a file may have wherever its blocks come from. Reading them takes a few hundredths of
a second."""
SHARED_CHUNKS: Final = 2
"""Greatest length of a larger file, as a multiple of the bytes of all that is held with it. A tree
may link one chunk many times, so a few blocks can claim any length. The chunks of our large files
are distinct, as those of a chain's initial model are drawn at random. No other file of a chain is
more than twice as long as that model: an update that sends every value with its place (4 + 4
bytes)."""

OTHERWISE: Final = "is laid out in another way than our files"
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


def most_bytes(held: int) -> int:
    """The greatest length of a file whose blocks are among ``held`` bytes of somebody else's."""
    return max(SMALL_FILE, SHARED_CHUNKS * held)


def read_file(root: bytes, get: Callable[[bytes], bytes], most: int | None = None) -> bytes:
    """The file whose root block has the CID `root`, its blocks taken from `get(cid)`.

    Every block must hash to its CID and be as long as its parents say, and the tree must be the one
    that `file_blocks` makes, so a file has one CID and the result depends on `root` alone. A tree
    whose root claims more than ``most`` bytes is refused before anything below is read; None: no
    limit. Raises EncodingError otherwise; what `get` raises passes through.
    """
    if codec(root) == RAW:
        return _block(root, get)
    file = io.BytesIO()
    for leaf in _levels(root, get, most)[-1]:
        block = _block(leaf.cid, get)
        if leaf.content != len(block):
            raise EncodingError(f"{cid_text(leaf.cid)} is not as long as its parent says")
        file.write(block)
    return file.getvalue()


def file_links(
    root: bytes, get: Callable[[bytes], bytes], size: Callable[[bytes], int], most: int
) -> list[bytes]:
    """The CIDs of a file's blocks, each once, children before their parents; checks the tree.

    Only inner nodes are read: ``size(cid)`` is the length of a chunk that is known to hash to its
    CID. Otherwise as `read_file`, but the work depends on the number of different blocks alone, not
    on the length of the file.
    """
    if codec(root) == RAW:
        if size(root) > CHUNK_BYTES:
            raise EncodingError(f"{cid_text(root)} {OTHERWISE}")
        return [root]
    levels = _levels(root, get, most, distinct=True)
    for leaf in levels[-1]:
        if leaf.content != size(leaf.cid):
            raise EncodingError(f"{cid_text(leaf.cid)} is not as long as its parent says")
    return list(dict.fromkeys(each.cid for level in reversed(levels) for each in level))


def _levels(
    root: bytes, get: Callable[[bytes], bytes], most: int | None, distinct: bool = False
) -> list[list[_Subtree]]:
    """The levels of a tree of two chunks or more, the root's first; the chunks are not read.

    Each lists its subtrees in the file's order, where ``distinct`` those that occur again once.
    """
    block = _block(root, get)
    children = _parse_node(root, block)
    content = sum(child.content for child in children)
    if most is not None and content > most:
        raise EncodingError(
            f"{cid_text(root)} claims to be a file of {content:,} bytes, where at most {most:,} "
            "can be"
        )
    if content <= CHUNK_BYTES:
        raise EncodingError(f"{cid_text(root)} {OTHERWISE}")
    below = CHUNK_BYTES  # bytes of a full child, on the level that is looked at
    while below * LINKS_PER_NODE < content:
        below *= LINKS_PER_NODE
    stored = len(block) + sum(child.stored for child in children)
    levels = [[_Subtree(root, content, stored)]]
    while below >= CHUNK_BYTES:
        parsed = {each: _children(each, get, below) for each in dict.fromkeys(levels[-1])}
        level = [child for each in levels[-1] for child in parsed[each]]
        levels.append(list(dict.fromkeys(level)) if distinct else level)
        below //= LINKS_PER_NODE
    return levels


def _children(subtree: _Subtree, get: Callable[[bytes], bytes], below: int) -> list[_Subtree]:
    """The children of an inner node, of which all but the last hold ``below`` bytes each."""
    block = _block(subtree.cid, get)
    children = _parse_node(subtree.cid, block)
    content = sum(child.content for child in children)
    stored = len(block) + sum(child.stored for child in children)
    if (content, stored) != (subtree.content, subtree.stored):
        raise EncodingError(f"{cid_text(subtree.cid)} is not as long as its parent says")
    kind = RAW if below == CHUNK_BYTES else PROTOBUF
    full = all(child.content == below for child in children[:-1])
    if not full or children[-1].content > below:
        raise EncodingError(f"{cid_text(subtree.cid)} {OTHERWISE}")
    for child in children:
        if codec(child.cid) != kind:
            raise EncodingError(f"{cid_text(subtree.cid)} {OTHERWISE}")
        if kind == RAW and child.stored != child.content:
            raise EncodingError(f"{cid_text(child.cid)} is not as long as its parent says")
    return children


def _block(cid: bytes, get: Callable[[bytes], bytes]) -> bytes:
    """A block of a file, checked against its CID and the greatest length of a chunk or node."""
    kind = codec(cid)
    if kind not in (RAW, PROTOBUF):
        raise EncodingError(f"{cid_text(cid)} is not a block of a file")
    block = get(cid)
    if make_cid(kind, block) != cid:
        raise EncodingError(f"the block stored as {cid_text(cid)} has another hash")
    if len(block) > CHUNK_BYTES:
        raise EncodingError(f"{cid_text(cid)} {OTHERWISE}")
    return block


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

    Every child holds at least one byte.
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
