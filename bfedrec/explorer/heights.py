"""The figures of every height of a run, from its timelines, and their sums.

RUN/timeline.jsonl has a line per height (`bfedrec.runs.timelines`). Of each the figures are kept,
not the events (`bfedrec.explorer.timeline` has those of one height). Runs of earlier versions have
no such file, and a run that one of them began has no line of the heights before its resume.
"""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from bfedrec.explorer.reading import Follower, json_object
from bfedrec.runs.folder import RunError
from bfedrec.runs.timelines import TIMELINE
from consensus.simulation.checked_json import BadTimeline
from consensus.simulation.timeline import HeightTimeline

MOST_FILE: Final = 2**27
"""Longest file that is read, in bytes: thirty thousand heights of thirty servers."""
EVENTS: Final = b',"events":['
"""The beginning of the events in a line."""
MOST_KEPT: Final = 16
"""Runs whose heights are kept in memory."""


class Height(NamedTuple):
    """The figures of one height. Those that nobody counted are 0."""

    height: int
    outcome: str
    """One of `consensus.simulation.timeline.OUTCOMES`."""
    attempts: int
    seconds: float
    """Simulated seconds from its beginning to its end."""
    bytes: int
    """Bytes between servers."""
    refused: int
    """Messages that honest servers refused."""
    evidence: int
    updates: int
    """Updates of clients in its block."""
    captured: bool
    """True if the block's aggregate is not that of its updates."""
    down: int
    """Servers that were down for some of it."""
    cut_off: int
    """Servers that were cut off for some of it."""
    why: tuple[str, ...] = ()
    """The ends of the attempts before the last, as "timed out"."""


@dataclass(frozen=True)
class Heights:
    """The heights of a run so far."""

    rows: tuple[Height, ...] = ()
    bytes_by_kind: tuple[tuple[str, int], ...] = ()
    """Bytes between servers by kind of message, the most first."""
    refused: tuple[tuple[str, int], ...] = ()
    """Messages that honest servers refused by reason, the most first."""

    @property
    def captured(self) -> list[int]:
        """The heights whose committee was captured."""
        return [row.height for row in self.rows if row.captured]

    @property
    def with_evidence(self) -> list[int]:
        """The heights with evidence against a server."""
        return [row.height for row in self.rows if row.evidence]


class _Lines(Follower):
    """The heights of one file, as far as it was read."""

    most_bytes = MOST_FILE

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.forget()

    def forget(self) -> None:
        self.rows: list[Height] = []
        self.kinds: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()

    def take(self, line: bytes) -> None:
        told = f"{self.path.name}, line {len(self.rows) + 1}"
        try:
            found = HeightTimeline.from_node(_without_events(line, told))
        except BadTimeline as error:
            raise RunError(f"{told}: {' '.join(str(error).split())[:160]}") from None
        if self.rows and found.height <= self.rows[-1].height:
            raise RunError(f"{told}: height {found.height} after {self.rows[-1].height}")
        self.rows.append(_row(found))
        if found.figures is not None:
            self.kinds.update(found.figures.bytes)
            self.refused.update(found.figures.refused)


def _without_events(line: bytes, told: str) -> dict[str, object]:
    """The JSON object in a line without its events: they take most of the time, and are checked
    where they are shown. They come last in a line as a run writes it; of another one all is
    parsed."""
    rest, found, _ = line.partition(EVENTS)
    if found:
        with suppress(RunError):
            return {**json_object(rest + b"}", told), "events": []}
    return {**json_object(line, told), "events": []}


class HeightReader:
    """The heights of many runs, the latest asked for kept in memory. Safe to use from several
    threads."""

    def __init__(self, most: int = MOST_KEPT) -> None:
        self._most = most
        self._known: OrderedDict[Path, _Lines] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, folder: Path) -> Heights:
        """The heights of a run's folder; none if it has no timelines. Raises `RunError`."""
        with self._lock:
            lines = self._known.pop(folder, None) or _Lines(folder / TIMELINE)
            self._known[folder] = lines
            if len(self._known) > self._most:
                self._known.popitem(last=False)
            lines.look()
            kinds, refused = (tuple(each.most_common()) for each in (lines.kinds, lines.refused))
            return Heights(tuple(lines.rows), kinds, refused)


def _row(found: HeightTimeline) -> Height:
    figures = found.figures
    return Height(
        found.height,
        found.outcome,
        len(found.attempts) + found.attempts_left_out,
        (found.ended_us - found.began_us) / 1e6,
        sum(figures.bytes.values()) if figures else 0,
        sum(figures.refused.values()) if figures else 0,
        figures.evidence if figures else 0,
        figures.updates if figures else 0,
        bool(figures and figures.captured),
        found.down.count,
        found.cut_off.count,
        tuple(attempt.ended for attempt in found.attempts[:-1]),
    )
