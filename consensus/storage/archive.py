"""Export and import of a chain, with all that it points to, as one CAR file.

The archive is itself a DAG that any IPLD tool can walk. Each height has an entry::

    {"height": int, "previous": link to the entry below or null,
     "head": link to the genesis or to the header, "block": link to the genesis or to the block,
     "updates": links to the retained updates}

The file's one root is the entry of the highest block, so that `ROOT/head` is the chain's head.
Aggregates, snapshots and payloads are reached by the links in the records.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from consensus.encoding.cid import EncodingError, cid_text, is_cid, node_cid
from consensus.encoding.dag_cbor import decode, encode
from consensus.encoding.fields import MalformedRecord
from consensus.encoding.unixfs import file_blocks, file_links, most_bytes
from consensus.records.block import Block
from consensus.records.genesis import Genesis
from consensus.records.update import UpdateRecord
from consensus.storage.car import CarError, CarFile, write_car
from consensus.storage.content import StoreError
from consensus.storage.sqlite import SqliteStore

__all__ = ["export_chain", "import_chain"]

Progress = Callable[[int, int], None]
"""progress(height, last): called after each height."""


@dataclass(frozen=True)
class _Entry:
    """The archive's entry of one height."""

    height: int
    previous: bytes | None
    head: bytes
    block: bytes
    updates: tuple[bytes, ...]

    @property
    def encoded(self) -> bytes:
        return encode({**vars(self), "updates": list(self.updates)})

    @classmethod
    def decode(cls, data: bytes) -> _Entry:
        """Raises EncodingError."""
        node = decode(data)
        if not isinstance(node, dict) or node.keys() != cls.__dataclass_fields__.keys():
            raise EncodingError("not an entry of an archive")
        height, previous, head, block, updates = (node[name] for name in cls.__dataclass_fields__)
        sound = (
            type(height) is int
            and height >= 0
            and (previous is None) == (height == 0)
            and (previous is None or is_cid(previous))
            and is_cid(head)
            and is_cid(block)
            and isinstance(updates, list)
            and all(map(is_cid, updates))
            and len(set(updates)) == len(updates)
        )
        if not sound:
            raise EncodingError("an entry of an archive with the wrong kinds of values")
        return cls(height, previous, head, block, tuple(updates))


# --- out ------------------------------------------------------------------------------------------


def export_chain(store: SqliteStore, path: Path, progress: Progress) -> tuple[bytes, int]:
    """Write the whole chain of ``store`` to the CAR file ``path``.

    Returns the link to the chain's head and the number of content blocks written. The same chain
    gives the same file. Raises StoreError, naming the height, if something is missing or is not
    what its address says.
    """
    entries: list[_Entry] = []
    link = None
    for height in store.heights():
        encoded = store.block(height)
        try:
            head = Genesis.decode(encoded).cid if height == 0 else Block.decode(encoded).cid
        except MalformedRecord as error:
            raise StoreError(f"height {height}: {error}") from None
        updates = tuple(node_cid(data) for data in store.updates(height))
        entries.append(_Entry(height, link, head, node_cid(encoded), updates))
        link = node_cid(entries[-1].encoded)
    if link is None:
        raise StoreError("there is no chain to export: it has no genesis")
    return entries[-1].head, write_car(path, link, _blocks(store, entries, progress))


def _blocks(
    store: SqliteStore, entries: list[_Entry], progress: Progress
) -> Iterator[tuple[bytes, bytes]]:
    """All (CID, bytes) of the archive, height by height; some occur more than once."""
    for entry in entries:
        encoded = store.block(entry.height)
        try:
            if entry.height == 0:
                yield entry.block, encoded
                yield from file_blocks(store.get(Genesis.decode(encoded).model))[1]
            else:
                header = Block.decode(encoded).header
                yield header.cid, header.encoded
                yield entry.block, encoded
                for file in (header.aggregate_cid, header.snapshot):
                    if file is not None:
                        yield from file_blocks(store.get(file))[1]
            for data in store.updates(entry.height):
                yield node_cid(data), data
                yield from file_blocks(store.get(UpdateRecord.decode(data).payload))[1]
        except (MalformedRecord, StoreError) as error:
            raise StoreError(f"height {entry.height}: {error}") from None
        yield node_cid(entry.encoded), entry.encoded
        progress(entry.height, entries[-1].height)


# --- in -------------------------------------------------------------------------------------------


def import_chain(path: Path, store: SqliteStore, progress: Progress) -> tuple[bytes, int]:
    """Fill an empty ``store`` with the chain in the archive ``path``.

    Returns the link to the chain's head and its height. All imported bytes hash to their addresses;
    the chain's validity is not checked here but by `consensus.audit`. Raises CarError, naming the
    height or the CID, for a file that is damaged, incomplete or no archive, or holds a file that
    claims to be longer than it can be. Blocks are copied one by one and each file once, so time and
    memory depend on the archive's length alone.
    """
    files: set[bytes] = set()
    with CarFile(path) as car:
        entries = _entries(path, car)
        for entry in entries:
            try:
                with store.transaction():
                    _import_height(car, store, entry, files)
            except (EncodingError, MalformedRecord, StoreError) as error:
                raise CarError(f"{path}: height {entry.height}: {error}") from None
            progress(entry.height, entries[-1].height)
    return entries[-1].head, entries[-1].height


def _entries(path: Path, car: CarFile) -> list[_Entry]:
    """The entries of an archive, from the genesis upwards."""
    if len(car.roots) != 1:
        raise CarError(f"{path}: has {len(car.roots)} roots; a chain's archive has one")
    entries: list[_Entry] = []
    link: bytes | None = car.roots[0]
    while link is not None:
        try:
            entry = _Entry.decode(car.block(link))
        except (EncodingError, StoreError) as error:
            raise CarError(f"{path}: {cid_text(link)}: {error}") from None
        if entries and entry.height != entries[-1].height - 1:
            raise CarError(f"{path}: height {entries[-1].height} follows {entry.height}")
        entries.append(entry)
        link = entry.previous
    return entries[::-1]


def _import_height(car: CarFile, store: SqliteStore, entry: _Entry, known: set[bytes]) -> None:
    """Write one height to the store; ``known``: the files that are there, to which its own are
    added."""
    encoded = car.block(entry.block)
    files: list[bytes | None]
    if entry.height == 0:
        genesis = Genesis.decode(encoded)
        head, files = genesis.cid, [genesis.model]
    else:
        header = Block.decode(encoded).header
        head, files = header.cid, [header.aggregate_cid, header.snapshot]
    if head != entry.head:
        raise EncodingError(f"the entry names another head than its block, {cid_text(head)}")
    updates = [car.block(link) for link in entry.updates]
    files += [UpdateRecord.decode(data).payload for data in updates]
    for link in dict.fromkeys(files):
        if link is not None and link not in known:
            blocks = file_links(link, car.block, car.block_size, most_bytes(car.size))
            store.put_blocks(link, ((cid, car.block(cid)) for cid in blocks))
            known.add(link)
    store.put_block(entry.height, encoded)
    store.put_updates(entry.height, updates)
    store.set_meta("head", head)
