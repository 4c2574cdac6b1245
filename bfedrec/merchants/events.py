"""Shop events in REES46's format, read as a stream: a file of any length is never loaded whole.

A chunk of events is a pandas DataFrame with the nine columns, typed. Rows that cannot be used are
passed over, counted by kind, and told one by one with their line and what is wrong. Texts
are what the file says, and are neither evaluated nor escaped: whoever shows a brand on a page
escapes it, as everything that comes from outside.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from bfedrec.data.interactions import DataError
from bfedrec.merchants.lines import (
    COLUMNS,
    EVENT_TYPES,
    KINDS,
    TEXTS,
    WHOLE,
    Checked,
    checked,
    fits,
    problem_of,
    shown,
    split,
)
from bfedrec.merchants.shards import Shard
from bfedrec.merchants.sources import blocks

if TYPE_CHECKING:
    import pandas as pd

KEPT = 100
"""Bad rows that a `Reading` keeps; all are counted, and told to whoever asks."""


class BadRow(NamedTuple):
    """A row that cannot be used."""

    line: int
    """Number of its line, the header's being 1."""
    problem: str

    def __str__(self) -> str:
        return f"line {self.line:,}: {self.problem}"


@dataclass
class Reading:
    """The account of a reading, as far as it has come."""

    rows: int = 0
    """Rows read, bad ones included."""
    events: int = 0
    """Events selected."""
    bad: Counter[str] = field(default_factory=Counter)
    """Bad rows by the kind of their first problem, one of `bfedrec.merchants.lines.KINDS`."""
    first_bad: list[BadRow] = field(default_factory=list)
    """The first `KEPT` bad rows."""

    @property
    def bad_rows(self) -> int:
        """Number of bad rows."""
        return self.bad.total()


@dataclass(frozen=True)
class Selection:
    """The events to read of a file; all by default.

    A row outside of the dates is passed over once its line and time are sound, so that the rest of
    it is not checked.
    """

    since: datetime | None = None
    """Events at or after this time (UTC, where it names no zone)."""
    until: datetime | None = None
    """Events before this time."""
    category: str = ""
    """Events of this category and all below it: "electronics" has "electronics.audio"."""
    count: int | None = None
    """At most so many, the first in the file; the rest of it is not read."""
    shard: Shard | None = None
    """Events of one merchant's shard."""

    def __post_init__(self) -> None:
        if self.count is not None and self.count < 1:
            raise ValueError(f"count must be at least 1, not {self.count}")

    @cached_property
    def seconds(self) -> tuple[float, float]:
        """The first second, and the first after the last, since 1970."""
        low = -np.inf if self.since is None else _utc(self.since)
        return low, np.inf if self.until is None else _utc(self.until)


def _utc(time: datetime) -> float:
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()


ALL = Selection()


class Chunk(NamedTuple):
    """Some consecutive events of a file."""

    frame: pd.DataFrame
    """The nine columns: event_time datetime64[s] (UTC), event_type and texts categorical (an empty
    text is ""), ids int64, price float64."""
    lines: np.ndarray
    """int64[n]: the number of each event's line."""
    text: bytes
    """The lines of these events as they stand in the file."""


class EventReader:
    """The events of a file, chunk by chunk; ``reading`` tells what has been read so far.

    Iterating raises DataError, one line with the file's name, for a file that cannot be read, a
    wrong header, and what `bfedrec.merchants.sources.blocks` refuses.
    """

    def __init__(
        self,
        path: Path,
        selection: Selection = ALL,
        most_bytes: int | None = None,
        tell: Callable[[BadRow], None] | None = None,
    ) -> None:
        """``most_bytes``: the greatest unpacked size of the file; None: any. ``tell`` gets every
        bad row, in their order; the text of each is short, however long the row."""
        self.path, self.selection, self.most_bytes = path, selection, most_bytes
        self.tell = tell
        self.reading = Reading()

    def __iter__(self) -> Iterator[Chunk]:
        self.reading = Reading()
        line = 1
        for block in blocks(self.path, self.most_bytes):
            block = block.replace(b"\r\n", b"\n")
            if line == 1:
                block = self._without_header(block)
                line = 2
            if not block:
                continue
            chunk = self._chunk(block, line)
            line += block.count(b"\n")
            if len(chunk.frame):
                yield chunk
            if self.reading.events == self.selection.count:
                return
        if line == 1:
            raise DataError(f"{self.path}: is empty")

    def _without_header(self, block: bytes) -> bytes:
        header, _, rest = block.removeprefix(b"\xef\xbb\xbf").partition(b"\n")
        try:
            names = split(header)
        except UnicodeDecodeError:
            names = None
        if names != list(COLUMNS):
            raise DataError(
                f"{self.path}: line 1 is {shown(header)}; a file of events begins with "
                f"{','.join(COLUMNS)}"
            )
        return rest

    def _chunk(self, block: bytes, first: int) -> Chunk:
        """The selected events of a block whose first line has that number."""
        done = checked(block)
        low, high = self.selection.seconds
        chosen = np.flatnonzero((done.problems < 0) & (done.times >= low) & (done.times < high))
        frame = _frame(done, chosen)
        _check_texts(frame, done.problems, chosen)
        wanted = (done.problems[chosen] < 0) & self._wanted(frame)
        frame, chosen = frame[wanted], chosen[wanted]
        last = len(done.problems)
        left = None if self.selection.count is None else self.selection.count - self.reading.events
        if left is not None and len(chosen) >= left:
            frame, chosen = frame[:left], chosen[:left]
            last = int(chosen[-1]) + 1
        self._account(block, done.problems[:last], first, len(chosen))
        frame = frame.assign(
            event_time=done.times[chosen].astype("datetime64[s]"),
            event_type=frame["event_type"].cat.set_categories(EVENT_TYPES),
        )[list(COLUMNS)]
        return Chunk(frame, first + chosen, _text(block, chosen))

    def _wanted(self, frame: pd.DataFrame) -> np.ndarray:
        """bool[n]: the events of the category and of the shard."""
        wanted = np.ones(len(frame), np.bool_)
        above = self.selection.category
        if above:
            codes = frame["category_code"].cat
            below = [
                code == above or code.startswith(f"{above}.") for code in codes.categories.tolist()
            ]
            wanted &= np.array(below, np.bool_)[codes.codes]
        if self.selection.shard is not None:
            wanted &= self.selection.shard.has(frame)
        return wanted

    def _account(self, block: bytes, problems: np.ndarray, first: int, events: int) -> None:
        reading = self.reading
        reading.rows += len(problems)
        reading.events += events
        bad = np.flatnonzero(problems >= 0)
        if not len(bad):
            return
        counts = np.bincount(problems[bad])
        reading.bad.update({KINDS[k]: n for k, n in enumerate(counts.tolist()) if n})
        room = KEPT - len(reading.first_bad)
        starts, ends = _bounds(block)
        for number, place in enumerate((bad[:room] if self.tell is None else bad).tolist()):
            problem = problem_of(block[starts[place] : ends[place]])
            assert problem is not None
            row = BadRow(first + place, problem.text)
            if number < room:
                reading.first_bad.append(row)
            if self.tell is not None:
                self.tell(row)


def _bounds(block: bytes) -> tuple[np.ndarray, np.ndarray]:
    """The start and the end of every line."""
    ends = np.flatnonzero(np.frombuffer(block, np.uint8) == 10)
    return np.concatenate([[0], ends[:-1] + 1]), ends


def _text(block: bytes, lines: np.ndarray) -> bytes:
    """The bytes of some lines, with their ends."""
    starts, ends = _bounds(block)
    if len(lines) == len(ends):
        return block
    chosen = np.zeros(len(ends), np.bool_)
    chosen[lines] = True
    return np.frombuffer(block, np.uint8)[np.repeat(chosen, ends - starts + 1)].tobytes()


def _frame(done: Checked, chosen: np.ndarray) -> pd.DataFrame:
    """The columns but event_time of these lines, whose types and texts are not checked yet."""
    import pandas as pd

    cells = done.cells
    if len(chosen) < len(done.ends):
        kept = np.zeros(len(done.ends), np.bool_)
        kept[chosen] = True
        cells = cells[np.repeat(kept, done.ends - done.starts + 1)]
    texts = ("event_type", *TEXTS)
    types = dict.fromkeys(WHOLE, "int64") | dict.fromkeys(texts, "object")
    frame = pd.read_csv(
        io.BytesIO(cells.tobytes()),
        sep="\x1f",
        header=None,
        names=list(COLUMNS),
        usecols=list(COLUMNS[1:]),
        dtype={**types, "price": "float64"},
        quoting=3,  # csv.QUOTE_NONE: quotes are undone
        na_filter=False,
        skip_blank_lines=False,
        low_memory=False,
        encoding="utf-8",
    )
    assert len(frame) == len(chosen)
    # The parser's own categories would become numbers where all of a chunk's texts are digits.
    for name in texts:
        codes, known = pd.factorize(frame[name])
        frame[name] = pd.Categorical.from_codes(codes, pd.Index(known, dtype=object))
    return frame


def _check_texts(frame: pd.DataFrame, problems: np.ndarray, lines: np.ndarray) -> None:
    """Give the lines of the frame's rows their problems with types and texts."""
    for name in ("event_type", *TEXTS):
        cells = frame[name].cat
        known = [
            text in EVENT_TYPES if name == "event_type" else fits(text, TEXTS[name])
            for text in cells.categories.tolist()
        ]
        if not all(known):
            wrong = lines[~np.array(known, np.bool_)[cells.codes]]
            wrong = wrong[problems[wrong] < 0]
            problems[wrong] = KINDS.index(name)
