"""Content stores: the interface, and one in memory.

A store is asked for content by its CID. It answers with bytes that hash to the CID, or raises.
Content is kept as the IPLD blocks that an IPFS node would hold for it, so the addresses are the
same and any block can be handed to such a node.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

from consensus.encoding.cid import CBOR, EncodingError, cid_text, codec, make_cid, node_cid
from consensus.encoding.unixfs import file_blocks, read_file

__all__ = [
    "Busy",
    "ContentReader",
    "ContentStore",
    "MemoryStore",
    "NotFound",
    "StoreError",
    "Unavailable",
]


class StoreError(Exception):
    """Error: a store that cannot be used, or content that is not what its address says."""


class Busy(StoreError):
    """Error: a file was written while it was read; the same question may be answered now."""


class Unavailable(StoreError):
    """Error: a store that does not answer or cannot be read now; it tells nothing of the content,
    which may be there and right."""


class NotFound(StoreError):
    """Error: content, a block or an entry that the store does not hold."""


class ContentReader(ABC):
    """Bytes that are found by their CID, and checked against it."""

    def get(self, cid: bytes) -> bytes:
        """The file or record with this CID, every block of it checked against its hash.

        Raises NotFound if a block of it is not held, and StoreError if bytes do not hash to their
        address, `cid` is no CID or the file claims to be longer than it can be.
        """
        try:
            if codec(cid) != CBOR:
                return read_file(cid, self._block, self._most_bytes())
        except EncodingError as error:
            raise StoreError(str(error)) from None
        return self.block_bytes(cid)

    def get_at_most(self, cid: bytes, most: int) -> bytes:
        """The file with this CID, as `get`, if it has at most ``most`` bytes.

        Content that somebody else put may claim any length: a longer file is refused, with
        StoreError, before more of it is read than its root block.
        """
        try:
            data = read_file(cid, self._small_block, most)
        except EncodingError as error:
            raise StoreError(str(error)) from None
        if len(data) > most:  # one block, which has no root to claim anything
            raise StoreError(f"{cid_text(cid)} has {len(data):,} bytes, more than {most:,}")
        return data

    def block_bytes(self, cid: bytes) -> bytes:
        """The one IPLD block with this CID, checked against its hash.

        The block is a record, a whole small file, or a chunk or an inner node of a large one.
        Raises NotFound and StoreError like `get`.
        """
        data = self._block(cid)
        try:
            if make_cid(codec(cid), data) == cid:
                return data
        except EncodingError as error:
            raise StoreError(str(error)) from None
        raise StoreError(f"the bytes stored as {cid_text(cid)} have another hash")

    @abstractmethod
    def has(self, cid: bytes) -> bool:
        """True if the block that `cid` names is held."""

    def _most_bytes(self) -> int | None:
        """The greatest length of a file that can be here, in bytes; None where all is our own."""
        return None

    @abstractmethod
    def _block(self, cid: bytes) -> bytes:
        """The bytes held for `cid`, unchecked; raises NotFound."""

    def _small_block(self, cid: bytes) -> bytes:
        """`_block` of a file that anybody may have put; a store that does not bound the length of
        its blocks looks at it first."""
        return self._block(cid)


class ContentStore(ContentReader):
    """A store of bytes, addressed by CID.

    Content that was put stays until it is removed. Two files may share chunks; a chunk is deleted
    with the last file that holds it.
    """

    def put(self, data: bytes) -> bytes:
        """Store `data` as a file; return its CID (`unixfs.file_cid`). Repeated calls change
        nothing."""
        root, blocks = file_blocks(data)
        self._keep(root, dict(blocks))
        return root

    def put_node(self, data: bytes) -> bytes:
        """Store the canonical DAG-CBOR bytes of a record; return its CID (`cid.node_cid`)."""
        cid = node_cid(data)
        self._keep(cid, {cid: data})
        return cid

    def remove(self, cid: bytes) -> None:
        """Remove what was put as `cid`. Raises NotFound if nothing was."""
        if not self._kept(cid):
            raise NotFound(f"{readable(cid)} was never put here, or was removed")
        data = self.get(cid)
        cids = {cid} if codec(cid) == CBOR else dict(file_blocks(data)[1]).keys()
        self._release(cid, sorted(cids))

    @abstractmethod
    def _kept(self, root: bytes) -> bool:
        """True if `root` was put and has not been removed since."""

    @abstractmethod
    def _keep(self, root: bytes, blocks: Mapping[bytes, bytes]) -> None:
        """Mark `root` as put and add one use to each of its blocks; nothing if it is marked
        already."""

    @abstractmethod
    def _release(self, root: bytes, cids: Sequence[bytes]) -> None:
        """Unmark `root` and take one use from each of its blocks; delete blocks without uses."""


class MemoryStore(ContentStore):
    """A content store in memory."""

    def __init__(self) -> None:
        self._blocks: dict[bytes, bytes] = {}
        self._uses: dict[bytes, int] = {}
        self._roots: set[bytes] = set()

    def has(self, cid: bytes) -> bool:
        return cid in self._blocks

    def _block(self, cid: bytes) -> bytes:
        try:
            return self._blocks[cid]
        except KeyError:
            raise NotFound(f"{readable(cid)} is not in this store") from None

    def _kept(self, root: bytes) -> bool:
        return root in self._roots

    def _keep(self, root: bytes, blocks: Mapping[bytes, bytes]) -> None:
        if root in self._roots:
            return
        self._roots.add(root)
        for cid, data in blocks.items():
            self._blocks.setdefault(cid, data)
            self._uses[cid] = self._uses.get(cid, 0) + 1

    def _release(self, root: bytes, cids: Sequence[bytes]) -> None:
        self._roots.remove(root)
        for cid in cids:
            self._uses[cid] -= 1
            if self._uses[cid] == 0:
                del self._uses[cid], self._blocks[cid]


def readable(cid: bytes) -> str:
    """A CID as text for an error message; also works for bytes that are no CID."""
    try:
        return cid_text(cid)
    except EncodingError:
        return repr(cid)
