"""Making the runs that artefacts lack: those of many experiments as one piece of work.

A run that is recorded is not made again, however many experiments need it, and one whose folder
holds it already is only recorded. An experiment is recorded when the last of its runs has ended, so
whoever is interrupted goes on with the same command.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from bfedrec.report.artefact import Experiment
from bfedrec.runs.progress import duration
from bfedrec.sweeps.engine import Engine
from bfedrec.sweeps.job import Ended, Job
from bfedrec.sweeps.recorded import Recorded, place_of, read, record
from bfedrec.sweeps.sweep import Sweep, ended, jobs_of, parse_seeds, plan

Key = tuple[str, int]
"""A run's config hash and seed."""
Known = dict[Key, Recorded]


@dataclass
class _Part:
    """An experiment of which something is to be recorded."""

    sweep: Sweep
    compact: bool
    jobs: list[Job]
    """The runs that are to be made."""
    seconds: list[float]
    """The seconds that each of its known runs took."""
    left: int = field(init=False)
    """The number of its jobs that have not ended."""
    recorded: bool = False

    def __post_init__(self) -> None:
        self.left = len(self.jobs)


def make_missing(
    experiments: Sequence[Experiment], folder: Path, engine: Engine, tell: Callable[[str], None]
) -> int:
    """Have an engine make the runs of these experiments that are not recorded below a folder, and
    record them there as `bfedrec sweep --record` would; `tell` gets a line per run.

    Returns 0, or the exit status of the first run that failed; the others are made all the same.
    Raises `ConfigError`, `RunError` (before any run also for a place that another sweep has taken);
    KeyboardInterrupt is passed on to the runs.
    """
    known = _known(folder)
    needed, parts = _parts(experiments, known)
    for part in parts:
        place_of(part.sweep, folder)  # is it free? Better asked before the runs than after
    by_job = {job.path: part for part in parts for job in part.jobs}
    done = needed - len(by_job)
    if by_job:
        left = _left(parts, engine.at_once)
        tell(f"{len(by_job)} of {needed} runs are to be made, {engine.at_once} at a time{left}")

    def told(job: Job, how: Ended) -> None:
        nonlocal done
        done += 1
        part = by_job[job.path]
        part.left -= 1
        if ended(job.path):
            part.seconds.append(how.seconds)
        left = _left(parts, engine.at_once)
        tell(f"[{done}/{needed}] {job.config} {job.label}: {how.outcome}{left}")
        _record_ended(parts, folder)

    _record_ended(parts, folder)
    return engine.runs([job for part in parts for job in part.jobs], told)


def _known(folder: Path) -> Known:
    return {(run.config_hash, run.config.seed): run for run in read(folder)}


def _parts(experiments: Sequence[Experiment], known: Known) -> tuple[int, list[_Part]]:
    """The number of different runs that are needed, and the experiments that lack one."""
    claimed: dict[Key, Path] = {}
    parts = []
    for experiment, seeds in _merged(experiments).items():
        sweep = _at(plan(experiment.config, experiment.grid, seeds, None), claimed)
        missing, lacks = [], False
        for setting in sweep.settings:
            for seed, path in setting.runs.items():
                key = (setting.config_hash, seed)
                lacks |= key not in known and key not in claimed
                if key not in claimed and key not in known:
                    missing.append(path)
                claimed.setdefault(key, path)
        if not lacks:
            continue
        jobs = [job for job in jobs_of(sweep) if job.path in missing and not ended(job.path)]
        took = [
            float(run.summary["wall_seconds"])
            for setting in sweep.settings
            for seed in setting.runs
            if (run := known.get((setting.config_hash, seed))) and "wall_seconds" in run.summary
        ]
        parts.append(_Part(sweep, experiment.compact, jobs, took))
    return len(claimed), parts


def _merged(experiments: Sequence[Experiment]) -> dict[Experiment, list[int]]:
    """The experiments without repetition, each with all seeds that are asked of it."""
    merged: dict[Experiment, dict[int, None]] = {}
    for one in experiments:
        seeds = merged.setdefault(replace(one, seeds=""), {})
        seeds.update(dict.fromkeys(parse_seeds(one.seeds)))
    return {one: sorted(seeds) for one, seeds in merged.items()}


def _record_ended(parts: Sequence[_Part], folder: Path) -> None:
    """Record, in their order, the experiments before the first that has not ended: a later one may
    share runs with an earlier one."""
    for part in parts:
        if part.left:
            return
        if part.recorded:
            continue
        part.recorded = True
        sweep = part.sweep
        if not part.compact:
            kept = {key: run.source for key, run in _known(folder).items() if run.source.is_dir()}
            sweep = _at(sweep, kept)
        record(sweep, folder, part.compact)


def _at(sweep: Sweep, places: Mapping[Key, Path]) -> Sweep:
    """The sweep with these folders in the place of its runs'."""
    settings = []
    for setting in sweep.settings:
        runs = {
            seed: places.get((setting.config_hash, seed), path)
            for seed, path in setting.runs.items()
        }
        settings.append(replace(setting, runs=runs))
    return replace(sweep, settings=settings)


def _left(parts: Sequence[_Part], at_once: int) -> str:
    """An estimate of the time left, in words: each run as long as the others of its experiment, or
    as all that are known; empty if nothing is left, or known."""
    known = [seconds for part in parts for seconds in part.seconds]
    left = sum(part.left for part in parts)
    if not known or not left:
        return ""
    usual = sum(known) / len(known)
    seconds = sum(
        part.left * (sum(part.seconds) / len(part.seconds) if part.seconds else usual)
        for part in parts
    )
    return f"; about {duration(seconds / min(at_once, left))} left"
