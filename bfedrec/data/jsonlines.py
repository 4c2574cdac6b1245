"""Formats with one JSON object per line."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from math import isfinite
from typing import Any, ClassVar

from bfedrec.data.files import SourceFile
from bfedrec.data.interactions import DataError
from bfedrec.data.layout import Format
from bfedrec.data.lines import ROWS, Block, lines


class JsonLines(Format):
    """One JSON object per line; a column is a key, and every line has it."""

    columns: ClassVar[Mapping[str, str]]

    def blocks(self, file: SourceFile, columns: Mapping[str, Any]) -> Iterator[Block]:
        rows = (
            (number, self.cells(file, number, line, columns))
            for number, line in enumerate(lines(file), 1)
            if line.strip()
        )
        return in_blocks(rows, columns)

    def cells(
        self, file: SourceFile, number: int, line: str, columns: Mapping[str, Any]
    ) -> tuple[str, ...]:
        """The cells of a line, in the order of ``columns``. Raises DataError."""
        try:
            found = self.load(line)
        except json.JSONDecodeError as error:
            told = f"line {number}, column {error.colno}: {error.msg}"
            raise DataError(f"{file}: {told}") from None
        except SyntaxError as error:
            told = f"line {number}, column {error.offset}: {error.msg}"
            raise DataError(f"{file}: {told}") from None
        except (ValueError, RecursionError, MemoryError, TypeError):
            raise DataError(f"{file}: line {number}: is no object of format {self.name}") from None
        if not isinstance(found, dict):
            raise DataError(f"{file}: line {number}: is no object of format {self.name}")
        cells = []
        for key in columns.values():
            value = found.get(key)
            if isinstance(value, bool) or not isinstance(value, (str, int, float)):
                told = "is missing" if value is None else "is neither text nor a number"
                raise DataError(f"{file}: line {number}, key {key!r}: {told}")
            if isinstance(value, float) and not isfinite(value):  # json reads NaN and Infinity
                told = f"{value!r} is no finite number"
                raise DataError(f"{file}: line {number}, key {key!r}: {told}")
            cells.append(value if isinstance(value, str) else repr(value))
        return tuple(cells)

    def load(self, line: str) -> Any:
        """The object of a line. Raises ValueError or SyntaxError, or an error of its depth."""
        return json.loads(line)


def in_blocks(
    rows: Iterable[tuple[int, tuple[str, ...]]], columns: Mapping[str, Any]
) -> Iterator[Block]:
    """Rows, each with the number of its line, in blocks; ``columns``: their names in the file by
    role, in the order of the cells."""
    cells: list[tuple[str, ...]] = []
    numbers: list[int] = []
    titles = {role: str(name) for role, name in columns.items()}

    def block() -> Block:
        turned = zip(columns, zip(*cells, strict=True), strict=True)
        return Block(
            {role: list(each) for role, each in turned}, numbers.__getitem__, titles=titles
        )

    for number, row in rows:
        cells.append(row)
        numbers.append(number)
        if len(cells) == ROWS:
            yield block()
            cells, numbers = [], []
    if cells:
        yield block()
