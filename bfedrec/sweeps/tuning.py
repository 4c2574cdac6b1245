"""The search for options on validation items: the learning of a run, without its ledger.

A federated round here is a run's (`bfedrec.federation.unledgered`): the same cohorts, draws,
payloads and aggregate. Only the beacons do not come from a chain, so that the bases, and with them
the figures' last digits, differ. Centralised methods train as in a run. No test item is looked at.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bfedrec.baselines import centralised
from bfedrec.config.schema import Config
from bfedrec.config.yaml_core import ConfigError
from bfedrec.data.dataset import Dataset
from bfedrec.data.prepare import prepare
from bfedrec.federation.unledgered import learn


def check(config: Config) -> None:
    """Raise ConfigError, or DataError, for data without an item to tune on."""
    if not (prepare(config.data).validation >= 0).any():
        told = f"{config.data.validation!r} leaves no validation items to tune on"
        raise ConfigError(f"data.validation: {told}: expected hold_out")


def score(
    configs: Sequence[Config], threads: int | None = None, shown: bool = False
) -> dict[str, float]:
    """The means over `configs`, which differ in their seeds, of all figures on the validation
    items, "validation_hr@10" and so on.

    Other arguments as of `learn`. Raises ConfigError, DataError, and Diverged or NotFinite where
    training does not hold.
    """
    figures: list[dict[str, float]] = []
    for config in configs:
        check(config)
        figures.append(_figures(config, prepare(config.data), threads, shown))
    return {name: float(np.mean([found[name] for found in figures])) for name in figures[0]}


def _figures(config: Config, data: Dataset, threads: int | None, shown: bool) -> dict[str, float]:
    """The figures on the validation items after all rounds or epochs, and what there is to say
    beside them."""
    k, found = config.evaluation.k, {}
    if config.method != "federated":
        model = centralised.learn(config, data, threads)
        means = model.evaluate(data, "validation", k, True, threads).means()
    else:
        learner = learn(config, data, threads, shown=shown)
        trained = config.rounds * config.clients.present
        found["clients_per_second"] = trained / learner.training_seconds
        scoring = learner.scoring(threads)
        found |= scoring.exposure(learner.targets(), k, learner.asked, threads)
        means = scoring.evaluate("validation", k, True, threads).means()
    return found | {f"validation_{name}": value for name, value in means.items()}
