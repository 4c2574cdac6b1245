"""Recorded tables and figures: results/tables/*.csv and *.md, results/figures/*.png.

They are found where the served folder has folders of these names, or where it is itself inside of
`results`. Nothing but regular files with names and endings of this kind is read.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bfedrec.explorer.places import Places
from bfedrec.explorer.reading import read_file
from bfedrec.runs.folder import RunError

KINDS: Final = {"tables": (".csv", ".md"), "figures": (".png", ".csv")}
"""Endings of the files of each kind; the first is the one without which there is no record."""
NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
MOST_FILES: Final = 200
MOST_BYTES: Final = 2**23
MOST_ROWS: Final = 1000
"""Rows of a table that are shown."""


@dataclass(frozen=True)
class Table:
    """The rows of a CSV file, its heading apart."""

    heading: Sequence[str]
    rows: Sequence[Sequence[str]]
    left_out: int
    """Rows beyond `MOST_ROWS`."""


class Records:
    """The recorded tables and figures that belong to the served folder."""

    def __init__(self, places: Places) -> None:
        root = places.root.parent if places.single else places.root
        near = [each for each in (root, root.parent) if each.name == "results"]
        self._bases = tuple(dict.fromkeys([root, *near]))

    def listed(self, kind: str) -> list[str]:
        """The names of the records of a kind (a key of `KINDS`), sorted."""
        folder = self._folder(kind)
        if folder is None:
            return []
        try:
            names = sorted(entry.name for entry in folder.iterdir())
        except OSError:
            return []
        ending = KINDS[kind][0]
        stems = (name.removesuffix(ending) for name in names if name.endswith(ending))
        return [stem for stem in stems if NAME.fullmatch(stem)][:MOST_FILES]

    def content(self, kind: str, name: str, ending: str) -> bytes:
        """A file's content. Raises `RunError` for one that there is not."""
        folder = self._folder(kind)
        if folder is None or not NAME.fullmatch(name) or ending not in KINDS[kind]:
            raise RunError("there is no such record")
        try:
            return read_file(folder / f"{name}{ending}", MOST_BYTES)
        except FileNotFoundError:
            raise RunError("there is no such record") from None

    def has(self, kind: str, name: str, ending: str) -> bool:
        """True if there is such a file."""
        try:
            self.content(kind, name, ending)
        except RunError:
            return False
        return True

    def table(self, kind: str, name: str) -> Table:
        """The table in a record's CSV file; raises `RunError`."""
        try:
            text = self.content(kind, name, ".csv").decode()
            heading, rows, left_out = _parsed(text)
        except (UnicodeDecodeError, csv.Error, StopIteration):
            raise RunError(f"{name}.csv: no table") from None
        return Table(heading, rows, left_out)

    def _folder(self, kind: str) -> Path | None:
        if kind not in KINDS:
            return None
        found = (base / kind for base in self._bases)
        return next((each for each in found if each.is_dir() and not each.is_symlink()), None)


def _parsed(text: str) -> tuple[list[str], list[list[str]], int]:
    lines: Iterator[list[str]] = csv.reader(io.StringIO(text, newline=""), strict=True)
    heading = next(lines)
    rows: list[list[str]] = []
    left_out = 0
    for line in lines:
        if len(rows) < MOST_ROWS:
            rows.append(line)
        else:
            left_out += 1
    return heading, rows, left_out
