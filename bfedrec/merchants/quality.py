"""The quality of recommendations: each merchant alone, shops together, and all data in one place.

Every user of a shop with enough products has the latest one held out for the test and the one
before for validation. The test product is ranked among all products of the shop that the user
never had anything to do with, at any shop; ties count against the model. What is held out anywhere
is taken out of every shop's training data, so that nobody learns it from the same user elsewhere,
and all methods train on the same events and rank the same lists.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from bfedrec.evaluation.metrics import NotFinite, compared
from bfedrec.learning.kernels import products
from bfedrec.merchants.averaging import Contribution, aggregate
from bfedrec.merchants.interactions import (
    Catalogue,
    History,
    Pairs,
    Split,
    joined,
    pairs_of,
)
from bfedrec.merchants.model import Home, Shared, initial_shared
from bfedrec.merchants.settings import StepSettings
from bfedrec.merchants.training import Trainer
from bfedrec.streams import Streams

LEAST = 5
"""Distinct products that a user must have at a shop to have some held out."""
K = 10
"""Length of the recommended list."""
POOLED = 1_000
"""The number of the one who has all data, among merchants, for its random streams."""


@dataclass(frozen=True)
class Lists:
    """The lists to rank at one shop, for each user with held-out products."""

    user: np.ndarray
    """int64[n]: ids, ascending."""
    held_out: Mapping[str, np.ndarray]
    """int64[n] of "validation" and "test": places in ``assortment``."""
    ranked: np.ndarray
    """bool[n, K]: the products of the assortment that the user never had to do with."""


@dataclass(frozen=True)
class Shop:
    """One merchant's data for this evaluation."""

    training: History
    assortment: np.ndarray
    """int64[K], ascending: places in the catalogue of what it sells."""
    lists: Lists


@dataclass(frozen=True)
class HeldOut:
    """The data of all merchants of one seed, with products held out."""

    catalogue: Catalogue
    shops: tuple[Shop, ...]
    streams: Streams


class Ranked(NamedTuple):
    """The ranks (int64, 0 is best) of held-out products, all shops' users one after the other."""

    validation: np.ndarray
    test: np.ndarray


def hold_out(histories: Sequence[History], streams: Streams) -> HeldOut:
    """Hold products out of the histories of some shops. Raises ValueError if no user has enough."""
    catalogue = Catalogue.of(*(history.products for history in histories))
    everyone = np.unique(np.concatenate([history.users for history in histories]))

    def keys(users: np.ndarray, items: np.ndarray) -> np.ndarray:
        """A number for each pair of a user's id and a product's place."""
        return np.asarray(np.searchsorted(everyone, users) * len(catalogue) + items)

    pairs = [pairs_of(history, catalogue) for history in histories]
    held = [_held_out(one) for one in pairs]
    taken = np.concatenate([keys(*part) for one in held for part in one])
    touched = np.concatenate([keys(one.users[one.user], one.item) for one in pairs])
    shops = []
    for history, (validation, test) in zip(histories, held, strict=True):
        items = catalogue.places(history.products)
        assortment = np.unique(items)
        kept = ~np.isin(keys(history.users, items), taken)
        if not kept.any():
            raise ValueError("a shop has no events left to train on")
        lists = Lists(
            user=test[0],
            held_out={
                "validation": np.searchsorted(assortment, validation[1]),
                "test": np.searchsorted(assortment, test[1]),
            },
            ranked=~np.isin(keys(test[0][:, None], assortment), touched),
        )
        shops.append(Shop(history.select(kept), assortment, lists))
    if not sum(len(shop.lists.user) for shop in shops):
        raise ValueError(f"no user has {LEAST} products at a shop")
    return HeldOut(catalogue, tuple(shops), streams)


Held = tuple[np.ndarray, np.ndarray]
"""Ids of users and places of products in the catalogue, int64[n] each."""


def _held_out(pairs: Pairs) -> tuple[Held, Held]:
    """The last product but one, and the last one, of every user who has enough."""
    order = np.lexsort((pairs.item, pairs.last, pairs.user))
    ends = np.cumsum(np.bincount(pairs.user, minlength=len(pairs.users)))
    counts = np.diff(ends, prepend=0)
    chosen = np.flatnonzero(counts >= LEAST)
    last = order[ends[chosen] - 1]
    before = order[ends[chosen] - 2]
    users = pairs.users[chosen]
    return (users, pairs.item[before].astype(np.int64)), (users, pairs.item[last].astype(np.int64))


# -- ranking --------------------------------------------------------------------------------------


def ranks(P: np.ndarray, Q: np.ndarray, ranked: np.ndarray, held_out: np.ndarray) -> np.ndarray:
    """int64[n]: for each user the number of ranked products that score at least as high as the
    held-out one, by the scores P Q' (float32[n, d], float32[K, d]). Raises NotFinite for NaN or
    infinity among the scores."""
    scores = products(np.ascontiguousarray(P, np.float32), np.ascontiguousarray(Q, np.float32))
    if not np.isfinite(scores).all():
        raise NotFinite("the model gives scores of NaN or infinity")
    own = scores[np.arange(len(P)), held_out]
    above: np.ndarray = (ranked & (scores >= own[:, None])).sum(axis=1)
    return above


def metrics_of(rank: np.ndarray) -> dict[str, float]:
    """The mean of every compared metric over users, as "hr@10"."""
    return {f"{name}@{K}": float(one.of(rank, K).mean()) for name, one in compared().items()}


def _ranked(shop: Shop, P: np.ndarray, Q: np.ndarray) -> Ranked:
    lists = shop.lists
    return Ranked(
        *(ranks(P, Q, lists.ranked, lists.held_out[part]) for part in ("validation", "test"))
    )


def _joined(parts: Sequence[Ranked]) -> Ranked:
    return Ranked(*(np.concatenate(part) for part in zip(*parts, strict=True)))


def _by_model(shop: Shop, users: np.ndarray, shared: Shared, home: Home) -> Ranked:
    """The ranks by a model whose users are those. Of a user without training events, whose factors
    are what they were drawn as, the biases decide as for anyone."""
    place = np.minimum(np.searchsorted(users, shop.lists.user), len(users) - 1)
    known = users[place] == shop.lists.user
    P = np.where(known[:, None], home.factors[place], np.float32(0))
    ones = np.ones((len(P), 1), np.float32)
    Q = np.column_stack([shared.factors, shared.biases])[shop.assortment]
    return _ranked(shop, np.hstack([P, ones]), Q)


# -- methods --------------------------------------------------------------------------------------

Method = Callable[[HeldOut, StepSettings], Ranked]


def popularity(market: HeldOut, settings: StepSettings) -> Ranked:
    """Products by the number of the shop's users who had to do with them; nothing is trained."""
    parts = []
    for shop in market.shops:
        pairs = pairs_of(shop.training, market.catalogue)
        counts = np.bincount(pairs.item, minlength=len(market.catalogue))[shop.assortment]
        ones = np.ones((len(shop.lists.user), 1), np.float32)
        parts.append(_ranked(shop, ones, counts.astype(np.float32)[:, None]))
    return _joined(parts)


def alone(market: HeldOut, settings: StepSettings) -> Ranked:
    """Every merchant with a model of its own data."""
    start = initial_shared(len(market.catalogue), market.streams)
    parts = []
    for shop, (users, trainer) in zip(market.shops, _trainers(market, settings), strict=True):
        done = trainer.play_round(start)
        parts.append(_by_model(shop, users, done.shared, done.home))
    return _joined(parts)


def federated(rounds: int, rule: str) -> Method:
    """Rounds of: all start from the aggregate, train their share of the epochs, and share products'
    factors and biases, which the rule aggregates. Users' factors stay and go on."""

    def method(market: HeldOut, settings: StepSettings) -> Ranked:
        share = replace(settings, epochs=max(1, settings.epochs // rounds))
        trainers = list(_trainers(market, share))
        shared = initial_shared(len(market.catalogue), market.streams)
        for number in range(rounds):
            models = [
                Contribution(
                    f"merchant-{place:03}",
                    trainer.play_round(shared, number).shared,
                    len(trainer.user),
                )
                for place, (_, trainer) in enumerate(trainers)
            ]
            shared = aggregate(shared, models, rule)
        parts = []
        for shop, (users, trainer) in zip(market.shops, trainers, strict=True):
            assert trainer.home is not None
            parts.append(_by_model(shop, users, shared, trainer.home))
        return _joined(parts)

    return method


def pooled(market: HeldOut, settings: StepSettings) -> Ranked:
    """One model of all events, a user of several shops being one."""
    history = joined([shop.training for shop in market.shops])
    pairs = pairs_of(history, market.catalogue)
    everything = np.arange(len(market.catalogue))
    trainer = Trainer(_all_training(pairs), everything, settings, market.streams, POOLED)
    done = trainer.play_round(initial_shared(len(market.catalogue), market.streams))
    return _joined([_by_model(shop, pairs.users, done.shared, done.home) for shop in market.shops])


def _trainers(market: HeldOut, settings: StepSettings) -> Iterator[tuple[np.ndarray, Trainer]]:
    """The ids of each merchant's users, and its trainer."""
    for merchant, shop in enumerate(market.shops):
        pairs = pairs_of(shop.training, market.catalogue)
        split = _all_training(pairs)
        yield pairs.users, Trainer(split, shop.assortment, settings, market.streams, merchant)


def _all_training(pairs: Pairs) -> Split:
    """A split without test pairs: held-out products take their place."""
    return Split(pairs, pairs.select(np.empty(0, np.int64)))
