"""Verifications that visitors asked for: one of a run at a time, a few in all, each in a process of
its own that ends when nobody waits for it any more."""

from __future__ import annotations

import json
import selectors
import subprocess
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final

from bfedrec.explorer.verification import Outcome, Progress

AT_ONCE: Final = 2
"""Verifications that run at once, of all runs."""
KEPT: Final = 50
"""Verifications whose outcome is remembered."""
PATIENCE: Final = 15.0
"""Seconds without a visitor after which a verification is given up; a page without script asks
every `bfedrec.web.explorer.verify.REFRESH`."""
LOOK_SECONDS: Final = 0.3
LONGEST_LINE: Final = 4096

Key = tuple[Path, int | None]
"""The file of a chain, and the height that is verified; None for all."""


class Occupied(Exception):
    """Error: a verification cannot begin now; the message says why."""


@dataclass
class Job:
    """One verification."""

    key: Key
    number: int
    """Its number among those of the same chain and height, from 1."""
    process: subprocess.Popen[str]
    progress: Progress = field(default_factory=lambda: Progress(0, 0))
    outcome: Outcome | None = None
    seen: float = field(default_factory=time.monotonic)
    """When a visitor last asked for it."""
    watching: int = 0
    """Visitors that are told of it live."""

    @property
    def running(self) -> bool:
        """True until it has an outcome."""
        return self.outcome is None

    @property
    def version(self) -> tuple[Progress, bool]:
        """The part of it that a visitor sees."""
        return self.progress, self.running


class Verifications:
    """All verifications of a server. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._jobs: OrderedDict[Key, Job] = OrderedDict()

    def latest(self, key: Key) -> Job | None:
        """The latest verification of a chain or block, if there was one."""
        with self._lock:
            job = self._jobs.get(key)
            if job is not None:
                job.seen = time.monotonic()
            return job

    def ask(self, key: Key, number: int) -> Job | None:
        """The latest verification, after it began if the number is the next one and the one before
        has ended. Any other number, of an old address or an invented one, begins nothing. Raises
        `Occupied`."""
        with self._lock:
            job = self._jobs.get(key)
            before = job.number if job is not None else 0
            if number == before + 1 and not (job is not None and job.running):
                self._check_room(key[0])
                job = self._jobs[key] = _begin(key, number)
                self._jobs.move_to_end(key)
                threading.Thread(target=_follow, args=(job,), daemon=True).start()
            ended = [each for each, found in self._jobs.items() if not found.running]
            for each in ended[: max(0, len(self._jobs) - KEPT)]:
                del self._jobs[each]
            if job is not None:
                job.seen = time.monotonic()
            return job

    def _check_room(self, path: Path) -> None:
        running = [job for job in self._jobs.values() if job.running]
        if any(job.key[0] == path for job in running):
            raise Occupied("Another verification of this run is under way.")
        if len(running) >= AT_ONCE:
            raise Occupied("Other verifications are under way; please try again later.")

    @contextmanager
    def watched(self, job: Job) -> Iterator[None]:
        """Count a visitor that is told of a job live."""
        with self._lock:
            job.watching += 1
        try:
            yield
        finally:
            with self._lock:
                job.watching -= 1
                # Who loads the page again comes back at once; nobody else does.
                job.seen = min(job.seen, time.monotonic() - PATIENCE + 2.0)


def _begin(key: Key, number: int) -> Job:
    path, height = key
    command = [sys.executable, "-m", "bfedrec.explorer.verification", str(path)]
    process = subprocess.Popen(
        command + ([] if height is None else [str(height)]),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    return Job(key, number, process)


def _follow(job: Job) -> None:
    """Read what the process says until it ends, or end it if nobody waits for it."""
    assert job.process.stdout is not None
    try:
        for line in _lines(job, job.process.stdout):
            told = json.loads(line)
            if "outcome" in told:
                job.outcome = Outcome(**told["outcome"])
                return
            job.progress = Progress(**told)
        if job.outcome is None:
            job.outcome = Outcome(False, "given up: nobody waited for it any more")
    finally:
        job.process.kill()
        job.process.wait()
        job.process.stdout.close()
        if job.outcome is None:
            job.outcome = Outcome(False, "cannot be verified: the process ended without a result")


def _lines(job: Job, stream: IO[str]) -> Iterator[str]:
    """The lines of the process, until nobody waits for it. Raises ValueError for no JSON."""
    with selectors.DefaultSelector() as selector:
        selector.register(stream, selectors.EVENT_READ)
        while job.watching or time.monotonic() - job.seen < PATIENCE:
            if not selector.select(LOOK_SECONDS):
                continue
            line = stream.readline(LONGEST_LINE)
            if not line:
                raise ValueError("it has ended")
            yield line
