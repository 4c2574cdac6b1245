"""The message trace of a run, RUN/messages.parquet: a row for every delivery between servers.

Its columns, and its reading, also while the run goes on and when somebody else has made the file
(`bfedrec.runs.message_trace` writes it). A row group has rows of one height alone. None is read
that says it is larger than those we write, nor a text that is longer.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bfedrec.runs.folder import RunError
from consensus.network.mesh import CONTROL
from consensus.network.traced import AT_ONCE, KINDS
from consensus.storage.regular import open_regular

if TYPE_CHECKING:  # pyarrow is an optional dependency, and slow to load
    from pyarrow import Schema, Table
    from pyarrow.parquet import ParquetFile

MESSAGES: Final = "messages.parquet"
PARTS: Final = "messages.parts"
FORMAT: Final = "bfedrec-messages-1"
"""The value of ``format`` in the file's metadata."""
PART: Final = re.compile(r"([0-9]{9})\.parquet")
GREATEST: Final = 2**63 - 1
LACKS_LIBRARY: Final = "a message trace needs pyarrow: pip install 'bfedrec[parquet]'"


MOST_GROUP: Final = 2**26
"""Most bytes of a row group, not compressed."""
MOST_TEXT: Final = 256
"""Most bytes of a text."""


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
    Column(
        "height",
        "int32",
        "height in progress when the delivery came to its end: with a barrier the one in which it "
        "was sent",
    ),
    Column(
        "message",
        "int32",
        "number of the message among those said since servers last met, from 0: at the height, "
        "with a barrier; what a server passes on, also its own copy in place of one that came, "
        "has the number of the first saying",
    ),
    Column(
        "kind",
        "string",
        f"{', '.join(KINDS)}; control messages of a mesh: {', '.join(CONTROL)}",
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
    Column("size", "int64", "bytes of the message, of gossip over a mesh with its name"),
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


def schema(names: Sequence[str] | None = None) -> Schema:
    """The schema of the file, or of some of its columns."""
    import pyarrow

    chosen = [each for each in COLUMNS if names is None or each.name in names]
    fields = [
        pyarrow.field(each.name, pyarrow.type_for_alias(each.kind), each.optional)
        for each in chosen
    ]
    return pyarrow.schema(fields, {"format": FORMAT})


def has_library() -> bool:
    """True if the library that writes and reads traces is installed."""
    return find_spec("pyarrow") is not None


def is_traced(run: Path) -> bool:
    """True if a run's folder has a trace, or the beginning of one."""
    return (run / MESSAGES).exists() or (run / PARTS).is_dir()


@dataclass(frozen=True)
class Group:
    """A row group of a trace, all of one height."""

    height: int
    rows: int
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
        joined = groups_in(run / MESSAGES)
        found = [each for each in joined if each.height <= kept and each.height not in parts]
    for path in parts.values():
        found += groups_in(path)
    return sorted(found, key=lambda each: (each.height, each.place))


def read(groups: Iterable[Group], columns: Sequence[str] | None = None) -> Iterator[Table]:
    """The rows of these groups, a table for each, with these columns (all). Raises `RunError`."""
    wanted = schema(columns)
    with ExitStack() as stack:
        path, file = None, None
        for each in groups:
            if path != each.path or file is None:
                stack.close()
                path, file = each.path, stack.enter_context(_opened(each.path))
            with _told(each.path):
                table = file.read_row_group(each.place, columns=wanted.names)
                _check_texts(table)
                table = table.cast(wanted)
            yield table


def _check_texts(table: Table) -> None:
    """Raise ValueError for a table with a text that is longer than any of ours. Texts are still in
    dictionaries, in which a million cells with one text take no room."""
    from pyarrow import compute, types

    for name, column in zip(table.column_names, table.columns, strict=True):
        for chunk in column.chunks if types.is_dictionary(column.type) else ():
            longest = compute.max(compute.binary_length(chunk.dictionary)).as_py() or 0
            if longest > MOST_TEXT:
                raise ValueError(f"{name}: a text of {longest:,} bytes, {MOST_TEXT} at most")


def _parts(run: Path) -> Iterator[tuple[int, Path]]:
    """The heights that are written apart, with their files."""
    if (run / PARTS).is_dir():
        for path in (run / PARTS).iterdir():
            found = PART.fullmatch(path.name)
            if found is not None:
                yield int(found[1]), path


def groups_in(path: Path) -> list[Group]:
    """The row groups of one file of a trace. Raises `RunError` for a file that is none."""
    with _opened(path) as file, _told(path):
        metadata, found = file.metadata, []
        for place in range(metadata.num_row_groups):
            group = metadata.row_group(place)
            statistics = group.column(0).statistics
            if statistics is None or statistics.min != statistics.max:
                raise RunError(f"{path}: not a message trace: row group {place} has no one height")
            if group.num_rows > AT_ONCE or group.total_byte_size > MOST_GROUP:
                raise RunError(f"{path}: not a message trace: row group {place} is too large")
            found.append(Group(statistics.min, group.num_rows, path, place))
        return found


@contextmanager
def _opened(path: Path) -> Iterator[ParquetFile]:
    """The file of a trace, open. Raises `RunError` for another one, or without the library."""
    if not has_library():
        raise RunError(f"{path}: {LACKS_LIBRARY}")
    from pyarrow import parquet

    texts = [each.name for each in COLUMNS if each.kind == "string"]
    with ExitStack() as stack:
        with _told(path):
            source = stack.enter_context(open_regular(path))
            file = parquet.ParquetFile(source, read_dictionary=texts)
            found = file.metadata.schema.to_arrow_schema()
        if not found.equals(schema()) or (found.metadata or {}).get(b"format") != FORMAT.encode():
            raise RunError(f"{path}: not a message trace of the format {FORMAT}")
        yield file


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Raise `RunError` for whatever pyarrow stumbles over in a damaged file."""
    try:
        yield
    except RunError:
        raise
    except Exception as error:
        why = " ".join(str(error).split())[:200]
        raise RunError(f"{path}: cannot be read: {why}") from None
