"""A run's chain on an IPFS node: the content of RUN/chain.sqlite, for others to fetch by address.

The file stays the record of the run, which alone an audit needs; clients find the aggregates on the
node. A height is written to the file first, so that a failing node loses nothing: when it is back,
it is given whatever it lacks.
"""

from __future__ import annotations

from collections.abc import Sequence

from consensus.encoding.cid import cid_text, node_cid
from consensus.records.block import Block
from consensus.records.genesis import Genesis
from consensus.records.update import UpdateRecord
from consensus.storage.content import StoreError
from consensus.storage.ipfs import IpfsStore
from consensus.storage.sqlite import SqliteStore

MOST_RETURNS = 20
"""Number of times that the node may return, and fail again, while it is given what it lacks."""


class Publication:
    """The pinned part of a chain file: genesis, headers, blocks, aggregates, snapshots and the
    payloads of the retained updates.

    Every method raises `consensus.storage.content.StoreError` if the node fails.
    """

    def __init__(self, chain: SqliteStore, node: IpfsStore) -> None:
        self._chain = chain
        self._node = node
        self._seen = node.interruptions

    def publish(self, height: int) -> None:
        """Put a height on the node, and read its aggregate back as a client would."""
        self._put(height, set())
        self._node.get(self._files(height)[0])
        if self._node.interruptions != self._seen:
            self.complete()  # a node that was away may have lost what it was given before

    def withdraw(self, links: Sequence[bytes]) -> None:
        """Unpin the payloads of updates that are about to leave the chain file."""
        self._node.remove_all(links)

    def collect(self) -> int:
        """Have the node delete all that is no longer pinned; return the number of deleted
        blocks."""
        return self._node.collect()

    def complete(self) -> int:
        """Put what the node lacks of every height; return the number of files and nodes that were
        put."""
        given = 0
        for _ in range(MOST_RETURNS):
            self._seen = self._node.interruptions
            pinned = self._node.pins()
            given += sum(self._put(height, pinned) for height in self._chain.heights())
            if self._node.interruptions == self._seen:
                return given
        raise StoreError(f"{self._node.api}: the IPFS node comes and goes; look at its log")

    def close(self) -> None:
        """Close the connection; what was published stays on the node."""
        self._node.close()

    def _put(self, height: int, pinned: set[str]) -> int:
        """Put what belongs to a height and is not in `pinned`; return its number."""
        files = [link for link in self._files(height) if cid_text(link) not in pinned]
        self._node.put_files([self._chain.get(link) for link in files])
        nodes = [data for link, data in self._nodes(height) if cid_text(link) not in pinned]
        self._node.put_nodes(nodes)
        return len(files) + len(nodes)

    def _files(self, height: int) -> list[bytes]:
        """The links of a height's files, the aggregate's first."""
        encoded = self._chain.block(height)
        if height == 0:
            return [Genesis.decode(encoded).model]
        header = Block.decode(encoded).header
        payloads = [UpdateRecord.decode(data).payload for data in self._chain.updates(height)]
        snapshots = [] if header.snapshot is None else [header.snapshot]
        return [header.aggregate_cid, *snapshots, *payloads]

    def _nodes(self, height: int) -> list[tuple[bytes, bytes]]:
        """The links and bytes of a height's DAG-CBOR nodes.

        The header is a node of its own besides being part of its block: the next header's `parent`
        links to it.
        """
        encoded = self._chain.block(height)
        if height == 0:
            return [(Genesis.decode(encoded).cid, encoded)]
        header = Block.decode(encoded).header
        return [(header.cid, header.encoded), (node_cid(encoded), encoded)]
