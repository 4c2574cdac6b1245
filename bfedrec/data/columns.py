"""Kinds of columns, and the arrays that their cells become, block by block."""

from __future__ import annotations

import re
import unicodedata
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from bfedrec.data.files import SourceFile
from bfedrec.data.interactions import DataError
from bfedrec.data.lines import MOST_ROWS, Block

MOST_LETTERS: Final = 200
"""Letters of the longest text in a cell that is read."""
MOST_TEXTS: Final = 30_000_000
"""Distinct texts of a column."""
MOST_MEMORY: Final = 2**32
"""Bytes of a column's distinct texts, each as long as the longest."""
SHOWN: Final = 60
"""Letters of a cell that an error shows."""
WHOLE: Final = re.compile(r"0|[1-9][0-9]{0,17}")
"""A whole number that is written in one way only."""
JOINERS: Final = "\u200c\u200d"
"""The zero-width non-joiner, and the zero-width joiner."""


def legible(text: str) -> bool:
    """True for a text that has something to print and nothing that cannot be printed.

    Spaces of all scripts are fine within it, and joiners, with which some scripts spell words. The
    rest shows nowhere and may be lost on the way: numpy drops a NUL at the end.
    """
    if not text.strip():
        return False
    return text.isprintable() or all(
        each.isprintable() or each in JOINERS or unicodedata.category(each) == "Zs" for each in text
    )


def iso_seconds(text: str) -> float:
    """Seconds since 1970 of a date as in ISO 8601, in UTC where it names no zone. Raises
    ValueError."""
    return _seconds(datetime.fromisoformat(text.strip()))


def us_seconds(text: str) -> float:
    """Seconds since 1970 of a time as 11/15/2019 8:55:22 AM, in UTC. Raises ValueError."""
    return _seconds(datetime.strptime(text.strip(), "%m/%d/%Y %I:%M:%S %p"))


def _seconds(moment: datetime) -> float:
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


@dataclass(frozen=True)
class Column:
    """A column's kind: whole numbers >= 0 (int64), finite numbers (float64), or text."""

    kind: type[np.int64] | type[np.float64] | type[np.str_]
    may_be_empty: bool = False
    """Empty float cells become NaN."""
    parsers: tuple[Callable[[str], float], ...] = (float,)
    """Readings of a float cell: the first that accepts the first cell is that of all."""
    told: str = ""
    """The kind in words, for an error, where it is not the usual of `kind`."""
    printable: bool = True
    """False for texts that are shown and never stored, with whatever characters they have."""

    @property
    def meaning(self) -> str:
        """The kind in words, for an error."""
        if self.told:
            return self.told
        if self.kind is np.int64:
            return "a whole number >= 0"
        if self.kind is np.float64:
            return "a finite number"
        letters = "printable letters" if self.printable else "letters"
        return f"a non-empty text of at most {MOST_LETTERS} {letters}"


ID = Column(np.int64)
NUMBER = Column(np.float64)
NUMBER_OR_EMPTY = Column(np.float64, may_be_empty=True)
TEXT = Column(np.str_)
LABEL = Column(np.str_, printable=False)
DATE = Column(np.float64, parsers=(iso_seconds,), told="a date as 2019-11-15T08:55:22Z")
US_TIME = Column(np.float64, parsers=(us_seconds,), told="a time as 11/15/2019 8:55:22 AM")
US_TIME_OR_EMPTY = Column(np.float64, True, US_TIME.parsers, US_TIME.told)
MOMENT = Column(
    np.float64, parsers=(float, iso_seconds), told="a number, or a date as 2019-11-15 08:55:22"
)
"""Numbers throughout, or dates throughout, as the first cell is."""


class Gathered(ABC):
    """The cells of a column so far."""

    @abstractmethod
    def add(self, cells: list[str]) -> None:
        """Take the cells of a block. Raises ValueError (or OverflowError) where one of them is not
        of the column's kind."""

    @abstractmethod
    def accepts(self, cell: str) -> bool:
        """True if the column may have this cell."""

    @abstractmethod
    def array(self) -> NDArray[Any]:
        """[n]: all cells."""


def gather(
    file: SourceFile, blocks: Iterable[Block], columns: Mapping[Any, Column]
) -> dict[Any, Any]:
    """The columns of a file, each a `Gathered` of all its rows: text a `Texts`.

    Raises DataError for the first cell, by lines, that its column does not accept, with its place,
    and for a file without rows.
    """
    found: dict[Any, Gathered] = {}
    for name, column in columns.items():
        if column.kind is np.str_:
            found[name] = Texts(legible if column.printable else str.strip)
        else:
            found[name] = Wholes() if column.kind is np.int64 else Numbers(column)
    rows = 0
    for block in blocks:
        try:
            for name, each in found.items():
                each.add(block.columns[name])
        except (ValueError, OverflowError):
            raise _bad_cell(file, block, columns, found) from None
        rows += len(next(iter(block.columns.values())))
        if rows > MOST_ROWS:
            raise DataError(f"{file}: has more than {MOST_ROWS:,} rows; split it")
    if not rows:
        raise DataError(f"{file}: holds no rows")
    for name, each in found.items():
        if isinstance(each, Texts) and each.memory > MOST_MEMORY:
            raise DataError(
                f"{file}: column {name!r}: {len(each.known):,} texts of up to {each.longest} "
                f"letters are more than {MOST_MEMORY:,} bytes"
            )
    return found


def _bad_cell(
    file: SourceFile, block: Block, columns: Mapping[Any, Column], found: Mapping[Any, Gathered]
) -> DataError:
    """The error for the first cell of a block that is not accepted."""
    for row in range(len(next(iter(block.columns.values())))):
        for name, each in found.items():
            cell = block.columns[name][row]
            if not each.accepts(cell):
                shown = cell if len(cell) <= SHOWN else f"{cell[:SHOWN]}..."
                title = block.titles.get(name, name)
                return DataError(
                    f"{file}: {block.place} {block.line(row)}, column {title!r}: {shown!r} is not "
                    f"{columns[name].meaning}"
                )
    return DataError(f"{file}: a column has more than {MOST_TEXTS:,} different texts")


class Wholes(Gathered):
    """Whole numbers >= 0 below 2^63."""

    def __init__(self) -> None:
        self.parts: list[NDArray[np.int64]] = []

    def add(self, cells: list[str]) -> None:
        part = np.fromiter(map(int, cells), np.int64, len(cells))
        # What Python reads as a number besides: 1_000, and digits of other scripts.
        text = "".join(cells)
        if len(part) and (part.min() < 0 or "_" in text or not text.isascii()):
            raise ValueError
        self.parts.append(part)

    def accepts(self, cell: str) -> bool:
        found = re.fullmatch(r"\s*\+?(\d{1,19})\s*", cell, re.ASCII)
        return found is not None and int(found[1]) < 2**63

    def array(self) -> NDArray[np.int64]:
        return np.concatenate(self.parts)


class Numbers(Gathered):
    """Finite numbers, NaN for an empty cell."""

    def __init__(self, column: Column) -> None:
        self.parts: list[NDArray[np.float64]] = []
        self.column = column
        self.parser: Callable[[str], float] | None = None

    def add(self, cells: list[str]) -> None:
        full = [cell for cell in cells if cell.strip()] if self.column.may_be_empty else cells
        if self.parser is None and full:
            self.parser = self._parser(full[0])
        parse = self.parser or float
        part = np.fromiter(map(parse, full), np.float64, len(full))
        if not np.isfinite(part).all() or (parse is float and "_" in "".join(full)):
            raise ValueError
        if len(full) < len(cells):
            whole = np.full(len(cells), np.nan)
            whole[[bool(cell.strip()) for cell in cells]] = part
            part = whole
        self.parts.append(part)

    def _parser(self, cell: str) -> Callable[[str], float]:
        for parse in self.column.parsers:
            try:
                parse(cell)
            except (ValueError, OverflowError):
                continue
            return parse
        raise ValueError

    def accepts(self, cell: str) -> bool:
        if not cell.strip():
            return self.column.may_be_empty
        try:
            value = (self.parser or self._parser(cell))(cell)
        except (ValueError, OverflowError):
            return False
        return bool(np.isfinite(value)) and not (self.parser is float and "_" in cell)

    def array(self) -> NDArray[np.float64]:
        return np.concatenate(self.parts)


class _Known(dict[str, int]):
    """Texts and their numbers, in the order of their first occurrence."""

    longest = 0
    fits: Callable[[str], object] = legible

    def __missing__(self, text: str) -> int:
        if len(text) > MOST_LETTERS or not self.fits(text) or len(self) >= MOST_TEXTS:
            raise ValueError
        self.longest = max(self.longest, len(text))
        number = self[text] = len(self)
        return number


class Texts(Gathered):
    """Texts, each kept once: a row has the number of its text."""

    def __init__(self, fits: Callable[[str], object] = legible) -> None:
        """``fits``: true for a text that the column may have, but for its length."""
        self.known = _Known()
        self.known.fits = fits
        self.parts: list[NDArray[np.int32]] = []

    @property
    def longest(self) -> int:
        """Letters of the longest text."""
        return self.known.longest

    @property
    def memory(self) -> int:
        """Bytes of an array of the distinct texts."""
        return 4 * len(self.known) * self.longest

    def add(self, cells: list[str]) -> None:
        self.parts.append(np.fromiter(map(self.known.__getitem__, cells), np.int32, len(cells)))

    def accepts(self, cell: str) -> bool:
        return cell in self.known or (len(cell) <= MOST_LETTERS and bool(self.known.fits(cell)))

    def array(self) -> NDArray[np.str_]:
        texts, codes = self.names_and_codes()
        return texts[codes]

    def names_and_codes(self) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """The distinct texts, ascending, and [n]: the place of each row's text among them."""
        texts = np.array(list(self.known), dtype=np.str_)
        order = np.argsort(texts)
        rank = np.empty(len(order), np.int64)
        rank[order] = np.arange(len(order))
        return texts[order], rank[np.concatenate(self.parts)]

    def ids(self) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """The same as `names_and_codes`, but int64 in the order of numbers where every text is a
        whole number that is written in one way only (not 007)."""
        if not all(map(WHOLE.fullmatch, self.known)):
            return self.names_and_codes()
        numbers = np.fromiter(map(int, self.known), np.int64, len(self.known))
        order = np.argsort(numbers)
        rank = np.empty(len(order), np.int64)
        rank[order] = np.arange(len(order))
        return numbers[order], rank[np.concatenate(self.parts)]
