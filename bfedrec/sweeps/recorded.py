"""Recorded runs: the small files of runs, kept under version control and read for tables and
figures.

A sweep is recorded as a folder: its table, and for every run that ended (finished, or stopped when
its servers could not go on) a folder with its config, manifest, metrics, summary and ranks. A sweep
of many small runs can be recorded in a compact form: ``runs.jsonl``, a line per run, beside one
config and one manifest for all, those of the run recorded last.

The folder has the sweep's name, which does not depend on the seeds: runs of other seeds join the
recorded ones.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from bfedrec.config.load import changed, config_hash, dump, load, parse
from bfedrec.config.schema import Config
from bfedrec.config.yaml_core import MOST_BYTES, ConfigError
from bfedrec.files import write_bytes, write_text
from bfedrec.runs.figures import LEDGER, Figures, Stop, figures_from
from bfedrec.runs.folder import (
    MOST_LINES,
    RunError,
    finished,
    read_metrics,
    read_summary,
    read_text,
    stopped,
)
from bfedrec.runs.ranks import Ranks
from bfedrec.runs.ranks import read as read_ranks
from bfedrec.section import flatten
from bfedrec.sweeps.sweep import Sweep, collect, ended, write

MARKS = ("stopped.json", "summary.json")
"""The files that mark a record as there; the others are whole before them."""
WHOLE = ("config.yaml", "manifest.json", "metrics.jsonl", "ranks.npz", *MARKS)
COMPACT = "runs.jsonl"
SEED = re.compile(r"^seed: [0-9]+$", re.MULTILINE)


@dataclass(frozen=True)
class Recorded:
    """A recorded run, or a run folder read as one."""

    source: Path
    """The run's folder, or the file with its line."""
    config: Config
    summary: Figures
    """The run's results, at its end or when it stopped."""
    metrics: tuple[Figures, ...] = ()
    """One entry per evaluated round; empty in a compact record."""

    @cached_property
    def config_hash(self) -> str:
        """Hash of its config as it is read today: options added since have their defaults."""
        return config_hash(self.config)

    @cached_property
    def ranks(self) -> Ranks | None:
        """The rank of each user's test item; None in a compact record or one of an earlier version.

        Raises `RunError` for a file that cannot be read.
        """
        return read_ranks(self.source)

    @property
    def stopped(self) -> bool:
        """True if the run ended because its servers could not agree on another block."""
        return "stopped" in self.summary

    @property
    def stop(self) -> Stop:
        """The end of a stopped run. Raises KeyError for one that finished."""
        return Stop.of(self.summary)


def place_of(sweep: Sweep, folder: Path) -> Path:
    """FOLDER/NAME, the folder for a sweep's record. Raises `RunError` if it holds another sweep's
    run."""
    place = folder / sweep.name
    settings = {setting.config_hash for setting in sweep.settings}
    for run in read(place):
        if run.config_hash not in settings:
            raise RunError(
                f"{run.source}: holds a run of another sweep (config hash {run.config_hash[:8]}): "
                "delete it, or record in another folder"
            )
    return place


def record(sweep: Sweep, folder: Path, compact: bool = False) -> Path:
    """Record a sweep in `folder`/NAME, and return that folder.

    Runs of other seeds that are recorded there stay, and the table covers them too. Runs of the
    sweep that are recorded elsewhere below `folder` stay there. Raises `RunError` as `place_of`.
    """
    place = place_of(sweep, folder)
    place.mkdir(parents=True, exist_ok=True)
    done = [path for setting in sweep.settings for path in setting.runs.values() if ended(path)]
    if compact:
        _record_lines(sweep, done, place)
        return place
    for path in done:
        if path.is_relative_to(folder):
            continue
        _record_run(path, place / path.name)
    recorded = _recorded(sweep, folder, place)
    write(recorded, collect(recorded))
    return place


def _record_run(run: Path, place: Path) -> None:
    """Copy a run's small files. A kill or a full disk in between leaves a record that counts as
    missing, not a half of one, nor a mixture with what was recorded before."""
    place.mkdir(exist_ok=True)
    contents = {name: _content(run / name) for name in WHOLE}
    if contents == {name: _content(place / name) for name in WHOLE}:
        return
    for name in MARKS:
        (place / name).unlink(missing_ok=True)
    for name, content in contents.items():
        if content is None:
            (place / name).unlink(missing_ok=True)
        else:
            write_bytes(place / name, content)


def _content(path: Path) -> bytes | None:
    return path.read_bytes() if path.exists() else None


def _recorded(sweep: Sweep, folder: Path, place: Path) -> Sweep:
    """The sweep with the recorded seeds beside its own, and their runs wherever they are recorded
    below `folder`."""
    known: dict[tuple[str, int], Path] = {}
    here: set[int] = set()
    for run in read(folder):
        inside = run.source.is_relative_to(place)
        key = run.config_hash, run.config.seed
        if run.source.is_dir() and (inside or key not in known):
            known[key] = run.source
            here |= {run.config.seed} if inside else set()
    settings = []
    for setting in sweep.settings:
        seeds = sorted({*setting.runs, *here})
        keys = {seed: (setting.config_hash, seed) for seed in seeds}
        runs = {seed: known[key] for seed, key in keys.items() if key in known}
        settings.append(replace(setting, runs=runs))
    return replace(sweep, settings=settings, folder=place)


def _record_lines(sweep: Sweep, runs: Sequence[Path], place: Path) -> None:
    """Write ``runs.jsonl``: for each run its summary, and the options that differ from the config
    beside.

    The lines are those of `runs`, and of runs of other seeds that have a line already.
    """
    if not runs:
        return
    write_bytes(place / "manifest.json", (runs[0] / "manifest.json").read_bytes())
    there = [run for run in read(place) if run.source == place / COMPACT]
    base = load((place if there else runs[0]) / "config.yaml")
    write_text(place / "config.yaml", dump(base))
    there += [Recorded(path, load(path / "config.yaml"), read_summary(path)) for path in runs]
    by_key = {(run.config_hash, run.config.seed): run for run in there}
    order = [setting.config_hash for setting in sweep.settings]
    common = flatten(base)
    lines = []
    for key in sorted(by_key, key=lambda key: (order.index(key[0]), key[1])):
        config, summary = flatten(by_key[key].config), by_key[key].summary
        says = [
            f"{name}={json.dumps(value)}" for name, value in config.items() if value != common[name]
        ]
        lines.append(json.dumps({"overrides": says, **summary}, allow_nan=False) + "\n")
    write_text(place / COMPACT, "".join(lines))


def read(folder: Path) -> Iterator[Recorded]:
    """Every run recorded anywhere below a folder, except runs with options that no longer exist,
    and what was learnt without a ledger, which is no run.

    Raises `RunError` for files that cannot be read.
    """
    known: dict[str, Config] = {}
    for path in sorted(folder.rglob("config.yaml")):
        place = path.parent
        try:
            config = _config(path, known)
        except ConfigError:
            continue
        if finished(place) or stopped(place):
            summary = read_summary(place)
            if LEDGER not in summary:
                yield Recorded(place, config, summary, tuple(read_metrics(place)))
        elif (place / COMPACT).exists():
            yield from _read_lines(place, config)


def _config(path: Path, known: dict[str, Config]) -> Config:
    """The config in a file.

    Configs of one setting's runs differ only in the seed's line; as YAML takes most of the time, it
    is parsed once for all of them. Raises `ConfigError`.
    """
    text = read_text(path, MOST_BYTES)
    seed = SEED.search(text)
    if seed is None:
        return parse(text, str(path))
    rest = text[: seed.start()] + text[seed.end() :]
    if rest not in known:
        known[rest] = parse(text, str(path))
    return changed(known[rest], [seed[0].replace(": ", "=")], str(path))


def _read_lines(place: Path, base: Config) -> Iterator[Recorded]:
    source = place / COMPACT
    for number, text in enumerate(read_text(source, MOST_LINES).splitlines(), 1):
        try:
            line = json.loads(text)
            overrides = line.pop("overrides")
            figures = figures_from(line)
            if not isinstance(overrides, list) or not all(isinstance(x, str) for x in overrides):
                raise ValueError("overrides are texts")
        except (ValueError, KeyError, AttributeError, TypeError, RecursionError):
            raise RunError(f"{source}, line {number}: not a recorded run") from None
        yield Recorded(source, changed(base, overrides, f"{source}, line {number}"), figures)
