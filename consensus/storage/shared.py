"""A content store in one SQLite file that several processes and threads use at the same time."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from consensus.encoding.unixfs import most_bytes
from consensus.storage.closing import Closing
from consensus.storage.content import (
    ContentStore,
    NotFound,
    StoreError,
    Unavailable,
    readable,
)
from consensus.storage.regular import beside, check_database

__all__ = ["SharedStore"]

_APPLICATION: Final = 0x42466573  # "BFes", in the file's header
_SCHEMA: Final = """CREATE TABLE content (
    cid BLOB PRIMARY KEY, uses INTEGER NOT NULL, root INTEGER NOT NULL, data BLOB NOT NULL)"""
BUSY_SECONDS: Final = 30.0
"""Seconds for which a writer waits for another one's transaction, which takes milliseconds."""


class SharedStore(ContentStore, Closing):
    """A store of content for programs that work together on one machine, as an IPFS node would be.

    Each `put` and `remove` is one transaction, whole or not at all, also where the process is
    killed. Methods raise StoreError in one line for a file that is missing its folder, damaged or
    of another kind. One object may be used by several threads.
    """

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)
        self._turn = threading.RLock()
        try:
            check_database(self._path)
        except OSError as error:
            raise StoreError(f"{error.filename}: {error.strerror}") from None
        try:
            self._connection = sqlite3.connect(
                self._path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
            )
        except sqlite3.Error as error:
            raise StoreError(f"{self._path}: {error}") from None
        try:
            self._open()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the file; all that was put stays."""
        self._connection.close()

    def has(self, cid: bytes) -> bool:
        return bool(self._run("SELECT 1 FROM content WHERE cid = ?", cid))

    def _open(self) -> None:
        self._run("PRAGMA journal_mode = WAL")
        self._run("PRAGMA synchronous = NORMAL")
        with self._turn:
            self._run("BEGIN IMMEDIATE")  # another process may be making the file
            try:
                application = self._run("PRAGMA application_id")[0][0]
                tables = self._run("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL LIMIT 2")
                if not application and not tables:
                    self._run(_SCHEMA)
                    self._run(f"PRAGMA application_id = {_APPLICATION}")
                elif application != _APPLICATION or tables != [(_SCHEMA,)]:
                    raise StoreError(f"{self._path}: not a store of content")
                self._run("COMMIT")
            except BaseException:
                self._run("ROLLBACK")
                raise

    def _block(self, cid: bytes) -> bytes:
        rows = self._run("SELECT data FROM content WHERE cid = ?", cid)
        if not rows:
            raise NotFound(f"{self._path}: {readable(cid)} is not in this store")
        if type(rows[0][0]) is not bytes:
            raise StoreError(f"{self._path}: the file is damaged")
        return rows[0][0]

    def _kept(self, root: bytes) -> bool:
        return bool(self._run("SELECT 1 FROM content WHERE cid = ? AND root = 1", root))

    def _keep(self, root: bytes, blocks: Mapping[bytes, bytes]) -> None:
        def change() -> None:
            if self._kept(root):
                return
            for cid, data in blocks.items():
                self._run(
                    "INSERT INTO content VALUES (?, 1, 0, ?) "
                    "ON CONFLICT (cid) DO UPDATE SET uses = uses + 1",
                    cid,
                    data,
                )
            self._run("UPDATE content SET root = 1 WHERE cid = ?", root)

        self._change(change)

    def _release(self, root: bytes, cids: Sequence[bytes]) -> None:
        def change() -> None:
            if not self._kept(root):  # another process has removed it
                return
            self._run("UPDATE content SET root = 0 WHERE cid = ?", root)
            for cid in cids:
                self._run("UPDATE content SET uses = uses - 1 WHERE cid = ?", cid)
                self._run("DELETE FROM content WHERE cid = ? AND uses = 0", cid)

        self._change(change)

    def _most_bytes(self) -> int:
        places = (self._path, beside(self._path, "-wal"))
        return most_bytes(sum(place.stat().st_size for place in places if place.exists()))

    def _change(self, change: Any) -> None:
        """Do something in one transaction, alone among all processes."""
        with self._turn:
            self._run("BEGIN IMMEDIATE")
            try:
                change()
                self._run("COMMIT")
            except BaseException:
                self._run("ROLLBACK")
                raise

    def _run(self, statement: str, *values: Any) -> list[Any]:
        with self._turn:
            try:
                return self._connection.execute(statement, values).fetchall()
            except (sqlite3.Error, OverflowError, UnicodeDecodeError) as error:
                told = " ".join(str(error).split())
                raise Unavailable(f"{self._path}: {told}") from None
