"""CAR v1 files: blocks of content one after another, the archive format of IPFS and IPLD tools.

A file is a header (a DAG-CBOR map of the version and the roots), then sections, each a block after
its CID; header and sections are preceded by their length as a varint
(https://ipld.io/specs/transport/car/carv1). Reading trusts nothing: every block must hash to the
CID before it, and every byte must belong to a section.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

from consensus.encoding.cid import CID_BYTES, EncodingError, cid_text, codec, is_cid, make_cid
from consensus.encoding.dag_cbor import decode, encode
from consensus.encoding.unixfs import varint
from consensus.storage.closing import Closing
from consensus.storage.content import NotFound, StoreError
from consensus.storage.regular import open_regular

__all__ = ["CarError", "CarFile", "write_car"]

MAX_BLOCK: Final = 64 * 2**20
"""Longest section that is read, in bytes; IPFS nodes exchange blocks of up to 2 MiB, and the
genesis, our longest record, takes 37 bytes a client."""
MAX_HEADER: Final = 4096
"""Longest header that is read, in bytes; that of one root, which an archive of ours has, takes
58."""


class CarError(StoreError):
    """Error: a CAR file that is damaged, or a file that is none."""


def write_car(path: Path, root: bytes, blocks: Iterable[tuple[bytes, bytes]]) -> int:
    """Write ``blocks`` (CID, bytes), each once, to a CAR file with one root; return their number.

    The file appears whole or not at all. The same blocks in the same order give the same file.
    """
    header = encode({"roots": [root], "version": 1})
    beside = path.with_name(f".{path.name}.part")
    written: set[bytes] = set()
    try:
        with beside.open("wb") as file:
            file.write(varint(len(header)) + header)
            for cid, data in blocks:
                if cid not in written:
                    written.add(cid)
                    file.write(varint(CID_BYTES + len(data)) + cid + data)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    return len(written)


class _Place(NamedTuple):
    start: int
    size: int


class CarFile(Closing):
    """A CAR file open for reading, its blocks found by CID; only their offsets are in memory.

    Opening reads the whole file and checks every block. Raises CarError, which names the block's
    CID or its offset in the file, and OSError if the file cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._places: dict[bytes, _Place] = {}
        self._file: BinaryIO = open_regular(path)
        try:
            self.size = os.fstat(self._file.fileno()).st_size
            """Length of the whole file, in bytes."""
            self.roots = self._header()
            while self._section():
                pass
        except BaseException:
            self._file.close()
            raise

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __len__(self) -> int:
        return len(self._places)

    def block(self, cid: bytes) -> bytes:
        """The block with this CID; raises NotFound."""
        place = self._place(cid)
        self._file.seek(place.start)
        return self._read(place.size)

    def block_size(self, cid: bytes) -> int:
        """The length of the block with this CID, in bytes; raises NotFound."""
        return self._place(cid).size

    def _place(self, cid: bytes) -> _Place:
        try:
            return self._places[cid]
        except KeyError:
            name = cid_text(cid) if is_cid(cid) else repr(cid)
            raise NotFound(f"{self._path}: {name} is not in the file") from None

    def _header(self) -> list[bytes]:
        size = self._length()
        if size is None or size > MAX_HEADER:
            raise CarError(f"{self._path}: not a CAR file")
        try:
            header = decode(self._read(size))
        except EncodingError:
            raise CarError(f"{self._path}: not a CAR file") from None
        if not isinstance(header, dict) or header.keys() != {"roots", "version"}:
            raise CarError(f"{self._path}: not a CAR file of version 1")
        roots = header["roots"]
        if header["version"] != 1 or not isinstance(roots, list) or not all(map(is_cid, roots)):
            raise CarError(f"{self._path}: not a CAR file of version 1 with CIDs as we know them")
        return roots

    def _section(self) -> bool:
        """Read one section and check its block; False at the end of the file."""
        begin = self._file.tell()
        size = self._length()
        if size is None:
            return False
        if not CID_BYTES <= size <= MAX_BLOCK:
            raise CarError(f"{self._path}: byte {begin}: no block is {size} bytes long")
        cid = self._read(CID_BYTES)
        start = self._file.tell()
        data = self._read(size - CID_BYTES)
        try:
            sound = make_cid(codec(cid), data) == cid
        except EncodingError:
            raise CarError(f"{self._path}: byte {begin}: no CID that we know") from None
        if not sound:
            raise CarError(
                f"{self._path}: byte {begin}: the block stored as {cid_text(cid)} has another hash"
            )
        self._places.setdefault(cid, _Place(start, len(data)))
        return True

    def _length(self) -> int | None:
        """Read the varint at the current offset; None at the end of the file."""
        begin = self._file.tell()
        value = 0
        for shift in range(0, 63, 7):
            byte = self._file.read(1)
            if not byte and shift == 0:
                return None
            if not byte:
                break
            value |= (byte[0] & 0x7F) << shift
            if byte[0] < 0x80:
                if byte[0] == 0 and shift:
                    break  # a non-minimal varint
                return value
        raise CarError(f"{self._path}: byte {begin}: no length of a block")

    def _read(self, size: int) -> bytes:
        begin = self._file.tell()
        data = self._file.read(size) if size <= self.size - begin else b""
        if len(data) != size:
            raise CarError(f"{self._path}: ends within the block at byte {begin}")
        return data
