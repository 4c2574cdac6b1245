"""Small archives and chain files that claim to be large, deep or endless: refused, at no cost."""

from __future__ import annotations

import os
import socket
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from bfedrec.cli.chain import import_command
from consensus.audit import AuditFailure, audit
from consensus.encoding.cid import PROTOBUF, EncodingError, make_cid, node_cid, raw_cid
from consensus.encoding.dag_cbor import FREE_ITEMS, decode, encode
from consensus.encoding.unixfs import (
    CHUNK_BYTES,
    LINKS_PER_NODE,
    SMALL_FILE,
    _node,
    _Subtree,
    file_blocks,
    file_links,
    most_bytes,
    read_file,
    varint,
)
from consensus.records.genesis import Genesis
from consensus.storage.car import MAX_BLOCK, MAX_HEADER, CarError, CarFile, write_car
from consensus.storage.content import MemoryStore, StoreError
from consensus.storage.sqlite import SqliteStore
from tests.helpers.limited import command, limited
from tests.helpers.toy import Toy

Blocks = list[tuple[bytes, bytes]]


def tree(depth: int, chunk: bytes, width: int = LINKS_PER_NODE) -> tuple[_Subtree, Blocks]:
    """A file of width ** depth chunks that are all the same, and its depth + 1 blocks."""
    level = _Subtree(raw_cid(chunk), len(chunk), len(chunk))
    blocks = [(level.cid, chunk)]
    for _ in range(depth):
        node = _node([level] * width)
        cid = make_cid(PROTOBUF, node)
        level = _Subtree(cid, width * level.content, len(node) + width * level.stored)
        blocks.append((cid, node))
    return level, blocks


CHUNK = bytes(CHUNK_BYTES)
BOMBS = {
    "44 MiB": tree(1, CHUNK),
    "7.9 GB": tree(2, CHUNK),
    "42 EB": tree(5, CHUNK),
    "one byte a chunk": tree(6, b"x"),
    "deep and narrow": tree(200, b"x", 1),
    "empty chunks": tree(8, b""),
}


def genesis_of(model: bytes) -> Genesis:
    return replace(Toy().genesis, model=model)


def archive_of(path: Path, genesis: Genesis, blocks: Blocks, **changed: object) -> Path:
    """An archive of a genesis and its model."""
    own = node_cid(genesis.encoded)
    entry = {"height": 0, "previous": None, "head": genesis.cid, "block": own, "updates": []}
    encoded = encode(entry | changed)
    root = node_cid(encoded)
    write_car(path, root, [(own, genesis.encoded), *blocks, (root, encoded)])
    return path


def chain_of(path: Path, genesis: Genesis, blocks: Blocks) -> Path:
    with SqliteStore(path) as store:
        store.put_block(0, genesis.encoded)
        store.set_meta("head", genesis.cid)
        for cid, data in blocks:
            store._run("INSERT INTO content VALUES (?, 1, 1, ?)", cid, data)
    return path


@pytest.mark.parametrize("name", BOMBS)
def test_a_tree_that_claims_to_be_large_is_refused_unread(name: str, tmp_path: Path) -> None:
    root, blocks = BOMBS[name]
    genesis = genesis_of(root.cid)
    archive = archive_of(tmp_path / "bomb.car", genesis, blocks)
    before = sorted(tmp_path.iterdir())
    ended = command("chain", "import", archive, "--out", tmp_path / "out")
    assert ended.status in (1, 2), ended.out
    assert len(ended.lines) == 1
    assert ended.out.startswith(f"{archive}: height 0: ")
    assert sorted(tmp_path.iterdir()) == before

    chain = chain_of(tmp_path / "chain.sqlite", genesis, blocks)
    ended = command("audit", chain)
    assert ended.status == 1, ended.out
    assert len(ended.lines) == 1
    assert "audit failed at height 0" in ended.out


def test_the_root_alone_is_read_of_what_claims_too_much() -> None:
    root, blocks = BOMBS["7.9 GB"]
    asked: list[bytes] = []

    def get(cid: bytes) -> bytes:
        asked.append(cid)
        return dict(blocks)[cid]

    with pytest.raises(EncodingError, match=r"claims to be a file of 7,936,671,744 bytes"):
        read_file(root.cid, get, most_bytes(305_000))
    with pytest.raises(EncodingError, match="claims"):
        file_links(root.cid, get, lambda cid: CHUNK_BYTES, most_bytes(305_000))
    assert set(asked) == {root.cid}


def test_a_chunk_that_is_linked_often_is_looked_at_once() -> None:
    """The work depends on the number of different blocks."""
    root, blocks = BOMBS["7.9 GB"]
    asked: list[bytes] = []

    def get(cid: bytes) -> bytes:
        asked.append(cid)
        return dict(blocks)[cid]

    sizes: list[bytes] = []

    def size(cid: bytes) -> int:
        sizes.append(cid)
        return len(dict(blocks)[cid])

    links = file_links(root.cid, get, size, root.content)
    assert links == [cid for cid, _ in blocks]
    assert len(asked) <= 2 * len(blocks)
    assert len(sizes) == 1


def test_genuine_files_are_no_bombs(tmp_path: Path) -> None:
    """Up to a limit the same chunk may occur as often as it likes; and twice what is there."""
    few = bytes(SMALL_FILE)
    root, blocks = file_blocks(few)
    with SqliteStore(tmp_path / "chain.sqlite") as store:
        assert store.get(store.put(few)) == few
        store.put(os.urandom(24 * 2**20))
        many = bytes(48 * 2**20)
        assert store.get(store.put(many)) == many
    memory = MemoryStore()
    assert memory.get(memory.put(many)) == many, "of one's own there may be any number"
    archive = archive_of(tmp_path / "x.car", genesis_of(root), blocks)
    assert import_command(archive, tmp_path / "out") == 0
    with SqliteStore(tmp_path / "out" / "chain.sqlite", read_only=True) as store:
        assert store.get(root) == few
        assert len(store.cids()) == len(dict(blocks)) == 2


def test_blocks_go_where_putting_the_file_would_have_brought_them(tmp_path: Path) -> None:
    draw = os.urandom(CHUNK_BYTES)
    for data in (b"", b"small", draw, draw + draw + b"end", draw * 3 + bytes(700_000)):
        root, blocks = file_blocks(data)
        held = MemoryStore()
        assert held.put(data) == root
        links = file_links(root, held._block, lambda cid, held=held: len(held._block(cid)), 2**21)  # type: ignore[misc]
        assert links == [*dict(blocks)]


def test_a_tree_of_another_layout_is_refused() -> None:
    """One file has one address: that which our own program gives to it."""
    chunk = raw_cid(CHUNK)
    full = _Subtree(chunk, CHUNK_BYTES, CHUNK_BYTES)
    part = _Subtree(raw_cid(b"end"), 3, 3)
    pair = _node([full, full])
    inner = _Subtree(make_cid(PROTOBUF, pair), 2 * CHUNK_BYTES, 2 * CHUNK_BYTES + len(pair))
    whole, filled = tree(1, CHUNK)
    rest, short = tree(1, CHUNK, 1)
    held = {chunk: CHUNK, part.cid: b"end", inner.cid: pair} | dict(filled) | dict(short)
    held[raw_cid(held[whole.cid])] = held[whole.cid]
    long = bytes(CHUNK_BYTES + 1)
    wide = _node([full] * (LINKS_PER_NODE + 1))
    for node in (
        _node([full]),  # a node above one chunk
        _node([part, full]),  # the short chunk first
        _node([inner, full]),  # chunks on two levels
        _node([full, part._replace(content=4)]),
        _node([full, part._replace(content=4, stored=4)]),
        _node([whole, rest._replace(stored=rest.stored + 1)]),
        _node([whole, rest._replace(content=rest.content - 1, stored=rest.stored - 1)]),
        _node([whole._replace(cid=raw_cid(held[whole.cid])), rest]),  # a node passes for a chunk
        _node([full, part._replace(stored=4)]),
        _node([full, full._replace(stored=2**62)]),
        _node([full, part._replace(content=2**62)]),
        wide,
    ):
        root = make_cid(PROTOBUF, node)
        with pytest.raises(EncodingError):
            read_file(root, (held | {root: node}).__getitem__)
        with pytest.raises(EncodingError):
            file_links(root, (held | {root: node}).__getitem__, lambda c: len(held[c]), 2**63)
    with pytest.raises(EncodingError, match="another way"):
        read_file(raw_cid(long), lambda cid: long)
    with pytest.raises(EncodingError, match="another way"):
        file_links(raw_cid(long), lambda cid: long, lambda cid: len(long), 2**30)
    for good, data in (
        (_node([full, part]), CHUNK + b"end"),
        (_node([whole, rest]), CHUNK * (LINKS_PER_NODE + 1)),
    ):
        root = make_cid(PROTOBUF, good)
        assert read_file(root, (held | {root: good}).__getitem__) == data


def test_an_update_that_an_entry_names_twice_is_refused(tmp_path: Path) -> None:
    root, blocks = tree(0, b"model")
    genesis = genesis_of(root.cid)
    path = archive_of(tmp_path / "x.car", genesis, blocks, updates=[genesis.cid] * 100_000)
    ended = command("chain", "import", path, "--out", tmp_path / "out")
    assert (ended.status, len(ended.lines)) == (1, 1), ended.out
    assert "wrong kinds of values" in ended.out


# -- headers, lengths, records ---------------------------------------------------------------------

ROOT = raw_cid(b"hello")
HEADER = encode({"roots": [ROOT], "version": 1})
START = varint(len(HEADER)) + HEADER


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"\x80" * 10**6, "no length of a block"),
        (b"\xff" * 9 + b"\x01", "no length of a block"),
        (varint(2**62) + HEADER, "not a CAR file"),
        (varint(MAX_HEADER + 1) + bytes(MAX_HEADER + 1), "not a CAR file"),
        (varint(4000) + HEADER, "ends within"),
        (varint(4000) + b"\x81" * 4000, "not a CAR file"),
        (START + varint(2**40) + ROOT, "bytes long"),
        (START + varint(MAX_BLOCK) + ROOT + b"hello", "ends within the block"),
        (START + b"\x80" * 10**6, "no length of a block"),
    ],
    ids=range(9),
)
def test_lengths_that_lie_are_told_unread(data: bytes, told: str, tmp_path: Path) -> None:
    path = tmp_path / "x.car"
    path.write_bytes(data)
    ended = command("chain", "import", path, "--out", tmp_path / "out")
    assert (ended.status, len(ended.lines)) == (1, 1), ended.out
    assert told in ended.out
    assert not (tmp_path / "out").exists()


def test_no_memory_is_taken_for_a_section_longer_than_the_file(tmp_path: Path) -> None:
    path = tmp_path / "x.car"
    path.write_bytes(START + varint(MAX_BLOCK) + ROOT + bytes(1000))
    tracemalloc.start()
    try:
        with pytest.raises(CarError, match="ends within"):
            CarFile(path)
        assert tracemalloc.get_traced_memory()[1] < MAX_BLOCK / 8
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "data",
    [
        b"\x9a" + (2**20).to_bytes(4, "big") + b"\x80" * 2**20,
        b"\x9a" + (2**24).to_bytes(4, "big") + bytes(2**24),
        b"\x9a" + (2**20).to_bytes(4, "big") + b"\x60" * 2**20,
        b"\x81" * 2**20 + b"\x00",
        b"\xa1\x61a" * 2**20 + b"\x00",
        b"\x9b" + b"\x7f" + b"\xff" * 7,
        b"\x5b" + b"\x7f" + b"\xff" * 7 + bytes(2**17),
        b"\xbb" + b"\x00" * 4 + b"\x7f" + b"\xff" * 3 + bytes(2**17),
        b"\x9a\x00\xff\xff\xff" * 2**16,
        b"\xd8\x2a" * 2**17,
        b"\x9f" * 2**17,
        b"\x1f" * 2**17,
    ],
    ids=range(12),
)
def test_records_of_countless_or_nested_items_are_refused(data: bytes) -> None:
    def work() -> int:
        try:
            decode(data)
        except EncodingError:
            return 0
        return 1

    assert limited(work).status == 0


def test_long_records_of_ours_are_no_bombs() -> None:
    """A genesis of 100,000 clients, an entry of 100,000 updates."""
    clients = [[os.urandom(32), number] for number in range(100_000)]
    updates = [node_cid(b"%d" % number) for number in range(100_000)]
    for value in ({"clients": clients}, {"updates": updates}, [0] * (FREE_ITEMS - 1)):
        assert decode(encode(value)) == value


# -- what is no file -------------------------------------------------------------------------------


def fifo(path: Path) -> None:
    os.mkfifo(path)


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def listening(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        here = Path.cwd()
        os.chdir(path.parent)  # a socket's path is short
        try:
            made.bind(path.name)
        finally:
            os.chdir(here)


SPECIAL: list[Callable[[Path], None]] = [fifo, device, listening, Path.mkdir]


@pytest.mark.parametrize("make", SPECIAL)
def test_what_is_no_regular_file_is_told_and_not_waited_for(
    make: Callable[[Path], None], tmp_path: Path
) -> None:
    make(tmp_path / "it")
    ended = command("chain", "import", tmp_path / "it", "--out", tmp_path / "out")
    assert (ended.status, len(ended.lines)) == (2, 1), ended.out
    assert not (tmp_path / "out").exists()
    for ending in ("", "-wal", "-journal", "-shm"):
        run = tmp_path / f"run{ending}"
        run.mkdir()
        if ending:
            chain_of(run / "chain.sqlite", genesis_of(raw_cid(b"")), [])
        make(run / f"chain.sqlite{ending}")
        ended = command("audit", run)
        assert (ended.status, len(ended.lines)) == (2, 1), ended.out
        with pytest.raises(StoreError, match="not a regular file"):
            SqliteStore(run / "chain.sqlite")


# -- pages of a chain file that are linked again and again -----------------------------------------

PAGE = 4096


def fold(path: Path, table: str, depth: int = 8) -> None:
    """Give a table of one page a tree above it, whose nodes link the one below 300 times each."""
    with SqliteStore(path) as store:
        (root,) = store._run("SELECT rootpage FROM sqlite_master WHERE name = ?", table)[0]
    data = bytearray(path.read_bytes())
    assert int.from_bytes(data[16:18], "big") == PAGE
    pages = len(data) // PAGE
    data += data[(root - 1) * PAGE : root * PAGE]
    for level in range(depth):
        below = pages + 1 + level
        cells = b"".join(below.to_bytes(4, "big") + b"\x7f" for _ in range(300))
        start = PAGE - len(cells)
        head = bytes([5, 0, 0]) + (300).to_bytes(2, "big") + start.to_bytes(2, "big") + b"\x00"
        head += below.to_bytes(4, "big")
        head += b"".join((start + 5 * cell).to_bytes(2, "big") for cell in range(300))
        data += head + bytes(start - len(head)) + cells
    data[(root - 1) * PAGE : root * PAGE] = data[-PAGE:]
    data[28:32] = (len(data) // PAGE).to_bytes(4, "big")
    path.write_bytes(data)


@pytest.mark.parametrize("table", ["blocks", "updates", "content"])
def test_a_table_that_links_its_pages_again_and_again_is_damaged(
    table: str, tmp_path: Path
) -> None:
    root, blocks = tree(0, b"model")
    path = chain_of(tmp_path / "chain.sqlite", genesis_of(root.cid), blocks)
    with SqliteStore(path) as store:
        store.put_updates(1, [b"update"])
    fold(path, table)

    def work() -> int:
        try:
            with SqliteStore(path, read_only=True) as store:
                if table == "blocks":
                    store.heights()
                elif table == "updates":
                    store._run("SELECT data FROM updates NOT INDEXED")
                else:
                    store._run("SELECT uses FROM content NOT INDEXED")
        except StoreError as error:
            return 0 if "lead in circles" in str(error) else 1
        return 2

    ended = limited(work)
    assert ended.status == 0, ended.out
    if table == "blocks":
        ended = command("audit", path)
        assert (ended.status, len(ended.lines)) == (2, 1), ended.out


def test_a_sound_chain_is_read_however_many_rows_it_has(tmp_path: Path) -> None:
    with SqliteStore(tmp_path / "chain.sqlite") as store:
        with store.transaction():
            for height in range(200_000):
                store._run("INSERT INTO blocks VALUES (?, x'')", height)
        assert len(store.heights()) == 200_000
    with pytest.raises(AuditFailure), SqliteStore(tmp_path / "chain.sqlite") as store:
        audit(store, lambda genesis, model: pytest.fail("it has no genesis"))
