"""A pandas frame as the data of an experiment."""

from __future__ import annotations

import csv
import hashlib
import io
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bfedrec.data.columns import MOST_LETTERS, WHOLE, legible
from bfedrec.data.interactions import DataError
from bfedrec.data.prepare import default_cache
from bfedrec.section import Tree

if TYPE_CHECKING:
    import pandas as pd

FRAMES = "frames"
"""Folder of the data cache that holds frames as files, each by its digest."""
TIMES = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
"""Units of pandas' times, with the number of each in a second."""


def dataset(
    frame: pd.DataFrame,
    user: str = "user",
    item: str = "item",
    time: str | None = None,
    rating: str | None = None,
    cache: Path | None = None,
    **options: Any,
) -> Tree:
    """The section `data` of a config whose interactions are the rows of a frame.

        bf.run("quickstart", data=bf.dataset(frame, user="who", item="what", time="when"))

    ``user``, ``item``, ``time``, ``rating``: columns; ids are whole numbers or text, times numbers
    or datetimes. ``options``: of `data.file`, as ``threshold`` or ``min_interactions``. The rows
    are written to a file of the data cache (``cache``: another folder) that is named by its digest,
    and the config names the digest: equal frames make equal runs, on any machine. The file stays
    there.

    Raises `bfedrec.data.interactions.DataError`, with row and column, for what is no id or number.
    """
    named = {"user": user, "item": item, "time": time, "rating": rating}
    cells = {}
    for role, name in named.items():
        if name is None:
            continue
        if name not in frame.columns:
            known = ", ".join(map(str, frame.columns[:20]))
            raise DataError(f"frame: no column {name!r} ({role}); it has {known}")
        column = frame[name]
        if getattr(column, "ndim", 1) != 1:
            raise DataError(f"frame: more than one column is called {name!r}")
        cells[role] = _ids(column, name) if role in ("user", "item") else _numbers(column, name)
    if not len(frame):
        raise DataError("frame: holds no rows")
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(cells)
    writer.writerows(zip(*cells.values(), strict=True))
    content = text.getvalue().encode()
    digest = hashlib.sha256(content).hexdigest()
    folder = (default_cache() if cache is None else cache) / FRAMES
    path = folder / f"{digest}.csv"
    if not path.exists():
        _write(path, content)
    own: Tree = {"path": str(path), "sha256": digest, "format": "table", **options}
    return {"dataset": "file", "file": own}


def _write(path: Path, content: bytes) -> None:
    """Write a file so that a reader sees all of it or none."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
            file.write(content)
        os.replace(file.name, path)
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error.strerror})") from None


def _ids(column: pd.Series, name: str) -> list[str]:
    """Ids as text; a whole number as it is usually written, so 3 and 3.0 are one id."""
    found = []
    for row, value in enumerate(column.tolist()):
        text = value if isinstance(value, str) else _whole(value)
        if text is None or len(text) > MOST_LETTERS or not legible(text):
            raise DataError(
                f"frame: row {row}, column {name!r}: {str(value)[:60]!r} is no id: a whole number "
                f">= 0, or a printable text of at most {MOST_LETTERS} letters"
            )
        if text != text.strip():
            told = "begins or ends with a space; use .str.strip() first"
            raise DataError(f"frame: row {row}, column {name!r}: {text[:60]!r} {told}")
        found.append(text)
    return found


def _whole(value: Any) -> str | None:
    """A whole number as text; None for anything else."""
    try:
        text = str(int(value))
        whole = int(value) == value and not isinstance(value, bool)
    except (TypeError, ValueError, OverflowError):
        return None
    return text if whole and WHOLE.fullmatch(text) else None


def _numbers(column: pd.Series, name: str) -> list[str]:
    """Finite numbers as text; datetimes in seconds since 1970, those without a zone in UTC."""
    import numpy as np

    values: np.ndarray
    if column.dtype.kind == "M":
        whole = column.dt.tz_convert("UTC").dt.tz_localize(None) if column.dt.tz else column
        unit = np.datetime_data(whole.to_numpy().dtype)[0]
        values = whole.to_numpy().astype(np.int64) / TIMES[unit]
        values[whole.isna().to_numpy()] = np.nan
    else:
        try:
            values = column.to_numpy(dtype=np.float64, na_value=np.nan)
        except (TypeError, ValueError):
            told = "use pandas.to_numeric or pandas.to_datetime first"
            raise DataError(f"frame: column {name!r}: is no number; {told}") from None
    bad = np.flatnonzero(~np.isfinite(values))
    if len(bad):
        value = str(column.iloc[int(bad[0])])[:60]
        raise DataError(f"frame: row {bad[0]}, column {name!r}: {value!r} is no finite number")
    return [repr(int(v)) if v.is_integer() and abs(v) < 2**53 else repr(v) for v in values.tolist()]
