"""The options that a study varies: ranges and choices on a command line, and the points in them.

    training.item_step=0.01..1:log   a range, on a logarithmic scale
    model.rank=4..32                 a range of integers, as the option is one
    training.loss=bce,softmax        a choice
    rounds=300                       the same at every point

Points of a study with ranges are proposed by Optuna's TPE sampler (Bergstra et al., 2011; Akiba et
al., 2019); a study of choices alone may have all of its combinations instead.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bfedrec.config.help import options
from bfedrec.config.load import load, split_override
from bfedrec.config.schema import Config
from bfedrec.config.yaml_core import COMMAND_LINE, ConfigError
from bfedrec.streams import Streams
from bfedrec.sweeps.sweep import split_values

Value = str | int | float
Point = Mapping[str, Value]
"""A value for every option that varies; that of a choice is its text."""

_NUMBER = r"[-+]?(?:\d+(?:\.(?!\.)\d*)?|\.\d+)(?:[eE][-+]?\d+)?"
_RANGE = re.compile(rf"({_NUMBER})\.\.({_NUMBER})(:log)?")
_INTEGER = re.compile(r"[-+]?\d{1,18}")
_DIGITS = 4
"""Significant digits of a value from a range: more would be copied into configs for nothing."""


@dataclass(frozen=True)
class Range:
    """All numbers from `low` to `high`, both included; integers if both are."""

    key: str
    low: float
    high: float
    log: bool

    @property
    def text(self) -> str:
        """The range as it is written on a command line."""
        return f"{self.low!r}..{self.high!r}{':log' if self.log else ''}"

    @property
    def ends(self) -> tuple[Value, ...]:
        """The two values that have to be allowed."""
        return (self.low, self.high)

    def rounded(self, value: Value) -> Value:
        """A proposed number at `_DIGITS` digits, within the range."""
        if isinstance(value, int | str):
            return value
        return min(max(float(f"{value:.{_DIGITS}g}"), self.low), self.high)


@dataclass(frozen=True)
class Choice:
    """Some values, as they are written on a command line."""

    key: str
    values: tuple[str, ...]

    @property
    def text(self) -> str:
        """The choice as it is written on a command line."""
        return ",".join(self.values)

    @property
    def ends(self) -> tuple[Value, ...]:
        """All values; each has to be allowed."""
        return self.values

    def rounded(self, value: Value) -> Value:
        """A proposed value as it is."""
        return value


Axis = Range | Choice


@dataclass(frozen=True)
class Space:
    """The options that a study varies, and those that it changes for all of its trials."""

    axes: tuple[Axis, ...]
    fixed: tuple[str, ...]
    """Overrides, as `key=value` or `@FILE`."""

    def overrides(self, point: Point) -> list[str]:
        """The overrides of a trial at a point."""
        return [*self.fixed, *(f"{key}={value}" for key, value in point.items())]

    def combinations(self) -> list[Point]:
        """All points of a space of choices. Raises ConfigError for one with a range, of which there
        is no end."""
        for axis in self.axes:
            if isinstance(axis, Range):
                raise ConfigError(f"{COMMAND_LINE}: {axis.key}={axis.text}: a range needs --trials")
        keys = [axis.key for axis in self.axes]
        every = itertools.product(*(axis.ends for axis in self.axes))
        return [dict(zip(keys, values, strict=True)) for values in every]

    def checked(self, path: Path) -> Config:
        """The config in a file at the first value of every axis.

        Raises ConfigError for one that is not allowed, and for an end of a range or a value of a
        choice that is not allowed where the other axes have their first value.
        """
        first = {axis.key: axis.ends[0] for axis in self.axes}
        config = load(path, self.overrides(first))
        for axis in self.axes:
            for value in axis.ends[1:]:
                load(path, self.overrides(first | {axis.key: value}))
        return config


def parse(words: Sequence[str]) -> Space:
    """The space that the words of a command line describe.

    Raises ConfigError for a range that does not rise, that is logarithmic and holds 0 or less, or
    that has an end with a fraction for an option of integers; for a choice with a value twice; for
    a key twice, and for `seed` and `name`, which no trial may choose.
    """
    axes: list[Axis] = []
    fixed, seen = [], set()
    for word in words:
        if word.startswith("@"):
            fixed.append(word)
            continue
        key, text = split_override(word)
        if key in ("seed", "name"):
            raise ConfigError(f"{COMMAND_LINE}: {key}: not an option to tune; use --seeds")
        if key in seen:
            raise ConfigError(f"{COMMAND_LINE}: {key}: given twice")
        seen.add(key)
        axis = _axis(key, text)
        if axis is None:
            fixed.append(f"{key}={text}")
        else:
            axes.append(axis)
    return Space(tuple(axes), tuple(fixed))


def _axis(key: str, text: str) -> Axis | None:
    """The range or choice that a value's text is; None for a single value."""
    found = _RANGE.fullmatch(text.strip())
    if found:
        return _range(key, text.strip(), *found.groups())
    values = split_values(text)
    if len(values) == 1:
        return None
    if len(set(values)) < len(values):
        raise ConfigError(f"{COMMAND_LINE}: {key}={text}: a value is there twice")
    return Choice(key, tuple(values))


def _range(key: str, text: str, low: str, high: str, log: str | None) -> Range:
    where = f"{COMMAND_LINE}: {key}={text}"
    known = options().get(key)
    kinds = known.type.split() if known else []
    ends: list[float] = [float(low), float(high)]
    if "int" in kinds and "float" not in kinds:
        if not _INTEGER.fullmatch(low) or not _INTEGER.fullmatch(high):
            raise ConfigError(f"{where}: expected integers, as {key} is one")
        ends = [int(low), int(high)]
    if not (ends[0] < ends[1] and math.isfinite(ends[0]) and math.isfinite(ends[1])):
        raise ConfigError(f"{where}: expected LOW..HIGH with LOW below HIGH")
    if log and ends[0] <= 0:
        raise ConfigError(f"{where}: a logarithmic range needs a LOW above 0")
    return Range(key, ends[0], ends[1], bool(log))


# -- proposals -------------------------------------------------------------------------------------


def propose(
    space: Space,
    seed: int,
    number: int,
    scored: Sequence[tuple[Point, float]],
    running: Sequence[Point] = (),
) -> Point:
    """The point at which TPE would try next, to have the score as high as it can be.

    `scored` are the points tried so far with their scores, `running` those whose score is not known
    yet. The draw depends on these, `seed` and `number`, that of the trial, and on nothing else: a
    study that is continued proposes what it would have proposed. Raises ConfigError if Optuna is
    not installed.
    """
    try:
        import optuna
    except ImportError:
        told = "tuning needs Optuna: pip install 'bfedrec[tune]' (or give choices and no --trials)"
        raise ConfigError(told) from None
    from optuna.distributions import (
        BaseDistribution,
        CategoricalDistribution,
        FloatDistribution,
        IntDistribution,
    )

    distributions: dict[str, BaseDistribution] = {}
    for axis in space.axes:
        if isinstance(axis, Choice):
            distributions[axis.key] = CategoricalDistribution(axis.values)
        elif isinstance(axis.low, int) and isinstance(axis.high, int):
            distributions[axis.key] = IntDistribution(axis.low, axis.high, log=axis.log)
        else:
            distributions[axis.key] = FloatDistribution(axis.low, axis.high, log=axis.log)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = optuna.samplers.TPESampler(seed=Streams(seed).integer("tuning", number) % 2**32)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    create, states = optuna.trial.create_trial, optuna.trial.TrialState
    known = [(point, score, states.COMPLETE) for point, score in scored]
    for point, score, state in [*known, *((point, None, states.RUNNING) for point in running)]:
        study.add_trial(
            create(state=state, value=score, params=dict(point), distributions=distributions)
        )
    asked = study.ask(distributions).params
    return {axis.key: axis.rounded(asked[axis.key]) for axis in space.axes}
