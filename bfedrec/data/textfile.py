"""Columns of a delimited text file as typed arrays, strictly checked."""

from __future__ import annotations

from collections import Counter
from typing import Any, Final, TypeAlias

import numpy as np

from bfedrec.data.columns import ID, NUMBER, NUMBER_OR_EMPTY, TEXT, Column, gather
from bfedrec.data.files import SourceFile
from bfedrec.data.interactions import DataError
from bfedrec.data.lines import Pick, blocks
from bfedrec.plaintext import plain

__all__ = ["ID", "NUMBER", "NUMBER_OR_EMPTY", "TEXT", "Column", "Columns", "read_columns"]

MOST_SHOWN: Final = 300
"""Letters of a list of columns in an error."""

Columns: TypeAlias = dict[str | int, Column]
"""The columns to read: by name, or by 0-based position in a file without a header."""


def read_columns(
    file: SourceFile,
    columns: Columns,
    delimiter: str = ",",
    header: bool = True,
    encoding: str = "utf-8",
) -> dict[Any, np.ndarray]:
    """The named columns (0-based positions without a header) as arrays of the same length.

    Raises DataError naming file, line and column for bytes that are not text in ``encoding``, a
    missing column, one that the header names twice, a ragged line, an empty file, or a cell that
    its Column does not accept. Blank lines are passed over.
    """
    find = named(file, list(columns), delimiter) if header else at(file, list(columns), delimiter)
    found = gather(file, blocks(file, find, delimiter, header, encoding), columns)
    return {name: each.array() for name, each in found.items()}


def listed(names: list[str]) -> str:
    """The names of a file's columns for an error, on one line."""
    return plain(", ".join(names), MOST_SHOWN)


def names_of(file: SourceFile, row: list[str]) -> list[str]:
    """The names in a header. Raises DataError for one that stands there twice, and for none."""
    names = [cell.strip() for cell in row]
    if not any(names):
        raise DataError(f"{file}: is empty, or its first line is")
    for name, times in Counter(names).items():  # in their order
        if name and times > 1:
            raise DataError(f"{file}: line 1 names the column {name!r} {times} times")
    return names


def named(file: SourceFile, wanted: list[Any], delimiter: str) -> Pick:
    """The places of columns that a header names."""

    def pick(row: list[str]) -> dict[Any, int]:
        names = names_of(file, row)
        for name in wanted:
            if name not in names:
                raise DataError(
                    f"{file}: line 1 names no column {name!r}; it has "
                    f"{listed(names)} (delimiter {delimiter!r})"
                )
        return {name: names.index(name) for name in wanted}

    return pick


def at(file: SourceFile, wanted: list[Any], delimiter: str) -> Pick:
    """The places of columns that are named by them."""

    def pick(row: list[str]) -> dict[Any, int]:
        for place in wanted:
            if place >= len(row):
                raise DataError(
                    f"{file}: line 1 has {len(row)} columns, none at position {place} "
                    f"(delimiter {delimiter!r})"
                )
        return {place: place for place in wanted}

    return pick
