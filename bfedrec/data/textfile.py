"""Columns of a delimited text file as typed arrays, strictly checked."""

from __future__ import annotations

import csv
import io
import re
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from bfedrec.data.files import SourceFile
from bfedrec.data.interactions import DataError

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Column:
    """A column's kind: whole numbers >= 0 (int64), finite numbers (float64), or text."""

    kind: type[np.int64] | type[np.float64] | type[np.str_]
    may_be_empty: bool = False
    """Empty float cells become NaN."""

    @property
    def meaning(self) -> str:
        """The kind in words, for an error."""
        if self.kind is np.int64:
            return "a whole number >= 0"
        return "a finite number" if self.kind is np.float64 else "a non-empty text"

    def accepts(self, text: str) -> bool:
        """True if a cell may hold this text."""
        if not text.strip():
            return self.may_be_empty
        if self.kind is np.int64:
            return re.fullmatch(r"\s*\+?\d{1,18}\s*", text, re.ASCII) is not None
        if self.kind is np.float64:
            try:
                return bool(np.isfinite(float(text)))
            except ValueError:
                return False
        return True


ID = Column(np.int64)
NUMBER = Column(np.float64)
NUMBER_OR_EMPTY = Column(np.float64, may_be_empty=True)
TEXT = Column(np.str_)

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
    content = _as_utf8(file, encoding)
    if len(delimiter) > 1:
        # pandas' fast parser splits at single characters only.
        content = content.replace(delimiter.encode(), b"\x1f")
        delimiter = "\x1f"
    _check_header(file, content, columns, delimiter, header)
    table = _parse(file, content, columns, delimiter, header, strict=True)
    if len(table) == 0:
        raise DataError(f"{file}: holds no rows")
    arrays = {}
    for name, column in columns.items():
        array = _typed(table[name], column)
        if array is None:
            raise _bad_cell(file, content, columns, delimiter, header)
        arrays[name] = array
    return arrays


def _typed(values: pd.Series, column: Column) -> np.ndarray | None:
    """The column as an array of its kind, or None when some cell is not accepted."""
    if column.kind is np.str_:
        if values.isna().any():  # a line that ends before this column
            return None
        array = values.to_numpy(dtype=np.str_)
        return None if (np.char.strip(array) == "").any() else array
    array = values.to_numpy()
    if column.kind is np.int64:
        return array if array.dtype == np.int64 and array.min() >= 0 else None
    if not (np.issubdtype(array.dtype, np.integer) or np.issubdtype(array.dtype, np.floating)):
        return None
    array = array.astype(np.float64)
    good = np.isfinite(array) | (np.isnan(array) if column.may_be_empty else False)
    return array if good.all() else None


def _as_utf8(file: SourceFile, encoding: str) -> bytes:
    """The file's text as UTF-8, whatever the encoding of the file."""
    content = file.read()
    try:
        return content.decode(encoding).encode()
    except UnicodeDecodeError as error:
        line = content[: error.start].decode(encoding, "ignore").count("\n") + 1
        reason = f"line {line}: {error.reason}"
    except UnicodeEncodeError as error:  # half a pair of surrogates, as UTF-7 can spell
        reason = error.reason
    raise DataError(f"{file}: is not {encoding.upper()} text ({reason})")


def _check_header(
    file: SourceFile,
    content: bytes,
    columns: Columns,
    delimiter: str,
    header: bool,
) -> None:
    first = content[: content.find(b"\n") + 1 or len(content)]
    line = first.decode("utf-8-sig").strip("\r\n")
    if not content.strip():
        raise DataError(f"{file}: is empty")
    names = [cell.strip() for cell in next(csv.reader([line], delimiter=delimiter), [])]
    twice = [name for name in names if name and names.count(name) > 1]
    if header and twice:
        raise DataError(
            f"{file}: line 1 names the column {twice[0]!r} {names.count(twice[0])} times"
        )
    for name in columns:
        if header and name not in names:
            raise DataError(
                f"{file}: line 1 names no column {name!r}; it has {', '.join(names)} "
                f"(delimiter {delimiter!r})"
            )
        if not header and int(name) >= len(names):
            raise DataError(
                f"{file}: line 1 has {len(names)} columns, none at position {name} "
                f"(delimiter {delimiter!r})"
            )


def _parse(
    file: SourceFile,
    content: bytes,
    columns: Columns,
    delimiter: str,
    header: bool,
    strict: bool,
) -> pd.DataFrame:
    import pandas as pd

    text: list[Any] = [
        name for name, column in columns.items() if column.kind is np.str_ or not strict
    ]
    numbers: list[Any] = [name for name in columns if name not in text]
    try:
        # Every column is read: only then does the parser refuse a line that is too long.
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            table = pd.read_csv(
                io.BytesIO(content),
                sep=delimiter,
                header=0 if header else None,
                dtype=dict.fromkeys(text, str),
                na_values={name: [""] for name in numbers},
                keep_default_na=False,
                skip_blank_lines=strict,
                skipinitialspace=True,
                index_col=False,
                low_memory=False,
                encoding="utf-8-sig",
            )
    except (pd.errors.ParserError, pd.errors.ParserWarning, ValueError) as error:
        reason = " ".join(str(error).replace("Error tokenizing data. C error:", "").split())
        raise DataError(f"{file}: cannot be split into columns: {reason}") from error
    if header:
        table.columns = table.columns.str.strip()
    return table[list(columns)]


def _bad_cell(
    file: SourceFile,
    content: bytes,
    columns: Columns,
    delimiter: str,
    header: bool,
) -> DataError:
    """The error for the first cell that is not accepted, found by reading everything as text."""
    table = _parse(file, content, columns, delimiter, header, strict=False).fillna("")
    cells = {name: table[name].tolist() for name in columns}
    for row in range(len(table)):
        texts = {name: cells[name][row] for name in columns}
        if not any(texts.values()):
            continue
        for name, column in columns.items():
            if not column.accepts(texts[name]):
                line = row + (2 if header else 1)
                return DataError(
                    f"{file}: line {line}, column {name!r}: {texts[name]!r} is not {column.meaning}"
                )
    return DataError(f"{file}: a column holds mixed kinds of values")
