"""RQ3, Byzantine fault tolerance (paper, IV.D): its experiments, and their runs among the recorded.

A figure only reads what sweeps have recorded. It names the runs that are missing, and the command
that makes them.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bfedrec.records import Recorded, read
from bfedrec.settings import Config
from bfedrec.sweeps import parse_seeds, plan


@dataclass(frozen=True)
class Experiment:
    """A sweep whose runs a figure is made of."""

    config: Path
    grid: tuple[str, ...] = ()
    """What the sweep varies, as on its command line."""
    seeds: str = "0"
    compact: bool = False
    """Whether it is recorded as a line per run."""

    def changed(self, overrides: Sequence[str], seeds: str | None) -> Experiment:
        """The same experiment with some options changed, and perhaps other seeds."""
        return replace(self, grid=(*overrides, *self.grid), seeds=seeds or self.seeds)

    def command(self, folder: Path) -> str:
        """What makes its runs and records them in a folder."""
        words = ["bfedrec", "sweep", str(self.config), *self.grid, "--seeds", self.seeds]
        words += ["--record", str(folder), *(["--compact"] if self.compact else [])]
        return shlex.join(words)


FIG3 = Experiment(
    Path("experiments/fig3.yaml"), ("protocol=bft,paper", "servers.malicious=0,1/3"), "0"
)
COMMITTEES = Experiment(
    Path("experiments/committees.yaml"),
    ("committee.size=4,7,10,15,20,25,30", "servers.malicious=0,0.1,0.2,0.3,1/3,0.4,0.5"),
    "0",
    compact=True,
)
THIRD = Experiment(
    Path("experiments/third.yaml"),
    ("committee.size=20,30", "servers.malicious=0,6,8,9,10,11,12,13"),
    "0-2",
    compact=True,
)
RECOVERY = Experiment(
    Path("experiments/recovery.yaml"), ("@experiments/faults",), "0-4", compact=True
)


@dataclass(frozen=True)
class Runs:
    """The recorded runs of one setting, by seed."""

    overrides: tuple[str, ...]
    by_seed: dict[int, Recorded]

    @property
    def config(self) -> Config:
        """Of any of them: they differ in the seed."""
        return next(iter(self.by_seed.values())).config

    @property
    def protocol(self) -> str:
        """`bft` or `paper`."""
        return self.config.protocol

    @property
    def malicious(self) -> int:
        """How many servers are malicious (of equal stake)."""
        share = next(iter(self.by_seed.values())).summary["malicious_stake_share"]
        return round(share * self.config.servers.count)

    @property
    def finished(self) -> list[Recorded]:
        """Those that came to their end."""
        return [run for run in self.by_seed.values() if not run.stopped]

    @property
    def stopped(self) -> list[Recorded]:
        """Those whose servers could not agree on another block."""
        return [run for run in self.by_seed.values() if run.stopped]


class NotRecorded(Exception):
    """Runs that a figure needs and nobody recorded; its text has a line for each, and the commands
    that make them."""


def recorded_runs(experiments: Sequence[Experiment], folder: Path) -> list[list[Runs]]:
    """For each experiment the runs of its settings, in their order, out of those recorded below a
    folder. Raises `NotRecorded` if any is missing, `ConfigError` and `RunError`."""
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
            settings.append(Runs(setting.overrides, {s: run for s, run in runs.items() if run}))
        if len(lacking) > before:
            commands.append(f"  {experiment.command(folder)}")
        found.append(settings)
    if lacking:
        told = [f"{len(lacking)} of {total} runs are not recorded in {folder}:", *lacking[:10]]
        if len(lacking) > 10:
            told.append(f"  and {len(lacking) - 10} more")
        told += ["They are made and recorded by:", *commands]
        raise NotRecorded("\n".join(told))
    return found
