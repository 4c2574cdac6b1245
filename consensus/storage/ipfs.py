"""A content store on a running IPFS node (Kubo or js-ipfs), over its HTTP RPC API.

Every file is added as CIDv1 with raw leaves and pinned recursively, every record put as a DAG-CBOR
node and pinned by itself. The node so gives them the addresses that `consensus.encoding.cid` and
`consensus.encoding.unixfs` compute; any other address in an answer is an error. A pinned header
links to its parent and its aggregate: from a chain's head a path such as HEAD/parent/parent/model
leads to any aggregate, with any tool that speaks IPLD.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Final, TypeVar

from consensus.encoding.cid import CBOR, cid_text, codec, node_cid
from consensus.encoding.unixfs import CHUNK_BYTES, file_blocks, file_cid, read_file
from consensus.storage.closing import Closing
from consensus.storage.content import ContentStore, NotFound, StoreError, readable
from consensus.storage.ipfs_rpc import (
    LONGEST_ANSWER,
    USUAL_ANSWER,
    AlreadyPinned,
    NodeRpc,
    Tell,
    nothing,
    short,
)

__all__ = ["IpfsStore"]

BATCH_BYTES: Final = 16 * 2**20
LONGEST_LINE: Final = 512
"""Bytes that a node tells of each file that it was given, at most."""
PINS_PER_REQUEST: Final = 100  # an address is 59 characters, and a request's line holds some 8,000
MISSING_SECONDS: Final = 5.0
"""Seconds that the node may search for a block; it cannot tell if no other node has it."""

COLLECT_SECONDS: Final = 600.0
"""Seconds that the node may take to go through all its blocks without an answer."""

_BASE: Final = {"cid-base": "base32"}

T = TypeVar("T")


class IpfsStore(ContentStore, Closing):
    """A content store on an IPFS node: content that is put is pinned there, and unpinned if
    removed.

    The bytes of removed content stay on the node until it collects its garbage (`collect`). Every
    method raises StoreError, in one line that names the node, if the node is absent, refuses, is
    full or does not answer; NotFound if it does not find the content within MISSING_SECONDS.
    """

    def __init__(
        self, api: str, timeout: float = 30.0, retries: int = 5, tell: Tell = nothing
    ) -> None:
        """Connect to the node at the multiaddr `api`; ``timeout``, ``retries`` and ``tell`` as in
        `consensus.storage.ipfs_rpc.NodeRpc`."""
        self._rpc = NodeRpc(api, timeout, retries, tell)
        self._client = self._rpc.client
        self._ask = self._rpc.ask
        self.api = api

    @property
    def version(self) -> str:
        """The version that the node reports."""
        return self._rpc.version

    @property
    def interruptions(self) -> int:
        """Number of requests so far without a complete answer: the node was away, or may have
        been."""
        return self._rpc.interruptions

    def close(self) -> None:
        """Close the connection; all that was put stays."""
        self._rpc.close()

    # --- many at once ---------------------------------------------------------------------------

    def put_files(self, files: Sequence[bytes]) -> list[bytes]:
        """Store every one of `files` in few requests; return their CIDs."""
        cids = [file_cid(data) for data in files]
        pending = dict(zip(cids, files, strict=True))
        for batch in _batches(pending):
            self._add(batch)
        return cids

    def put_nodes(self, records: Sequence[bytes]) -> list[bytes]:
        """Store every one of `records` (canonical DAG-CBOR bytes) as a node; return their CIDs.

        Each is pinned by itself: pinned recursively, a header would reach the whole chain, which is
        pinned already.
        """
        options = {"format": "dag-cbor", "mhtype": "sha2-256", "pin": "false"}

        def put(data: bytes) -> str:
            answer = self._client.block.put(io.BytesIO(data), opts={**options, **_BASE})
            text: str = answer["Key"]
            return text

        cids = [node_cid(data) for data in records]
        for cid, data in zip(cids, records, strict=True):
            self._same([cid], [self._ask(partial(put, data))])
        texts = [cid_text(cid) for cid in dict.fromkeys(cids)]
        for start in range(0, len(texts), PINS_PER_REQUEST):
            some = texts[start : start + PINS_PER_REQUEST]
            try:
                self._ask(partial(self._client.pin.add, *some, recursive=False))
            except AlreadyPinned:  # one of them; the node stopped there
                for text in some:
                    with suppress(AlreadyPinned):
                        self._ask(partial(self._client.pin.add, text, recursive=False))
        return cids

    def pins(self) -> set[str]:
        """The text of every CID pinned on the node, recursively or by itself, also by other
        programs."""
        found: set[str] = set()
        for kind in ("recursive", "direct"):
            with self._rpc.bounds.at_most(LONGEST_ANSWER):
                found |= self._ask(partial(self._pins, kind))
        return found

    def remove_all(self, cids: Sequence[bytes]) -> None:
        """Unpin those of `cids` that are pinned.

        Others are skipped: an earlier try that was cut off may have unpinned them.
        """
        texts = [cid_text(cid) for cid in dict.fromkeys(cids)]
        for start in range(0, len(texts), PINS_PER_REQUEST):
            some = texts[start : start + PINS_PER_REQUEST]
            try:
                self._ask(partial(self._client.pin.rm, *some))
            except NotFound:  # one of them; the node stopped there
                for text in some:
                    if self._is_pinned(text):
                        self._ask(partial(self._client.pin.rm, text))

    def erase(self, data: bytes) -> None:
        """Unpin the file of `data` and delete its blocks at once.

        Only for bytes that nobody else can have put there, such as random ones: js-ipfs deletes
        even blocks that another pin needs.
        """
        root, blocks = file_blocks(data)
        self.remove_all([root])
        cids = [cid_text(cid) for cid in dict(blocks)]
        for start in range(0, len(cids), PINS_PER_REQUEST):
            some = cids[start : start + PINS_PER_REQUEST]
            # The client has no method for it.
            self._ask(partial(self._client._client.request, "/block/rm", some, decoder="json"))

    def collect(self) -> int:
        """Have the node delete all blocks that no pin needs, whoever put them; return their
        number."""
        patience = max(COLLECT_SECONDS, self._rpc.timeout)
        with self._rpc.bounds.at_most(LONGEST_ANSWER):
            return len(self._ask(partial(self._client.repo.gc, timeout=patience)))

    # --- one at a time --------------------------------------------------------------------------

    def get(self, cid: bytes) -> bytes:
        """The file or record with this CID (`ContentStore.get`); a file arrives in one request."""
        if _codec(cid) == CBOR:
            return self.block_bytes(cid)
        if not self.has(cid):
            raise NotFound(f"{self.api}: {cid_text(cid)} is not on this node")
        options = {"timeout": f"{self._rpc.timeout:g}s", "offline": "true"}
        patience = self._rpc.timeout + 2  # the node reports that it has given up
        with self._rpc.bounds.at_most(LONGEST_ANSWER):
            data: bytes = self._ask(
                lambda: self._client.cat(cid_text(cid), opts=options, timeout=patience), missing=cid
            )
        if file_cid(data) != cid:
            raise StoreError(
                f"{self.api}: what the node has as {cid_text(cid)} has another hash or lacks a part"
            )
        return data

    def has(self, cid: bytes) -> bool:
        try:
            self._find(cid, lambda opts: self._client.block.stat(cid_text(cid), opts=opts))
        except NotFound:
            return False
        return True

    def remove(self, cid: bytes) -> None:
        """Unpin `cid`. Raises NotFound if it is not pinned."""
        if not self._kept(cid):
            raise NotFound(f"{self.api}: {readable(cid)} is not pinned on this node")
        self._release(cid, ())

    def _block(self, cid: bytes) -> bytes:
        data: bytes = self._find(cid, lambda opts: self._client.block.get(cid_text(cid), opts=opts))
        return data

    def _small_block(self, cid: bytes) -> bytes:
        size = self._find(
            cid, lambda opts: int(self._client.block.stat(cid_text(cid), opts=opts)["Size"])
        )
        if size > CHUNK_BYTES:
            raise StoreError(f"{self.api}: the block {cid_text(cid)} has {size:,} bytes")
        with self._rpc.bounds.at_most(CHUNK_BYTES):  # whatever the node said
            return self._block(cid)

    def _kept(self, root: bytes) -> bool:
        _codec(root)
        return self._is_pinned(cid_text(root))

    def _keep(self, root: bytes, blocks: Mapping[bytes, bytes]) -> None:
        if codec(root) != CBOR:
            self._add({root: read_file(root, blocks.__getitem__)})
            return
        self.put_nodes([blocks[root]])

    def _release(self, root: bytes, cids: Sequence[bytes]) -> None:
        self.remove_all([root])

    # --- requests -------------------------------------------------------------------------------

    def _add(self, files: Mapping[bytes, bytes]) -> None:
        def request() -> list[str]:
            answer = self._client.add(
                *map(io.BytesIO, files.values()),
                pin=True,
                raw_leaves=True,
                cid_version=1,
                opts=dict(_BASE),
            )
            return [entry["Hash"] for entry in (answer if len(files) > 1 else [answer])]

        with self._rpc.bounds.at_most(USUAL_ANSWER + LONGEST_LINE * len(files)):
            self._same(list(files), self._ask(request))

    def _same(self, ours: list[bytes], theirs: list[str]) -> None:
        for cid, text in zip(ours, theirs, strict=False):
            if cid_text(cid) != text:
                raise StoreError(
                    f"{self.api}: the node gives the address {short(text)} to what is "
                    f"{cid_text(cid)}"
                )
        if len(ours) != len(theirs):
            raise StoreError(f"{self.api}: {len(ours)} files put, {len(theirs)} addresses given")

    def _pins(self, kind: str) -> set[str]:
        answer = self._client.pin.ls(type=kind, opts=dict(_BASE))
        return set(map(str, answer.get("Keys") or ()))

    def _is_pinned(self, text: str) -> bool:
        """True if the CID was pinned by itself, and not only as a part of other pinned content."""

        def kinds() -> list[str]:
            return [str(pin["Type"]) for pin in self._client.pin.ls(text)["Keys"].values()]

        try:
            return not any(kind.startswith("indirect") for kind in self._ask(kinds))
        except NotFound:
            return False

    def _find(self, cid: bytes, request: Callable[[dict[str, str]], T]) -> T:
        """The answer to a request for content; the node gives up the search after
        MISSING_SECONDS."""
        _codec(cid)
        seconds = min(MISSING_SECONDS, self._rpc.timeout / 2)
        options = {"timeout": f"{seconds:g}s", "offline": "true", **_BASE}
        return self._ask(lambda: request(options), missing=cid)


def _codec(cid: bytes) -> int:
    """The codec of a CID; raises StoreError for bytes that are no CID."""
    try:
        return codec(cid)
    except ValueError as error:
        raise StoreError(str(error)) from None


def _batches(files: Mapping[bytes, bytes]) -> Iterator[dict[bytes, bytes]]:
    """Split `files` into parts of at most BATCH_BYTES, or of one file."""
    batch: dict[bytes, bytes] = {}
    size = 0
    for cid, data in files.items():
        if batch and size + len(data) > BATCH_BYTES:
            yield batch
            batch, size = {}, 0
        batch[cid] = data
        size += len(data)
    if batch:
        yield batch
