"""The trials of a study, one after the other in this process or several at a time elsewhere."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from bfedrec.config.load import load
from bfedrec.config.schema import Config
from bfedrec.config.yaml_core import ConfigError
from bfedrec.evaluation.metrics import NotFinite
from bfedrec.learning.upload import Diverged
from bfedrec.runs.folder import RunError
from bfedrec.sweeps.engine import Engine
from bfedrec.sweeps.space import Point, propose
from bfedrec.sweeps.study import Plan, Study, Trial, commit
from bfedrec.sweeps.tuning import score
from consensus.workers import InTurn, Lost, Unit


@dataclass(frozen=True)
class Task:
    """A trial to be made."""

    number: int
    point: Point
    configs: tuple[Config, ...]
    """The config of each of its trainings; empty if the point's options disagree."""
    failed: str
    """The reason why they disagree, one line; empty if they do not."""
    objective: str
    commit: str
    """The commit of the code, as of `Trial`."""
    threads: int | None
    """Threads of its trainings; None: all processors."""
    shown: bool
    """True to show its rounds, on a terminal."""
    kept: bool = False
    """True to keep its models for the next trial of this process, which scores them otherwise."""

    def make(self) -> Trial:
        """Train and score; a setting that cannot be trained is a trial that failed. Raises
        `DataError`."""
        began = time.perf_counter()
        found: dict[str, float] = {}
        failed = self.failed
        try:
            if not failed:
                found = score(self.configs, self.threads, self.shown, self.kept)
        except (ConfigError, Diverged, NotFinite) as error:
            failed = one_line(error)
        seconds = round(time.perf_counter() - began, 3)
        reached = found.get(self.objective)
        return Trial(self.number, self.point, seconds, self.commit, reached, found, failed)


def one_line(error: Exception) -> str:
    """The message of an error on one line."""
    return " ".join(str(error).split())


def run(
    study: Study,
    trials: int,
    engine: Engine,
    threads: int | None,
    tell: Callable[[str], None],
) -> None:
    """Make those of the first `trials` trials that the study lacks with an engine.

    `tell` is called with a line at the end of each. With one at a time a study of one seed is
    always the same, also if it was interrupted; with several, proposals depend on which trial ends
    first.
    Raises `RunError` where the worker of a trial died again and again; the trials that ended are
    recorded.
    """
    lacking = study.lacking(trials)
    if len(lacking) < trials:
        tell(f"{trials - len(lacking)} of {trials} trials have been made already")
    began = time.monotonic()
    for done, trial in enumerate(_made(study, lacking, engine, threads), 1):
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


def _made(
    study: Study, numbers: Sequence[int], engine: Engine, threads: int | None
) -> Iterator[Trial]:
    """The trials of these numbers, in the order of their ends."""
    each = threads or engine.threads
    waiting, running, lost = iter(numbers), dict[str, Task](), list[Lost]()
    with engine.workers(threads) as workers:
        shown = isinstance(workers, InTurn)
        while True:
            for number in itertools.islice(waiting, workers.at_once - len(running)):
                points = [task.point for task in running.values()]
                task = _task(study, number, points, each, shown)
                running[f"trial {number}"] = task
                workers.submit(Unit(f"trial {number}", task.make))
            if not running:
                break
            for result in workers.ended():
                if isinstance(result, Lost):
                    lost.append(result)
                    del running[result.label]
                    waiting = iter(())  # those that run are worth their wait
                else:
                    del running[f"trial {result.number}"]
                    yield result
    if lost:
        raise RunError(f"{lost[0]}; the same command continues the study")


def _task(
    study: Study, number: int, running: Sequence[Point], threads: int | None, shown: bool
) -> Task:
    """The trial that comes next."""
    plan: Plan = study.plan
    if plan.sampler == "TPE":
        point = propose(plan.space, plan.seed, number, study.scored(), running)
    else:
        point = plan.space.combinations()[number]
    overrides, configs, failed = plan.space.overrides(point), tuple[Config, ...](), ""
    try:
        configs = tuple(load(plan.path, [*overrides, f"seed={seed}"]) for seed in plan.seeds)
    except ConfigError as error:
        failed = one_line(error)
    told = (plan.objective, commit(), threads, shown, plan.scores_alone)
    return Task(number, point, configs, failed, *told)
