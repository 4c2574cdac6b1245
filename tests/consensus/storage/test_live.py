"""The reader of a chain's file beside its writer: right or busy, never wrong, and without a trace.

What the writer writes, and what has to be found, is `tests.helpers.busy_writer`.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sqlite3
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

import pytest

from consensus.encoding.unixfs import file_cid
from consensus.storage import live
from consensus.storage.content import Busy, NotFound, StoreError
from consensus.storage.live import LiveChain, read_live
from consensus.storage.sqlite import SCHEMA, SqliteStore
from tests.helpers import busy_writer
from tests.helpers.busy_writer import check, content

REST = 110
"""Heights of the finished chain: enough for each of its trees to have inner pages."""
NOT_BEGUN = (
    "No such file or directory",
    "not the chain of a run (nothing is written yet)",
    "no entry 'head'",
)
"""What is said of a file that a writer has just made."""


class Writer:
    """A process that writes a chain as it is told to."""

    def __init__(self, path: Path, *heights: int) -> None:
        self.path = path
        command = [sys.executable, "-m", "tests.helpers.busy_writer", str(path), *map(str, heights)]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def wait(self) -> int:
        """Wait until the writer has come to its next height, and return it."""
        assert self.process.stdout is not None
        return int(self.process.stdout.readline())

    def go_on(self) -> None:
        """Have it write on."""
        assert self.process.stdin is not None
        print(file=self.process.stdin, flush=True)


@contextmanager
def writing(path: Path, *heights: int) -> Iterator[Writer]:
    writer = Writer(path, *heights)
    try:
        yield writer
    finally:
        writer.process.kill()
        writer.process.communicate()


def trace(folder: Path) -> dict[str, tuple[str, int]]:
    """Every file of a folder: its digest and time of change."""
    return {
        file.name: (hashlib.sha256(file.read_bytes()).hexdigest(), file.stat().st_mtime_ns)
        for file in folder.iterdir()
    }


@pytest.fixture(scope="module")
def at_rest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished chain of `REST` heights."""
    path = tmp_path_factory.mktemp("rest") / "chain.sqlite"
    busy_writer.write(path, REST)
    return path


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The chain of a writer that was killed after 30 heights: most is in the -wal file."""
    path = tmp_path_factory.mktemp("killed") / "chain.sqlite"
    with writing(path, 30, 60) as writer:
        writer.wait()
    assert path.with_name("chain.sqlite-wal").stat().st_size > 0
    return path


@pytest.fixture
def copied(killed: Path, tmp_path: Path) -> Path:
    """A copy of the killed writer's files."""
    for file in killed.parent.iterdir():
        shutil.copy(file, tmp_path)
    return tmp_path / "chain.sqlite"


def everything(path: Path) -> int:
    return read_live(path, lambda chain: check(chain, 7))


def test_many_blocks_are_read_as_each_is(at_rest: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def read(first: int, last: int) -> list[bytes]:
        return read_live(at_rest, lambda chain: chain.blocks(first, last))

    monkeypatch.setattr(live, "AT_ONCE", 2**30)
    for first, last in ((0, 0), (0, REST - 1), (37, 90), (REST - 1, 10**9)):
        heights = range(first, min(last, REST - 1) + 1)
        assert read(first, last) == [content("block", height) for height in heights]
    with pytest.raises(NotFound, match=f"no block of height {REST}"):
        read(REST, REST)
    monkeypatch.setattr(live, "AT_ONCE", len(content("block", 5)) + 1)
    assert read(5, 90) == [content("block", 5), content("block", 6)]


def test_blocks_end_where_a_height_has_none(at_rest: Path, tmp_path: Path) -> None:
    path = tmp_path / "chain.sqlite"
    shutil.copy(at_rest, path)
    with sqlite3.connect(path) as connection:
        connection.execute("DELETE FROM blocks WHERE height = 50")
    connection.close()
    assert len(read_live(path, lambda chain: chain.blocks(40, 60))) == 10
    with pytest.raises(NotFound, match="no block of height 50"):
        read_live(path, lambda chain: chain.blocks(50, 60))


def test_a_chain_at_rest_is_read_whole_and_left_as_it_is(at_rest: Path) -> None:
    before = trace(at_rest.parent)
    assert everything(at_rest) == REST - 1
    with LiveChain(at_rest) as chain:
        assert chain.last_height() == REST - 1
        cids = chain.cids()
        assert cids == sorted(cids)
        assert chain.cids_from(cids[3][:8], 5) == [c for c in cids if c.startswith(cids[3][:8])]
        assert chain.cids_from(b"\x01", 4) == cids[:4]
        for missing in (lambda: chain.block(REST), lambda: chain.meta("tail")):
            with pytest.raises(NotFound):
                missing()
        with pytest.raises(NotFound):
            chain.get(file_cid(b"absent"))
        assert chain.updates(5) == []
    assert trace(at_rest.parent) == before


def test_what_a_killed_writer_had_committed_is_read_and_its_files_stay(copied: Path) -> None:
    before = trace(copied.parent)
    assert everything(copied) == 29
    assert trace(copied.parent) == before


def test_both_readers_give_the_same(copied: Path) -> None:
    with LiveChain(copied) as live, SqliteStore(copied, read_only=True) as store:
        assert live.cids() == store.cids()
        for cid in store.cids():
            assert live.block_bytes(cid) == store.block_bytes(cid)
        for height in store.heights():
            assert live.block(height) == store.block(height)


def test_a_run_in_progress_is_read_at_every_stop(tmp_path: Path) -> None:
    path = tmp_path / "chain.sqlite"
    stops = (1, 2, 30, 31, 90)
    with writing(path, *stops) as writer:
        for stop in stops:
            assert writer.wait() == stop
            with pytest.raises(StoreError, match="another process is writing it"):
                SqliteStore(path, read_only=True)
            for _ in range(3):
                assert everything(path) == stop - 1
            assert {each.name for each in tmp_path.iterdir()} == {path.name, f"{path.name}-wal"}
            writer.go_on()
        assert writer.process.wait() == 0
    assert [each.name for each in tmp_path.iterdir()] == [path.name]
    assert everything(path) == 89


def test_a_snapshot_stays_or_is_busy_while_the_writer_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "chain.sqlite"
    with writing(path, 20, 21, 200) as writer:
        writer.wait()
        with LiveChain(path) as chain:
            assert check(chain, 3) == 19
            writer.go_on()
            writer.wait()
            try:
                assert check(chain, 3) == 19  # not 20: the snapshot is of before
            except Busy:
                assert read_live(path, lambda again: check(again, 3)) == 20
            writer.go_on()
            writer.wait()  # it has begun its -wal file anew, several times
            with pytest.raises(Busy):
                check(chain, 3)
        assert everything(path) == 199


def test_a_reader_is_never_wrong_beside_a_writer_in_a_hurry(tmp_path: Path) -> None:
    """Nor is the writer disturbed: it ends well, and its file is that of a writer left alone."""
    path, alone = tmp_path / "chain.sqlite", tmp_path / "alone" / "chain.sqlite"
    answers, refusals = set(), []
    with writing(path, 400) as writer:
        turn = 0
        while writer.process.poll() is None:
            turn += 1
            try:
                with LiveChain(path) as chain:
                    head = int.from_bytes(chain.meta("head"), "big")
                    assert chain.last_height() == head
                    assert check(chain, turn * 7919) == head if turn % 3 == 0 else True
                    for each in (head, turn * 7919 % (head + 1)):
                        assert chain.block(each) == content("block", each)
                        aggregate = content("aggregate", each)
                        assert chain.get(file_cid(aggregate)) == aggregate
                    answers.add(head)
            except Busy:
                pass
            except StoreError as error:
                refusals.append((bool(answers), str(error).partition(": ")[2]))
        assert set(refusals) <= {(False, why) for why in NOT_BEGUN}
        assert writer.process.returncode == 0
    assert everything(path) == 399
    alone.parent.mkdir()
    busy_writer.write(alone, 400)
    assert path.read_bytes() == alone.read_bytes()


def test_busy_ends_after_some_tries(at_rest: Path) -> None:
    tries = []

    def never(chain: LiveChain) -> None:
        tries.append(chain)
        raise Busy("busy")

    with pytest.raises(Busy):
        read_live(at_rest, never, tries=3)
    assert len(tries) == 3


# -- the -wal file --------------------------------------------------------------------------------


def wal_of(path: Path) -> Path:
    return path.with_name(f"{path.name}-wal")


def sums_of(data: bytes, order: str, sums: tuple[int, int] = (0, 0)) -> tuple[int, int]:
    """SQLite's checksum, word by word, as its documentation gives it."""
    one, two = sums
    words = struct.unpack(f"{order}{len(data) // 4}I", data)
    for a, b in zip(words[::2], words[1::2], strict=True):
        one = (one + a + two) % 2**32
        two = (two + b + one) % 2**32
    return one, two


def test_a_link_to_a_chain_shows_all_of_it(killed: Path, tmp_path: Path) -> None:
    """The -wal file is beside the chain, and not beside the link."""
    link = tmp_path / "chain.sqlite"
    link.symlink_to(killed)
    assert everything(link) == everything(killed) > 0
    before = trace(killed.parent)
    with SqliteStore(killed, read_only=True) as direct, SqliteStore(link, read_only=True) as store:
        assert store.heights() == direct.heights() != []
    assert trace(killed.parent) == before
    assert list(tmp_path.iterdir()) == [link]


def test_a_wal_file_of_the_other_byte_order_is_read(copied: Path) -> None:
    data = bytearray(wal_of(copied).read_bytes())
    data[3] ^= 1  # the magic number tells the order of the checksums
    sums = sums_of(bytes(data[:24]), ">")
    data[24:32] = struct.pack(">2I", *sums)
    for at in range(32, len(data) - 4119, 4120):
        frame = bytes(data[at : at + 8] + data[at + 24 : at + 4120])
        sums = sums_of(frame, ">", sums)
        data[at + 16 : at + 24] = struct.pack(">2I", *sums)
    wal_of(copied).write_bytes(data)
    assert everything(copied) == 29


def committed_frames(path: Path) -> list[int]:
    """The offsets of the frames that end transactions, of the -wal file's present turn."""
    data = wal_of(path).read_bytes()
    salts = data[16:24]
    places = range(32, len(data) - 4119, 4120)
    found = [at for at in places if data[at + 4 : at + 8] != bytes(4)]
    return [at for at in found if data[at + 8 : at + 16] == salts]


def test_a_transaction_counts_when_its_last_frame_is_whole(copied: Path) -> None:
    ends = committed_frames(copied)
    assert len(ends) >= 2
    whole = wal_of(copied).read_bytes()
    for cut in (4120, 4119, 24, 0):
        wal_of(copied).write_bytes(whole[: ends[-1] + cut])
        assert everything(copied) == (29 if cut == 4120 else 28), cut
    changed = bytearray(whole)
    changed[ends[-1] + 2000] ^= 1
    wal_of(copied).write_bytes(changed)
    assert everything(copied) == 28


def test_a_wal_file_without_a_sound_header_holds_nothing(at_rest: Path, tmp_path: Path) -> None:
    path = tmp_path / "chain.sqlite"
    shutil.copy(at_rest, path)
    for data in (b"", b"short", bytes(5000)):
        wal_of(path).write_bytes(data)
        assert everything(path) == REST - 1


# -- files that are no chain ----------------------------------------------------------------------


def refused(path: Path) -> str:
    with pytest.raises(StoreError) as caught:
        read_live(path, lambda chain: check(chain, 1))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_file_that_is_no_chain_is_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "chain.sqlite"
    assert "No such file" in refused(path)
    path.write_bytes(b"")
    assert "nothing is written yet" in refused(path)
    path.write_bytes(b"no database" * 1000)
    assert "no SQLite file" in refused(path)
    path.unlink()
    path.mkdir()
    assert "Is a directory" in refused(path)
    path.rmdir()
    with sqlite3.connect(path) as foreign:
        foreign.execute("CREATE TABLE notes (text)")
    assert "its journal is of another kind" in refused(path)
    foreign.execute("PRAGMA journal_mode = WAL")
    foreign.close()
    assert "not the chain of a run" in refused(path)


def altered(at_rest: Path, path: Path, *statements: str) -> Path:
    """A copy of a chain's file after these statements."""
    shutil.copy(at_rest, path)
    connection = sqlite3.connect(path, isolation_level=None)
    for statement in statements:
        connection.execute(statement)
    connection.close()
    return path


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("PRAGMA user_version = 9", "has format 9, and this program reads 1"),
        ("CREATE VIEW more AS SELECT 1", "its tables are not those of a chain"),
        ("CREATE TABLE more (x)", "its tables are not those of a chain"),
        ("UPDATE meta SET value = 'text'", "holds str where bytes belong"),
        ("UPDATE meta SET value = 5", "holds int where bytes belong"),
        ("UPDATE blocks SET data = 1.5 WHERE height = 109", "holds float where bytes belong"),
        (
            "UPDATE updates SET height = 'high' WHERE height = 109 AND position = 0",
            "something else where a height belongs",
        ),
        ("UPDATE content SET cid = 5 WHERE rowid = 1", "holds int where bytes belong"),
        ("UPDATE content SET data = x'00'", "has another hash"),
        ("DELETE FROM meta", "no entry 'head'"),
    ],
)
def test_a_chain_with_the_wrong_things_in_it_is_refused(
    at_rest: Path, tmp_path: Path, statement: str, reason: str
) -> None:
    assert reason in refused(altered(at_rest, tmp_path / "chain.sqlite", statement))


def test_a_row_of_any_claimed_length_is_refused_before_it_is_read(
    at_rest: Path, tmp_path: Path
) -> None:
    huge = "UPDATE meta SET value = zeroblob(70000000)"
    path = altered(at_rest, tmp_path / "chain.sqlite", huge)
    assert "a row claims 70,000,0" in refused(path)


def test_a_damaged_file_gives_an_error_and_nothing_else(at_rest: Path, tmp_path: Path) -> None:
    """Whatever bytes change, and wherever a file ends: an answer is right or refused."""
    path = tmp_path / "chain.sqlite"
    random, whole = Random(14), at_rest.read_bytes()
    failures = set()
    for turn in range(150):
        data = bytearray(whole)
        if turn % 3 == 0:
            del data[random.randrange(len(data)) :]
        for _ in range(random.choice((1, 20, 400))):
            if data:  # most of them in the heads of pages, where trees are knotted
                near = random.random() < 0.7
                at = random.randrange(len(data))
                at = at // 4096 * 4096 + random.randrange(130) if near else at
                data[min(at, len(data) - 1)] = random.choice((0, 1, 2, 5, 10, 13, 127, 255))
        path.write_bytes(data)
        os.utime(path, (0, 0))  # or it would be busy for a moment
        try:
            with LiveChain(path) as chain:
                for height in chain.heights()[:40]:
                    chain.block(height)
                chain.update_heights(), chain.updates(REST - 1), chain.meta("head")
                for cid in chain.cids()[:20]:
                    chain.block_bytes(cid)
        except StoreError as error:
            failures.add(str(error))
    assert len(failures) > 5
    assert not any("\n" in each for each in failures)


def test_pages_that_lead_in_circles_come_to_an_end(at_rest: Path, tmp_path: Path) -> None:
    with sqlite3.connect(f"file:{at_rest}?mode=ro&immutable=1", uri=True) as connection:
        roots = dict(connection.execute("SELECT name, rootpage FROM sqlite_master"))
    assert len(roots) == len(SCHEMA) + 3
    path = tmp_path / "chain.sqlite"
    for name in ("blocks", "sqlite_autoindex_content_1"):
        data = bytearray(at_rest.read_bytes())
        at, root = (roots[name] - 1) * 4096, roots[name]
        assert data[at] in (2, 5)
        data[at + 8 : at + 12] = root.to_bytes(4, "big")  # its last child is itself
        path.write_bytes(data)
        assert "its pages lead in circles" in refused(path)
