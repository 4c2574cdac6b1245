"""Jobs: the runs that an engine makes, and how they ended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bfedrec.runs.folder import read_stop, stopped


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

    @property
    def words(self) -> list[str]:
        """The words after `bfedrec` on the command line that makes the run, or what it lacks."""
        words = ["run", str(self.config), *self.overrides, f"seed={self.seed}"]
        return [*words, "--out", str(self.path), "--resume"]


def setting_label(overrides: Sequence[str]) -> str:
    """A setting's overrides as text."""
    return " ".join(overrides) or "(as in the config)"


@dataclass(frozen=True)
class Ended:
    """The end of a job."""

    outcome: str
    """Its result in one line, for people."""
    seconds: float
    status: int
    """The exit status of its command; also 0 for a run that stopped, as that is a result."""


def ended_of(job: Job, status: int, seconds: float, errors: str) -> Ended:
    """The end of a job whose command ended with this status and wrote `errors` to standard error;
    a signal that ended it is a negative status."""
    if status and stopped(job.path):
        stop = read_stop(job.path)
        return Ended(f"{stop.outcome} at height {stop.height}", seconds, 0)
    if status:
        told = next((line for line in reversed(errors.split("\n")) if line.strip()), "no message")
        return Ended(f"failed: {told}", seconds, status if status > 0 else 128 - status)
    return Ended(f"{seconds:.0f} s", seconds, 0)
