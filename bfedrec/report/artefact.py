"""The sources of a table or a figure: experiments, and their runs among the recorded.

An artefact only reads what sweeps have recorded. It names the runs that are missing, and the
command that makes them.
"""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bfedrec.config.schema import Config
from bfedrec.report.table import Table
from bfedrec.runs.figures import number
from bfedrec.sweeps.recorded import Recorded, read
from bfedrec.sweeps.sweep import check_data, parse_seeds, plan

RECORDED = Path("results/reference")
"""The folder in which this repository's own runs are recorded."""


@dataclass(frozen=True)
class Experiment:
    """A sweep whose runs an artefact is made of."""

    config: Path
    grid: tuple[str, ...] = ()
    """The values that the sweep varies, as on its command line."""
    seeds: str = "0"
    compact: bool = False
    """True if it is recorded as a line per run."""

    def changed(self, overrides: Sequence[str], seeds: str | None) -> Experiment:
        """The same experiment with some options changed, and perhaps other seeds."""
        return replace(self, grid=(*overrides, *self.grid), seeds=seeds or self.seeds)

    def command(self, folder: Path) -> str:
        """The command line that makes its runs and records them in a folder."""
        words = ["bfedrec", "sweep", str(self.config), *self.grid, "--seeds", self.seeds]
        words += ["--record", str(folder), *(["--compact"] if self.compact else [])]
        return shlex.join(words)


@dataclass(frozen=True)
class Runs:
    """The recorded runs of one setting, by seed."""

    overrides: tuple[str, ...]
    by_seed: dict[int, Recorded]
    planned: Config | None = None
    """The config that they have to have, but for the seed; None if they were not looked for."""

    @property
    def config(self) -> Config:
        """Of any of them: they differ in the seed. Raises StopIteration where none is recorded, and
        none was looked for."""
        return self.planned or next(iter(self.by_seed.values())).config

    @property
    def protocol(self) -> str:
        """`bft` or `paper`."""
        return self.config.protocol

    @property
    def malicious(self) -> int:
        """The number of malicious servers (of equal stake)."""
        summary = next(iter(self.by_seed.values())).summary
        share = number(summary, "malicious_stake_share")
        return round(share * self.config.servers.count)

    @property
    def finished(self) -> list[Recorded]:
        """The runs that came to their end."""
        return [run for run in self.by_seed.values() if not run.stopped]

    @property
    def stopped(self) -> list[Recorded]:
        """The runs whose servers could not agree on another block."""
        return [run for run in self.by_seed.values() if run.stopped]


@dataclass(frozen=True)
class Found:
    """The recorded runs of some experiments."""

    settings: list[list[Runs]]
    """For each experiment the runs of its settings, in their order."""
    lacking: str
    """The runs that are not recorded, a line for each, and the commands that make them; empty where
    all are there."""


def find(experiments: Sequence[Experiment], folder: Path) -> Found:
    """The runs of experiments among those recorded below a folder. Raises `ConfigError` and
    `RunError`."""
    known = {(run.config_hash, run.config.seed): run for run in read(folder)}
    found: list[list[Runs]] = []
    lacking: list[str] = []
    commands: list[str] = []
    total = 0
    for experiment in experiments:
        settings, before = [], len(lacking)
        sweep = plan(experiment.config, experiment.grid, parse_seeds(experiment.seeds), None)
        for setting in sweep.settings:
            runs = {seed: known.get((setting.config_hash, seed)) for seed in setting.runs}
            total += len(runs)
            lacking += [f"  {setting.label} seed={seed}" for seed, run in runs.items() if not run]
            there = {seed: run for seed, run in runs.items() if run}
            check_data(run.source for run in there.values())
            settings.append(Runs(setting.overrides, there, setting.config))
        if len(lacking) > before:
            commands.append(f"  {experiment.command(folder)}")
        found.append(settings)
    if not lacking:
        return Found(found, "")
    told = [f"{len(lacking)} of {total} runs are not recorded in {folder}:", *lacking[:10]]
    if len(lacking) > 10:
        told.append(f"  and {len(lacking) - 10} more")
    told += ["They are made and recorded by:", *commands]
    return Found(found, "\n".join(told))


@dataclass(frozen=True)
class Request:
    """Of what an artefact is to be made."""

    overrides: tuple[str, ...] = ()
    """Options changed in its experiments."""
    seeds: str | None = None
    """Of their runs, where it is not the experiments' own."""
    records: Path = RECORDED
    """The folder below which runs are recorded."""

    def make(self, name: str) -> str:
        """The command that makes all runs that an artefact lacks, and the artefact."""
        words = ["bfedrec", "make", name, *self.overrides]
        words += ["--seeds", self.seeds] if self.seeds else []
        words += ["--record", str(self.records)] if self.records != RECORDED else []
        return shlex.join(words)


def add_request(parser: argparse.ArgumentParser, names: Iterable[str], out: Path) -> None:
    """Add the arguments of a `Request`, for a command that makes one of the artefacts ``names``
    and by default writes to ``out``."""
    parser.add_argument("name", metavar="NAME", nargs="?", help=f"one of {', '.join(names)}")
    parser.add_argument(
        "overrides",
        metavar="KEY=VALUE",
        nargs="*",
        default=[],
        help="options changed in the experiments, whose runs are then others",
    )
    parser.add_argument("--seeds", help="of the experiments' runs, as 0-4 or 0,3,7")
    parser.add_argument(
        "--from",
        dest="records",
        type=Path,
        default=RECORDED,
        metavar="DIR",
        help=f"where runs were recorded (default: {RECORDED})",
    )
    parser.add_argument("--out", type=Path, default=out, metavar="DIR", help=f"default: {out}")


@dataclass(frozen=True)
class Made:
    """A table, and what there is to say of it."""

    table: Table
    lacking: str = ""
    """A text about missing runs and how to make them; empty if none is missing."""
    wrong: str = ""
    """A text about results that are not as they should be; empty if all are."""
