"""Runs in processes of their own, several at a time."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from bfedrec.runs.folder import read_stop, stopped

POLL_SECONDS = 0.1


@dataclass(frozen=True)
class Job:
    """A run to be made, or to be resumed."""

    config: Path
    overrides: tuple[str, ...]
    seed: int
    path: Path
    """The run's folder."""

    @property
    def label(self) -> str:
        """Short text that distinguishes the job from others."""
        return f"{setting_label(self.overrides)} seed={self.seed}"


def setting_label(overrides: Sequence[str]) -> str:
    """A setting's overrides as text."""
    return " ".join(overrides) or "(as in the config)"


@dataclass(frozen=True)
class Ended:
    """The end of a job's process."""

    outcome: str
    """Its result in one line, for people."""
    seconds: float
    status: int
    """The process's exit status; also 0 for a run that stopped, as that is a result."""


@dataclass
class _Child:
    """A run's process."""

    job: Job
    process: subprocess.Popen[bytes]
    errors: IO[bytes]
    began: float = field(default_factory=time.monotonic)

    def ended(self) -> Ended:
        code, seconds = self.process.returncode, time.monotonic() - self.began
        if code and stopped(self.job.path):
            stop = read_stop(self.job.path)
            return Ended(f"{stop.outcome} at height {stop.height}", seconds, 0)
        if code:
            return Ended(f"failed: {self.last_error()}", seconds, code if code > 0 else 128 - code)
        return Ended(f"{seconds:.0f} s", seconds, 0)

    def last_error(self) -> str:
        """The last line that the run wrote to standard error."""
        self.errors.seek(0)
        lines = self.errors.read().decode(errors="replace").split("\n")
        return next((line for line in reversed(lines) if line.strip()), "no message")


def run(jobs: Sequence[Job], at_once: int, tell: Callable[[Job, Ended], None]) -> int:
    """Make runs in the given order, `at_once` at a time; call `tell` at the end of each.

    Returns 0, or the exit status of the first run that failed; the others are made all the same.
    KeyboardInterrupt is passed on to the runs, which stop so that they can be resumed.
    """
    waiting = iter(jobs)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    environment = {"NUMBA_NUM_THREADS": str(max(1, (cores or 1) // at_once)), **os.environ}
    children: list[_Child] = []
    status = 0
    try:
        while True:
            for job in itertools.islice(waiting, at_once - len(children)):
                children.append(_start(job, environment))
            if not children:
                return status
            time.sleep(POLL_SECONDS)
            for child in [child for child in children if child.process.poll() is not None]:
                children.remove(child)
                ended = child.ended()
                child.errors.close()
                status = status or ended.status
                tell(child.job, ended)
    finally:
        _stop(children)


def _start(job: Job, environment: dict[str, str]) -> _Child:
    errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed when the run has ended
    command = [sys.executable, "-m", "bfedrec", "run", str(job.config), *job.overrides]
    command += [f"seed={job.seed}", "--out", str(job.path), "--resume"]
    # What a run shows is in its log.txt as well. In a session of its own it gets no signal from
    # the terminal, but exactly one, from `_stop`: SIGTERM, as SIGINT is ignored under nohup.
    process = subprocess.Popen(
        command,
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
