"""A file of the nonces that functions have seen, and of how many requests they refused, and why."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from consensus.storage.closing import Closing
from consensus.storage.regular import check_database

_APPLICATION: Final = 0x42466E6F  # "BFno", in the file's header
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS nonces (merchant TEXT PRIMARY KEY, latest INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS answers (
    function TEXT, kind TEXT, count INTEGER NOT NULL, PRIMARY KEY (function, kind));
"""
BUSY_SECONDS: Final = 20.0


class NonceError(Exception):
    """Error: the file of nonces cannot be used, in one line."""


class Nonces(Closing):
    """The nonces of some functions in one SQLite file, which several processes may use at once.

    A nonce that was taken is on the disk before `take` returns: no process accepts it again, also
    after a crash of the machine.
    """

    def __init__(self, path: Path) -> None:
        """Open the file, or make it. Raises NonceError."""
        self._path = path
        self._turn = threading.Lock()
        try:
            check_database(path)
            self._connection = sqlite3.connect(
                path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
            )
        except (OSError, sqlite3.Error) as error:
            raise NonceError(f"{path}: {error}") from None
        try:
            self._open()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def take(self, merchant: str, nonce: int) -> bool:
        """Take a nonce of a merchant; False if it is not above all that were taken before."""
        return bool(
            self._run(
                "INSERT INTO nonces VALUES (?, ?) ON CONFLICT (merchant) DO UPDATE "
                "SET latest = excluded.latest WHERE excluded.latest > latest RETURNING latest",
                merchant,
                nonce,
                durable=True,
            )
        )

    def count(self, function: str, kind: str) -> None:
        """Count an answer of a function: "accepted", or the kind of its refusal."""
        self._run(
            "INSERT INTO answers VALUES (?, ?, 1) ON CONFLICT DO UPDATE SET count = count + 1",
            function,
            kind,
        )

    def counts(self, function: str) -> Mapping[str, int]:
        """Number of answers of a function by kind, since the file exists."""
        return dict(
            self._run("SELECT kind, count FROM answers WHERE function = ? ORDER BY kind", function)
        )

    def _open(self) -> None:
        ((known,),) = self._run("PRAGMA application_id")
        if known not in (0, _APPLICATION) or (
            not known and self._run("SELECT 1 FROM sqlite_master LIMIT 1")
        ):
            raise NonceError(f"{self._path}: not a file of nonces")
        self._run("PRAGMA journal_mode = WAL")
        for statement in filter(str.strip, _SCHEMA.split(";")):
            self._run(statement)
        self._run(f"PRAGMA application_id = {_APPLICATION}")

    def _run(self, statement: str, *values: str | int, durable: bool = False) -> list[tuple]:
        with self._turn:
            try:
                # A count may be lost with the machine's power, and then costs no wait for the disk:
                # a refusal is what anybody can have as often as they like.
                self._connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
                return self._connection.execute(statement, values).fetchall()
            except sqlite3.Error as error:
                raise NonceError(f"{self._path}: {error}") from None
