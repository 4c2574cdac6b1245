"""Sweeps: one experiment at many settings and seeds, each in a process and a run folder of its own.

A run that has ended is used as it is and an unfinished one is resumed, so a sweep that was
interrupted or widened makes only the missing runs. A run whose servers cannot agree on another
block has ended, too: its stop, with height and reason, is its result.
"""

from __future__ import annotations

import csv
import hashlib
import itertools
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bfedrec.config.load import NOT_HASHED, config_hash, differences, load, split_override
from bfedrec.config.schema import Config
from bfedrec.config.yaml_core import COMMAND_LINE, ConfigError
from bfedrec.evaluation.intervals import Interval, t_interval
from bfedrec.runs.figures import LEDGER, Figures, Stop, number
from bfedrec.runs.folder import (
    RunError,
    default_path,
    finished,
    read_json,
    read_stop,
    read_summary,
    stopped,
    write_json,
)
from bfedrec.runs.same_data import SameData
from bfedrec.section import flatten
from bfedrec.sweeps.engine import Engine
from bfedrec.sweeps.job import Ended, Job, setting_label

READABLE_LETTERS = 80
"""Length at which the readable part of a sweep's name is cut; its hash follows."""


@dataclass(frozen=True)
class Setting:
    """One point of a sweep's grid: its overrides, and the run of each seed."""

    overrides: tuple[str, ...]
    config: Config
    """The config of any of its runs, which differ only in the seed."""
    config_hash: str
    runs: dict[int, Path]
    """Run folder by seed."""

    @property
    def label(self) -> str:
        """The overrides as text."""
        return setting_label(self.overrides)


@dataclass(frozen=True)
class Sweep:
    """A validated sweep, before any of its runs."""

    config: Path
    settings: list[Setting]
    name: str
    """Name of its recorded folder: readable, with a hash of the options that the sweep varies,
    without the seeds."""
    folder: Path
    """Folder of its table."""


@dataclass(frozen=True)
class Row:
    """Results of one setting's runs."""

    setting: Setting
    seeds: list[int]
    """Seeds of the finished runs."""
    figures: dict[str, Interval]
    """Interval over these seeds, for every numeric figure that all these runs have."""
    stops: dict[int, Stop]
    """The runs that stopped, by seed."""


def plan(config: Path, grid: Sequence[str], seeds: Sequence[int], out: Path | None) -> Sweep:
    """Plan every setting of `key=a,b,c ...` with every seed; validate all. Raises `ConfigError`.

    `@FOLDER` applies the options of each file in the folder in turn. Runs go to the folders that
    `bfedrec run` chooses, or into `out`; the table goes to a folder beside them, or into `out`.
    """
    axes = [_axis(text) for text in grid]
    settings: dict[str, Setting] = {}
    for overrides in itertools.product(*axes):
        configs = {seed: load(config, [*overrides, f"seed={seed}"]) for seed in seeds}
        paths = {
            seed: default_path(found) if out is None else default_path(found, out)
            for seed, found in configs.items()
        }
        one = next(iter(configs.values()))
        identity = config_hash(one)
        known = settings.setdefault(identity, Setting(overrides, one, identity, paths))
        idle = idle_option(one, known.config)
        if idle:
            told = "not an axis of a sweep, as no result depends on it"
            raise ConfigError(f"{COMMAND_LINE}: {idle}: {told}")
    first = load(config, [*(axis[0] for axis in axes)])
    name = _name(config, grid, list(settings.values()))
    folder = out or default_path(first).parent / f"{first.name}-sweep" / name
    return Sweep(config, list(settings.values()), name, folder)


def idle_option(one: Config, other: Config) -> str:
    """An option, seed and name apart, in which two configs of one hash differ; "" for none. Their
    runs share a folder."""
    return next((key for key in differences(one, other) if key not in ("seed", "name")), "")


def _name(config: Path, grid: Sequence[str], settings: Sequence[Setting]) -> str:
    """A sweep's name: its config's, the options that it changes, and a hash (8 hex digits).

    The hash is of its settings' config hashes, so a sweep has one name however it is written.
    A folder of option files counts by its path instead: the sweep keeps its name with a file more.
    """
    if any(word.startswith("@") and Path(word[1:]).is_dir() for word in grid):
        content = [
            f"@{Path(word[1:]).as_posix()}" if word.startswith("@") else word for word in grid
        ]
        words = [_short(word) for word in content]
    else:
        content = sorted(setting.config_hash for setting in settings)
        words = _changes(config, settings)
    text = json.dumps([config.stem, *content])
    readable = re.sub(r"[^\w.=,+-]", "", "_".join([config.stem, *words]).replace("/", "-"))
    return f"{readable[:READABLE_LETTERS]}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def _short(word: str) -> str:
    """Short form of an axis in a name: a file's name, `key=value`, or `key` for several values."""
    if word.startswith("@"):
        return Path(word[1:]).stem
    key, values = split_override(word)
    return key if len(split_values(values)) > 1 else word


def _changes(config: Path, settings: Sequence[Setting]) -> list[str]:
    """The changed options: as `key` if they differ between settings, else as `key=value`."""
    every = [flatten(setting.config) for setting in settings]
    try:
        own = flatten(load(config))
    except ConfigError:  # it needs some of the sweep's options
        own = every[0]
    words = []
    for key, value in sorted(every[0].items()):
        if key in NOT_HASHED:
            continue
        if any(one[key] != value for one in every):
            words.append(key)
        elif own[key] != value:
            words.append(f"{key}={value if isinstance(value, str) else json.dumps(value)}")
    return words


def _axis(text: str) -> list[str]:
    if text.startswith("@"):  # a file of options, for every setting, or a folder of them
        folder = Path(text[1:])
        return [f"@{path}" for path in sorted(folder.glob("*.yaml"))] or [text]
    key, values = split_override(text)
    if key in ("seed", "name"):
        raise ConfigError(f"{COMMAND_LINE}: {key}: not an axis of a sweep; use --seeds")
    return [f"{key}={value}" for value in split_values(values)]


def split_values(text: str) -> list[str]:
    """Split `a,b,c` at the commas outside of brackets and quotes: `[1,2],[3]` is two values."""
    values, depth, quote = [""], 0, ""
    for letter in text:
        if letter == "," and depth == 0 and not quote:
            values.append("")
            continue
        values[-1] += letter
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "\"'":
            quote = letter
        else:
            depth += (letter in "[{") - (letter in "]}")
    return values


def parse_seeds(text: str) -> list[int]:
    """Seeds from `0-4`, `0,3,7` or a mixture; raises `ConfigError`."""
    seeds: dict[int, None] = {}
    for part in text.split(","):
        low, dash, high = part.strip().partition("-")
        sound = low.isdecimal() and (high.isdecimal() or not dash)
        if not sound or max(len(low), len(high)) > 18:  # digits that a range can have
            raise ConfigError(f"{COMMAND_LINE}: --seeds {text[:80]!r}: expected e.g. 0-4 or 0,3,7")
        numbers = range(int(low), int(high or low) + 1)
        if not numbers or len(numbers) > 10_000:
            raise ConfigError(f"{COMMAND_LINE}: --seeds {text!r}: 1 to 10000 seeds, rising")
        seeds.update(dict.fromkeys(numbers))
    return list(seeds)


def jobs_of(sweep: Sweep) -> list[Job]:
    """All runs of a sweep, in the order of its settings and seeds."""
    return [
        Job(sweep.config, setting.overrides, seed, path)
        for setting in sweep.settings
        for seed, path in setting.runs.items()
    ]


def run(sweep: Sweep, engine: Engine, tell: Callable[[str], None]) -> int:
    """Have an engine make the missing runs; `tell` is called with a line per run.

    Returns a status like `Engine.runs`. A run that stopped has not failed. Raises `RunError` and
    DataError as `SameData.check`, for a run that has ended.
    """
    every, same = jobs_of(sweep), SameData()
    missing = [job for job in every if not ended(job.path)]
    for setting in sweep.settings:
        for path in filter(ended, setting.runs.values()):
            same.check(path, setting.config)
    done = len(every) - len(missing)
    if done:
        tell(f"{done} of {len(every)} runs are finished already")

    def told(job: Job, how: Ended) -> None:
        nonlocal done
        done += 1
        tell(f"[{done}/{len(every)}] {job.label}: {how.outcome}")

    return engine.runs(missing, told)


def ended(path: Path) -> bool:
    """True if a folder holds a run that has ended, finished or stopped. Raises `RunError` for one
    that was learnt without a ledger, which is no run of a sweep."""
    if finished(path) and LEDGER in read_summary(path):
        raise RunError(f"{path}: was learnt without a ledger: sweep in another folder")
    return finished(path) or stopped(path)


def stop_text(stop: Stop) -> str:
    """One line about a stopped run."""
    return f"{stop.outcome} after {stop.rounds} rounds: {stop.because}"


def collect(sweep: Sweep) -> list[Row]:
    """Means over the seeds of every setting's finished runs, and the stopped ones; raises
    `RunError`, also as `check_data`."""
    rows = []
    for setting in sweep.settings:
        runs = setting.runs.items()
        check_data(path for _, path in runs if finished(path) or stopped(path))
        summaries = {seed: read_summary(path) for seed, path in runs if finished(path)}
        stops = {seed: read_stop(path) for seed, path in runs if stopped(path)}
        if summaries or stops:
            figures = _intervals(list(summaries.values())) if summaries else {}
            rows.append(Row(setting, list(summaries), figures, stops))
    return rows


def check_data(runs: Iterable[Path]) -> None:
    """Raise `RunError` for folders of runs of one setting that were made on different data, as of a
    file that was changed between them: they are no sample of one experiment.

    A config names data, but only a run's manifest tells what was in them.
    """
    first: dict[str, Path] = {}
    places: dict[str, Path] = {}
    for path in runs:
        manifest = path / "manifest.json"
        if not manifest.exists():
            continue
        saved = read_json(manifest)
        first.setdefault(str(saved.get("data_digest")), path)
        if "places_digest" in saved:  # of runs that score by recency
            places.setdefault(str(saved["places_digest"]), path)
    for found, what in ((first, "data"), (places, "an order of rows")):
        if len(found) > 1:
            (one, here), (other, there) = [*found.items()][:2]
            raise RunError(
                f"{there}: was made on {what} {other[:12]}..., and {here} on {one[:12]}...: runs "
                "of one setting need the same data; move the older ones, or use another --out"
            )


def _intervals(summaries: Sequence[Figures]) -> dict[str, Interval]:
    names = [
        name
        for name in summaries[0]
        if all(isinstance(summary.get(name), int | float) for summary in summaries)
    ]
    return {name: t_interval([number(one, name) for one in summaries]) for name in names}


def write(sweep: Sweep, rows: Sequence[Row]) -> None:
    """Write the sweep's table to sweep.csv (a line per setting and figure) and sweep.json."""
    sweep.folder.mkdir(parents=True, exist_ok=True)
    with (sweep.folder / "sweep.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["setting", "config_hash", "figure", "n", "mean", "low", "high"])
        writer.writerows(_csv_lines(rows))
    document = [
        {
            "overrides": list(row.setting.overrides),
            "config_hash": row.setting.config_hash,
            "runs": {str(seed): row.setting.runs[seed].name for seed in row.seeds},
            "stopped": {
                str(seed): {
                    "run": row.setting.runs[seed].name,
                    "how": stop.outcome,
                    "rounds": stop.rounds,
                    "height": stop.height,
                    "because": stop.because,
                }
                for seed, stop in row.stops.items()
            },
            "figures": {
                name: {"n": found.n, "mean": found.mean, "low": found.low, "high": found.high}
                for name, found in row.figures.items()
            },
        }
        for row in rows
    ]
    write_json(sweep.folder / "sweep.json", {"confidence": 0.95, "settings": document})


def _csv_lines(rows: Sequence[Row]) -> Iterator[list[str | int | float | None]]:
    for row in rows:
        for name, found in row.figures.items():
            identity = [row.setting.label, row.setting.config_hash, name]
            yield [*identity, found.n, found.mean, found.low, found.high]
        if row.stops:
            heights = t_interval([float(stop.height) for stop in row.stops.values()])
            identity = [row.setting.label, row.setting.config_hash, "stopped_at_height"]
            yield [*identity, heights.n, heights.mean, heights.low, heights.high]
