"""Choosing hyper-parameters on validation items: the learning of a run, without its ledger.

    python -m bfedrec.sweeps.tuning CONFIG [key=value ...] [key=a,b,c ...] [--trials N] [--seeds
    0,1,2]

tries settings drawn from the choices (all of them, if N is left out), scores each on the
validation items and lists them, best first. The test items are scored only when --test says so,
which is for the settings that were chosen. Centralised methods train here as in a run. A federated
round here is a run's (`bfedrec.federation.unledgered`): the same cohorts, draws, payloads and
aggregate. Only the beacons do not come from a chain, so that the bases, and with them the figures'
last digits, differ.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from bfedrec.baselines import centralised
from bfedrec.config.load import load, split_override
from bfedrec.config.schema import Config
from bfedrec.config.yaml_core import ConfigError
from bfedrec.data.dataset import Dataset
from bfedrec.data.interactions import DataError
from bfedrec.data.prepare import prepare
from bfedrec.evaluation.metrics import NotFinite, Split, compared
from bfedrec.federation.unledgered import learn
from bfedrec.learning.upload import Diverged
from bfedrec.sweeps.sweep import split_values


def trials(arguments: Sequence[str], count: int | None, seed: int) -> list[list[str]]:
    """The overrides of each trial: `count` different draws from all choices, or all of them.

    An argument `key=a,b,c` is a choice of three; any other is the same in every trial.
    """
    choices = []
    for argument in arguments:
        key, value = split_override(argument)
        choices.append([f"{key}={option}" for option in split_values(value)])
    grid = itertools.product(*choices)
    if count is None:
        return [list(trial) for trial in grid]
    rng = np.random.default_rng(seed)
    drawn: dict[tuple[str, ...], None] = {}
    size = int(np.prod([len(choice) for choice in choices]))
    while len(drawn) < min(count, size):
        drawn.setdefault(tuple(choice[rng.integers(len(choice))] for choice in choices))
    return [list(trial) for trial in drawn]


def score(
    path: Path,
    overrides: Sequence[str],
    seeds: Sequence[int],
    splits: Sequence[Split],
    threads: int | None = None,
) -> dict[str, float]:
    """The means over `seeds` of every figure of the given splits, "validation_hr@10" and so on.

    Raises ConfigError, DataError, and Diverged or NotFinite where training does not hold.
    """
    figures: list[dict[str, float]] = []
    began = time.perf_counter()
    for seed in seeds:
        config = load(path, [*overrides, f"seed={seed}"])
        data = prepare(config.data)
        evaluate, found = _learnt(config, data, threads)
        for split in splits:
            means = evaluate(split)
            found |= {f"{split}_{name}": value for name, value in means.items()}
        figures.append(found)
    means = {name: float(np.mean([found[name] for found in figures])) for name in figures[0]}
    return means | {"seconds": (time.perf_counter() - began) / len(seeds)}


def _learnt(
    config: Config, data: Dataset, threads: int | None
) -> tuple[Callable[[Split], dict[str, float]], dict[str, float]]:
    """The means of a split's metrics under the model after all rounds or epochs, and what there is
    to say beside them."""
    k = config.evaluation.k
    if config.method != "federated":
        model = centralised.learn(config, data, threads)
        return lambda split: model.evaluate(data, split, k, True, threads).means(), {}
    learner = learn(config, data, threads)
    trained = config.rounds * config.clients.present
    found = {"clients_per_second": trained / learner.training_seconds}
    scoring = learner.scoring(threads)
    found |= scoring.exposure(learner.targets(), k, learner.adversary.honest, threads)
    return lambda split: scoring.evaluate(split, k, True, threads).means(), found


def main(argv: Sequence[str] | None = None) -> int:
    """The command; its exit status is 0, or 2 for a config or data that cannot be used."""
    parser = argparse.ArgumentParser(prog="python -m bfedrec.sweeps.tuning", description=__doc__)
    parser.add_argument("config", type=Path, help="the experiment to start from")
    parser.add_argument("overrides", nargs="*", metavar="key=a,b,c", help="values to try")
    parser.add_argument("--trials", type=int, help="settings to draw (default: every combination)")
    parser.add_argument("--draw-seed", type=int, default=0, help="seed of those draws")
    parser.add_argument("--seeds", default="0", help="seeds of the runs of a trial: 0,1,2")
    parser.add_argument("--test", action="store_true", help="score the test items as well")
    parser.add_argument("--threads", type=int, help="threads of a run (default: all processors)")
    parser.add_argument("--csv", type=Path, help="write every trial to this file")
    options = parser.parse_intermixed_args(argv)
    splits: list[Split] = ["validation", "test"] if options.test else ["validation"]
    rows: list[dict[str, str | float]] = []
    try:
        seeds = [int(seed) for seed in options.seeds.split(",")]
        for overrides in trials(options.overrides, options.trials, options.draw_seed):
            row: dict[str, str | float] = dict(split_override(text) for text in overrides)
            try:
                row |= score(options.config, overrides, seeds, splits, options.threads)
            except (Diverged, NotFinite) as error:
                row["failed"] = str(error)
            rows.append(row)
            print(_line(row), flush=True)
            if options.csv:
                _write(options.csv, rows)
    except (ConfigError, DataError, ValueError) as error:
        print(f"bfedrec.sweeps.tuning: {error}", file=sys.stderr)
        return 2
    print("\nbest first:")
    for row in sorted(rows, key=_merit, reverse=True)[:10]:
        print(_line(row))
    return 0


def _merit(row: dict[str, str | float]) -> float:
    """The criterion of choice: the sum of the compared metrics on the validation items."""
    return sum(
        float(value) if metric.higher_is_better else -float(value)
        for key, value in row.items()
        for name, metric in compared().items()
        if key.startswith(f"validation_{name}@")
    )


def _line(row: dict[str, str | float]) -> str:
    return "  ".join(
        f"{name}={value:.4g}" if isinstance(value, float) else f"{name}={value}"
        for name, value in row.items()
    )


def _write(path: Path, rows: list[dict[str, str | float]]) -> None:
    names = list(dict.fromkeys(name for row in rows for name in row))
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    sys.exit(main())
