"""The search for options on validation items: the learning of a run, without its ledger.

A federated round here is a run's (`bfedrec.federation.learner`): the same cohorts, draws, payloads
and aggregate. Only the beacons do not come from a chain, so that the bases, and with them the
figures' last digits, differ. Centralised methods train as in a run. No test item is looked at.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from bfedrec.attacks.adversary import Adversary
from bfedrec.baselines import centralised
from bfedrec.baselines.centralised import Model, Product
from bfedrec.config.load import load
from bfedrec.config.schema import Config
from bfedrec.config.yaml_core import ConfigError
from bfedrec.data.dataset import Dataset
from bfedrec.data.prepare import prepare
from bfedrec.evaluation.ranking import expose
from bfedrec.federation.learner import Learner, initial_model
from bfedrec.streams import Streams


def learn(
    config: Config,
    data: Dataset,
    threads: int | None = None,
    beacons: Sequence[bytes] = (),
    shown: bool = False,
) -> Learner:
    """The learner after `config.rounds` rounds with neither servers nor links.

    `beacons`: those of heights 0 (the first, of which the `fixed` basis is drawn), 1, 2, ..., by
    default of the seed. `shown`: show a bar of the rounds, on a terminal. Raises Diverged, naming
    the round and the client, when the steps are too large.
    """
    beacons = beacons or [f"{config.seed} {height}".encode() for height in range(config.rounds + 1)]
    left: dict[int, bytes] = {}
    learner = Learner(
        config,
        data,
        initial_model(config, data.items, beacons[0]),
        Adversary(config.clients.malicious, data.users, Streams(config.seed), b""),
        lambda _, clients: {client: left[client] for client in clients if client in left},
        threads,
    )
    heights = range(1, config.rounds + 1)
    for height in tqdm(heights, "round", leave=False, disable=None if shown else True):
        left |= learner.play(height, beacons[height])
    return learner


def check(config: Config) -> None:
    """Raise ConfigError, or DataError, for data without an item to tune on."""
    if not (prepare(config.data).validation >= 0).any():
        told = f"{config.data.validation!r} leaves no validation items to tune on"
        raise ConfigError(f"data.validation: {told}: expected hold_out")


def score(
    path: Path,
    overrides: Sequence[str],
    seeds: Sequence[int],
    threads: int | None = None,
    shown: bool = False,
) -> dict[str, float]:
    """The means over `seeds` of all figures on the validation items, "validation_hr@10" and so on.

    Arguments as of `learn`. Raises ConfigError, DataError, and Diverged or NotFinite where training
    does not hold.
    """
    figures: list[dict[str, float]] = []
    for seed in seeds:
        config = load(path, [*overrides, f"seed={seed}"])
        check(config)
        data = prepare(config.data)
        model, found = _learnt(config, data, threads, shown)
        means = model.evaluate(data, "validation", config.evaluation.k, True, threads).means()
        figures.append(found | {f"validation_{name}": value for name, value in means.items()})
    return {name: float(np.mean([found[name] for found in figures])) for name in figures[0]}


def _learnt(
    config: Config, data: Dataset, threads: int | None, shown: bool
) -> tuple[Model, dict[str, float]]:
    """The model after all rounds or epochs, and what there is to say beside its scores."""
    if config.method != "federated":
        return centralised.learn(config, data, threads), {}
    learner = learn(config, data, threads, shown=shown)
    trained = config.rounds * config.clients.present
    found = {"clients_per_second": trained / learner.training_seconds}
    targets = learner.targets()
    if targets:
        k, asked = config.evaluation.k, learner.adversary.honest
        found |= expose(learner.P, learner.Q, data, targets, k, asked, threads).means()
    return Product(learner.P, learner.Q), found
