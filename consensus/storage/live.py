"""A chain's file read while its run writes it, or at rest: the same answers, and no trace.

`consensus.storage.sqlite.SqliteStore` takes the file for itself; audits rely on it. This reader
takes nothing (`consensus.storage.pages` says why that is safe): each answer is that of one moment
of the file, or `Busy`, never a mixture. Whoever shows an answer still checks it by hash, as the
file itself may be anybody's.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

from consensus.encoding.unixfs import most_bytes
from consensus.storage import btree
from consensus.storage.btree import Value
from consensus.storage.chain_reader import ChainReader
from consensus.storage.content import Busy, NotFound, readable
from consensus.storage.pages import Pages
from consensus.storage.sqlite import APPLICATION, SCHEMA, SCHEMA_VERSION

__all__ = ["LiveChain", "read_live"]

T = TypeVar("T")

TRIES: Final = 8
AT_ONCE: Final = 2**20
"""Bytes of blocks that are read before it is checked that they are of one moment."""
FIRST_WAIT: Final = 0.005
"""Seconds before a question is asked again; twice as many before every further try."""


class LiveChain(ChainReader):
    """A run's chain as it is when it is opened, read beside its writer.

    Raises StoreError for a file that is missing, damaged, of another kind or of another version,
    and `Busy`, when it is opened or in any method, if the writer changes what is being read.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._pages = Pages(path)
        try:
            self._roots = self._open_schema()
            self._pages.check()
        except BaseException:
            self.close()
            raise

    def _open_schema(self) -> dict[str, int]:
        """The first page of each table and index by its name."""
        header = self._pages.header
        encoding, version = header[56:60], int.from_bytes(header[60:64], "big")
        if not any(header[56:72]) and not btree.schema(self._pages):
            raise self._pages.refused("not the chain of a run (nothing is written yet)")
        if int.from_bytes(header[68:72], "big") != APPLICATION:
            raise self._pages.refused("not the chain of a run")
        if version != SCHEMA_VERSION:
            raise self._pages.refused(
                f"has format {version}, and this program reads {SCHEMA_VERSION}; "
                "use the version that wrote it"
            )
        rows = btree.schema(self._pages)
        if [each.sql for each in rows if each.sql is not None] != list(SCHEMA):
            raise self._pages.damaged("its tables are not those of a chain")
        if encoding != b"\0\0\0\1":
            raise self._pages.damaged("its texts are not in UTF-8")
        return {each.name: each.root for each in rows}

    def close(self) -> None:
        """Close the file."""
        self._pages.close()

    @property
    def size(self) -> int:
        """Length of the file with all that is committed, in bytes."""
        return self._pages.size

    # --- The chain ------------------------------------------------------------------------------

    def block(self, height: int) -> bytes:
        columns = self._answer(lambda: btree.row(self._pages, self._root("blocks"), height))
        if columns is None:
            raise NotFound(f"{self._path}: no block of height {height}")
        return self._bytes(columns, 1, 2)

    def blocks(self, first: int, last: int) -> list[bytes]:
        """The blocks of the heights from ``first`` to at most ``last``, as many as have about
        `AT_ONCE` bytes, at least one. Raises NotFound where a height has none."""

        def some() -> list[tuple[Value, ...]]:
            found: list[tuple[Value, ...]] = []
            size = 0
            for height, columns in btree.rows(self._pages, self._root("blocks"), first):
                if height != first + len(found):
                    break
                found.append(columns)
                size += len(self._bytes(columns, 1, 2))
                if height == last or size >= AT_ONCE:
                    break
            return found

        found = self._answer(some)
        if not found:
            raise NotFound(f"{self._path}: no block of height {first}")
        return [self._bytes(columns, 1, 2) for columns in found]

    def heights(self) -> list[int]:
        return self._answer(lambda: list(btree.row_ids(self._pages, self._root("blocks"))))

    def last_height(self) -> int:
        """The greatest height that has a block; raises NotFound where none has."""
        last = self._answer(lambda: btree.last_row_id(self._pages, self._root("blocks")))
        if last is None:
            raise NotFound(f"{self._path}: there is no genesis: the file holds no chain")
        return last

    def update_heights(self) -> list[int]:
        found: list[int] = []
        for height, _ in self._answer(self._positions):
            if not found or height != found[-1]:
                found.append(height)
        return found

    def updates(self, height: int) -> list[bytes]:
        def rows() -> list[tuple[Value, ...] | None]:
            found = []
            for entry in btree.entries(self._pages, self._root(_UPDATES), (height,)):
                if entry.columns[0] != height:
                    break
                found.append(btree.row(self._pages, self._root("updates"), entry.id))
            return found

        return [self._bytes(columns, 2, 3) for columns in self._answer(rows)]

    def update_range(self) -> tuple[int, int] | None:
        """The first and the last height whose updates are retained; None if none are."""

        def ends() -> tuple[int, int] | None:
            first = next(btree.entries(self._pages, self._root(_UPDATES)), None)
            last = btree.last_entry(self._pages, self._root(_UPDATES))
            if first is None or last is None:
                return None
            return self._position(first)[0], self._position(last)[0]

        return self._answer(ends)

    def _positions(self) -> list[tuple[int, int]]:
        """(height, position) of all retained updates, ascending."""
        return [self._position(entry) for entry in btree.entries(self._pages, self._root(_UPDATES))]

    def _position(self, entry: btree.Entry) -> tuple[int, int]:
        height, position = entry.columns if len(entry.columns) == 2 else (None, None)
        if type(height) is not int or type(position) is not int:
            raise self._pages.damaged("it holds something else where a height belongs")
        return height, position

    def meta(self, key: str) -> bytes:
        columns = self._answer(lambda: self._found(_META, "meta", key))
        if columns is None:
            raise NotFound(f"{self._path}: no entry {key!r}")
        return self._bytes(columns, 1, 2)

    # --- Content --------------------------------------------------------------------------------

    def has(self, cid: bytes) -> bool:
        return self._answer(lambda: self._entry(_CONTENT, cid)) is not None

    def cids(self) -> list[bytes]:
        def all_of_them() -> list[bytes]:
            found = []
            for entry in btree.entries(self._pages, self._root(_CONTENT)):
                found.append(self._bytes(entry.columns, 0, 1))
            return found

        return self._answer(all_of_them)

    def cids_from(self, prefix: bytes, most: int) -> list[bytes]:
        """At most so many CIDs of content that begin with these bytes, in ascending order."""

        def some() -> list[bytes]:
            found: list[bytes] = []
            for entry in btree.entries(self._pages, self._root(_CONTENT), (prefix,)):
                cid = self._bytes(entry.columns, 0, 1)
                if not cid.startswith(prefix) or len(found) == most:
                    break
                found.append(cid)
            return found

        return self._answer(some)

    def _block(self, cid: bytes) -> bytes:
        columns = self._answer(lambda: self._found(_CONTENT, "content", cid))
        if columns is None:
            raise NotFound(f"{self._path}: {readable(cid)} is not in this store")
        return self._bytes(columns, 3, 4)

    def _most_bytes(self) -> int:
        return most_bytes(self._pages.size)

    # --- Pages ----------------------------------------------------------------------------------

    def _answer(self, question: Callable[[], T]) -> T:
        """The answer to a question, once it is certain that it is of this moment."""
        self._pages.begin_work()
        found = question()
        self._pages.check()
        return found

    def _entry(self, index: str, key: Value) -> int | None:
        """The id of the row with a key."""
        for entry in btree.entries(self._pages, self._root(index), (key,)):
            return entry.id if entry.columns[:1] == (key,) else None
        return None

    def _found(self, index: str, table: str, key: Value) -> tuple[Value, ...] | None:
        where = self._entry(index, key)
        if where is None:
            return None
        columns = btree.row(self._pages, self._root(table), where)
        if columns is None or columns[0] != key:
            raise self._pages.damaged("an index names another row")
        return columns

    def _root(self, name: str) -> int:
        if name not in self._roots:
            raise self._pages.damaged(f"it has no {name}")
        return self._roots[name]

    def _bytes(self, columns: tuple[Value, ...] | None, place: int, count: int) -> bytes:
        value = columns[place] if columns is not None and len(columns) == count else None
        if not isinstance(value, bytes):
            raise self._pages.refused(f"holds {type(value).__name__} where bytes belong")
        return value


_CONTENT: Final = "sqlite_autoindex_content_1"
_UPDATES: Final = "sqlite_autoindex_updates_1"
_META: Final = "sqlite_autoindex_meta_1"


def read_live(path: Path, use: Callable[[LiveChain], T], tries: int = TRIES) -> T:
    """Return the result of ``use`` on one moment of the chain at ``path``; it may be called again.

    Raises `Busy` where the writer was in the way so many times, and StoreError as `LiveChain`.
    """
    for left in range(tries - 1, -1, -1):
        try:
            with LiveChain(path) as chain:
                return use(chain)
        except Busy:
            if not left:
                raise
            time.sleep(FIRST_WAIT * 2 ** (tries - 1 - left))
    raise AssertionError("unreachable")
