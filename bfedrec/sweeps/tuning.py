"""The search for options on validation items: the learning of a run, without its ledger.

A federated round here is a run's (`bfedrec.federation.unledgered`): the same cohorts, draws,
payloads and aggregate. Only the beacons do not come from a chain, so that the bases, and with them
the figures' last digits, differ. Centralised methods train as in a run. No test item is looked at.
Where trials differ in their evaluation alone, they score what the first of them has learnt.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bfedrec.baselines import centralised
from bfedrec.config.evaluation import EvaluationSettings
from bfedrec.config.schema import Config
from bfedrec.config.yaml_core import ConfigError
from bfedrec.data.dataset import Dataset
from bfedrec.data.prepare import prepare
from bfedrec.evaluation.metrics import ORDERED
from bfedrec.federation.learner import Learner
from bfedrec.federation.unledgered import learn

_KEPT: dict[Config, Learner] = {}
"""Learner of the last trial of a study of scoring alone, by config without what the next may differ
in (`_training`)."""


def check(config: Config, metric: str = "ndcg") -> None:
    """Raise ConfigError for data without an item to tune on, and for an ordered metric where
    nothing is scored by order."""
    if not (prepare(config.data).validation >= 0).any():
        told = f"{config.data.validation!r} leaves no validation items to tune on"
        raise ConfigError(f"data.validation: {told}: expected hold_out")
    if metric.startswith(ORDERED) and not config.evaluation.recency:
        raise ConfigError(f"evaluation.recency: false: expected true, to tune by {metric}")


def score(
    configs: Sequence[Config],
    threads: int | None = None,
    shown: bool = False,
    kept: bool = False,
) -> dict[str, float]:
    """The means over `configs`, which differ in their seeds, of all figures on the validation
    items, "validation_hr@10" and so on.

    ``kept``: keep what is learnt until the next call, which learns nothing anew where its configs
    train alike. Other arguments as of `learn`. Raises ConfigError, DataError, and Diverged or
    NotFinite where training does not hold.
    """
    wanted = {_training(config) for config in configs} if kept else set[Config]()
    for old in _KEPT.keys() - wanted:
        del _KEPT[old]
    figures: list[dict[str, float]] = []
    for config in configs:
        check(config)
        figures.append(_figures(config, prepare(config.data), threads, shown, kept))
    return {name: float(np.mean([found[name] for found in figures])) for name in figures[0]}


def _training(config: Config) -> Config:
    """The config without the options of scoring alone; those of a sample of users and of targets
    stay, which a learner reads."""
    told = config.evaluation
    left = EvaluationSettings(users=told.users, targets=told.targets)
    return config.model_copy(update={"evaluation": left})


def _learnt(config: Config, data: Dataset, threads: int | None, shown: bool, kept: bool) -> Learner:
    training = _training(config)
    if training in _KEPT:
        return _KEPT[training]
    learner = learn(config, data, threads, shown=shown)
    if kept:
        _KEPT[training] = learner
    return learner


def _figures(
    config: Config, data: Dataset, threads: int | None, shown: bool, kept: bool
) -> dict[str, float]:
    """The figures on the validation items after all rounds or epochs, and what there is to say
    beside them."""
    k, found = config.evaluation.k, {}
    if config.method != "federated":
        model = centralised.learn(config, data, threads)
        means = model.evaluate(data, "validation", k, True, threads).means()
    else:
        learner = _learnt(config, data, threads, shown, kept)
        trained = config.rounds * config.clients.present
        found["clients_per_second"] = trained / learner.training_seconds
        scoring = learner.scoring(threads, config)
        found |= scoring.exposure(learner.targets(), k, learner.asked, threads)
        means = scoring.evaluate("validation", k, True, threads).means()
    return found | {f"validation_{name}": value for name, value in means.items()}
