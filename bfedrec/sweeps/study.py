"""The record of a study: every trial of a search for options, and the budget that it has cost.

A study leaves two files in its folder. NAME.jsonl has a line for every trial that has ended, with
its values, score, figures, seconds and commit. NAME.json is the budget: what was searched, by what,
with how many trials and seconds, and the best of them. Tables print it (`bfedrec.report.budgets`).

A line is on the disk before the next trial begins, so that a kill loses at most the trials that
run. A study is known by its name, which holds a hash of all that its proposals depend on but the
number of trials: the same command with more trials continues it.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import IO, Literal

from bfedrec.config.load import NOT_HASHED
from bfedrec.config.schema import Config
from bfedrec.evaluation.metrics import tunable
from bfedrec.runs.figures import count, figures_from, number, text
from bfedrec.runs.folder import MOST_LINES, RunError, read_json, read_text, write_json
from bfedrec.runs.manifest import ROOT, git_state
from bfedrec.section import flatten
from bfedrec.sweeps.space import Point, Space
from consensus.storage.closing import Closing

TUNING = Path("results/tuning")
"""The folder of this repository's own studies."""

Sampler = Literal["TPE", "all combinations"]


@dataclass(frozen=True)
class Plan:
    """A search for the options with the best mean of a metric on the validation items."""

    path: Path
    """The config's file."""
    config: Config
    """The config at the space's first values."""
    space: Space
    metric: str
    """Name of the metric, as "ndcg" or "ordered_ndcg" (`bfedrec.evaluation.metrics.tunable`)."""
    sampler: Sampler
    seed: int
    """The sampler's seed; 0 for all combinations, which draw nothing."""
    seeds: tuple[int, ...]
    """The seeds of a trial's trainings, over which its score is the mean."""

    @property
    def objective(self) -> str:
        """The figure of a trial that is its score, as "validation_ndcg@10"."""
        return f"validation_{self.metric}@{self.config.evaluation.k}"

    @property
    def scores_alone(self) -> bool:
        """True if its trials differ in how a model is scored, and not in how it is trained."""
        return all(axis.key.startswith("evaluation.") for axis in self.space.axes)

    @property
    def better(self) -> Literal[1, -1]:
        """The sign by which a score counts as high."""
        return 1 if tunable()[self.metric].higher_is_better else -1

    @property
    def name(self) -> str:
        """The study's name: its config's, and a hash (8 hex digits) of what its proposals depend
        on. Values that the config has for the searched options are not among it."""
        usual, searched = flatten(Config()), {axis.key for axis in self.space.axes}
        content = {
            "config": {
                key: value
                for key, value in flatten(self.config).items()
                if key not in (*NOT_HASHED, *searched) and usual.get(key) != value
            },
            "space": {axis.key: axis.text for axis in self.space.axes},
            "by": [self.metric, self.sampler, self.seed, list(self.seeds)],
        }
        text = json.dumps(content, sort_keys=True, allow_nan=False)
        return f"{self.path.stem}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


@dataclass(frozen=True)
class Trial:
    """A trial that has ended."""

    number: int
    """From 0; the point it was made at follows from it and the trials before."""
    point: Point
    seconds: float
    """Wall-clock seconds of all its trainings and evaluations."""
    commit: str
    """The commit of the code, with "-changed" where tracked files differed; empty if unknown."""
    score: float | None
    """None for a trial that failed."""
    figures: Mapping[str, str | int | float] = field(default_factory=dict)
    """Means over its seeds of all figures on the validation items."""
    failed: str = ""
    """The reason why it has no score, one line."""

    def line(self) -> str:
        """The trial as a line of JSON."""
        told = {"failed": self.failed} if self.score is None else {"score": self.score}
        content = {"trial": self.number, "values": self.point, **told, "figures": self.figures}
        content |= {"seconds": self.seconds, "commit": self.commit}
        return json.dumps(content, allow_nan=False) + "\n"

    @classmethod
    def of(cls, line: str) -> Trial:
        """The trial in a line. Raises ValueError for anything else."""
        content = json.loads(line)
        if not isinstance(content, dict):
            raise ValueError("expected a JSON object")
        failed = "failed" in content
        return cls(
            count(content, "trial"),
            figures_from(content.get("values")),
            number(content, "seconds"),
            text(content, "commit"),
            None if failed else number(content, "score"),
            figures_from(content.get("figures")),
            text(content, "failed") if failed else "",
        )


class Study(Closing):
    """A study's record, held by this process from `open` until it is left as a context manager."""

    def __init__(
        self, plan: Plan, folder: Path, file: IO[str], trials: Sequence[Trial], data: str = ""
    ) -> None:
        self.plan = plan
        self.folder = folder
        self.data = data
        """The digest of the data at the space's first values; empty where it is not told."""
        self.trials = list(trials)
        self._file = file

    @classmethod
    def open(cls, plan: Plan, folder: Path, data: str = "") -> Study:
        """Begin the record of a study in a folder, or continue it; ``data`` as of the attribute.

        Raises `RunError` if another process is writing it, its file holds something else, or its
        trials were made on other data, as of a file that has changed since.
        """
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{plan.name}.jsonl"
        file = path.open("a", encoding="utf-8")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            content = read_text(path, MOST_LINES)
            whole = content[: content.rfind("\n") + 1]  # what follows was torn by a kill
            os.truncate(path, len(whole.encode()))
            study = cls(plan, folder, file, list(_trials(whole, path)), data)
            study._check_data()
            study._write_budget()  # a kill may have come between it and the last trial
            return study
        except BaseException as error:
            file.close()
            if isinstance(error, BlockingIOError):
                raise RunError(f"{path}: another process is writing this study") from None
            raise

    def close(self) -> None:
        """Release the record, so that another process may continue the study."""
        self._file.close()

    @property
    def path(self) -> Path:
        """The file with a line for every trial."""
        return self.folder / f"{self.plan.name}.jsonl"

    @property
    def budget_path(self) -> Path:
        """The file with the budget."""
        return self.folder / f"{self.plan.name}.json"

    def lacking(self, trials: int) -> list[int]:
        """The numbers below `trials` of those that have not ended."""
        done = {trial.number for trial in self.trials}
        return [number for number in range(trials) if number not in done]

    def append(self, trial: Trial) -> None:
        """Record a trial that has ended, and the budget with it."""
        self._file.write(trial.line())
        self._file.flush()
        os.fsync(self._file.fileno())
        self.trials.append(trial)
        self._write_budget()

    def ranked(self) -> list[Trial]:
        """The trials with a score, the best first; of equal ones the earlier."""
        scored = [(trial.score, trial) for trial in self.trials if trial.score is not None]
        order = sorted(scored, key=lambda each: (-self.plan.better * each[0], each[1].number))
        return [trial for _, trial in order]

    def scored(self) -> list[tuple[Point, float]]:
        """The points that were tried, in the order of their trials, with their scores so turned
        that high is good. A trial that failed counts like the worst that did not."""
        ended = sorted(self.trials, key=lambda trial: trial.number)
        good = [trial.score * self.plan.better for trial in ended if trial.score is not None]
        worst = min(good, default=0.0)
        return [
            (trial.point, worst if trial.score is None else trial.score * self.plan.better)
            for trial in ended
        ]

    def _check_data(self) -> None:
        """Raise `RunError` where the budget so far names other data."""
        if not self.trials or not self.budget_path.exists():
            return
        known = str(read_json(self.budget_path).get("data") or "")
        if known and self.data and known != self.data:
            raise RunError(
                f"{self.path}: its trials were made on data {known[:12]}..., and those at hand are "
                f"{self.data[:12]}...: give it the same, or use another --out"
            )

    def _write_budget(self) -> None:
        """Write the budget of the trials so far; nothing before the first."""
        if not self.trials:
            return
        plan, ranked = self.plan, self.ranked()
        best = [
            {"trial": trial.number, "score": trial.score, "values": dict(trial.point)}
            for trial in ranked[:1]
        ]
        content: dict[str, object] = {
            "config": _relative(plan.path),
            "fixed": list(plan.space.fixed),
            "space": {axis.key: axis.text for axis in plan.space.axes},
            "objective": plan.objective,
            "seeds": list(plan.seeds),
            "sampler": plan.sampler,
            "optuna": metadata.version("optuna") if plan.sampler == "TPE" else None,
            "seed": plan.seed,
            "data": self.data,
            "trials": len(self.trials),
            "failed": len(self.trials) - len(ranked),
            "seconds": round(sum(trial.seconds for trial in self.trials), 1),
            "best": best[0] if best else None,
            "commits": list(dict.fromkeys(trial.commit for trial in self.trials)),
        }
        write_json(self.budget_path, content)


def _trials(content: str, path: Path) -> Iterator[Trial]:
    for place, line in enumerate(content.splitlines(), 1):
        try:
            yield Trial.of(line)
        except (ValueError, KeyError, RecursionError) as error:
            raise RunError(f"{path}: line {place}: not a trial: {error}") from None


def commit() -> str:
    """The commit of this code, with "-changed" where tracked files differ from it; empty outside a
    repository."""
    state = git_state(ROOT)
    return "" if state is None else state["commit"] + ("-changed" if state["dirty"] else "")


def _relative(path: Path) -> str:
    """A config's path as seen from the working folder; only its name if it lies elsewhere."""
    resolved, here = path.resolve(), Path.cwd()
    inside = resolved.is_relative_to(here)
    return resolved.relative_to(here).as_posix() if inside else resolved.name


# -- reading ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Budget:
    """The recorded cost of a study."""

    config: str
    """The config's path, from the folder in which it was tuned."""
    space: Mapping[str, str]
    """The options that varied, each with its range or choice."""
    fixed: tuple[str, ...]
    """The options that were changed for all trials, as `key=value` or `@FILE`."""
    objective: str
    sampler: str
    seed: int
    seeds: int
    """Number of seeds of a trial's trainings."""
    trials: int
    failed: int
    seconds: float


def budgets(folder: Path) -> list[Budget]:
    """The budgets of all studies recorded in a folder, by the names of their files; none where
    there is no such folder. Raises `RunError` for a file of another kind."""
    return [_read(path) for path in sorted(folder.glob("*.json"))]


def _read(path: Path) -> Budget:
    content = read_json(path)
    try:
        space = figures_from(content.get("space"))
        fixed, seeds = content.get("fixed"), content.get("seeds")
        if not isinstance(fixed, list) or not isinstance(seeds, list):
            raise ValueError("fixed, seeds: expected lists")
        return Budget(
            text(content, "config"),
            {key: text(space, key) for key in space},
            tuple(map(str, fixed)),
            text(content, "objective"),
            text(content, "sampler"),
            count(content, "seed"),
            len(seeds),
            count(content, "trials"),
            count(content, "failed"),
            number(content, "seconds"),
        )
    except ValueError as error:
        raise RunError(f"{path}: not the budget of a study: {error}") from None
