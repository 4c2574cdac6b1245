"""Recorded runs: what is small of them, kept under version control, and read again for figures.

A sweep is recorded as a folder: its table, and of every run that ended (finished, or stopped where
its servers could not go on) a folder with its config, manifest, metrics, summary and ranks. A sweep
of many small runs is rather recorded as ``runs.jsonl``, a line per run, beside one config and one
manifest for all.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from bfedrec.config import ConfigError, changed, config_hash, dump, load, parse
from bfedrec.ranks import Ranks
from bfedrec.ranks import read as read_ranks
from bfedrec.runs import RunError, finished, read_json, read_metrics, stopped, write_text
from bfedrec.section import flatten
from bfedrec.settings import Config
from bfedrec.sweeps import Sweep

WHOLE = (
    "config.yaml",
    "manifest.json",
    "summary.json",
    "stopped.json",
    "metrics.jsonl",
    "ranks.npz",
)
COMPACT = "runs.jsonl"
SEED = re.compile(r"^seed: [0-9]+$", re.MULTILINE)


@dataclass(frozen=True)
class Recorded:
    """A run that was recorded, or a run folder read as if it were."""

    source: Path
    """The run's folder, or the file with its line."""
    config: Config
    summary: dict[str, Any]
    """What it came to, at its end or where it stopped."""
    metrics: tuple[dict[str, Any], ...] = ()
    """A line per evaluated round; none in a compact record."""

    @cached_property
    def config_hash(self) -> str:
        """Of its config as it is read today: an option that is new has its default."""
        return config_hash(self.config)

    @cached_property
    def ranks(self) -> Ranks | None:
        """How high each user's test item ranks; None in a compact record, or one of an earlier
        version. Raises `RunError` for a file that cannot be read."""
        return read_ranks(self.source)

    @property
    def stopped(self) -> bool:
        """Whether it ended because its servers could not agree on another block."""
        return "stopped" in self.summary


def record(sweep: Sweep, folder: Path, compact: bool = False) -> Path:
    """Record a sweep, whose table is written, in `folder`/NAME; returns that folder. What of it is
    recorded below `folder` already stays where it is."""
    place = folder / sweep.folder.name
    place.mkdir(parents=True, exist_ok=True)
    ended = [
        (setting.overrides, seed, path)
        for setting in sweep.settings
        for seed, path in setting.runs.items()
        if finished(path) or stopped(path)
    ]
    if compact:
        _record_lines(sweep, [path for _, _, path in ended], place)
        return place
    for name in ("sweep.csv", "sweep.json"):
        shutil.copyfile(sweep.folder / name, place / name)
    for _, _, path in ended:
        if path.is_relative_to(folder):
            continue
        (place / path.name).mkdir(exist_ok=True)
        for name in WHOLE:
            if (path / name).exists():
                shutil.copyfile(path / name, place / path.name / name)
            else:
                (place / path.name / name).unlink(missing_ok=True)
    return place


def _record_lines(sweep: Sweep, runs: Sequence[Path], place: Path) -> None:
    """What a run's config says otherwise than the first one's, and its summary, a line for each."""
    if not runs:
        return
    shutil.copyfile(runs[0] / "manifest.json", place / "manifest.json")
    base = load(runs[0] / "config.yaml")
    write_text(place / "config.yaml", dump(base))
    common = flatten(base)
    lines = []
    for path in runs:
        config = flatten(load(path / "config.yaml"))
        changed = [
            f"{key}={json.dumps(value)}" for key, value in config.items() if value != common[key]
        ]
        lines.append(json.dumps({"overrides": changed, **_summary(path)}, allow_nan=False) + "\n")
    write_text(place / COMPACT, "".join(lines))


def _summary(path: Path) -> dict[str, Any]:
    return read_json(path / ("summary.json" if finished(path) else "stopped.json"))


def read(folder: Path) -> Iterator[Recorded]:
    """Every run recorded anywhere below a folder, but for those of an earlier version whose options
    are no more. Raises `RunError` for what cannot be read."""
    known: dict[str, Config] = {}
    for path in sorted(folder.rglob("config.yaml")):
        place = path.parent
        try:
            config = _config(path, known)
        except ConfigError:
            continue
        if finished(place) or stopped(place):
            yield Recorded(place, config, _summary(place), tuple(read_metrics(place)))
        elif (place / COMPACT).exists():
            yield from _read_lines(place, config)


def _config(path: Path, known: dict[str, Config]) -> Config:
    """The config in a file, where the runs of one setting differ in a line, their seed: YAML takes
    most of the time, and is read once for all of them. Raises `ConfigError`."""
    text = path.read_text(encoding="utf-8")
    seed = SEED.search(text)
    if seed is None:
        return parse(text, str(path))
    rest = text[: seed.start()] + text[seed.end() :]
    if rest not in known:
        known[rest] = parse(text, str(path))
    return changed(known[rest], [seed[0].replace(": ", "=")], str(path))


def _read_lines(place: Path, base: Config) -> Iterator[Recorded]:
    source = place / COMPACT
    for number, text in enumerate(source.read_text(encoding="utf-8").splitlines(), 1):
        try:
            line = json.loads(text)
            overrides = line.pop("overrides")
        except (ValueError, KeyError, AttributeError):
            raise RunError(f"{source}, line {number}: not a recorded run") from None
        yield Recorded(source, changed(base, overrides, f"{source}, line {number}"), line)
