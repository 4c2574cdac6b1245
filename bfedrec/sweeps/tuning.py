"""Choosing hyper-parameters on validation items: the learning of a run, without its ledger.

    python -m bfedrec.sweeps.tuning CONFIG [key=value ...] [key=a,b,c ...] [--trials N] [--seeds
    0,1,2]

tries settings drawn from the choices (all of them, if N is left out), scores each on the
validation items and lists them, best first. The test items are scored only when --test says so,
which is for the settings that were chosen. Centralised methods train here as in a run. A federated
round here computes what a run's round does: the same cohorts, draws, payloads and aggregate. Only
the beacons do not come from a chain, so that the bases, and with them the figures' last digits,
differ.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from bfedrec.aggregation.registry import rule_of
from bfedrec.attacks.adversary import Adversary
from bfedrec.baselines import centralised
from bfedrec.baselines.centralised import Model, Product
from bfedrec.compression.error_feedback import ErrorFeedback
from bfedrec.compression.exchange import Exchange
from bfedrec.config.load import load, split_override
from bfedrec.config.schema import Config
from bfedrec.config.yaml_core import ConfigError
from bfedrec.data.dataset import Dataset
from bfedrec.data.interactions import DataError
from bfedrec.data.prepare import prepare
from bfedrec.evaluation.metrics import NotFinite, Split
from bfedrec.evaluation.ranking import expose
from bfedrec.federation.client_sampling import participants
from bfedrec.federation.learner import exchange_of, shape_of
from bfedrec.learning.cohort import train_cohort
from bfedrec.learning.factorization import initial_factors
from bfedrec.learning.lowrank import basis, merge
from bfedrec.learning.upload import CohortUpdate, Diverged, Upload
from bfedrec.streams import Streams
from bfedrec.sweeps.sweep import split_values


@dataclass(frozen=True)
class Learned:
    """The factors after all rounds: P float32[M, d], Q float32[N, d]; and the speed of training."""

    P: np.ndarray
    Q: np.ndarray
    clients_per_second: float


def learn(config: Config, data: Dataset, threads: int | None = None) -> Learned:
    """Train for `config.rounds` rounds with neither servers nor links (Algorithm 1, equation 5).

    Raises Diverged, naming the round and the client, when the steps are too large.
    """
    streams, model = Streams(config.seed), config.model
    exchange = exchange_of(config, rule_of(config.aggregation), data.items)
    r, kind = shape_of(config)
    d, N = model.dimension, data.items
    P = initial_factors(data.users, d, model.init_scale, streams.generator("initial", 0))
    Q = initial_factors(N, d, model.init_scale, streams.generator("initial", 1))
    adversary = Adversary(config.clients.malicious, data.users, streams, b"")
    feedback = ErrorFeedback(exchange) if config.compression.error_feedback else None

    def train(
        clients: np.ndarray,
        Q: np.ndarray,
        B: np.ndarray,
        height: int,
        places: Sequence[int],
        flipped: bool = False,
    ) -> CohortUpdate:
        return train_cohort(
            clients[places],
            P[clients[places]],
            Q,
            B,
            data.indptr,
            data.indices,
            config.training,
            streams.integer("training", height),
            config.training.step_scale(height, config.rounds),
            threads,
            flipped,
            config.training.predicts(height, config.rounds),
        )

    seconds = 0.0
    for height in range(1, config.rounds + 1):
        clients = participants(streams, data.users, config.clients, height)
        beacon = f"{config.seed} {height}".encode()
        B = basis(kind, d, r, f"{config.seed} 0".encode() if kind == "fixed" else beacon, Q)
        began = time.perf_counter()
        try:
            update = train(clients, Q, B, height, range(len(clients)))
        except Diverged as error:
            raise Diverged(f"round {height}: {error}") from None
        seconds += time.perf_counter() - began
        uploads = [
            Upload(int(client), update.A[place], update.touched[place], int(update.samples[place]))
            for place, client in enumerate(clients)
        ]
        if feedback is not None:
            uploads = feedback.sent(uploads, beacon, partial(adversary.attack, height))
        if adversary.acts(height, clients):
            flipped = partial(train, clients, Q, B, height, flipped=True)
            uploads = adversary.forge(height, uploads, update.P, Q, B, exchange, flipped)
        P[clients] = update.P
        payloads, counts = _accepted(uploads, data.sample_counts, exchange, beacon)
        if payloads:
            aggregate = exchange.aggregate(payloads, counts, beacon)
            Q = merge(Q, B, exchange.decode_model(aggregate, beacon))
    return Learned(P, Q, config.rounds * config.clients.present / seconds)


def _accepted(
    uploads: Sequence[Upload], registered: np.ndarray, exchange: Exchange, beacon: bytes
) -> tuple[list[bytes], list[int]]:
    """Payloads and sample counts of the uploads that servers would aggregate."""
    sent = Counter(upload.client for upload in uploads if upload.message is None)
    payloads, counts = [], []
    for upload in uploads:
        if upload.message is not None or upload.age or upload.parent or sent[upload.client] > 1:
            continue
        payload = upload.payload
        if payload is None:
            payload = exchange.encode(upload.A, upload.touched, beacon)
        if 0 < upload.samples <= registered[upload.client] and exchange.check(payload) is None:
            payloads.append(payload)
            counts.append(upload.samples)
    return payloads, counts


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
        model, found = _learnt(config, data, threads)
        for split in splits:
            means = model.evaluate(data, split, config.evaluation.k, True, threads).means()
            found |= {f"{split}_{name}": value for name, value in means.items()}
        figures.append(found)
    means = {name: float(np.mean([found[name] for found in figures])) for name in figures[0]}
    return means | {"seconds": (time.perf_counter() - began) / len(seeds)}


def _learnt(config: Config, data: Dataset, threads: int | None) -> tuple[Model, dict[str, float]]:
    """The model after all rounds or epochs, and what there is to say beside its scores."""
    if config.method != "federated":
        return centralised.learn(config, data, threads), {}
    learned = learn(config, data, threads)
    found = {"clients_per_second": learned.clients_per_second}
    adversary = Adversary(config.clients.malicious, data.users, Streams(config.seed), b"")
    targets = sorted({*config.evaluation.targets, *adversary.targets})
    if targets:
        k = config.evaluation.k
        exposed = expose(learned.P, learned.Q, data, targets, k, adversary.honest, threads)
        found |= exposed.means()
    return Product(learned.P, learned.Q), found


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
    """The criterion of choice: HR@K plus NDCG@K on the validation items."""
    return sum(
        float(value)
        for name, value in row.items()
        if name.startswith(("validation_hr@", "validation_ndcg@"))
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
