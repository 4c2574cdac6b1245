"""The content stores and the file of a run's chain."""

from __future__ import annotations

import hashlib
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consensus.encoding.cid import node_cid
from consensus.encoding.dag_cbor import encode
from consensus.encoding.unixfs import file_blocks, file_cid
from consensus.storage.content import ContentStore, MemoryStore, NotFound, StoreError
from consensus.storage.sqlite import SqliteStore

CHUNK = 262_144
TWO_CHUNKS = bytes(CHUNK) + b"end"


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ContentStore]:
    if request.param == "memory":
        yield MemoryStore()
        return
    with SqliteStore(tmp_path / "chain.sqlite") as opened:
        yield opened


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "chain.sqlite"


def folder(path: Path) -> dict[str, tuple[str, int]]:
    """Every file beside `path`: its digest and time of change."""
    return {
        file.name: (hashlib.sha256(file.read_bytes()).hexdigest(), file.stat().st_mtime_ns)
        for file in path.parent.iterdir()
    }


@pytest.mark.parametrize("data", [b"", b"hello", bytes(CHUNK), TWO_CHUNKS], ids=len)
def test_what_was_put_is_found_by_its_address(store: ContentStore, data: bytes) -> None:
    cid = store.put(data)
    assert cid == file_cid(data)
    assert store.put(data) == cid
    assert store.has(cid)
    assert store.get(cid) == data


def test_every_block_of_a_file_can_be_served(path: Path) -> None:
    with SqliteStore(path) as store:
        root = store.put(TWO_CHUNKS)
        cid, blocks = file_blocks(TWO_CHUNKS)
        assert cid == root
        assert store.cids() == sorted(dict(blocks))
        for cid, block in blocks:
            assert store.block_bytes(cid) == block
        with pytest.raises(NotFound):
            store.block_bytes(file_cid(b"absent"))


def test_records_are_nodes(store: ContentStore) -> None:
    model = store.put(b"model")
    record = encode({"model": model})
    cid = store.put_node(record)
    assert cid == node_cid(record)
    assert store.get(cid) == record
    store.remove(cid)
    assert not store.has(cid)
    assert store.get(model) == b"model"


def test_missing_and_malformed_addresses(store: ContentStore) -> None:
    cid = file_cid(b"absent")
    assert not store.has(cid)
    with pytest.raises(NotFound, match="bafkrei"):
        store.get(cid)
    with pytest.raises(NotFound, match="bafkrei"):
        store.remove(cid)
    for wrong in (b"", b"\x01" * 36, cid[:-1]):
        with pytest.raises(StoreError):
            store.get(wrong)
        with pytest.raises(StoreError):
            store.remove(wrong)


def test_a_shared_chunk_stays_with_its_last_file(store: ContentStore) -> None:
    first, second = store.put(TWO_CHUNKS), store.put(bytes(CHUNK) + b"other")
    alone = store.put(bytes(CHUNK))  # the same bytes as the chunk both begin with
    store.remove(first)
    assert not store.has(first)
    assert store.get(second) == bytes(CHUNK) + b"other"
    store.remove(alone)
    assert store.get(second) == bytes(CHUNK) + b"other"
    with pytest.raises(NotFound):
        store.remove(alone)  # still held as a chunk, but no longer as a file
    store.remove(second)
    assert not store.has(alone)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.tuples(st.booleans(), st.sampled_from([0, 1, CHUNK, CHUNK + 1, 3 * CHUNK])), max_size=12
    )
)
def test_both_stores_keep_the_same(steps: list[tuple[bool, int]]) -> None:
    """Whatever is put and removed, every file that was put and not removed can be read."""
    memory = MemoryStore()
    with TemporaryDirectory() as scratch, SqliteStore(Path(scratch, "c.sqlite")) as sqlite_store:
        kept: dict[bytes, bytes] = {}
        for keep, size in steps:
            data = bytes(size)
            cid = file_cid(data)
            for each in (memory, sqlite_store):
                if keep:
                    each.put(data)
                elif cid in kept:
                    each.remove(cid)
            if keep:
                kept[cid] = data
            else:
                kept.pop(cid, None)
            for each in (memory, sqlite_store):
                assert all(each.get(cid) == data for cid, data in kept.items())
        for cid in list(kept):
            memory.remove(cid)
            sqlite_store.remove(cid)
        assert not memory._blocks
        assert sqlite_store._run("SELECT count(*) FROM content") == [(0,)]


def test_altered_content_is_refused(path: Path) -> None:
    with SqliteStore(path) as store:
        cids = [store.put(b"model"), store.put(TWO_CHUNKS), store.put_node(encode({"a": 1}))]
        store._run("UPDATE content SET data = CAST(data || x'00' AS BLOB)")
        for cid in cids:
            with pytest.raises(StoreError, match="hash"):
                store.get(cid)
            with pytest.raises(StoreError, match="hash"):
                store.block_bytes(cid)
        store._run("UPDATE content SET data = 'text'")
        for cid in cids:
            with pytest.raises(StoreError, match="str where bytes"):
                store.get(cid)


def test_a_chain_is_written_once_and_read_back(path: Path) -> None:
    with SqliteStore(path) as store:
        for height in range(3):
            with store.transaction():
                store.put_block(height, b"block %d" % height)
                store.put_updates(height, [b"b", b"a", b"c"])
                store.set_meta("head", b"%d" % height)
        with pytest.raises(StoreError, match="height 1 has"):
            store.put_block(1, b"another")
        store.drop_updates(0)
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    before = folder(path)
    with SqliteStore(path, read_only=True) as store:
        assert store.heights() == [0, 1, 2]
        assert store.block(1) == b"block 1"
        assert store.updates(0) == []
        assert store.update_heights() == [1, 2]
        assert store.updates(2) == [b"b", b"a", b"c"]
        assert store.meta("head") == b"2"
        with pytest.raises(NotFound, match="height 3"):
            store.block(3)
        with pytest.raises(NotFound, match="'seed'"):
            store.meta("seed")
        with pytest.raises(StoreError, match="read-only"):
            store.put(b"more")
    assert folder(path) == before


def fill(store: SqliteStore) -> None:
    """Write something of every kind, and then what is refused."""
    store.put(TWO_CHUNKS)
    store.set_meta("head", b"first")
    store.put_block(0, b"block")
    store.put_block(0, b"block")


def test_a_transaction_is_all_or_nothing(path: Path) -> None:
    with SqliteStore(path) as store:
        store.set_meta("head", b"none")
        with pytest.raises(StoreError, match="has its block"), store.transaction():
            fill(store)
        assert store.heights() == []
        assert not store.has(file_cid(TWO_CHUNKS))
        assert store.meta("head") == b"none"
        with store.transaction():
            store.put_block(0, b"block")
        assert store.heights() == [0]


WRITER = """
import os, signal, sys
from consensus.storage.sqlite import SqliteStore
store = SqliteStore(sys.argv[1])
for height in range(10**6):
    with store.transaction():
        store.put_block(height, b"%d" % height)
        store.put_updates(height, [bytes([height % 256]) * 59_000] * 3)
        cid = store.put(b"model %d" % height * 5_000)
        store.set_meta("head", cid)
        if height == 40:
            print("written", flush=True)
    if height == 40 and sys.argv[2] == "wait":
        sys.stdin.read()
"""


def writer(path: Path, mode: str) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path), mode],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[3],
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"written\n"
    return process


def test_a_killed_writer_leaves_its_last_transaction(path: Path) -> None:
    process = writer(path, "run")
    process.send_signal(signal.SIGKILL)
    process.communicate()
    before = folder(path)
    assert len(before) == 2, "a -wal file is left beside the chain"
    path.parent.chmod(0o555)
    with SqliteStore(path, read_only=True) as store:
        heights = store.heights()
        assert heights == list(range(len(heights)))
        assert len(heights) >= 40
        for height in heights:
            assert store.block(height) == b"%d" % height
            assert store.updates(height) == [bytes([height % 256]) * 59_000] * 3
        assert store.get(store.meta("head")) == b"model %d" % heights[-1] * 5_000
    path.parent.chmod(0o755)
    assert folder(path) == before, "reading changed the folder"
    with SqliteStore(path) as store:
        assert store.heights() == heights
        store.put_block(len(heights), b"next")
    assert list(folder(path)) == [path.name]


def test_reading_makes_no_file_even_for_a_moment(path: Path) -> None:
    with SqliteStore(path) as store:
        store.put_block(0, b"block")
    os.utime(path.parent, ns=(0, 0))  # a file that is made and deleted again changes it
    with SqliteStore(path, read_only=True) as store:
        assert store.block(0) == b"block"
    assert path.parent.stat().st_mtime_ns == 0


def test_one_process_at_a_time(path: Path) -> None:
    process = writer(path, "wait")
    try:
        with pytest.raises(StoreError, match="another process"):
            SqliteStore(path)
        with pytest.raises(StoreError, match="another process"):
            SqliteStore(path, read_only=True)
    finally:
        process.kill()
        process.communicate()
    with SqliteStore(path, read_only=True) as store:
        assert store.heights()


def test_other_files_are_refused_and_left_alone(path: Path) -> None:
    with pytest.raises(StoreError, match="No such file"):
        SqliteStore(path, read_only=True)
    with pytest.raises(StoreError, match="folder"):
        SqliteStore(path / "chain.sqlite")
    assert not path.exists()
    path.write_bytes(b"")
    with pytest.raises(StoreError, match="not the chain"):
        SqliteStore(path, read_only=True)
    path.write_bytes(os.urandom(5_000))
    for read_only in (True, False):
        with pytest.raises(StoreError, match="not the chain of a run"):
            SqliteStore(path, read_only=read_only)
    path.unlink()
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE songs (name)")
    other.commit()
    other.close()
    before = folder(path)
    for read_only in (True, False):
        with pytest.raises(StoreError, match="not the chain of a run"):
            SqliteStore(path, read_only=read_only)
    assert folder(path) == before


def test_another_format_version_is_told(path: Path) -> None:
    with SqliteStore(path) as store:
        store._run("PRAGMA user_version = 7")
    for read_only in (True, False):
        with pytest.raises(StoreError, match="format 7"):
            SqliteStore(path, read_only=read_only)


def test_a_damaged_file_is_told(path: Path) -> None:
    with SqliteStore(path) as store:
        for height in range(200):
            store.put_block(height, os.urandom(500))
    data = bytearray(path.read_bytes())
    data[4096:] = os.urandom(len(data) - 4096)
    path.write_bytes(data)
    with SqliteStore(path, read_only=True) as store, pytest.raises(StoreError, match="damaged"):
        store.heights()


def test_a_flipped_byte_anywhere_is_told_or_harmless(path: Path) -> None:
    """Content is right or refused; the rest is refused or of the right kind, for an audit."""
    with SqliteStore(path) as store:
        cids = [store.put(b"model %d" % i) for i in range(5)]
        contents = [store.get(cid) for cid in cids]
        for height in range(5):
            store.put_block(height, b"block %d" % height)
            store.put_updates(height, [b"update %d" % i for i in range(5)])
        store.set_meta("head", b"head")
    intact = path.read_bytes()
    places = [place for place, byte in enumerate(intact) if byte]  # the rest is mostly unused
    random = Random(7)
    told = []
    for _ in range(500):
        altered = bytearray(intact)
        altered[random.choice(places)] ^= random.randrange(1, 256)
        path.write_bytes(altered)
        try:
            with SqliteStore(path, read_only=True) as store:
                for cid, content in zip(cids, contents, strict=True):
                    assert store.get(cid) == content
                for height in store.heights():
                    assert type(store.block(height)) is bytes
                for height in store.update_heights():
                    assert type(height) is int
                    assert all(type(data) is bytes for data in store.updates(height))
                for cid in store.cids():
                    store.block_bytes(cid)
                store.meta("head")
        except StoreError as error:
            told.append(str(error))
    assert len(told) > 250
    assert not any("\n" in message for message in told)


def test_a_view_cannot_stand_in_for_a_table(path: Path) -> None:
    with SqliteStore(path) as store:
        store._run("ALTER TABLE blocks RENAME TO hidden")
        store._run("CREATE VIEW blocks AS SELECT 0 AS height, x'00' AS data")
    for read_only in (True, False):
        with pytest.raises(StoreError, match="damaged"):
            SqliteStore(path, read_only=read_only)


def test_a_full_disk_is_told_and_undone(path: Path) -> None:
    with SqliteStore(path) as store:
        store.put_block(0, b"genesis")
        store._run("PRAGMA max_page_count = 50")
        with pytest.raises(StoreError, match="full"), store.transaction():
            overfill(store)
        assert store.heights() == [0]
        store._run("PRAGMA max_page_count = 100000")
        with store.transaction():
            overfill(store)
    with SqliteStore(path, read_only=True) as store:
        assert store.heights() == [0, 1]


def overfill(store: SqliteStore) -> None:
    store.put_block(1, b"block")
    store.put_updates(1, [bytes(100_000)] * 5)


def test_a_closed_store_is_told(path: Path) -> None:
    store = SqliteStore(path)
    store.close()
    store.close()
    with pytest.raises(StoreError, match="closed"):
        store.heights()


def test_a_name_with_odd_characters(tmp_path: Path) -> None:
    path = tmp_path / "run #1? 100%.sqlite"
    with SqliteStore(path) as store:
        store.put_block(0, b"genesis")
    with SqliteStore(path, read_only=True) as store:
        assert store.heights() == [0]
