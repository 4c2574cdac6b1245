"""The interface of a file format, and the registry of formats.

A format says where a file of its kind has users, items, times and ratings, and by which name and
first line it is recognised. Most are a layout of delimited text or of JSON lines, declared in a
dozen lines; each stands in a file of `bfedrec.data.formats`, which is found there, or in a plugin.
"""

from __future__ import annotations

import fnmatch
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any, ClassVar, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from bfedrec.data.columns import LABEL, NUMBER, TEXT, Column, Gathered, Texts, gather
from bfedrec.data.files import SourceFile, members
from bfedrec.data.interactions import DataError, Interactions, interactions_of
from bfedrec.data.lines import Block, blocks
from bfedrec.data.textfile import listed, names_of
from consensus.registry import LAST, Registry

FORMATS: Registry[type[Format]] = Registry("file format")

FIRST: Final = 2**16
"""Bytes of a file by which its format is recognised."""
MOST_MEMBERS: Final = 10_000
"""Members of an archive that are looked through."""

USER, ITEM, RATING, TIME, KIND = "user", "item", "rating", "time", "kind"
"""The roles of columns; the kind is that of an event, as a view or a purchase."""


@dataclass(frozen=True)
class Rows:
    """The rows of a file: a user, an item, and what else is known of each."""

    user_ids: NDArray[Any]
    """The distinct users, ascending: int64 where all are whole numbers, else text."""
    users: NDArray[Any]
    """int64[n]: the place in ``user_ids`` of each row's user."""
    item_ids: NDArray[Any]
    items: NDArray[Any]
    times: NDArray[Any] | None
    """float64[n]: grow with time; NaN where the time is unknown. None: no row has one."""
    ratings: NDArray[Any] | None
    """float64[n], or None where there are none."""
    kinds: Texts | None
    """Kinds of events, or None where there is one only."""


class Format(ABC):
    """A file format."""

    name: ClassVar[str]
    """The name that configs use; registration sets it."""
    meaning: ClassVar[str]
    """The format in a few words, with the file that has it."""
    names: ClassVar[tuple[str, ...]]
    """Patterns of its files' names, without .gz, in small letters."""
    columns: ClassVar[Mapping[str, Any]]
    """By role, the column (a name, a place or a key) that the format has; user and item at
    least."""
    kinds: ClassVar[Mapping[str, Column]] = {}
    """By role, the kind of a column that is not the usual one."""
    renamed: ClassVar[bool] = False
    """True if files of the format may name their columns otherwise."""

    @classmethod
    def recognises(cls, name: str, first: str) -> bool:
        """True for a file of this ``name`` (without .gz, in small letters) and ``first`` line."""
        return any(fnmatch.fnmatchcase(name, pattern) for pattern in cls.names)

    @abstractmethod
    def blocks(self, file: SourceFile, columns: Mapping[str, Any]) -> Iterator[Block]:
        """The rows of a file block by block, with columns by role. ``columns``: those to read, by
        role. A role that the file has not, of rating, time and kind, may be left out of all blocks.
        Raises DataError."""

    def rows(self, file: SourceFile, named: Mapping[str, str]) -> Rows:
        """All rows of a file. ``named``: columns by role that the user has named.

        Raises DataError, with file, line and column, for a file that is not of this format.
        """
        if named and not self.renamed:
            role = next(iter(named))
            told = f"no data.file.{role}: the columns of format {self.name} are fixed"
            raise DataError(f"{file}: {told}")
        usual = {USER: TEXT, ITEM: TEXT, RATING: NUMBER, TIME: NUMBER, KIND: LABEL}
        read = self.blocks(file, {**self.columns, **named})
        first = next(read, None)
        if first is None:
            raise DataError(f"{file}: holds no rows")
        for role in named:
            if role not in first.columns:
                told = f"no column {named[role]!r}, which data.file.{role} names"
                raise DataError(f"{file}: {told}")
        wanted = {role: {**usual, **self.kinds}[role] for role in usual if role in first.columns}
        found: dict[str, Gathered] = gather(file, _all(first, read), wanted)
        users, items, kinds = found[USER], found[ITEM], found.get(KIND)
        assert isinstance(users, Texts)
        assert isinstance(items, Texts)
        assert kinds is None or isinstance(kinds, Texts)
        user_ids, user = users.ids()
        item_ids, item = items.ids()
        times, ratings = (found[role].array() if role in found else None for role in (TIME, RATING))
        return Rows(user_ids, user, item_ids, item, times, ratings, kinds)


def _all(first: Block, others: Iterator[Block]) -> Iterator[Block]:
    yield first
    yield from others


Kind = TypeVar("Kind", bound=type[Format])


def file_format(name: str, place: int = LAST) -> Callable[[Kind], Kind]:
    """Register a format under the name that configs use, at this place in lists; the first that
    recognises a file is used. Raises ValueError for a name that is taken or malformed."""
    return FORMATS.register_named(name, place)


class Delimited(Format):
    """Delimited text. A format without a header has its columns by place, all of them there."""

    delimiter: ClassVar[str] = ","
    header: ClassVar[bool] = True
    first_line: ClassVar[str] = ""
    """The header of every file of the format, by which it is recognised; empty: by its name."""
    quoted: ClassVar[bool] = True

    @classmethod
    def recognises(cls, name: str, first: str) -> bool:
        if cls.first_line and first:
            return first == cls.first_line
        return super().recognises(name, first)

    def blocks(self, file: SourceFile, columns: Mapping[str, Any]) -> Iterator[Block]:
        titles: dict[str, str] = {}

        def pick(row: list[str]) -> dict[Any, int]:
            found = self.places(file, row, columns)
            for role, place in found.items():
                named = row[place].strip() if self.header else f"{role} (position {place})"
                titles[role] = named
            return found

        delimiter = self.delimiter_of(file)
        for block in blocks(file, pick, delimiter, self.header, quoted=self.quoted):
            yield replace(block, titles=titles)

    def delimiter_of(self, file: SourceFile) -> str:
        """The text between the columns of a file."""
        return self.delimiter

    def places(
        self, file: SourceFile, row: list[str], columns: Mapping[str, Any]
    ) -> dict[str, int]:
        """The places of the columns by role; ``row`` is the first. Raises DataError where it lacks
        users or items, or, without a header, any of them."""
        if not self.header:
            if len(row) <= max(columns.values()):
                raise DataError(
                    f"{file}: line 1 has {len(row)} columns (delimiter {self.delimiter!r}), "
                    f"format {self.name} has at least {max(columns.values()) + 1}"
                )
            return dict(columns)
        names = self.names_in(file, row, columns)
        for role in (USER, ITEM):
            if columns[role] not in names:
                hint = f"; name it with data.file.{role}" if self.renamed else ""
                raise DataError(
                    f"{file}: line 1 names no column {columns[role]!r} (the {role}s of format "
                    f"{self.name}); it has {listed(names)}{hint}"
                )
        return {role: names.index(name) for role, name in columns.items() if name in names}

    def names_in(self, file: SourceFile, row: list[str], columns: Mapping[str, Any]) -> list[str]:
        """The names of the columns in the first row. Raises DataError."""
        return names_of(file, row)


def format_of(file: SourceFile) -> type[Format]:
    """The first registered format that recognises a file. Raises DataError where none does."""
    name = PurePosixPath(file.member or file.path.name).name.lower().removesuffix(".gz")
    with file.open() as stream:
        head = stream.read(FIRST)
    first = head.split(b"\n", 1)[0].decode("utf-8", "replace").removeprefix("\ufeff").strip("\r")
    for kind in FORMATS.values():
        if kind.recognises(name, first):
            return kind
    raise DataError(
        f"{file}: its format is not recognised; name it with data.file.format: "
        f"{', '.join(FORMATS)}, or, for other text, use data.dataset=csv"
    )


def member_of(file: SourceFile, formats: list[type[Format]]) -> SourceFile:
    """The member of a zip archive that is a file of one of the formats, the first of them going
    first; any other file as it is. Raises DataError."""
    try:
        if not zipfile.is_zipfile(file.path):
            return file
    except OSError as error:
        raise DataError(f"{file.path}: cannot be read ({error.strerror})") from error
    found = [each for each in members(file.path)[:MOST_MEMBERS] if not each.endswith("/")]
    for kind in formats:
        for member in sorted(found):
            if kind.recognises(PurePosixPath(member).name.lower(), ""):
                return SourceFile(file.path, member)
    if len(found) == 1:
        return SourceFile(file.path, found[0])
    raise DataError(
        f"{file.path}: no member is a file of interactions by its name; extract it, and name "
        "that file"
    )


def as_interactions(layout: str, rows: Rows) -> Interactions:
    """All rows as interactions of a layout."""
    times = np.full(len(rows.users), np.nan) if rows.times is None else rows.times
    found = interactions_of(layout, rows.users, rows.items, times)
    return replace(found, user_names=rows.user_ids, item_names=rows.item_ids)
