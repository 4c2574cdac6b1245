"""The timelines of a run's heights, read from RUN/timeline.jsonl while the run may go on.

The file has a line per height (`consensus.simulation.timeline.HeightTimeline`). It is read once
from its beginning, to know where each height stands; after that only what was appended is read, and
one line for each height that is asked for. Heights may be missing: a run that an earlier version
began has none of those before its resume.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, Final

from bfedrec.explorer.reading import open_file
from bfedrec.runs.folder import RunError
from bfedrec.runs.timelines import HEIGHT, MOST_LINE, TIMELINE
from consensus.simulation.checked_json import BadTimeline
from consensus.simulation.timeline import HeightTimeline

MOST_FILE: Final = 2**30
"""Longest file that is read, in bytes; a thousand heights of thirty servers have about four
million."""
BLOCK: Final = 2**20
"""Bytes read at a time."""


class Timeline:
    """The timelines of one run, by height. It holds no file open."""

    def __init__(self, folder: Path) -> None:
        """``folder``: the run's. Reads the file; raises `RunError` as `refresh`."""
        self.path = folder / TIMELINE
        self._heights: list[int] = []
        self._places: dict[int, tuple[int, int]] = {}
        """By height: the first byte of its line, and the byte after its newline."""
        self._end = 0
        """The byte after the last whole line."""
        self.refresh()

    @property
    def heights(self) -> Sequence[int]:
        """The heights that have a timeline, ascending."""
        return self._heights

    def refresh(self) -> bool:
        """Read the lines that were appended since the last call; all, if the file was cut or
        replaced. What follows the last newline is left for later. Returns True if the heights have
        changed. A file that is not there has no heights.

        Raises `RunError` for what is not a file of timelines.
        """
        before = (len(self._heights), self._end)
        try:
            with open_file(self.path) as file:
                self._follow(file)
        except FileNotFoundError:
            self._forget()
        except OSError as error:
            raise RunError(f"{self.path}: cannot be read: {error.strerror}") from None
        return before != (len(self._heights), self._end)

    def height(self, height: int) -> HeightTimeline:
        """The timeline of one height. Raises `RunError` if there is none, or if its line is not
        one."""
        if height not in self._places:
            raise RunError(f"{self.path}: no timeline of height {height}")
        first, end = self._places[height]
        try:
            with open_file(self.path) as file:
                file.seek(first)
                line = file.read(end - first)
            found = HeightTimeline.from_line(line.decode())
        except OSError as error:
            raise RunError(f"{self.path}: cannot be read: {error.strerror}") from None
        except UnicodeDecodeError:
            raise RunError(f"{self.path}: height {height}: not a text in UTF-8") from None
        except BadTimeline as error:
            raise RunError(f"{self.path}: height {height}: {error}") from None
        if found.height != height:
            raise RunError(f"{self.path}: the file has changed: read it again")
        return found

    # -- where the heights stand ------------------------------------------------------------------

    def _forget(self) -> None:
        self._heights, self._places, self._end = [], {}, 0

    def _follow(self, file: BinaryIO) -> None:
        """Note the lines after the last known one; begin anew in another, or a shorter, file."""
        size = file.seek(0, 2)
        if size > MOST_FILE:
            raise RunError(f"{self.path}: longer than {MOST_FILE:,} bytes")
        if not self._continues(file, size):
            self._forget()
        file.seek(self._end)
        rest = b""
        while block := file.read(BLOCK):
            rest += block
            *lines, rest = rest.split(b"\n")
            for line in lines:
                self._note(line)
            if len(rest) > MOST_LINE:
                raise self._bad(f"a line longer than {MOST_LINE:,} bytes")

    def _continues(self, file: BinaryIO, size: int) -> bool:
        """True if the last known line still stands where it stood."""
        if not self._heights or size < self._end:
            return False
        first, end = self._places[self._heights[-1]]
        file.seek(first)
        line = file.read(end - first)
        found = HEIGHT.match(line)
        return found is not None and int(found[1]) == self._heights[-1] and line[-1:] == b"\n"

    def _note(self, line: bytes) -> None:
        found = HEIGHT.match(line)
        if found is None or len(line) > MOST_LINE:
            raise self._bad("not a line of a timeline")
        height, end = int(found[1]), self._end + len(line) + 1
        if self._heights and height <= self._heights[-1]:
            raise self._bad(f"height {height} comes after height {self._heights[-1]}")
        self._heights.append(height)
        self._places[height] = self._end, end
        self._end = end

    def _bad(self, why: str) -> RunError:
        """The error of a file that holds something else; nothing is known of it any more."""
        number = len(self._heights) + 1
        self._forget()
        return RunError(f"{self.path}: line {number}: {why}")
