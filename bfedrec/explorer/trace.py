"""Reading of the trace of a torture scenario, as `bfedrec torture --replay SCENARIO --trace FILE`
writes it: the same records as a run's timelines and network, and the violation."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from bfedrec.runs.folder import RunError, read_text
from consensus.simulation.checked_json import BadTimeline
from consensus.torture.trace import Trace

MOST_BYTES: Final = 2**24
"""Longest trace that is read, in bytes; those of drawn scenarios have some ten thousand."""


def read_trace(path: Path) -> Trace:
    """The trace in a file. Raises `RunError`, one line that names the file, for anything else."""
    try:
        return Trace.decode(read_text(path, MOST_BYTES))
    except FileNotFoundError:
        raise RunError(f"{path}: no such file") from None
    except BadTimeline as error:
        raise RunError(f"{path}: {error}") from None
