"""Rows of a SQLite database, from its pages: schema, look-ups and scans, with bounded work.

The format is that of https://sqlite.org/fileformat2.html. Only what a run's chain has is read:
tables with row ids, and the indices of their primary keys. Whatever a sound file does not have
(pages that lead in circles, lengths beyond the file, keys of another type) raises StoreError.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from consensus.storage.pages import Pages

__all__ = [
    "Entry",
    "Row",
    "Value",
    "entries",
    "last_entry",
    "last_row_id",
    "row",
    "row_ids",
    "rows",
    "schema",
    "values",
]

Value = None | int | float | bytes | str

MOST_ROW: Final = 2**26
"""Longest row that is read, in bytes; a block of content has 2**18, and no block of a chain more
than its servers' draws and votes."""
_DEPTH: Final = 20
_INDEX, _TABLE = (2, 10), (5, 13)
"""Kinds of inner pages and leaves."""


class Row(NamedTuple):
    """A row of the schema: what an object is called, where its tree begins, and its statement."""

    name: str
    root: int
    sql: str | None


class Entry(NamedTuple):
    """An entry of an index: its columns, and last the id of the row."""

    columns: tuple[Value, ...]
    id: int


class _Cell(NamedTuple):
    """A cell: the key of a table's cell, the child on its left, and where its payload is."""

    key: int
    child: int
    size: int
    start: int


class _Page:
    """One page of a tree."""

    def __init__(self, pages: Pages, number: int, kinds: tuple[int, int]) -> None:
        self._pages, self._data = pages, pages.page(number)
        at = 100 if number == 1 else 0
        kind = self._data[at]
        if kind not in kinds:
            raise pages.damaged(f"page {number} is of another kind than its place")
        self.leaf = kind == kinds[1]
        self._table = kinds is _TABLE
        self.cells = int.from_bytes(self._data[at + 3 : at + 5], "big")
        self.last = 0 if self.leaf else int.from_bytes(self._data[at + 8 : at + 12], "big")
        """The child right of all cells."""
        self._places = at + (8 if self.leaf else 12)
        if self._places + 2 * self.cells > pages.usable:
            raise pages.damaged(f"page {number} has more cells than room")

    def cell(self, index: int) -> _Cell:
        place = self._places + 2 * index
        at = int.from_bytes(self._data[place : place + 2], "big")
        child = key = size = 0
        try:
            if not self.leaf:
                child, at = int.from_bytes(self._data[at : at + 4], "big"), at + 4
            if self.leaf or not self._table:
                size, at = _varint(self._data, at)
            if self._table:
                key, at = _varint(self._data, at)
        except IndexError:
            raise self._pages.damaged("a cell reaches beyond its page") from None
        return _Cell(key - 2**64 if key >= 2**63 else key, child, size, at)

    def payload(self, cell: _Cell) -> bytes:
        """The whole payload of a cell, with what lies on further pages."""
        pages, usable = self._pages, self._pages.usable
        if cell.size > min(MOST_ROW, pages.size):
            raise pages.damaged(f"a row claims {cell.size:,} bytes")
        most = usable - 35 if self._table else (usable - 12) * 64 // 255 - 23
        local = cell.size
        if cell.size > most:
            least = (usable - 12) * 32 // 255 - 23
            local = least + (cell.size - least) % (usable - 4)
            local = local if local <= most else least
        parts = [self._data[cell.start : cell.start + local]]
        after = self._data[cell.start + local : cell.start + local + 4]
        left = cell.size - local
        while left > 0:
            page = pages.page(int.from_bytes(after, "big"))
            after = page[:4]
            parts.append(page[4 : min(usable, 4 + left)])
            left -= usable - 4
        found = b"".join(parts)
        if len(found) != cell.size:
            raise pages.damaged("a cell reaches beyond its page")
        return found

    def children(self, first: int = 0) -> Iterator[tuple[int, int]]:
        """(index, child) from a cell on; the last child has the index after the last cell."""
        for index in range(first, self.cells):
            yield index, self.cell(index).child
        yield self.cells, self.last


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """A number of one to nine bytes, and the place after it. Raises IndexError."""
    value = 0
    for place in range(at, at + 8):
        byte = data[place]
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, place + 1
    return value << 8 | data[at + 8], at + 9


def values(pages: Pages, record: bytes) -> tuple[Value, ...]:
    """The columns of a record."""
    found: list[Value] = []
    try:
        length, at = _varint(record, 0)
        place = length
        while at < length:
            kind, at = _varint(record, at)
            size = _SIZES[kind] if kind < 12 else (kind - 12) // 2
            data = record[place : place + size]
            if len(data) != size:
                raise IndexError
            place += size
            found.append(_value(kind, data))
    except (IndexError, UnicodeDecodeError):
        raise pages.damaged("a row that cannot be read") from None
    return tuple(found)


_SIZES: Final = (0, 1, 2, 3, 4, 6, 8, 8, 0, 0)


def _value(kind: int, data: bytes) -> Value:
    if kind == 0:
        return None
    if kind in (8, 9):
        return kind - 8
    if kind < 7:
        return int.from_bytes(data, "big", signed=True)
    if kind == 7:
        return 0.0  # no column of a chain has one; its value is nobody's concern
    return data.decode() if kind % 2 else data


def schema(pages: Pages) -> list[Row]:
    """All rows of the schema, in their order."""
    found = []
    for _, cell, page in _cells(pages, 1):
        columns = values(pages, page.payload(cell))
        if len(columns) != 5:
            raise pages.damaged("its schema cannot be read")
        _, name, _, root, sql = columns
        if type(name) is not str or type(root) is not int or not (sql is None or type(sql) is str):
            raise pages.damaged("its schema cannot be read")
        found.append(Row(name, root, sql))
        if len(found) > 100:
            raise pages.damaged("its schema has no end")
    return found


def row(pages: Pages, root: int, key: int) -> tuple[Value, ...] | None:
    """The columns of the row with an id, in the table that begins at page ``root``; None without
    such a row."""
    number = root
    for _ in range(_DEPTH):
        page = _Page(pages, number, _TABLE)
        low, high = 0, page.cells
        while low < high:
            middle = (low + high) // 2
            if page.cell(middle).key < key:
                low = middle + 1
            else:
                high = middle
        if page.leaf:
            cell = page.cell(low) if low < page.cells else None
            found = cell is not None and cell.key == key
            return values(pages, page.payload(cell)) if cell is not None and found else None
        number = page.cell(low).child if low < page.cells else page.last
    raise pages.damaged("its pages lead in circles")


def rows(pages: Pages, root: int, first: int) -> Iterator[tuple[int, tuple[Value, ...]]]:
    """The rows of a table with an id of at least ``first``: id and columns, ascending in a sound
    file. Many rows take a third of the time of as many `row`."""
    left = [pages.total]

    def below(number: int, depth: int) -> Iterator[tuple[int, tuple[Value, ...]]]:
        page = _visited(pages, number, _TABLE, depth, left)
        for index in range(page.cells):
            cell = page.cell(index)
            if cell.key < first:
                continue
            if page.leaf:
                yield cell.key, values(pages, page.payload(cell))
            else:
                yield from below(cell.child, depth + 1)
        if not page.leaf:
            yield from below(page.last, depth + 1)

    return below(root, 0)


def row_ids(pages: Pages, root: int) -> Iterator[int]:
    """The ids of all rows of a table, ascending in a sound file."""
    return (key for key, _, _ in _cells(pages, root))


def last_row_id(pages: Pages, root: int) -> int | None:
    """The greatest id of a table's rows; None for an empty table."""
    number = root
    for _ in range(_DEPTH):
        page = _Page(pages, number, _TABLE)
        if page.leaf:
            return page.cell(page.cells - 1).key if page.cells else None
        number = page.last
    raise pages.damaged("its pages lead in circles")


def _cells(pages: Pages, root: int) -> Iterator[tuple[int, _Cell, _Page]]:
    """All cells of a table's leaves: key, cell and page."""
    left = [pages.total]

    def below(number: int, depth: int) -> Iterator[tuple[int, _Cell, _Page]]:
        page = _visited(pages, number, _TABLE, depth, left)
        if page.leaf:
            for index in range(page.cells):
                cell = page.cell(index)
                yield cell.key, cell, page
        else:
            for _, child in page.children():
                yield from below(child, depth + 1)

    return below(root, 0)


def _visited(
    pages: Pages, number: int, kinds: tuple[int, int], depth: int, left: list[int]
) -> _Page:
    """A page of a scan that may come to so many; a sound tree holds no page twice."""
    left[0] -= 1
    if depth > _DEPTH or left[0] < 0:
        raise pages.damaged("its pages lead in circles")
    return _Page(pages, number, kinds)


def entries(pages: Pages, root: int, start: tuple[Value, ...] = ()) -> Iterator[Entry]:
    """The entries of an index from ``start`` on, which is compared with their first columns."""
    left = [pages.total]
    low = _sorted(start)

    def below(number: int, depth: int, seek: bool) -> Iterator[Entry]:
        page = _visited(pages, number, _INDEX, depth, left)
        first, end = 0, page.cells
        while seek and first < end:
            middle = (first + end) // 2
            if _sorted(_entry(pages, page, middle).columns[: len(start)]) < low:
                first = middle + 1
            else:
                end = middle
        if page.leaf:
            yield from (_entry(pages, page, index) for index in range(first, page.cells))
            return
        for index, child in page.children(first):
            yield from below(child, depth + 1, seek and index == first)
            if index < page.cells:
                yield _entry(pages, page, index)

    return below(root, 0, bool(start))


def last_entry(pages: Pages, root: int) -> Entry | None:
    """The last entry of an index; None for an empty one."""
    number = root
    for _ in range(_DEPTH):
        page = _Page(pages, number, _INDEX)
        if page.leaf:
            return _entry(pages, page, page.cells - 1) if page.cells else None
        number = page.last
    raise pages.damaged("its pages lead in circles")


def _entry(pages: Pages, page: _Page, index: int) -> Entry:
    columns = values(pages, page.payload(page.cell(index)))
    if not columns or type(columns[-1]) is not int:
        raise pages.damaged("an index of another kind")
    return Entry(columns[:-1], columns[-1])


def _sorted(columns: tuple[Value, ...]) -> list[tuple[int, int | bytes]]:
    """A key in SQLite's order: nothing, numbers, texts, bytes."""
    keys: list[tuple[int, int | bytes]] = []
    for value in columns:
        if value is None:
            keys.append((0, 0))
        elif isinstance(value, bytes):
            keys.append((3, value))
        elif isinstance(value, str):
            keys.append((2, value.encode()))
        else:
            keys.append((1, int(value)))
    return keys
