"""The time and the memory that rounds take here: figures of the machine, not of the experiment."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from statistics import median

from bfedrec.runs.figures import Scalar

PROCESS = Path("/proc/self")
"""The folder in which Linux tells of this process."""


class Pace:
    """The rounds of this process, timed one by one."""

    def __init__(self, beside: Callable[[], float] = lambda: 0.0) -> None:
        """``beside``: the processor seconds that other processes of the run have used so far."""
        self._beside = beside
        self._rounds: list[tuple[float, float]] = []
        with suppress(OSError):  # where there is no such file, the peak is that since the start
            (PROCESS / "clear_refs").write_text("5", encoding="ascii")

    @contextmanager
    def round(self) -> Iterator[None]:
        """Time a round, which is what is done inside."""
        wall, processor = time.perf_counter(), self._processor()
        yield
        self._rounds.append((time.perf_counter() - wall, self._processor() - processor))

    def _processor(self) -> float:
        return time.process_time() + self._beside()

    def figures(self) -> dict[str, Scalar]:
        """The median round in seconds of the wall clock and in those of processor time, of all
        threads and of the process in which cohorts train; and the greatest memory in MiB since this
        was made, of this process. Empty without a round."""
        if not self._rounds:
            return {}
        wall, processor = zip(*self._rounds, strict=True)
        return {
            "round_seconds": median(wall),
            "round_processor_seconds": median(processor),
            "round_memory_mib": peak_memory() / 2**20,
        }


def peak_memory() -> int:
    """Greatest number of bytes that this process held in memory since it was forgotten last
    (`Pace`), or since it began."""
    with suppress(OSError, ValueError):
        status = (PROCESS / "status").read_text(encoding="ascii")
        words = dict(line.split(":", 1) for line in status.splitlines())
        if "VmHWM" in words:
            return int(words["VmHWM"].split()[0]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
