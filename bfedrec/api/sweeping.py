"""`sweep`: an experiment at many settings and seeds, as a frame with a row per run."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from bfedrec.api.making import Interrupted, make
from bfedrec.api.notebook import display_of
from bfedrec.api.options import Source, overrides_of, read_config
from bfedrec.config.load import config_hash, dump
from bfedrec.config.schema import Config
from bfedrec.config.yaml_core import ConfigError
from bfedrec.files import write_text
from bfedrec.runs.folder import RUNS, RunError, default_path, finished, read_summary, stopped
from bfedrec.runs.progress import Progress
from bfedrec.runs.same_data import SameData
from bfedrec.sweeps.job import Ended, Job, ended_of
from bfedrec.sweeps.registry import engine_of
from bfedrec.sweeps.sweep import check_data, ended, idle_option

if TYPE_CHECKING:  # slow to load
    import pandas as pd

Setting: TypeAlias = Mapping[str, Any]
"""Values by option, as a program gives them."""

CONFIGS = "configs"
"""Folder, beside the runs, of the configs that engines read."""
HERE = "here"
"""The engine that is this process itself."""


def sweep(
    config: Source,
    grid: Mapping[str, Iterable[Any]] | None = None,
    seeds: Iterable[int] = range(5),
    jobs: int | None = None,
    engine: str = "processes",
    out: str | Path | None = None,
    progress: bool = True,
    **options: Any,
) -> pd.DataFrame:
    """Make an experiment's runs at every setting of a grid with every seed; a row per run.

    ``grid``: values by option, as ``{"model.rank": [1, 2, 4]}``. ``jobs``: runs at a time, each in
    a process of its own. ``engine``: as of `bfedrec sweep --engine`, or "here": this process makes
    one run after the other, which starts nothing and knows the parts that the program itself
    defines, as in a notebook's cell. ``out``: the folder of the runs, by default results/runs,
    where runs that are there already are used and unfinished ones continued. ``progress``: False
    prints nothing. ``options``: as of `read_config`.

    A row has the options of the grid, the seed, the run's folder, its state (finished, forked or
    stalled) and the figures of its summary. A setting or a seed that is given twice has one row, as
    it is one run. The column of an option that a figure is named like, ``rounds``, is the option's.
    Raises ConfigError for a wrong option, and
    `bfedrec.runs.folder.RunError` if a run failed, when all others are made, or if runs of one
    setting were made on different data.
    """
    base = read_config(config, **options)
    place = RUNS if out is None else Path(out)
    planned = list(_planned(base, grid or {}, list(seeds), place))
    lacking = [job for _, job in planned if not ended(job.path)]
    done = len(planned) - len(lacking)
    failures: list[str] = []

    def tell(job: Job, how: Ended) -> None:
        nonlocal done
        done += 1
        if how.status:
            failures.append(f"{job.path}: {how.outcome}")
        if progress:
            print(f"[{done}/{len(planned)}] {job.label}: {how.outcome}", flush=True)

    if engine == HERE:
        if jobs not in (None, 1):
            raise ConfigError(f"jobs: {jobs}: engine {HERE!r} makes one run at a time")
        _runs_here(lacking, tell)
    else:
        with engine_of(engine, jobs) as made_by:
            made_by.runs(lacking, tell)
    if failures:
        raise RunError(f"{len(failures)} of {len(planned)} runs failed; the first: {failures[0]}")
    by_setting: dict[str, list[Path]] = {}
    for setting, job in planned:
        by_setting.setdefault(repr(setting), []).append(job.path)
    for paths in by_setting.values():
        check_data(path for path in paths if ended(path))
    return _frame(planned)


def _runs_here(jobs: Sequence[Job], tell: Callable[[Job, Ended], None]) -> None:
    """Make runs in this process, in their order; a run that fails keeps none from being made."""
    for job in jobs:
        began, status, told = time.perf_counter(), 0, ""
        try:
            config = read_config(job.config, *job.overrides, seed=job.seed)
            make(config, job.path, _unseen, resume=True)
        except Interrupted as stopped:
            raise KeyboardInterrupt(f"interrupted; the same call goes on {stopped.path}") from None
        except Exception as error:
            status, told = 1, str(error)
        tell(job, ended_of(job, status, time.perf_counter() - began, told))


def _unseen(rounds: int, log: Callable[[str], None], unit: str) -> Progress:
    return display_of(rounds, log, unit, shown=False)


def _planned(
    base: Config, grid: Mapping[str, Iterable[Any]], seeds: list[int], place: Path
) -> Iterator[tuple[Setting, Job]]:
    """The varied options and the job of every run. Writes the base's config, which the commands
    that make the runs read."""
    for key in grid:
        if key in ("seed", "name"):
            raise ConfigError(f"grid: {key}: not an axis of a sweep; use seeds")
    if not seeds:
        raise ConfigError("seeds: expected one or more")
    path = place / CONFIGS / f"{base.name}-{config_hash(base)[:8]}.yaml"
    settings = [
        dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())
    ]
    words = {number: tuple(overrides_of(setting)) for number, setting in enumerate(settings)}
    configs = [
        (setting, words[number], seed, read_config(base, *words[number], seed=seed))
        for number, setting in enumerate(settings)
        for seed in seeds
    ]
    jobs: dict[Path, tuple[Config, Setting, Job]] = {}  # a run is made, and told, once
    for setting, changes, seed, config in configs:
        job = Job(path, changes, seed, default_path(config, place))
        known, *_ = jobs.setdefault(job.path, (config, setting, job))
        idle = idle_option(config, known)
        if idle:
            raise ConfigError(f"grid: {idle}: not an axis of a sweep, as no result depends on it")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, dump(base))
    same = SameData()
    for one, chosen, job in jobs.values():
        if ended(job.path):
            same.check(job.path, one)
        yield chosen, job


def _frame(planned: list[tuple[Setting, Job]]) -> pd.DataFrame:
    import pandas as pd

    rows = []
    for setting, job in planned:
        state = "finished" if finished(job.path) else "lost"
        figures = dict(read_summary(job.path)) if finished(job.path) or stopped(job.path) else {}
        state = str(figures.get("stopped", state))
        row = {**setting, "seed": job.seed, "path": str(job.path), "state": state}
        # The option keeps its column: a run that stopped, or ended early, has other rounds.
        rows.append(row | {name: value for name, value in figures.items() if name not in row})
    return pd.DataFrame(rows)
