"""The messages of a height of a run with a trace (`bfedrec.runs.messages`), by kind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from bfedrec.runs.messages import Group, groups, is_traced, read

if TYPE_CHECKING:  # an optional dependency, and slow to load
    from pyarrow import Table

MOST_ROWS: Final = 2**21
"""Most rows of a height that are counted, some seconds' work."""
MOST_LISTED: Final = 2**16
"""Most rows of a height as CSV."""


@dataclass(frozen=True)
class KindFacts:
    """The messages of one kind at a height."""

    kind: str
    messages: int
    """Number of messages said."""
    deliveries: int
    """Number of their ways from server to server, those that came to nothing included."""
    bytes: int
    lost: Mapping[str, int]
    """Number of deliveries that came to nothing, by reason (`consensus.network.traced.LOST`)."""
    median: float | None
    """Simulated seconds from a saying to a receipt, in the median; None if nothing came."""
    longest: float | None


@dataclass(frozen=True)
class HeightMessages:
    """The messages of a height."""

    heights: tuple[int, ...]
    """All heights with messages, ascending."""
    kinds: tuple[KindFacts, ...]
    """By kind, in alphabetical order; empty for a height without messages."""
    rows: int
    """Number of rows of the height, of which the first `MOST_ROWS` are counted."""


def messages_of(run: Path, height: int) -> HeightMessages | None:
    """The messages of a height; None for a run without a trace. Raises RunError for a damaged
    one."""
    if not is_traced(run):
        return None
    found = groups(run)
    mine = [each for each in found if each.height == height]
    kinds: dict[str, _Sums] = {}
    for table in read(
        _first(mine, MOST_ROWS), ("message", "kind", "bytes", "said", "received", "lost")
    ):
        _add(kinds, table)
    heights = tuple(sorted({each.height for each in found}))
    told = tuple(kinds[kind].facts(kind) for kind in sorted(kinds))
    return HeightMessages(heights, told, sum(each.rows for each in mine))


def as_csv(run: Path, height: int) -> bytes:
    """The first `MOST_LISTED` rows of a height or somewhat more, as CSV with a line of names."""
    import pyarrow
    from pyarrow import csv

    mine = [each for each in groups(run) if each.height == height] if is_traced(run) else []
    sink = pyarrow.BufferOutputStream()
    for place, table in enumerate(read(_first(mine, MOST_LISTED))):
        csv.write_csv(table, sink, csv.WriteOptions(include_header=place == 0))
    return bytes(sink.getvalue())


def _first(found: list[Group], most: int) -> list[Group]:
    """The first groups, up to the one with which there are ``most`` rows."""
    kept, rows = [], 0
    for each in found:
        if rows >= most:
            break
        kept.append(each)
        rows += each.rows
    return kept


class _Sums:
    """The sums of one kind."""

    def __init__(self) -> None:
        self.messages: set[int] = set()
        self.deliveries = self.bytes = 0
        self.lost: Counter[str] = Counter()
        self.seconds: list[np.ndarray] = []
        """float64[n] each: seconds from sayings to receipts."""

    def facts(self, kind: str) -> KindFacts:
        seconds = np.concatenate(self.seconds)
        median, longest = None, None
        if len(seconds):
            median, longest = float(np.median(seconds)), float(seconds.max())
        lost = dict(sorted(self.lost.items()))
        return KindFacts(
            kind, len(self.messages), self.deliveries, self.bytes, lost, median, longest
        )


def _add(kinds: dict[str, _Sums], table: Table) -> None:
    """Add the rows of a table."""
    columns: dict[str, np.ndarray] = {
        name: table.column(name).to_numpy(zero_copy_only=False) for name in table.column_names
    }
    of_kind = columns["kind"].astype(str)
    seconds = columns["received"].astype(np.float64) - columns["said"]
    for kind in np.unique(of_kind).tolist():
        rows = of_kind == kind
        sums = kinds.setdefault(kind, _Sums())
        sums.messages.update(np.unique(columns["message"][rows]).tolist())
        sums.deliveries += int(rows.sum())
        sums.bytes += int(columns["bytes"][rows].sum())
        sums.lost.update(reason for reason in columns["lost"][rows].tolist() if reason is not None)
        sums.seconds.append(seconds[rows & np.isfinite(seconds)])
