"""Series of a run's metrics.jsonl over its rounds, its bytes and its simulated time.

Only what was appended since the last look is read; a resume replaces the file, which is then read
anew.
"""

from __future__ import annotations

import operator
import threading
from array import array
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import nan
from pathlib import Path
from typing import Final

from bfedrec.explorer.reading import Follower, figures_in, json_object
from bfedrec.runs.figures import GREATEST, BadFigure, Figures, count
from bfedrec.runs.folder import RunError

MOST_POINTS: Final = 2000
"""Most points of a series that is drawn; of more, every n-th is left, and the last."""
MOST_SERIES: Final = 256
"""Most figures of a line that are kept; ours have about thirty."""
MOST_KEPT: Final = 64
"""Runs whose series are kept in memory."""

AXES: Final[Mapping[str, tuple[str, tuple[str, ...]]]] = {
    "round": ("round", ("height",)),
    "bytes": ("bytes of clients", ("uplink_bytes", "downlink_bytes")),
    "gossip": ("bytes between servers", ("gossip_bytes",)),
    "seconds": ("simulated seconds", ("simulated_seconds",)),
}
"""The quantities that a curve can run over, by short name: title, and the totals to be added up."""
UNLEDGERED: Final = {
    "uplink_bytes": "uplink_payload_bytes",
    "downlink_bytes": "broadcast_payload_bytes",
}
"""Names of the same totals without a ledger, where the bytes of payloads alone are known."""

Series = Sequence[float]
"""A value for each line of the metrics; NaN where the line has none."""


@dataclass
class Curves:
    """The numbers of a run's metrics, by figure."""

    length: int = 0
    """Number of lines."""
    columns: dict[str, array[float]] = field(default_factory=dict)

    def append(self, figures: Figures) -> None:
        """Add a line. Raises BadFigure for one without a height above the last one's."""
        height = count(figures, "height")
        heights = self.columns.setdefault("height", array("d"))
        if self.length and height <= heights[-1]:
            raise BadFigure(f"height {height} after {int(heights[-1])}")
        found = 0
        for name, value in figures.items():
            if isinstance(value, str):
                continue
            column = self.columns.get(name)
            if column is None:
                if len(self.columns) >= MOST_SERIES:
                    continue
                column = self.columns[name] = array("d", [nan] * self.length)
            column.append(value)
            found += 1
        self.length += 1
        if found < len(self.columns):  # rarely: most lines have what the first one has
            for column in self.columns.values():
                if len(column) < self.length:
                    column.append(nan)

    def extend(self, lines: Sequence[Mapping[str, object]]) -> bool:
        """Add lines that all have the same figures, as nearly all of a file do, column by column: a
        third of the time of `append`. Returns False, and adds none, if they are not alike, do not
        fit those before, or `append` has to say what is wrong."""
        names = list(lines[0])
        if any(list(line) != names for line in lines):
            return False
        columns = dict(
            zip(names, zip(*(line.values() for line in lines), strict=True), strict=True)
        )
        kinds = {name: set(map(type, values)) for name, values in columns.items()}
        numbers = {name: columns[name] for name in names if kinds[name] <= {int, float}}
        if any(kinds[name] != {str} for name in names if name not in numbers):
            return False
        if kinds.get("height") != {int} or len(numbers) > MOST_SERIES:
            return False
        if self.length and numbers.keys() != self.columns.keys():
            return False
        heights = columns["height"]
        below = [*self.columns["height"][-1:], *heights[:-1]] if self.length else heights[:-1]
        above = heights if self.length else heights[1:]
        if not all(map(operator.lt, below, above)):
            return False
        if any(min(each) <= -GREATEST or max(each) >= GREATEST for each in numbers.values()):
            return False
        for name, values in numbers.items():
            self.columns.setdefault(name, array("d")).extend(values)
        self.length += len(lines)
        return True

    def axis(self, name: str) -> Series | None:
        """The places of the lines on an axis of `AXES`; None if they lack what it needs."""
        if not self.has_axis(name):
            return None
        parts = [self.columns.get(part) or self._unledgered(part) for part in AXES[name][1]]
        return [sum(values) for values in zip(*(part for part in parts if part), strict=True)]

    def has_axis(self, name: str) -> bool:
        """True if the lines have what an axis of `AXES` needs."""
        known = self.columns.keys()
        return bool(self.length) and all(
            part in known or UNLEDGERED.get(part) in known for part in AXES[name][1]
        )

    def named(self, name: str) -> Series | None:
        """An axis of `AXES`, or else a figure; None if the lines lack it."""
        return self.axis(name) if name in AXES else self.columns.get(name)

    def _unledgered(self, name: str) -> array[float] | None:
        return self.columns.get(UNLEDGERED.get(name, ""))

    def per_round(self, name: str) -> Series | None:
        """The mean increase per round of a running total between each line and the one before; NaN
        at height 0, the end of a run that decided none; None if no line has it."""
        values = self.columns.get(name, self._unledgered(name))
        if values is None:
            return None
        found, before, height = [], 0.0, 0.0
        for at, value in zip(self.columns["height"], values, strict=True):
            found.append((value - before) / (at - height) if at > height else nan)
            before, height = value, at
        return found

    @property
    def metrics(self) -> list[str]:
        """The names of its figures that are scores, as "hr@10"."""
        return [name for name in self.columns if "@" in name]

    def shown(self, most: int = MOST_POINTS) -> list[int]:
        """The places of the lines that are drawn: `most` at most, the last one among them."""
        step = max(1, -(-self.length // most))
        return list(range((self.length - 1) % step, self.length, step))


class _Lines(Follower):
    """The series of one file, as far as it was read."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.curves = Curves()

    def forget(self) -> None:
        self.curves = Curves()

    def take_all(self, lines: Sequence[bytes]) -> None:
        try:
            alike = bool(lines) and self.curves.extend([json_object(line, "") for line in lines])
        except RunError:
            alike = False
        if not alike:  # and `take` says which line is wrong
            super().take_all(lines)

    def take(self, line: bytes) -> None:
        told = f"{self.path.name}, line {self.curves.length + 1}"
        try:
            self.curves.append(figures_in(line, told))
        except BadFigure as error:
            raise RunError(f"{told}: {error}") from None


class Reader:
    """The series of many runs, the latest asked for kept in memory. Safe to use from several
    threads."""

    def __init__(self, most: int = MOST_KEPT) -> None:
        self._most = most
        self._known: OrderedDict[Path, _Lines] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, folder: Path) -> Curves:
        """The series of a run's folder, empty if nothing was scored; raises `RunError`."""
        with self._lock:
            follower = self._known.pop(folder, None) or _Lines(folder / "metrics.jsonl")
            self._known[folder] = follower
            if len(self._known) > self._most:
                self._known.popitem(last=False)
            follower.look()
            found = follower.curves
            return Curves(found.length, {name: each[:] for name, each in found.columns.items()})
