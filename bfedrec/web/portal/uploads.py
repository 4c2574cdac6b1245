"""Uploaded files of events that a merchant has not decided on yet, each in a folder of its own.

    uploads/0001/events      the bytes as they came
    uploads/0001/bad.csv     every row that cannot be used: line, problem
    uploads/0001/report.json its name and what was found in it

A folder gets its number once all of it is there; what a killed process left half done has another
name and is removed. Names of files are ours throughout: the name that came with one is text.
"""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Final

import numpy as np

from bfedrec.data.interactions import DataError
from bfedrec.files import sync_folder, write_bytes
from bfedrec.merchants.events import BadRow, EventReader
from bfedrec.merchants.lines import COLUMNS
from bfedrec.web.pages import plain

MOST_BYTES: Final = 64 * 10**6
"""Bytes of one file, and of what a packed one unpacks to four times as many."""
MOST_PENDING: Final = 10
"""Files that wait for a merchant's decision."""
MOST_BAD: Final = 100_000
"""Rows that cannot be used of one file; each is kept with its problem, and takes some time."""
SAMPLE: Final = 8
"""Events that a preview shows."""
_PIECE: Final = 2**20
_NUMBER: Final = re.compile(r"[0-9]{4,9}")


class UploadError(Exception):
    """Error: a file that is no file of events, or has no room; one line for people."""


@dataclass(frozen=True)
class Report:
    """Findings of a check of a file."""

    name: str
    """The file's name as its merchant gave it, made printable; never a path."""
    octets: int
    rows: int
    events: int
    kinds: dict[str, int]
    """Events by type."""
    users: int
    products: int
    unknown: int
    """Events of products that are not in the merchants' catalogue."""
    first: str
    """Time of the earliest event, or an empty text."""
    last: str
    bad: dict[str, int]
    """Rows that cannot be used, by the kind of their first problem."""
    first_bad: list[tuple[int, str]]
    """The first of them: line and problem."""
    sample: list[dict[str, str]]
    """The first events, by column."""

    @property
    def bad_rows(self) -> int:
        """Number of rows that cannot be used."""
        return sum(self.bad.values())


@dataclass(frozen=True)
class Upload:
    """One file that waits."""

    number: int
    folder: Path
    report: Report

    @property
    def events(self) -> Path:
        """The file as it came."""
        return self.folder / "events"

    @property
    def bad(self) -> Path:
        """The list of all rows that cannot be used, as CSV."""
        return self.folder / "bad.csv"


class Uploads:
    """The uploads of one merchant."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        for left in folder.iterdir():
            if not (
                _NUMBER.fullmatch(left.name)
                and (left / "events").exists()
                and self.find(int(left.name)) is not None
            ):
                shutil.rmtree(left, ignore_errors=True)

    def all(self) -> list[Upload]:
        """All uploads, the oldest first."""
        names = [each.name for each in self.folder.iterdir() if _NUMBER.fullmatch(each.name)]
        found = (self.find(int(name)) for name in sorted(names, key=int))
        return [each for each in found if each is not None]

    def find(self, number: int) -> Upload | None:
        """The upload of a number."""
        folder = self.folder / f"{number:04d}"
        try:
            told = json.loads((folder / "report.json").read_bytes())
            return Upload(number, folder, Report(**told))
        except (OSError, ValueError, TypeError):
            return None

    def receive(self, file: IO[bytes], name: str, catalogue: np.ndarray) -> Upload:
        """Keep a file and check it; ``catalogue``: int64[N], the products' ids, ascending.

        Raises UploadError, and keeps nothing, for what is no file of events at all.
        """
        taken = self.all()
        if len(taken) >= MOST_PENDING:
            raise UploadError(f"{MOST_PENDING} files wait already; keep or discard one of them")
        beside = Path(tempfile.mkdtemp(prefix=".new-", dir=self.folder))
        try:
            with (beside / "events").open("wb") as kept:
                shutil.copyfileobj(file, kept, _PIECE)
                kept.flush()
                os.fsync(kept.fileno())
            report = _checked(beside, plain(name), catalogue)
            content = json.dumps(asdict(report)).encode()
            write_bytes(beside / "report.json", content)
            sync_folder(beside)
            # Above every name, not only above those that can be read.
            names = [each.name for each in self.folder.iterdir()]
            number = max((int(name) for name in names if _NUMBER.fullmatch(name)), default=0) + 1
            folder = self.folder / f"{number:04d}"
            beside.rename(folder)
        except DataError as error:
            told = str(error).removeprefix(f"{beside / 'events'}: ")
            raise UploadError(f"{plain(name)}: {told}") from None
        finally:
            shutil.rmtree(beside, ignore_errors=True)
        return Upload(number, folder, report)

    def discard(self, upload: Upload) -> None:
        """Remove an upload."""
        gone = self.folder / f".new-gone-{upload.number}"
        upload.folder.rename(gone)
        shutil.rmtree(gone, ignore_errors=True)


def _checked(folder: Path, name: str, catalogue: np.ndarray) -> Report:
    """The report on a file, whose bad rows are written beside it."""
    path = folder / "events"
    kinds: Counter[str] = Counter()
    sample: list[dict[str, str]] = []
    users, products = np.empty(0, np.int64), np.empty(0, np.int64)
    unknown, times = 0, np.empty(0, "datetime64[s]")
    with (folder / "bad.csv").open("w", encoding="utf-8", newline="") as bad:
        reader = EventReader(path, most_bytes=4 * MOST_BYTES, tell=_writer(bad))
        for chunk in reader:
            frame = chunk.frame
            kinds.update(map(str, frame["event_type"]))
            ids = frame["product_id"].to_numpy()
            users = np.union1d(users, frame["user_id"].to_numpy())
            products = np.union1d(products, ids)
            unknown += int((~np.isin(ids, catalogue)).sum())
            moments = frame["event_time"].to_numpy().astype("datetime64[s]")
            times = np.array([*times, moments.min(), moments.max()])
            if len(sample) < SAMPLE:
                head = frame.head(SAMPLE - len(sample)).astype(str).to_dict("records")
                sample += [{column: str(row[column]) for column in COLUMNS} for row in head]
    reading = reader.reading
    if not reading.events:
        told = f"{reading.rows:,} rows, none of which can be used"
        first = f"; {reading.first_bad[0]}" if reading.first_bad else ""
        raise DataError(f"{path}: holds {told}{first}")
    return Report(
        name=name,
        octets=path.stat().st_size,
        rows=reading.rows,
        events=reading.events,
        kinds={kind: count for kind, count in kinds.items() if count},
        users=len(users),
        products=len(products),
        unknown=unknown,
        first=str(times.min()).replace("T", " "),
        last=str(times.max()).replace("T", " "),
        bad=dict(reading.bad),
        first_bad=[(row.line, row.problem) for row in reading.first_bad],
        sample=sample,
    )


def _writer(file: IO[str]) -> Callable[[BadRow], None]:
    """A function that writes one bad row; problems are ASCII and begin with a column's name."""
    rows, told = csv.writer(file), 0
    rows.writerow(["line", "problem"])

    def write(row: BadRow) -> None:
        nonlocal told
        told += 1
        if told > MOST_BAD:
            raise DataError(f"more than {MOST_BAD:,} rows cannot be used, the last at {row}")
        rows.writerow([row.line, row.problem])

    return write
