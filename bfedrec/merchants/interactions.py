"""From events to samples: (user, product) pairs with a strength, over a shared catalogue.

Merchants agree on the catalogue: the ids of the products that any of them sells, in ascending
order. These ids are public, as the shops' pages show them. Users' ids are not: a merchant numbers
its own users for itself, and neither ids nor numbers leave it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final, NamedTuple

import numpy as np

from bfedrec.merchants.events import Chunk
from bfedrec.merchants.lines import EVENT_TYPES
from bfedrec.streams import Streams

WEIGHTS: Final = {"view": 0.2, "cart": 0.6, "purchase": 1.0}
"""The strength of one event of a type. Several events of a pair add up as independent hints do:
1 - (1 - w_1) (1 - w_2) ..., so that a strength lies in (0, 1] and a purchase is a whole one."""
TEST_SHARE: Final = 0.1
"""Share of the pairs that are not trained on (report, section 3.2: 9 to 1)."""


class History(NamedTuple):
    """The events of one merchant, as far as training needs them; int64[n] each."""

    users: np.ndarray
    products: np.ndarray
    kinds: np.ndarray
    """Places in `EVENT_TYPES`."""
    times: np.ndarray
    """Seconds since 1970, UTC."""

    def select(self, rows: np.ndarray) -> History:
        """The events at these rows (a mask, or places)."""
        return History(*(column[rows] for column in self))


def history_of(chunks: Iterable[Chunk]) -> History:
    """The history in chunks of events."""
    parts = [
        History(
            chunk.frame["user_id"].to_numpy(),
            chunk.frame["product_id"].to_numpy(),
            chunk.frame["event_type"].cat.codes.to_numpy().astype(np.int64),
            chunk.frame["event_time"].to_numpy().astype("datetime64[s]").astype(np.int64),
        )
        for chunk in chunks
    ]
    return joined(parts)


def joined(histories: Sequence[History]) -> History:
    """One history after the other."""
    empty = History(*(np.empty(0, np.int64) for _ in History._fields))
    columns = zip(empty, *histories, strict=True)
    return History(*(np.concatenate(column) for column in columns))


@dataclass(frozen=True)
class Catalogue:
    """The products that merchants have agreed on."""

    ids: np.ndarray
    """int64[N], ascending, each once."""

    def __post_init__(self) -> None:
        if self.ids.dtype != np.int64 or self.ids.ndim != 1 or (np.diff(self.ids) <= 0).any():
            raise ValueError("a catalogue is a list of int64 ids, ascending, each once")

    @classmethod
    def of(cls, *products: np.ndarray) -> Catalogue:
        """The catalogue of all that these merchants sell."""
        return cls(np.unique(np.concatenate([np.empty(0, np.int64), *products])))

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def digest(self) -> bytes:
        """SHA-256 of the ids as little-endian int64; merchants compare it before they share."""
        return hashlib.sha256(self.ids.astype("<i8").tobytes()).digest()

    def places(self, products: np.ndarray) -> np.ndarray:
        """int64[n]: the place of each product. Raises ValueError for one that is not in it."""
        places = np.searchsorted(self.ids, products)
        known = self.ids[np.minimum(places, len(self.ids) - 1)] if len(self.ids) else products[:0]
        if len(known) != len(products) or (known != products).any():
            raise ValueError("an event is of a product that is not in the catalogue")
        return np.asarray(places)


@dataclass(frozen=True)
class Pairs:
    """The pairs of a user and a product that have at least one event, by user and then product."""

    users: np.ndarray
    """int64[M]: the ids of the merchant's users, ascending; they stay with the merchant."""
    user: np.ndarray
    """int32[n]: the place of each pair's user in ``users``."""
    item: np.ndarray
    """int32[n]: the place of each pair's product in the catalogue."""
    strength: np.ndarray
    """float32[n], in [0, 1]."""
    last: np.ndarray
    """int64[n]: the time of the pair's last event, seconds since 1970."""

    def __len__(self) -> int:
        return len(self.user)

    def select(self, rows: np.ndarray) -> Pairs:
        """The pairs at these rows (a mask, or ascending places) of the same users."""
        return replace(
            self,
            user=self.user[rows],
            item=self.item[rows],
            strength=self.strength[rows],
            last=self.last[rows],
        )


def pairs_of(
    history: History,
    catalogue: Catalogue,
    deviation: float = 0.0,
    generator: np.random.Generator | None = None,
) -> Pairs:
    """The pairs of a history with their strengths.

    ``deviation``: standard deviation of a normal number from ``generator`` that is added to each
    strength, the sum cut to [0, 1], as the report's "random deviation" (section 3.2). It is 0 by
    default: noise adds its variance to the loss of every predictor alike, so that a good model and
    a constant come to look the same, and teaches nothing. Raises ValueError for a product that is
    not in the catalogue, and for a deviation that is not in [0, 1] or has no generator.
    """
    if not 0.0 <= deviation <= 1.0 or (deviation and generator is None):
        raise ValueError("a deviation lies in [0, 1], and is drawn by a generator")
    users, user = np.unique(history.users, return_inverse=True)
    pair = user * len(catalogue) + catalogue.places(history.products)
    known, place = np.unique(pair, return_inverse=True)
    with np.errstate(divide="ignore"):
        logs = np.log1p(-np.array([WEIGHTS[name] for name in EVENT_TYPES]))
    strength = -np.expm1(np.bincount(place, logs[history.kinds], minlength=len(known)))
    last = np.full(len(known), np.iinfo(np.int64).min)
    np.maximum.at(last, place, history.times)
    if deviation and generator is not None:
        noise = deviation * generator.standard_normal(len(known))
        strength = np.clip(strength + noise, 0.0, 1.0)
    width = max(1, len(catalogue))
    return Pairs(
        users=users,
        user=(known // width).astype(np.int32),
        item=(known % width).astype(np.int32),
        strength=strength.astype(np.float32),
        last=last,
    )


class Split(NamedTuple):
    """The pairs to train on, and those to measure the loss on."""

    training: Pairs
    test: Pairs


def split(pairs: Pairs, streams: Streams, merchant: int = 0) -> Split:
    """A seeded split of a merchant's pairs, 9 to 1; at least one of two or more is a test pair."""
    count = len(pairs)
    drawn = streams.generator("shop_split", merchant).permutation(count)
    test = np.zeros(count, np.bool_)
    test[drawn[: max(round(TEST_SHARE * count), int(count > 1))]] = True
    return Split(pairs.select(~test), pairs.select(test))
