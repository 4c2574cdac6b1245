"""Storage of a run's blocks and content while it is played: RUN/chain.sqlite, and an IPFS node."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from bfedrec.config.schema import Config
from bfedrec.config.storage import StoreSettings
from bfedrec.federation.federation import Federation
from bfedrec.federation.round import Round
from bfedrec.runs.folder import RunFolder
from bfedrec.runs.publication import Publication
from bfedrec.runs.state import StateError
from consensus.encoding.fields import MalformedRecord
from consensus.ledger.chain import heads_of
from consensus.ledger.validity import Head, InvalidBlock
from consensus.protocols.registry import protocol_of
from consensus.records.block import Block
from consensus.records.genesis import Genesis
from consensus.records.update import UpdateRecord
from consensus.storage.content import MemoryStore
from consensus.storage.ipfs import IpfsStore
from consensus.storage.ipfs_rpc import Tell
from consensus.storage.sqlite import SqliteStore

_ANEW = "; restore it, or start anew in another folder"


class ChainWriter:
    """The writer of a run's chain: blocks, aggregates and, by policy, the updates behind them."""

    def __init__(self, config: Config, folder: RunFolder, tell: Tell) -> None:
        """``tell``: called with a line for people when a request to the node is repeated.

        Raises `consensus.storage.content.StoreError` if the file or the node cannot be used.
        """
        self._retain = config.ledger.retain_updates
        self._window = config.ledger.window
        self._collect = config.store.collect
        self._payloads: deque[tuple[int, list[bytes]]] = deque()
        """Links of the retained payloads by height, the oldest first; only if updates leave a
        window."""
        self._aggregates: set[bytes] = set()
        """Links of all aggregates: with one client a round, its update's payload is the
        aggregate."""
        self._path = folder.chain_path
        self._chain: SqliteStore | None = None
        self._publication: Publication | None = None
        self.content: SqliteStore | MemoryStore
        if config.store.kind == "memory":
            self.content = MemoryStore()
            return
        node = _node(config.store, tell) if config.store.kind == "ipfs" else None
        try:
            self._chain = self.content = SqliteStore(folder.chain_path)
        except BaseException:
            if node is not None:
                node.close()
            raise
        if node is not None:
            self._publication = Publication(self._chain, node)

    @property
    def height(self) -> int:
        """The height of the last block written; -1 before the genesis."""
        if self._chain is None:
            return -1
        heights = self._chain.heights()
        return heights[-1] if heights else -1

    def block(self, height: int) -> Block:
        """The block at a height that is written already. Raises `StateError` for a damaged one."""
        assert self._chain is not None
        with self._sound(f"the block of height {height}"):
            return Block.decode(self._chain.block(height))

    def verified(self, genesis: Genesis, height: int) -> tuple[list[Block], list[Head]]:
        """The blocks up to a height, and the heads that they lead to, that of the genesis first.

        Raises `StateError` for a chain that does not begin with this genesis, or with a block that
        does not extend the one before.
        """
        assert self._chain is not None
        if self._chain.block(0) != genesis.encoded:
            raise StateError(f"{self._path}: height 0 is not the genesis of this run{_ANEW}")
        blocks = [self.block(at) for at in range(1, height + 1)]
        with self._sound("the chain"):
            return blocks, heads_of(genesis, protocol_of(genesis), blocks)

    @contextmanager
    def _sound(self, what: str) -> Iterator[None]:
        """Raise `StateError` for a record within that is damaged or of another chain."""
        try:
            yield
        except (InvalidBlock, MalformedRecord) as error:
            why = " ".join(str(error).split())[:200]
            raise StateError(f"{self._path}: {what} is damaged: {why}{_ANEW}") from None

    def begin(self, federation: Federation) -> None:
        """Write the genesis as height 0, with the initial model."""
        if self._chain is None:
            return
        with self._chain.transaction():
            self._chain.put(federation.initial_model)
            self._chain.put_block(0, federation.genesis.encoded)
            self._chain.set_meta("head", federation.genesis.cid)
        if self._publication is not None:
            self._publication.publish(0)

    def write(self, played: Round) -> None:
        """Write a height in one transaction; then publish it, if there is a node.

        Payloads that leave the window are unpinned before the file forgets them, so that a node
        that fails in between keeps nothing pinned that is recorded nowhere.
        """
        if self._chain is None:
            return
        result, height = played.result, played.height
        links = [entry.record.payload for entry in result.updates]
        self._aggregates.add(result.block.header.aggregate_cid)
        if self._retain == "window":
            self._payloads.append((height, links))
        forgotten, leaving = self._leave_window(height - self._window)
        if self._publication is not None:
            self._publication.withdraw(leaving)
        with self._chain.transaction():
            self._chain.put(result.contents.aggregate)
            if result.contents.snapshot is not None:
                self._chain.put(result.contents.snapshot)
            self._chain.put_block(height, result.block.encoded)
            self._chain.set_meta("head", result.block.cid)
            if self._retain != "none":
                self._chain.put_updates(height, [entry.record.encoded for entry in result.updates])
                for entry in result.updates:
                    self._chain.put(entry.payload)
            for old in forgotten:
                self._chain.drop_updates(old)
            for link in leaving:
                self._chain.remove(link)
        if self._publication is not None:
            self._publication.publish(height)
            if self._collect and height % self._window == 0:
                self._publication.collect()

    def _leave_window(self, height: int) -> tuple[list[int], list[bytes]]:
        """The heights up to ``height`` whose updates leave the window, and their payloads' links.

        Payloads that other content still needs are left out.
        """
        forgotten: list[int] = []
        links: dict[bytes, None] = {}
        while self._payloads and self._payloads[0][0] <= height:
            old, payloads = self._payloads.popleft()
            forgotten.append(old)
            links.update(dict.fromkeys(payloads))
        needed = self._aggregates.union(*(later for _, later in self._payloads)) if links else set()
        return forgotten, [link for link in links if link not in needed]

    def resume(self, height: int) -> None:
        """Continue the chain after ``height``.

        Reads the retained updates that are still in the window, and gives the node what it lacks.
        """
        if self._chain is None:
            return
        if self._retain == "window":
            self._aggregates.update(
                self.block(at).header.aggregate_cid for at in range(1, height + 1)
            )
            for retained in range(max(1, height - self._window + 1), height + 1):
                with self._sound(f"an update of height {retained}"):
                    records = [UpdateRecord.decode(data) for data in self._chain.updates(retained)]
                self._payloads.append((retained, [record.payload for record in records]))
        if self._publication is not None:
            self._publication.complete()

    def finish(self) -> None:
        """End the chain: make sure that the node, if there is one, has everything."""
        if self._publication is not None:
            self._publication.complete()
            if self._collect:
                self._publication.collect()

    def close(self) -> None:
        """Close the file, and the connection to the node."""
        if self._publication is not None:
            self._publication.close()
        if self._chain is not None:
            self._chain.close()


def _node(settings: StoreSettings, tell: Tell) -> IpfsStore:
    return IpfsStore(settings.api, settings.timeout, settings.retries, tell)
