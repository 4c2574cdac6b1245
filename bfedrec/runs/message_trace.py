"""The writing of a run's message trace (`bfedrec.runs.messages`).

While the run goes on, each height has a file of its own in RUN/messages.parts, which gets its name
once the height is over, before the chain has its block. A resume drops those above the chain and
goes on; at the end of the run they are joined. Rows are written as they come to an end, at most
`consensus.network.traced.AT_ONCE` at a time, each time as a row group of one height. So neither a
long run nor a long height is held in memory, and whoever wants one height reads its groups alone.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bfedrec.runs.folder import RunError
from bfedrec.runs.messages import (
    GREATEST,
    MESSAGES,
    PART,
    PARTS,
    groups,
    groups_in,
    is_traced,
    read,
    schema,
)
from consensus.network.traced import Delivery

if TYPE_CHECKING:  # an optional dependency, and slow to load
    from pyarrow.parquet import ParquetWriter


class MessageTrace:
    """The trace of a run in progress (`consensus.network.traced.Book`)."""

    def __init__(self, run: Path) -> None:
        """``run``: the run's folder."""
        self._run = run
        self._parts = run / PARTS
        self._schema = schema()
        self._writer: ParquetWriter | None = None
        self._height = 1
        """The height in progress."""
        self._kept = 0
        """Height up to which a joined file of before holds what has no part."""

    def begin_after(self, height: int) -> None:
        """Go on after ``height``: what is there of later heights is dropped.

        Raises `RunError` if the heights up to it were played without a trace.
        """
        if height and not is_traced(self._run):
            raise RunError(
                f"{self._run}: its first {height} heights were played without --trace: resume it "
                "without, or use another --out"
            )
        self._parts.mkdir(exist_ok=True)
        for path in self._parts.iterdir():
            found = PART.fullmatch(path.name)
            if found is None or int(found[1]) > height:
                path.unlink()
        self._height, self._kept = height + 1, height

    def add(self, deliveries: Sequence[Delivery]) -> None:
        """Write deliveries of the height in progress."""
        import pyarrow

        writer = self._open()
        columns: list[Sequence[object]] = [[self._height] * len(deliveries)]
        columns += [list(map(_cell, cells)) for cells in zip(*deliveries, strict=True)]
        arrays = [
            pyarrow.array(cells, field.type)
            for cells, field in zip(columns, self._schema, strict=True)
        ]
        batch = pyarrow.record_batch(arrays, schema=self._schema)
        writer.write_batch(batch, row_group_size=len(deliveries))

    def end_height(self) -> None:
        """Keep what was written of the height in progress; the next one begins."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None
            os.replace(self._unfinished, self._parts / f"{self._height:09}.parquet")
        self._height += 1

    def reopen(self) -> None:
        """Go on with the height before, of which the last message was not the end: what was written
        of it is kept, and what is added next belongs to it."""
        self._height -= 1
        path = self._parts / f"{self._height:09}.parquet"
        if path.exists():
            for table in read(groups_in(path)):
                self._open().write_table(table, row_group_size=len(table))

    def _open(self) -> ParquetWriter:
        """The writer of the height in progress."""
        from pyarrow import parquet

        if self._writer is None:
            self._writer = parquet.ParquetWriter(self._unfinished, self._schema, compression="zstd")
        return self._writer

    @property
    def _unfinished(self) -> Path:
        return self._parts / f"{self._height:09}.parquet.part"

    def finish(self) -> None:
        """Join all heights to RUN/messages.parquet. A kill at any time leaves all that it takes."""
        from pyarrow import parquet

        joined = self._run / f".{MESSAGES}.part"
        with parquet.ParquetWriter(joined, self._schema, compression="zstd") as writer:
            for table in read(groups(self._run, self._kept)):
                writer.write_table(table, row_group_size=len(table))
        os.replace(joined, self._run / MESSAGES)
        shutil.rmtree(self._parts)


def _cell(value: object) -> object:
    if type(value) is int and value > GREATEST:
        return None
    return None if value == "" else value
