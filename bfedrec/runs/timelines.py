"""The writing and reading of RUN/timeline.jsonl: a line per height, of what the servers did in it
(`consensus.simulation.timeline`).

The line of a height is appended before the chain has its block. A kill in between leaves a line
too many, which a resume cuts off; the other way round one would be missing for ever. Where servers
do not meet after a height, its line is complete, and appended, with that of the next one; a resume
plays both once more.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from consensus.simulation.timeline import HeightTimeline
from consensus.storage.regular import open_regular

TIMELINE: Final = "timeline.jsonl"
MOST_LINE: Final = 2**20
"""Longest line that is read, in bytes; the longest of ours has a fifth of it."""
HEIGHT: Final = re.compile(rb'\{"height":([1-9][0-9]{0,9}),')
"""The beginning of every line."""


def append_timeline(folder: Path, timeline: HeightTimeline) -> None:
    """Append the line of a height to a run folder's timelines."""
    with (folder / TIMELINE).open("ab") as file:
        file.write(f"{timeline.line()}\n".encode())


def cut_timelines(folder: Path, height: int) -> int:
    """Drop the lines above a height from a run folder's timelines, and all from the first that is
    not whole; return the height of the last that is left, 0 if none is."""
    path, kept, last = folder / TIMELINE, 0, 0
    if not path.exists():
        return last
    with path.open("rb") as file:
        while line := file.readline(MOST_LINE + 1):
            found = HEIGHT.match(line)
            if found is None or line[-1:] != b"\n" or int(found[1]) > height:
                break
            kept, last = kept + len(line), int(found[1])
    os.truncate(path, kept)
    return last


def read_timelines(folder: Path) -> Iterator[HeightTimeline]:
    """The timelines in a run's folder, height by height, up to a line that is not whole; none where
    there is no such file. Raises `consensus.simulation.checked_json.BadTimeline`, a ValueError."""
    path = folder / TIMELINE
    if not path.exists():
        return
    with open_regular(path) as file:
        while (line := file.readline(MOST_LINE + 1)).endswith(b"\n"):
            yield HeightTimeline.from_line(line.decode())
