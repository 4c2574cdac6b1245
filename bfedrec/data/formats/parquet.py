"""The format ``parquet``: any Parquet file with a row per interaction."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Mapping
from math import isfinite
from typing import Any, Final

from bfedrec.data.columns import MOMENT
from bfedrec.data.files import SourceFile
from bfedrec.data.formats.table import guessed
from bfedrec.data.interactions import DataError
from bfedrec.data.layout import ITEM, RATING, TIME, USER, Format, file_format
from bfedrec.data.lines import MOST_ROWS, ROWS, Block
from bfedrec.plaintext import plain
from consensus.storage.regular import open_regular

MOST_GROUP: Final = 2**31
"""Bytes of the largest row group, unpacked: as much is in memory at once."""


@file_format("parquet", place=3)
class Parquet(Format):
    """Columns by name; ids of any width of whole numbers or text; times as numbers, dates or
    timestamps."""

    meaning = "a Parquet file: pip install 'bfedrec[parquet]'"
    names = ("*.parquet", "*.pq")
    renamed = True
    columns = {USER: "", ITEM: "", RATING: "", TIME: ""}  # noqa: RUF012
    kinds = {TIME: MOMENT}  # noqa: RUF012

    @classmethod
    def recognises(cls, name: str, first: str) -> bool:
        return first.startswith("PAR1") or super().recognises(name, first)

    def blocks(self, file: SourceFile, columns: Mapping[str, Any]) -> Iterator[Block]:
        try:
            from pyarrow import parquet
        except ModuleNotFoundError:
            raise DataError(
                f"{file}: reading Parquet needs pyarrow: pip install 'bfedrec[parquet]'"
            ) from None
        if file.member is not None or file.path.suffix == ".gz":
            raise DataError(f"{file}: unpack it first: a Parquet file is packed within")
        try:
            with open_regular(file.path) as stream:
                content = parquet.ParquetFile(stream)
                wanted = guessed(file, list(content.schema_arrow.names), columns)
                for name in wanted.values():
                    _check_type(file, name, content.schema_arrow.field(name).type)
                _check_size(file, content.metadata)
                read = content.iter_batches(ROWS, columns=list(dict.fromkeys(wanted.values())))
                first = 1
                for batch in read:
                    cells = {role: _cells(batch.column(name)) for role, name in wanted.items()}
                    yield Block(cells, first.__add__, "row", wanted)
                    first += batch.num_rows
        except DataError:
            raise
        except Exception as error:  # however pyarrow stumbles over a damaged file
            told = " ".join(str(error).split())[:200]
            raise DataError(f"{file}: damaged or no Parquet file ({told})") from None


def _check_type(file: SourceFile, name: str, kind: Any) -> None:
    """Raise DataError for a column whose cells are neither numbers nor text nor moments."""
    from pyarrow import types

    if types.is_dictionary(kind):
        kind = kind.value_type
    good = (types.is_integer, types.is_floating, types.is_string, types.is_large_string)
    if not any(each(kind) for each in (*good, types.is_timestamp, types.is_date)):
        told = plain(str(kind))
        raise DataError(f"{file}: column {name!r}: is of type {told}: no number, text or timestamp")


def _check_size(file: SourceFile, metadata: Any) -> None:
    """Raise DataError for more rows than are read, or a row group that is too large for memory."""
    if metadata.num_rows > MOST_ROWS:
        raise DataError(f"{file}: has more than {MOST_ROWS:,} rows; split it")
    for place in range(metadata.num_row_groups):
        size = metadata.row_group(place).total_byte_size
        if size > MOST_GROUP:
            raise DataError(
                f"{file}: row group {place} has {size:,} bytes, more than {MOST_GROUP:,}: write it "
                "with smaller row groups"
            )


def _cells(column: Any) -> list[str]:
    """The cells as text, empty where there is none."""
    return [_text(value) for value in column.to_pylist()]


def _text(value: Any) -> str:
    if value is None or (isinstance(value, float) and not isfinite(value)):
        return ""  # NaN is how pandas writes a gap among numbers
    if isinstance(value, datetime.date):  # a timestamp is one, too
        return value.isoformat()
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return str(int(value))  # as pandas writes ids of a column with a gap
    return str(value)
