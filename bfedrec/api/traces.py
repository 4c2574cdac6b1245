"""A run's message trace as a frame."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bfedrec.runs.folder import RunError
from bfedrec.runs.messages import groups, is_traced, read, schema

if TYPE_CHECKING:  # slow to load
    import pandas as pd


def frame_of(run: Path, height: int | None = None) -> pd.DataFrame:
    """The rows of a run's trace, those of one height or all.

    Raises `RunError` for a run without a trace, a damaged one, or without the library.
    """
    if not is_traced(run):
        raise RunError(f"{run}: has no message trace: it is made with trace=True, or --trace")
    import pyarrow

    tables = list(read(each for each in groups(run) if height in (None, each.height)))
    return pyarrow.concat_tables(tables or [schema().empty_table()]).to_pandas()
