"""The trials of a study, one after the other in this process or several at a time in others."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path

from bfedrec.config.yaml_core import ConfigError
from bfedrec.evaluation.metrics import NotFinite
from bfedrec.learning.upload import Diverged
from bfedrec.runs.folder import RunError
from bfedrec.sweeps.space import Point, propose
from bfedrec.sweeps.study import Plan, Study, Trial, commit
from bfedrec.sweeps.tuning import score


@dataclass(frozen=True)
class Task:
    """A trial to be made."""

    number: int
    point: Point
    path: Path
    overrides: tuple[str, ...]
    seeds: tuple[int, ...]
    objective: str
    threads: int | None
    """Threads of its trainings; None: all processors."""
    shown: bool
    """True to show its rounds, on a terminal."""

    def make(self) -> Trial:
        """Train and score; a setting that cannot be trained is a trial that failed. Raises
        `DataError`."""
        began = time.perf_counter()
        found: dict[str, float] = {}
        failed = ""
        try:
            found = score(self.path, self.overrides, self.seeds, self.threads, self.shown)
        except (ConfigError, Diverged, NotFinite) as error:  # of a config: options that disagree
            failed = " ".join(str(error).split())
        seconds = round(time.perf_counter() - began, 3)
        reached = found.get(self.objective)
        return Trial(self.number, self.point, seconds, commit(), reached, found, failed)


def run(
    study: Study,
    trials: int,
    jobs: int,
    threads: int | None,
    tell: Callable[[str], None],
) -> None:
    """Make those of the first `trials` trials that the study lacks, `jobs` at a time.

    `tell` is called with a line at the end of each. With one job a study of one seed is always the
    same, also if it was interrupted; with several, proposals depend on which trial ends first.
    Raises `RunError` where the process of a trial dies; the trials that ended are recorded.
    """
    lacking = study.lacking(trials)
    if len(lacking) < trials:
        tell(f"{trials - len(lacking)} of {trials} trials have been made already")
    began = time.monotonic()
    for done, trial in enumerate(_made(study, lacking, jobs, threads), 1):
        study.append(trial)
        left = (time.monotonic() - began) / done * (len(lacking) - done)
        told = f"[{trials - len(lacking) + done}/{trials}] {line(trial)}  {trial.seconds:.0f} s"
        best = study.ranked()
        told += f"; best {best[0].score:.4f}" if best else ""
        tell(told + (f", about {left:.0f} s left" if done < len(lacking) else ""))


def line(trial: Trial) -> str:
    """A trial for a person: its values, and its score or the reason why it has none."""
    values = " ".join(f"{key}={value}" for key, value in trial.point.items())
    told = f"failed: {trial.failed}" if trial.score is None else f"{trial.score:.4f}"
    return f"{values or '(as in the config)'}  {told}"


def _made(study: Study, numbers: Sequence[int], jobs: int, threads: int | None) -> Iterator[Trial]:
    """The trials of these numbers, in the order of their ends."""
    if jobs == 1:
        for number in numbers:
            yield _task(study, number, (), threads, True).make()
        return
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    each = threads or max(1, (cores or 1) // jobs)
    waiting = iter(numbers)
    with _children() as running:
        while True:
            for number in itertools.islice(waiting, jobs - len(running)):
                points = [child.task.point for child in running]
                running.append(_Child.start(_task(study, number, points, each, False)))
            if not running:
                return
            ended = wait([child.results for child in running])
            for child in [child for child in running if child.results in ended]:
                running.remove(child)
                yield child.result()


def _task(
    study: Study, number: int, running: Sequence[Point], threads: int | None, shown: bool
) -> Task:
    """The trial that comes next."""
    plan: Plan = study.plan
    if plan.sampler == "TPE":
        point = propose(plan.space, plan.seed, number, study.scored(), running)
    else:
        point = plan.space.combinations()[number]
    overrides = tuple(plan.space.overrides(point))
    return Task(number, point, plan.path, overrides, plan.seeds, plan.objective, threads, shown)


# -- in other processes ----------------------------------------------------------------------------


@dataclass
class _Child:
    """The process of a trial, and the end of the pipe that gives its result."""

    task: Task
    process: BaseProcess
    results: Connection

    @classmethod
    def start(cls, task: Task) -> _Child:
        # Started anew and not forked: compiled kernels' threads do not outlive a fork.
        context = multiprocessing.get_context("spawn")
        results, end = context.Pipe(duplex=False)
        process = context.Process(target=_serve, args=(task, end), daemon=True)
        process.start()
        end.close()
        return cls(task, process, results)

    def result(self) -> Trial:
        """The trial. Raises `RunError` if the process ended without it."""
        try:
            trial: Trial = self.results.recv()
        except EOFError:
            self.process.join()
            status = self.process.exitcode
            told = f"trial {self.task.number}: its process ended with status {status}"
            raise RunError(f"{told}; the same command continues the study") from None
        finally:
            self.results.close()
        self.process.join()
        return trial


@contextmanager
def _children() -> Iterator[list[_Child]]:
    """A list of processes; those that are in it at the end are stopped."""
    running: list[_Child] = []
    try:
        yield running
    finally:
        for child in running:
            child.process.terminate()
        for child in running:
            child.process.join()
            child.results.close()


def _serve(task: Task, end: Connection) -> None:
    """Make a trial, and send it; a terminal's Ctrl-C is for the process that started this one."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end.send(task.make())
