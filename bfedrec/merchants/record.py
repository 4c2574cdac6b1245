"""The record of a comparison of methods on generated shops: what `bfedrec table merchants` shows.

It is written by `bfedrec merchants quality` and read without loading what trains.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Final

from bfedrec.data.interactions import DataError
from bfedrec.merchants.market import MarketSettings
from bfedrec.merchants.settings import StepSettings

ROUNDS: Final = 10
LABELS: Final = {
    "popularity": "the shop's most popular products",
    "alone": "each merchant alone",
    "once": "trained apart, averaged once (the report)",
    "federated": f"federated, {ROUNDS} rounds, plain mean",
    "per_item": f"federated, {ROUNDS} rounds, mean by item",
    "median": f"federated, {ROUNDS} rounds, median",
    "pooled": "all data in one place",
}
"""The methods that are compared, by their printed names."""
EVENTS: Final = 10_000
"""Events of each shop."""
MOST_BYTES: Final = 2**20


@dataclass(frozen=True)
class MethodRecord:
    """One method: its settings, and what they came to at each seed."""

    settings: StepSettings | None
    """Chosen on validation; None for a method that has none."""
    validation: float
    """NDCG@10 on validation products with these settings, mean over the seeds tuned on."""
    test: Mapping[str, tuple[float, ...]]
    """The metrics on test products, as "hr@10", by seed."""


@dataclass(frozen=True)
class LossRecord:
    """The losses after all epochs, means over merchants and seeds."""

    negatives: int
    training: float
    test: float
    constant_training: float
    constant_test: float


@dataclass(frozen=True)
class Comparison:
    """All methods on the markets of some seeds."""

    seeds: tuple[int, ...]
    users: tuple[int, ...]
    """Number of users with a test product at each seed, one at two shops counted twice."""
    methods: Mapping[str, MethodRecord]
    losses: tuple[LossRecord, ...]
    market: MarketSettings = field(default_factory=MarketSettings)
    events: int = EVENTS


def to_json(comparison: Comparison) -> str:
    """The record's text."""
    return json.dumps(asdict(comparison), indent=1, allow_nan=False) + "\n"


def from_json(text: str, where: str) -> Comparison:
    """The record in a text. Raises DataError, with ``where`` it stands, for any other text."""
    try:
        tree = json.loads(text)
        seeds = tuple(_whole(one) for one in tree["seeds"])
        methods = {
            name: MethodRecord(
                None if one["settings"] is None else StepSettings(**one["settings"]),
                float(one["validation"]),
                {key: _by_seed(values, len(seeds)) for key, values in one["test"].items()},
            )
            for name, one in tree["methods"].items()
        }
        if set(methods) != set(LABELS):
            raise ValueError(f"its methods are not {', '.join(LABELS)}")
        return Comparison(
            seeds,
            tuple(_whole(one) for one in tree["users"]),
            methods,
            tuple(LossRecord(**one) for one in tree["losses"]),
            MarketSettings(**tree["market"]),
            _whole(tree["events"]),
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(f"{where}: no record of `bfedrec merchants quality` ({error})") from None


def _whole(value: object) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(f"{value!r} is not a whole number")
    return value


def _by_seed(values: object, count: int) -> tuple[float, ...]:
    if not isinstance(values, list) or len(values) != count:
        raise ValueError("a metric has not one value a seed")
    return tuple(float(one) for one in values)
