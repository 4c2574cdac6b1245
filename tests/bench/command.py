"""Whole commands of `bfedrec`, each in a process of its own, and what they took."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]


class Ended(NamedTuple):
    """The end of a command."""

    wall: float
    """Seconds from its start to its end."""
    processor: float
    """Seconds of processor time, user and system."""
    megabytes: float
    """Peak of resident memory."""
    status: int
    said: str
    """All that it wrote, on standard output and standard error."""


def played(words: Sequence[object], tree: Path = ROOT) -> Ended:
    """Play a command of the project in the folder ``tree`` to its end."""
    environment = {**os.environ, "PYTHONPATH": str(tree)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    with tempfile.NamedTemporaryFile() as log:
        command = [sys.executable, "-m", "bfedrec", *map(str, words)]
        to_log = [(os.POSIX_SPAWN_DUP2, log.fileno(), number) for number in (1, 2)]
        began = time.perf_counter()
        child = os.posix_spawn(
            "/bin/sh",
            ["sh", "-c", 'cd "$0" && exec "$@"', str(tree), *command],
            environment,
            file_actions=to_log,
        )
        _, status, usage = os.wait4(child, 0)
        wall = time.perf_counter() - began
        said = Path(log.name).read_text(encoding="utf-8", errors="replace")
    processor = usage.ru_utime + usage.ru_stime
    return Ended(wall, processor, usage.ru_maxrss / 1e3, os.waitstatus_to_exitcode(status), said)
