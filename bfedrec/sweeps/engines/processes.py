"""The engine of this machine: runs and calls in processes of their own, several at a time."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import IO

from bfedrec.sweeps.callers import Callers
from bfedrec.sweeps.engine import Engine, engine
from bfedrec.sweeps.job import Ended, Job, ended_of
from bfedrec.threads import thread_count
from consensus.workers import InTurn, Workers

POLL_SECONDS = 0.1


@engine("processes", place=0)
class Processes(Engine):
    """Processes of this machine. A single worker is this process itself."""

    meaning = "processes of this machine"

    @property
    def at_once(self) -> int:
        """Number of processes."""
        return self.jobs or self.usual

    @property
    def threads(self) -> int | None:
        """An equal share of the processors, at least one; None, for all, for one unit at a
        time."""
        return None if self.at_once == 1 else max(1, thread_count() // self.at_once)

    @contextmanager
    def workers(self, threads: int | None = None) -> Iterator[Workers]:
        """Processes that last until the context is left; this process for one unit at a time."""
        if self.at_once == 1:
            yield InTurn()
            return
        with Callers(self.at_once) as callers:
            yield callers

    def close(self) -> None:
        """Nothing is left: processes end with what they were started for."""

    def runs(self, jobs: Sequence[Job], tell: Callable[[Job, Ended], None]) -> int:
        """Make runs, each by a command in a process of its own."""
        waiting = iter(jobs)
        share = str(self.threads or thread_count())
        environment = {"NUMBA_NUM_THREADS": share, **os.environ}
        children: list[_Child] = []
        status = 0
        try:
            while True:
                for job in itertools.islice(waiting, self.at_once - len(children)):
                    children.append(_start(job, environment))
                if not children:
                    return status
                time.sleep(POLL_SECONDS)
                for child in [child for child in children if child.process.poll() is not None]:
                    children.remove(child)
                    ended = child.ended()
                    status = status or ended.status
                    tell(child.job, ended)
        finally:
            _stop(children)


@dataclass
class _Child:
    """A run's process."""

    job: Job
    process: subprocess.Popen[bytes]
    errors: IO[bytes]
    began: float = field(default_factory=time.monotonic)

    def ended(self) -> Ended:
        """The end of the run; what it wrote to standard error is read and forgotten."""
        seconds = time.monotonic() - self.began
        with self.errors:
            self.errors.seek(0)
            told = self.errors.read().decode(errors="replace")
        return ended_of(self.job, self.process.returncode, seconds, told)


def _start(job: Job, environment: dict[str, str]) -> _Child:
    errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed when the run has ended
    # What a run shows is in its log.txt as well. In a session of its own it gets no signal from
    # the terminal, but exactly one, from `_stop`: SIGTERM, as SIGINT is ignored under nohup.
    process = subprocess.Popen(
        [sys.executable, "-m", "bfedrec", *job.words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=errors,
        env=environment,
        start_new_session=True,
    )
    return _Child(job, process, errors)


def _stop(children: Sequence[_Child]) -> None:
    for child in children:
        child.process.send_signal(signal.SIGTERM)
    for child in children:
        child.process.wait()
        child.errors.close()
