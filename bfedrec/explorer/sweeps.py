"""Sweeps as their folders tell of them: sweep.json, and runs.jsonl of a compact record
(`bfedrec.sweeps.recorded`)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bfedrec.evaluation.intervals import Interval
from bfedrec.explorer.reading import json_object, read_file
from bfedrec.runs.figures import Figures, Stop, count, figures_from, number, text
from bfedrec.runs.folder import MOST_LINES, RunError
from bfedrec.sweeps.job import setting_label

TABLE: Final = "sweep.json"
COMPACT: Final = "runs.jsonl"
LINES: Final = "sweep.csv"
MOST_TABLE: Final = 2**24
"""Longest table that is read, in bytes; one of a hundred settings has a megabyte."""
MOST_SETTINGS: Final = 4096
MOST_RUNS: Final = 10_000
"""Most runs of a setting, or lines of a compact record, that are read."""


@dataclass(frozen=True)
class SweepSetting:
    """One setting of a sweep, with the figures of its runs."""

    overrides: tuple[str, ...]
    config_hash: str
    runs: Mapping[int, str]
    """Name of the finished run's folder by seed."""
    stops: Mapping[int, tuple[str, Stop]]
    """Name of the folder, and the end, of the stopped run by seed."""
    figures: Mapping[str, Interval]
    """Student's t interval over the seeds, of each figure."""


@dataclass(frozen=True)
class SweepTable:
    """The table of a sweep."""

    confidence: float
    settings: tuple[SweepSetting, ...]

    @property
    def shared(self) -> tuple[str, ...]:
        """The overrides that all of several settings have: they tell none from another."""
        first, *others = [setting.overrides for setting in self.settings] or [()]
        return tuple(each for each in first if others and all(each in other for other in others))

    def label(self, setting: SweepSetting) -> str:
        """A setting's overrides as text, without those that all settings have."""
        shared = self.shared
        return setting_label([each for each in setting.overrides if each not in shared])

    @property
    def run_names(self) -> frozenset[str]:
        """The names of the folders of all its runs."""
        stopped = (name for each in self.settings for name, _ in each.stops.values())
        return frozenset(
            [*(name for each in self.settings for name in each.runs.values()), *stopped]
        )


@dataclass(frozen=True)
class CompactRun:
    """A run of which a line is all that was recorded."""

    overrides: tuple[str, ...]
    """The options in which it differs from the config.yaml beside."""
    figures: Figures


def read_table(folder: Path) -> SweepTable:
    """The table in FOLDER/sweep.json; raises `RunError`, and FileNotFoundError without one."""
    document = json_object(read_file(folder / TABLE, MOST_TABLE), TABLE)
    try:
        settings = _list(document["settings"], MOST_SETTINGS)
        return SweepTable(number(document, "confidence"), tuple(map(_setting, settings)))
    except (KeyError, ValueError) as error:
        raise RunError(
            f"{TABLE}: not a sweep's table: {' '.join(str(error).split())[:120]}"
        ) from None


def read_compact(folder: Path) -> tuple[CompactRun, ...]:
    """The lines of FOLDER/runs.jsonl, `MOST_RUNS` at most; raises `RunError`, and
    FileNotFoundError without one."""
    return tuple(_compact(read_file(folder / COMPACT, MOST_LINES)))


def count_compact(folder: Path) -> int:
    """The number of lines of FOLDER/runs.jsonl; raises as `read_compact`."""
    return read_file(folder / COMPACT, MOST_LINES).count(b"\n")


def _compact(content: bytes) -> Iterator[CompactRun]:
    for place, line in enumerate(content.splitlines()[:MOST_RUNS], 1):
        told = f"{COMPACT}, line {place}"
        value = json_object(line, told)
        try:
            overrides = _texts(value.pop("overrides"))
            yield CompactRun(overrides, figures_from(value))
        except (KeyError, ValueError) as error:
            raise RunError(f"{told}: not a recorded run: {error}") from None


def _setting(node: object) -> SweepSetting:
    setting = _map(node)
    stops = {
        _seed(seed): (text(stop, "run"), _stop(stop))
        for seed, stop in ((seed, _map(stop)) for seed, stop in _map(setting["stopped"]).items())
    }
    return SweepSetting(
        _texts(setting["overrides"]),
        text(setting, "config_hash"),
        {_seed(seed): _text(name) for seed, name in _map(setting["runs"]).items()},
        stops,
        {name: _interval(_map(found)) for name, found in _map(setting["figures"]).items()},
    )


def _stop(node: Mapping[str, object]) -> Stop:
    return Stop(
        text(node, "how"), count(node, "rounds"), count(node, "height"), text(node, "because")
    )


def _interval(node: Mapping[str, object]) -> Interval:
    known = figures_from({name: value for name, value in node.items() if value is not None})
    low, high = (None if node[name] is None else number(known, name) for name in ("low", "high"))
    return Interval(count(known, "n"), number(known, "mean"), low, high)


def _seed(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise ValueError(f"{text[:40]!r} is no seed")
    return int(text)


def _map(node: object) -> Mapping[str, object]:
    if not isinstance(node, dict) or len(node) > MOST_RUNS:
        raise ValueError("expected a map")
    return node


def _list(node: object, most: int) -> list[object]:
    if not isinstance(node, list) or len(node) > most:
        raise ValueError(f"expected a list of at most {most:,}")
    return node


def _text(node: object) -> str:
    if not isinstance(node, str):
        raise ValueError("expected a text")
    return node


def _texts(node: object) -> tuple[str, ...]:
    return tuple(map(_text, _list(node, 1000)))
