"""Files of events for tests: good rows, and what is changed in them."""

from __future__ import annotations

from pathlib import Path

from bfedrec.merchants.events import Chunk, EventReader, Selection
from bfedrec.merchants.lines import COLUMNS

HEADER = ",".join(COLUMNS)
GOOD = {
    "event_time": "2019-10-01 00:00:07 UTC",
    "event_type": "view",
    "product_id": "1004856",
    "category_id": "2053013555631882655",
    "category_code": "electronics.smartphone",
    "brand": "samsung",
    "price": "130.76",
    "user_id": "541312140",
    "user_session": "72d76fde-8bb3-4e00-8c23-a032dfed738c",
}


def row(**changes: str) -> str:
    """A good row with some cells changed."""
    return ",".join({**GOOD, **changes}.values())


def file_of(folder: Path, *lines: str | bytes, name: str = "events.csv") -> Path:
    """A file with the header and these lines."""
    path = folder / name
    parts = [line if isinstance(line, bytes) else line.encode() for line in (HEADER, *lines)]
    path.write_bytes(b"".join(part + b"\n" for part in parts))
    return path


def read(path: Path, selection: Selection | None = None) -> tuple[list[Chunk], EventReader]:
    """All chunks of a file, and its reader."""
    reader = EventReader(path, selection or Selection())
    return list(reader), reader
