"""The message trace of a run, RUN/messages.parquet: a row for every delivery between servers.

While the run goes on, each height has a file of its own in RUN/messages.parts, which gets its name
once the height is over, before the chain has its block. A resume drops those above the chain and
goes on; at the end of the run they are joined. Rows are written as they come to an end, at most
`consensus.network.traced.AT_ONCE` at a time, each time as a row group of one height. So neither a
long run nor a long height is held in memory, and whoever wants one height reads its groups alone.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bfedrec.runs.folder import RunError

if TYPE_CHECKING:  # pyarrow is an optional dependency, and slow to load
    from pyarrow import Schema, Table
    from pyarrow.parquet import ParquetFile, ParquetWriter

    from consensus.network.traced import Delivery

MESSAGES: Final = "messages.parquet"
PARTS: Final = "messages.parts"
FORMAT: Final = "bfedrec-messages-1"
"""The value of ``format`` in the file's metadata."""
PART: Final = re.compile(r"([0-9]{9})\.parquet")
GREATEST: Final = 2**63 - 1
LACKS_LIBRARY: Final = "a message trace needs pyarrow: pip install 'bfedrec[parquet]'"


@dataclass(frozen=True)
class Column:
    """A column of the trace."""

    name: str
    kind: str
    """Its type in Arrow: int16, int32, int64, double, bool or string."""
    meaning: str
    optional: bool = False
    """True if a cell may be empty."""


COLUMNS: Final = (
    Column("height", "int32", "height in progress when the message was sent"),
    Column(
        "message",
        "int32",
        "number of the message among those said at the height, from 0; what a server passes on, "
        "also its own copy in place of one that came, has the number of the first saying",
    ),
    Column(
        "kind",
        "string",
        "update, ticket, candidate, vote, timeout, closure, lock, block, status, want, fetch or "
        "model",
    ),
    Column("record_height", "int64", "height that the record names", True),
    Column(
        "attempt",
        "int64",
        "attempt that the record names, of a block that of its certificate",
        True,
    ),
    Column(
        "digest",
        "string",
        "SHA-256 of the encoding, of an update of its record and payload, hexadecimal; a fault may "
        "have altered what comes",
        True,
    ),
    Column(
        "gossiped", "bool", "true if it goes to all, hop by hop; false if straight to one server"
    ),
    Column("copy", "int16", "0; from 1 on for copies that faults added"),
    Column("origin", "int32", "server that said it"),
    Column("sender", "int32", "server that it left: the origin, or one that passes it on"),
    Column("receiver", "int32", "server that it goes to", True),
    Column("size", "int64", "bytes of the message"),
    Column(
        "bytes",
        "int64",
        "bytes sent for this delivery: the size, once for each link on the way; 0 for a copy that "
        "a fault added. Their sum over a kind is `gossip_bytes_KIND` of the summary",
    ),
    Column("said", "double", "simulated second at which the origin was done with it"),
    Column("sent", "double", "simulated second at which its last byte left the sender", True),
    Column(
        "received",
        "double",
        "simulated second at which the receiver had it out of its ingress queue",
        True,
    ),
    Column(
        "taken_in",
        "double",
        "simulated second at which the receiver took it in, of messages whose delay counts: the "
        "greatest `taken_in - said` at honest receivers is `greatest_delay_seconds`",
        True,
    ),
    Column("lost", "string", "empty, or why it did not come", True),
    Column("faults", "string", "names of the faults that struck it, between commas", True),
)
"""The columns in their order. All but the first are the fields of a `Delivery`, an empty text or
None of which, or a number above 2**63 - 1, is an empty cell."""


def schema() -> Schema:
    """The schema of the file."""
    import pyarrow

    fields = [
        pyarrow.field(each.name, pyarrow.type_for_alias(each.kind), each.optional)
        for each in COLUMNS
    ]
    return pyarrow.schema(fields, {"format": FORMAT})


def has_library() -> bool:
    """True if the library that writes and reads traces is installed."""
    return find_spec("pyarrow") is not None


def is_traced(run: Path) -> bool:
    """True if a run's folder has a trace, or the beginning of one."""
    return (run / MESSAGES).exists() or (run / PARTS).is_dir()


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
        from pyarrow import parquet

        if self._writer is None:
            self._writer = parquet.ParquetWriter(self._unfinished, self._schema, compression="zstd")
        columns: list[Sequence[object]] = [[self._height] * len(deliveries)]
        columns += [list(map(_cell, cells)) for cells in zip(*deliveries, strict=True)]
        arrays = [
            pyarrow.array(cells, field.type)
            for cells, field in zip(columns, self._schema, strict=True)
        ]
        batch = pyarrow.record_batch(arrays, schema=self._schema)
        self._writer.write_batch(batch, row_group_size=len(deliveries))

    def end_height(self) -> None:
        """Keep what was written of the height in progress; the next one begins."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None
            os.replace(self._unfinished, self._parts / f"{self._height:09}.parquet")
        self._height += 1

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


@dataclass(frozen=True)
class Group:
    """A row group of a trace, all of one height."""

    height: int
    path: Path
    place: int
    """Its place in the file."""


def groups(run: Path, kept: int = GREATEST) -> list[Group]:
    """The row groups of a run's trace in their order, of a run that goes on those of heights that
    are over. The joined file has heights up to ``kept``, except those with a file of their own.

    Raises `RunError` for a file that is no trace, or without the library.
    """
    parts = dict(sorted(_parts(run)))
    found = []
    if (run / MESSAGES).exists():
        joined = _groups_in(run / MESSAGES)
        found = [each for each in joined if each.height <= kept and each.height not in parts]
    for path in parts.values():
        found += _groups_in(path)
    return sorted(found, key=lambda each: (each.height, each.place))


def read(groups: Iterable[Group]) -> Iterator[Table]:
    """The rows of these groups, one after the other. Raises `RunError` for a damaged file."""
    opened: tuple[Path, ParquetFile] | None = None
    for each in groups:
        if opened is None or opened[0] != each.path:
            opened = each.path, _opened(each.path)
        with _told(each.path):
            table = opened[1].read_row_group(each.place)
        yield table


def _parts(run: Path) -> Iterator[tuple[int, Path]]:
    """The heights that are written apart, with their files."""
    if (run / PARTS).is_dir():
        for path in (run / PARTS).iterdir():
            found = PART.fullmatch(path.name)
            if found is not None:
                yield int(found[1]), path


def _groups_in(path: Path) -> Iterator[Group]:
    metadata = _opened(path).metadata
    for place in range(metadata.num_row_groups):
        statistics = metadata.row_group(place).column(0).statistics
        if statistics is None or statistics.min != statistics.max:
            raise RunError(f"{path}: not a message trace: row group {place} has no one height")
        yield Group(statistics.min, path, place)


def _opened(path: Path) -> ParquetFile:
    """The file of a trace. Raises `RunError` for another one, or without the library."""
    if not has_library():
        raise RunError(f"{path}: {LACKS_LIBRARY}")
    from pyarrow import parquet

    with _told(path):
        file = parquet.ParquetFile(path)
        found = file.schema_arrow
    if not found.equals(schema()) or (found.metadata or {}).get(b"format") != FORMAT.encode():
        raise RunError(f"{path}: not a message trace of the format {FORMAT}")
    return file


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Raise `RunError` for whatever pyarrow stumbles over in a damaged file."""
    try:
        yield
    except Exception as error:
        why = " ".join(str(error).split())[:200]
        raise RunError(f"{path}: cannot be read: {why}") from None
