"""The comparison of all methods on generated shops, over seeds.

Settings are chosen for each method on the validation products of the first `TUNED_ON` seeds; the
test products of all seeds are then scored once, with those settings.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import fmean

import numpy as np

from bfedrec.learning.upload import Diverged
from bfedrec.merchants.averaging import PLAIN
from bfedrec.merchants.generator import shop_events
from bfedrec.merchants.interactions import Catalogue, History, pairs_of, split
from bfedrec.merchants.market import MarketSettings, market_of
from bfedrec.merchants.model import initial_shared
from bfedrec.merchants.quality import (
    HeldOut,
    Method,
    alone,
    federated,
    hold_out,
    metrics_of,
    pooled,
    popularity,
)
from bfedrec.merchants.record import (
    EVENTS,
    LABELS,
    ROUNDS,
    Comparison,
    LossRecord,
    MethodRecord,
)
from bfedrec.merchants.settings import StepSettings
from bfedrec.merchants.training import EpochLosses, Trainer
from bfedrec.streams import Streams

METHODS: Mapping[str, Method] = {
    "popularity": popularity,
    "alone": alone,
    "once": federated(1, PLAIN),
    "federated": federated(ROUNDS, PLAIN),
    "per_item": federated(ROUNDS, "per_item"),
    "median": federated(ROUNDS, "median"),
    "pooled": pooled,
}
"""The methods of `bfedrec.merchants.record.LABELS`."""
GRID = tuple(
    StepSettings(100, step, l2, negatives)
    for negatives in (4, 8)
    for step in (0.03, 0.06)
    for l2 in (0.01, 0.02)
)
"""The settings from which one is chosen for each method."""
CHOSEN_BY = "ndcg@10"
TUNED_ON = 2
"""Seeds on whose validation products settings are chosen; the others save time."""
LOSSES_OF = (0, 4)
"""Numbers of negatives with which losses are recorded; 0 is the report's kind of model."""


def histories_of(settings: MarketSettings, events: int, streams: Streams) -> list[History]:
    """The histories of the shops of a generated market."""
    market = market_of(settings, streams)
    histories = []
    for shop in range(market.shops):
        made = shop_events(market, shop, events, streams)
        users, products = market.customer_ids[made.customers], market.product_ids[made.products]
        histories.append(History(users, products, made.kinds.astype(np.int64), made.times))
    return histories


def compare(
    seeds: Sequence[int],
    tell: Callable[[str, int, int], None],
    settings: MarketSettings | None = None,
    events: int = EVENTS,
    grid: Sequence[StepSettings] = GRID,
) -> Comparison:
    """Compare all methods at these seeds; ``tell`` gets the method, the settings tried and their
    number. Raises ValueError for sizes that leave nothing to rank."""
    settings = settings or MarketSettings()
    streams = [Streams(seed) for seed in seeds]
    histories = [histories_of(settings, events, one) for one in streams]
    markets = [hold_out(*one) for one in zip(histories, streams, strict=True)]
    methods = {}
    for name in LABELS:
        tried = grid if name != "popularity" else grid[:1]
        values = []
        for number, one in enumerate(tried):
            values.append(_validation(METHODS[name], markets[:TUNED_ON], one))
            tell(name, number + 1, len(tried))
        best = int(np.argmax(values))
        results = [metrics_of(METHODS[name](market, tried[best]).test) for market in markets]
        methods[name] = MethodRecord(
            tried[best] if name != "popularity" else None,
            values[best],
            {key: tuple(one[key] for one in results) for key in results[0]},
        )
    users = tuple(sum(len(shop.lists.user) for shop in market.shops) for market in markets)
    losses = tuple(_losses(histories, streams, negatives) for negatives in LOSSES_OF)
    return Comparison(tuple(seeds), users, methods, losses, settings, events)


def _validation(method: Method, markets: Sequence[HeldOut], settings: StepSettings) -> float:
    """The mean over seeds on validation products; -1 where training diverges."""
    try:
        return fmean(metrics_of(method(one, settings).validation)[CHOSEN_BY] for one in markets)
    except Diverged:
        return -1.0


def _losses(
    histories: Sequence[Sequence[History]], streams: Sequence[Streams], negatives: int
) -> LossRecord:
    """The losses after the last epoch of every merchant by itself, with its pairs split 9 to 1."""
    ends: list[EpochLosses] = []
    for shops, own in zip(histories, streams, strict=True):
        catalogue = Catalogue.of(*(shop.products for shop in shops))
        start = initial_shared(len(catalogue), own)
        for merchant, shop in enumerate(shops):
            parts = split(pairs_of(shop, catalogue), own, merchant)
            assortment = np.unique(catalogue.places(shop.products))
            settings = StepSettings(negatives=negatives)
            trainer = Trainer(parts, assortment, settings, own, merchant)
            told: list[EpochLosses] = []
            trainer.play_round(start, tell=told.append)
            ends.append(told[-1])
    means = [fmean(column) for column in list(zip(*ends, strict=True))[1:]]
    return LossRecord(negatives, *means)
