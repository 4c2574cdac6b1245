"""Several runs side by side: grouped over their seeds, with intervals, and what differs in their
configs.

Runs of one config hash are a group. A group's figures have the mean over its seeds and Student's t
interval (95 %), as a sweep's table has them (`bfedrec.evaluation.intervals`); its curves have the
same at every height that all its runs scored. Differences are to the first group. For HR@K and
NDCG@K of test items, where all runs of both groups keep their users' ranks, the interval of the
difference pairs users and covers both users and seeds (`bfedrec.evaluation.statistics`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Final

import numpy as np

from bfedrec.config.load import NOT_HASHED, changed, config_hash, differences, parse
from bfedrec.config.schema import Config
from bfedrec.config.yaml_core import MOST_BYTES, ConfigError
from bfedrec.evaluation.intervals import Interval, t_interval
from bfedrec.evaluation.metrics import compared
from bfedrec.explorer.catalogue import Run
from bfedrec.explorer.curves import Curves
from bfedrec.explorer.reading import open_file, read_file
from bfedrec.plugins import PluginError
from bfedrec.runs.folder import RunError
from bfedrec.runs.ranks import FILE as RANKS
from bfedrec.runs.ranks import read as read_ranks
from bfedrec.section import flatten
from bfedrec.sweeps.recorded import SEED

CONFIDENCE: Final = 0.95
KEPT: Final = 128
"""Parsed configs that are kept in memory."""


@dataclass(frozen=True)
class Member:
    """A run that is compared."""

    run: Run
    folder: Path
    config: Config | None
    """None where this version cannot read it."""
    told: str = ""
    """The reason, one line."""


@dataclass(frozen=True)
class Group:
    """The runs of one setting, which differ in their seeds."""

    identity: str
    """Their config hash, hex."""
    members: tuple[Member, ...]

    @property
    def config(self) -> Config | None:
        """The config of any of them."""
        return self.members[0].config

    @property
    def name(self) -> str:
        """The name in its config, and the first digits of its hash."""
        name = self.members[0].run.options.name or self.members[0].run.name
        return f"{name} {self.identity[:8]}" if self.identity else name

    @property
    def seeds(self) -> list[int]:
        """The seeds of its runs, ascending."""
        return sorted(each.run.options.seed or 0 for each in self.members)


@dataclass(frozen=True)
class Difference:
    """A figure's difference between a group and the first one."""

    mean: float
    low: float | None = None
    high: float | None = None
    """Bounds of the interval over users and seeds; None where it is not known."""


@dataclass(frozen=True)
class Row:
    """One figure of all groups."""

    name: str
    cells: tuple[tuple[Interval | None, Difference | None], ...]
    """Per group its interval, None if a run lacks the figure, and its difference to the first."""


@dataclass(frozen=True)
class Band:
    """A figure of a group at each height that all its runs scored."""

    heights: tuple[float, ...]
    values: Mapping[str, tuple[Interval, ...]]
    """By figure, over the seeds; axes are among the figures, under the names of `AXES`."""


def config_of(folder: Path) -> Config:
    """The config of a run's folder; raises `RunError`."""
    try:
        text = read_file(folder / "config.yaml", MOST_BYTES).decode()
        seed = SEED.search(text)
        if seed is None:
            return _parsed(text)
        rest = _parsed(text[: seed.start()] + text[seed.end() :])
        return changed(rest, [seed[0].replace(": ", "=")], "config.yaml")
    except FileNotFoundError:
        raise RunError("config.yaml: no such file") from None
    except UnicodeDecodeError:
        raise RunError("config.yaml: not a text in UTF-8") from None
    except (ConfigError, PluginError) as error:
        raise RunError(str(error)) from None


@lru_cache(maxsize=KEPT)
def _parsed(text: str) -> Config:
    """The config in a text. It takes 20 ms, and runs of one setting differ in the seed's line
    alone."""
    return parse(text, "config.yaml")


def member(run: Run, folder: Path) -> Member:
    """A run with its config, as far as it can be read."""
    try:
        return Member(run, folder, config_of(folder))
    except RunError as error:
        return Member(run, folder, None, str(error))


def grouped(members: Sequence[Member]) -> list[Group]:
    """The runs by setting, in the order of the first of each; one of a config that cannot be read
    goes by the hash in its manifest."""
    found: dict[str, list[Member]] = {}
    for each in members:
        own = each.run.config_hash if each.config is None else config_hash(each.config)
        found.setdefault(own or each.run.address, []).append(each)
    return [Group(identity, tuple(group)) for identity, group in found.items()]


def changes(groups: Sequence[Group]) -> list[tuple[str, list[object]]]:
    """The options in which the groups differ: dotted key, and the value of each group; a group
    whose config cannot be read has None throughout. Seeds and names do not count."""
    known = [group.config for group in groups if group.config is not None]
    keys: dict[str, None] = {}
    for config in known[1:]:
        keys |= dict.fromkeys(differences(known[0], config))
    flat = [{} if group.config is None else flatten(group.config) for group in groups]
    wanted = [key for key in flatten(known[0]) if key in keys] if known else []
    return [(key, [one.get(key) for one in flat]) for key in wanted if key not in NOT_HASHED]


def rows(groups: Sequence[Group]) -> list[Row]:
    """The figures of all groups' finished and stopped runs, in the order in which summaries have
    them."""
    found = [[each.run for each in group.members if each.run.ended] for group in groups]
    names: dict[str, None] = {}
    for run in (run for runs in found for run in runs):
        numbers = (name for name, value in run.figures.items() if not isinstance(value, str))
        names |= dict.fromkeys(numbers)
    ranks = _Ranks()
    return [Row(name, tuple(_cells(name, groups, found, ranks))) for name in names]


def _cells(
    name: str, groups: Sequence[Group], found: Sequence[Sequence[Run]], ranks: _Ranks
) -> list[tuple[Interval | None, Difference | None]]:
    intervals = [_interval(name, runs) for runs in found]
    cells: list[tuple[Interval | None, Difference | None]] = []
    for place, interval in enumerate(intervals):
        first = intervals[0]
        difference = None
        if place and interval and first:
            difference = _paired(name, groups[place], groups[0], ranks) or Difference(
                interval.mean - first.mean
            )
        cells.append((interval, difference))
    return cells


def _interval(name: str, runs: Sequence[Run]) -> Interval | None:
    values = [value for run in runs if (value := run.number(name)) is not None]
    return t_interval(values, CONFIDENCE) if values and len(values) == len(runs) else None


def _paired(name: str, group: Group, first: Group, known: _Ranks) -> Difference | None:
    """The lead of a group over the first in a metric of test items, over users and seeds; None
    where ranks lack or the data differ."""
    metric, at, k = name.partition("@")
    kind = compared().get(metric)
    ours, theirs = group.config, first.config
    if not at or not k.isdecimal() or kind is None or ours is None or theirs is None:
        return None
    if ours.data != theirs.data:
        return None
    scores = []
    for each in (group, first):
        ranks = [known.of(one.folder) for one in each.members if one.run.ended]
        found = [
            np.where(rank >= 0, kind.of(np.maximum(rank, 0), int(k)), np.nan)
            for rank in ranks
            if rank is not None
        ]
        if len(found) < len(ranks) or len({one.size for one in found}) != 1:
            return None
        scores.append(np.stack(found))
    if scores[0].shape[1] != scores[1].shape[1]:
        return None
    both = ~np.isnan(np.concatenate(scores)).any(axis=0)
    if both.sum() < 2:
        return None
    from bfedrec.evaluation.statistics import crossed_difference  # SciPy is slow to load

    estimate = crossed_difference(scores[0][:, both], scores[1][:, both])
    interval = estimate.interval(CONFIDENCE)
    return Difference(interval.mean, interval.low, interval.high)


class _Ranks:
    """The ranks of runs' users among the sampled negatives, each file read once."""

    def __init__(self) -> None:
        self._known: dict[Path, np.ndarray | None] = {}

    def of(self, folder: Path) -> np.ndarray | None:
        """The ranks in a run's folder; None if there are none that can be read."""
        if folder not in self._known:
            try:
                open_file(folder / RANKS).close()  # no link, no FIFO
                ranks = read_ranks(folder)
            except (RunError, OSError):
                ranks = None
            self._known[folder] = None if ranks is None else ranks.rank
        return self._known[folder]


def band(curves: Sequence[Curves], names: Sequence[str], most: int) -> Band:
    """The figures of a group's runs at the heights that all of them scored, ``most`` of them at
    most: mean and interval over the runs. A figure that a run lacks somewhere is left out."""
    places = [
        {height: place for place, height in enumerate(each.columns.get("height", ()))}
        for each in curves
    ]
    common = [height for height in places[0] if all(height in each for each in places[1:])]
    step = max(1, -(-len(common) // most))
    common = common[(len(common) - 1) % step :: step] if common else []
    chosen = [[place[height] for height in common] for place in places]
    values = {}
    for name in names:
        series = [each.named(name) for each in curves]
        if any(one is None for one in series) or not common:
            continue
        runs = [[one[place] for place in at] for one, at in zip(series, chosen, strict=True) if one]
        if any(map(math.isnan, chain.from_iterable(runs))):
            continue
        if len(runs) == 1:  # of many runs of a comparison; there is nothing to compute
            values[name] = tuple(Interval(1, value, None, None) for value in runs[0])
        else:
            columns = zip(*runs, strict=True)
            values[name] = tuple(t_interval(column, CONFIDENCE) for column in columns)
    return Band(tuple(common), values)
