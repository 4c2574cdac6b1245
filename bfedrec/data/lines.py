"""Lines and rows of text files, a bounded part at a time, with the number of each line.

A file may come from anybody: no more than a block of its rows is in memory at once, and a line, a
cell, the unpacked bytes and the number of rows have limits (`MOST_LINE`, `csv.field_size_limit`,
`bfedrec.data.files.MOST_BYTES`, `MOST_ROWS`).
"""

from __future__ import annotations

import codecs
import csv
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, islice
from typing import Any, Final, Literal

from bfedrec.data.files import SourceFile
from bfedrec.data.interactions import DataError

MOST_LINE: Final = 2**20
"""Letters of the longest line."""
MOST_ROWS: Final = 200_000_000
"""Lines of the longest file; MovieLens 32M has 32 million."""
CHUNK: Final = 2**20
"""Bytes read at once."""
ROWS: Final = 2**12
"""Rows of a block."""
UNCLOSED: Final = "unexpected end of data"
"""The error of `csv` for a file that ends within quotes."""


@dataclass(frozen=True)
class Block:
    """Some consecutive rows of a file, by columns."""

    columns: Mapping[Any, list[str]]
    """The cells of each wanted column, one per row."""
    line: Callable[[int], int]
    """The number, from 1, of the line that a row of the block begins at."""
    place: str = "line"
    """The word for such a number in errors."""
    titles: Mapping[Any, str] = field(default_factory=dict)
    """The columns' names in the file, for errors, where they are not those of ``columns``."""


def lines(file: SourceFile, encoding: str = "utf-8") -> Iterator[str]:
    """The lines of a file, each with its "\\n", without a byte order mark.

    Raises DataError, with the line, for bytes that are not text in ``encoding``, a line that is too
    long, and a file with too many.
    """
    decoder, number, carry, start = codecs.getincrementaldecoder(encoding)(), 1, "", True
    with file.open() as stream:
        for content in chain(iter(partial(stream.read, CHUNK), b""), [b""]):
            try:
                text = decoder.decode(content, final=not content)
                if encoding != "utf-8":
                    text.encode()  # half a pair of surrogates, as UTF-7 can spell
            except UnicodeDecodeError as error:
                before = carry + error.object[: error.start].decode(encoding, "ignore")
                told = f"line {number + before.count(chr(10))}: {error.reason}"
                raise DataError(f"{file}: is not {encoding.upper()} text ({told})") from None
            except UnicodeEncodeError as error:
                told = f"line {number + text[: error.start].count(chr(10))}: {error.reason}"
                raise DataError(f"{file}: is not {encoding.upper()} text ({told})") from None
            if start and text:
                text, start = text.removeprefix("\ufeff"), False
            whole, newline, rest = text.rpartition("\n")
            if newline:
                found = f"{carry}{whole}".split("\n")
                carry = rest
                for each in found:
                    if len(each) > MOST_LINE:
                        raise _too_long(file, number)
                    yield f"{each}\n"
                    number += 1
                if number > MOST_ROWS:
                    raise DataError(f"{file}: has more than {MOST_ROWS:,} lines; split it")
            else:
                carry += text
            if len(carry) > MOST_LINE:
                raise _too_long(file, number)
    if carry:
        yield carry


def _too_long(file: SourceFile, number: int) -> DataError:
    return DataError(f"{file}: line {number}: is longer than {MOST_LINE:,} letters")


Pick = Callable[[list[str]], dict[Any, int]]
"""Finds the wanted columns in the first row: their places by name. Raises DataError."""


def blocks(
    file: SourceFile,
    pick: Pick,
    delimiter: str = ",",
    header: bool = True,
    encoding: str = "utf-8",
    quoted: bool = True,
) -> Iterator[Block]:
    """The wanted columns of a delimited text file, block by block.

    ``header``: the first row names the columns and is none of the rows. ``quoted``: cells may stand
    in double quotes. Blank lines are passed over; a row that is too short has empty cells at its
    end. Raises DataError, with the line, for one that is too long, and for a quote that is not
    closed, or is followed by more than a delimiter.
    """
    text = lines(file, encoding)
    single = delimiter if len(delimiter) == 1 else "\x1f"  # csv splits at single letters only
    if single != delimiter:
        text = (line.replace(delimiter, single) for line in text)
    quoting: Literal[0, 3] = csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE
    # Not strict, it would take the end of the file for the end of an open quote.
    reader = csv.reader(text, delimiter=single, skipinitialspace=True, quoting=quoting, strict=True)
    places: dict[Any, int] | None = None
    width = number = 0
    while True:
        first = number + 1
        rows: list[list[str]] = []
        try:
            rows.extend(islice(reader, 1 if places is None else ROWS))
        except csv.Error as error:
            if str(error) == UNCLOSED:
                told = f"line {_line(rows, first, len(rows))}: has a quote that is not closed"
            else:
                told = f"line {reader.line_num}: {str(error).replace(single, delimiter)}"
            raise DataError(f"{file}: {told}") from None
        number = reader.line_num
        if not rows:
            break
        if places is None:
            width = len(rows[0])
            places = pick(rows[0])
            if header:
                continue
        yield _block(file, rows, places, width, first)
    if places is None:
        raise DataError(f"{file}: is empty")


def _line(rows: list[list[str]], first: int, row: int) -> int:
    """The line that a row begins at, of rows of which the first begins at line ``first``."""
    # A quoted cell may hold line ends.
    inner = sum(cell.count("\n") for each in rows[:row] for cell in each)
    return first + row + inner


def _block(
    file: SourceFile, rows: list[list[str]], places: dict[Any, int], width: int, first: int
) -> Block:
    """The wanted columns of some rows, of which the first begins at line ``first``."""

    def line(row: int) -> int:
        return _line(rows, first, row)

    kept, number = rows, line
    if set(map(len, rows)) != {width}:
        whole = []
        for row, cells in enumerate(rows):
            if len(cells) > width:
                raise DataError(
                    f"{file}: line {line(row)}: has {len(cells)} columns, line 1 has {width}"
                )
            if len(cells) > 1 or (cells and cells[0].strip()):
                whole.append(row)
        kept = [rows[row] + [""] * (width - len(rows[row])) for row in whole]

        def number(row: int) -> int:
            return line(whole[row])

    turned = list(zip(*kept, strict=True)) or [()] * width
    return Block({name: list(turned[place]) for name, place in places.items()}, number)
