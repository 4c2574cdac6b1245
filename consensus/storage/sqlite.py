"""The file that holds a run's chain: blocks by height, content by CID, retained updates."""

from __future__ import annotations

import fcntl
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Final

from consensus.encoding.unixfs import most_bytes
from consensus.storage.chain_reader import ChainReader
from consensus.storage.content import ContentStore, NotFound, StoreError, readable
from consensus.storage.regular import at_rest, beside, check_database, open_regular

APPLICATION: Final = 0x42466564  # "BFed", in the file's header
SCHEMA_VERSION: Final = 1
SCHEMA: Final = (
    """CREATE TABLE content (
        cid BLOB PRIMARY KEY, uses INTEGER NOT NULL, root INTEGER NOT NULL, data BLOB NOT NULL)""",
    "CREATE TABLE blocks (height INTEGER PRIMARY KEY, data BLOB NOT NULL)",
    """CREATE TABLE updates (
        height INTEGER NOT NULL, position INTEGER NOT NULL, data BLOB NOT NULL,
        PRIMARY KEY (height, position))""",
    "CREATE TABLE meta (key TEXT PRIMARY KEY, value BLOB NOT NULL)",
)

_STEPS_PER_BYTE: Final = 4
"""Steps of SQLite's machine that one statement may take, for each byte of the file. A row takes
at least five bytes and at most ten steps; pages that are linked many times, as no sound file has
them, would take steps without end."""
_FREE_STEPS: Final = 100_000
_STEPS_A_LOOK: Final = 10_000

# SQLite's shared-lock bytes: whoever read-locks them keeps writers out, and the other way round.
_LOCK_START: Final = 0x40000002
_LOCK_BYTES: Final = 510


class SqliteStore(ContentStore, ChainReader):
    """A run's chain in one SQLite file: content by CID, blocks by height, retained updates, meta.

    Writing outside `transaction` commits at once; inside, all or nothing, and whatever was
    committed survives the process being killed. (A crash of the whole machine may lose the last
    transactions, never tear one.) The process that opened the file for writing has it alone.

    Read-only opening serves audits: it neither creates nor changes any file, and includes what a
    killed writer had committed to the `-wal` file beside it. It is refused while another process
    writes; a process does not open for reading what it has open for writing.

    Every method raises StoreError for a file that is missing, corrupt, in use, of another kind
    or of another version, naming the file.
    """

    def __init__(self, path: str | Path, *, read_only: bool = False) -> None:
        self._path = Path(path)
        self._read_only = read_only
        self._lock: BinaryIO | None = None
        try:
            check_database(self._path)
        except OSError as error:
            raise StoreError(f"{error.filename}: {error.strerror}") from None
        if read_only:
            self._lock = self._lock_against_writers()
            place = at_rest(self._path)
        else:
            place = f"{self._path.absolute().as_uri()}?mode=rwc"
        try:
            self._connection = sqlite3.connect(place, uri=True, timeout=0, isolation_level=None)
        except sqlite3.Error as error:
            if self._lock is not None:
                self._lock.close()
            raise self._explain(error) from None
        self._steps = 0
        self._connection.set_progress_handler(self._too_many_steps, _STEPS_A_LOOK)
        try:
            self._open_schema()
        except BaseException:
            self.close()
            raise

    def _lock_against_writers(self) -> BinaryIO:
        try:
            file = open_regular(self._path)
        except OSError as error:
            raise StoreError(f"{self._path}: {error.strerror}") from None
        try:
            fcntl.lockf(file, fcntl.LOCK_SH | fcntl.LOCK_NB, _LOCK_BYTES, _LOCK_START)
        except OSError:
            file.close()
            raise StoreError(
                f"{self._path}: another process is writing it; wait until it ends"
            ) from None
        return file

    def _open_schema(self) -> None:
        self._run("PRAGMA locking_mode = EXCLUSIVE")
        application = self._run("PRAGMA application_id")[0][0]
        version = self._run("PRAGMA user_version")[0][0]
        tables = self._run("SELECT 1 FROM sqlite_master LIMIT 1")  # counting has no bound
        new = not (application or version or tables) and not self._read_only
        if not new and application != APPLICATION:
            raise StoreError(f"{self._path}: not the chain of a run")
        if not new and version != SCHEMA_VERSION:
            raise StoreError(
                f"{self._path}: has format {version}, and this program reads {SCHEMA_VERSION}; "
                "use the version that wrote it"
            )
        if not new:
            # Other objects (a view, a trigger) could answer in place of our tables.

            schema = self._run("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY rowid")
            if [row[0] for row in schema] != list(SCHEMA):
                raise StoreError(f"{self._path}: the file is damaged")
        if self._read_only:
            return
        self._run("PRAGMA journal_mode = WAL")
        self._run("PRAGMA synchronous = NORMAL")
        with self.transaction():  # also takes the file for this process
            if new:
                for statement in SCHEMA:
                    self._run(statement)
                self._run(f"PRAGMA application_id = {APPLICATION}")
                self._run(f"PRAGMA user_version = {SCHEMA_VERSION}")

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit all writes inside together at the end, or undo them if an exception is raised.

        Inside another transaction it becomes a part of that one.
        """
        if self._connection.in_transaction:
            yield
            return
        self._run("BEGIN IMMEDIATE")
        try:
            yield
            self._run("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._run("ROLLBACK")
            raise

    def close(self) -> None:
        """Close the file. A clean close leaves one file, without a -wal file beside it."""
        self._connection.close()
        if self._lock is not None:
            self._lock.close()

    # --- The chain of a run -----------------------------------------------------------------

    def put_block(self, height: int, data: bytes) -> None:
        """Append the encoded block of `height`; raises StoreError if that height has one
        already."""
        if self._run("SELECT 1 FROM blocks WHERE height = ?", height):
            raise StoreError(f"{self._path}: height {height} has its block already")
        self._run("INSERT INTO blocks VALUES (?, ?)", height, data)

    def block(self, height: int) -> bytes:
        """The encoded block of `height`; raises NotFound."""
        rows = self._run("SELECT data FROM blocks WHERE height = ?", height)
        if not rows:
            raise NotFound(f"{self._path}: no block of height {height}")
        return self._bytes(rows[0][0])

    def heights(self) -> list[int]:
        """The heights that have a block, ascending."""
        return [self._int(row[0]) for row in self._run("SELECT height FROM blocks ORDER BY height")]

    def update_heights(self) -> list[int]:
        """The heights whose updates are retained, ascending."""
        rows = self._run("SELECT DISTINCT height FROM updates ORDER BY height")
        return [self._int(row[0]) for row in rows]

    def cids(self) -> list[bytes]:
        """The CID of every block of content held, in ascending order."""
        return [self._bytes(row[0]) for row in self._run("SELECT cid FROM content ORDER BY cid")]

    def put_updates(self, height: int, updates: Sequence[bytes]) -> None:
        """Retain the encoded updates that the block of `height` lists, in its order."""
        with self.transaction():
            for position, data in enumerate(updates):
                self._run("INSERT INTO updates VALUES (?, ?, ?)", height, position, data)

    def updates(self, height: int) -> list[bytes]:
        """The retained updates of `height` in the block's order; empty where none are kept."""
        rows = self._run("SELECT data FROM updates WHERE height = ? ORDER BY position", height)
        return [self._bytes(row[0]) for row in rows]

    def drop_updates(self, height: int) -> None:
        """Delete the retained updates of `height`."""
        self._run("DELETE FROM updates WHERE height = ?", height)

    def set_meta(self, key: str, value: bytes) -> None:
        """Set a named entry of metadata."""
        self._run("INSERT OR REPLACE INTO meta VALUES (?, ?)", key, value)

    def meta(self, key: str) -> bytes:
        """A named entry of metadata; raises NotFound."""
        rows = self._run("SELECT value FROM meta WHERE key = ?", key)
        if not rows:
            raise NotFound(f"{self._path}: no entry {key!r}")
        return self._bytes(rows[0][0])

    # --- Content ----------------------------------------------------------------------------

    def has(self, cid: bytes) -> bool:
        return bool(self._run("SELECT 1 FROM content WHERE cid = ?", cid))

    def _block(self, cid: bytes) -> bytes:
        rows = self._run("SELECT data FROM content WHERE cid = ?", cid)
        if not rows:
            raise NotFound(f"{self._path}: {readable(cid)} is not in this store")
        return self._bytes(rows[0][0])

    def _kept(self, root: bytes) -> bool:
        return bool(self._run("SELECT 1 FROM content WHERE cid = ? AND root = 1", root))

    def _keep(self, root: bytes, blocks: Mapping[bytes, bytes]) -> None:
        self.put_blocks(root, blocks.items())

    def put_blocks(self, root: bytes, blocks: Iterable[tuple[bytes, bytes]]) -> None:
        """Store a file by its blocks (CID, bytes), each once, which are taken one by one."""
        if self._kept(root):
            return
        with self.transaction():
            for cid, data in blocks:
                self._run(
                    "INSERT INTO content VALUES (?, 1, 0, ?) "
                    "ON CONFLICT (cid) DO UPDATE SET uses = uses + 1",
                    cid,
                    data,
                )
            self._run("UPDATE content SET root = 1 WHERE cid = ?", root)

    def _release(self, root: bytes, cids: Sequence[bytes]) -> None:
        with self.transaction():
            self._run("UPDATE content SET root = 0 WHERE cid = ?", root)
            for cid in cids:
                self._run("UPDATE content SET uses = uses - 1 WHERE cid = ?", cid)
                self._run("DELETE FROM content WHERE cid = ? AND uses = 0", cid)

    def _most_bytes(self) -> int:
        return most_bytes(self._file_bytes())

    # --- SQLite -----------------------------------------------------------------------------

    def _run(self, statement: str, *values: Any) -> list[Any]:
        self._steps = 0
        try:
            return self._connection.execute(statement, values).fetchall()
        except (sqlite3.Error, OverflowError) as error:
            raise self._explain(error) from None
        except UnicodeDecodeError:  # SQLite quotes damaged bytes in its message
            raise StoreError(f"{self._path}: the file is damaged") from None

    def _too_many_steps(self) -> bool:
        """Called by SQLite every so many steps of a statement; true ends it."""
        self._steps += _STEPS_A_LOOK
        return self._steps > _FREE_STEPS and self._steps > _STEPS_PER_BYTE * self._file_bytes()

    def _file_bytes(self) -> int:
        places = (self._path, beside(self._path, "-wal"))
        return sum(place.stat().st_size for place in places if place.exists())

    def _bytes(self, value: object) -> bytes:
        if type(value) is not bytes:
            raise StoreError(f"{self._path}: holds {type(value).__name__} where bytes belong")
        return value

    def _int(self, value: object) -> int:
        if type(value) is not int:
            raise StoreError(f"{self._path}: holds {type(value).__name__} where a height belongs")
        return value

    def _explain(self, error: Exception) -> StoreError:
        reasons = {
            "SQLITE_BUSY": "another process is using it; wait until it ends",
            "SQLITE_NOTADB": "not the chain of a run (no SQLite file)",
            "SQLITE_CORRUPT": "the file is damaged",
            "SQLITE_INTERRUPT": "the file is damaged: its pages lead in circles",
            "SQLITE_CANTOPEN": "cannot be opened; does its folder exist, and may you write there?",
            "SQLITE_READONLY": "opened or stored read-only; nothing can be written",
            "SQLITE_FULL": "the disk is full; the transaction was undone",
        }
        name = getattr(error, "sqlite_errorname", "")
        primary = "_".join(name.split("_")[:2])  # SQLITE_READONLY_DIRECTORY and the like
        told = " ".join(str(error).split())  # SQLite may quote a statement over several lines
        return StoreError(f"{self._path}: {reasons.get(primary, told)}")
