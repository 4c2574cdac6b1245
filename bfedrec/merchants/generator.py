"""Seeded events of the shops of a generated market, in REES46's format and mix.

A shop's events are sessions: some views one after the other, a product now and then looked at
again, and after a few of the views the product put into the cart or bought, the more likely the
better it suits the customer. The shares of views, carts and purchases are those of REES46's
October 2019.
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import BinaryIO, NamedTuple

import numpy as np

from bfedrec.merchants.lines import COLUMNS, EVENT_TYPES
from bfedrec.merchants.market import AFFINITY, Market
from bfedrec.streams import Streams

MIX = {"view": 0.9607, "cart": 0.0218, "purchase": 0.0175}
"""Share of each type of event in REES46's October 2019."""
BOUGHT = 0.45
"""Share of the carts that end in a purchase; the other purchases have no cart."""
VIEWS = 4.5
"""Mean number of views of a session."""
AGAIN = 0.25
"""Share of a session's later views that look at the product before again."""
KEENNESS = 2.5
"""Logarithm of how much likelier a product that suits fully is bought than one that is neutral."""
BEGIN = datetime(2019, 10, 1, tzinfo=UTC)
DAYS = 31
DAY = 86_400
BLOCK = 2**22
"""Pairs of customer and product that are weighed at once."""
WRITTEN = 100_000
"""Events that are written at once."""


class ShopEvents(NamedTuple):
    """The events of one shop in the order of time; places are those of the market's arrays."""

    times: np.ndarray
    """int64[n]: seconds since 1970, UTC."""
    kinds: np.ndarray
    """int8[n]: places in `EVENT_TYPES`."""
    products: np.ndarray
    """int64[n]."""
    customers: np.ndarray
    """int64[n]."""
    sessions: np.ndarray
    """int64[n]: numbers of sessions."""


def shop_events(market: Market, shop: int, count: int, streams: Streams) -> ShopEvents:
    """The first ``count`` events of a shop, 1 to 10^8.

    Raises ValueError for another count.
    """
    if not 1 <= count <= 10**8:
        raise ValueError(f"a shop has 1 to 100,000,000 events, not {count:,}")
    rng = streams.generator("market", 1, shop)
    # More than enough: what comes too late in the month is cut off.
    views = math.ceil(count * MIX["view"] + 6 * math.sqrt(count) + 10)
    customers, products, suits = _views(market, shop, views, rng)
    new = np.concatenate([[True], customers[1:] != customers[:-1]])
    new |= rng.random(views) < 1 / VIEWS
    sessions = np.cumsum(new) - 1
    # The view that a repeated one repeats: the last before it that is none.
    fresh = new | (rng.random(views) >= AGAIN)
    source = np.maximum.accumulate(np.where(fresh, np.arange(views), 0))
    products, suits = products[source], suits[source]
    times = _times(new, sessions, rng)
    keen = np.exp(KEENNESS * suits)
    keen /= keen.mean()
    carted = rng.random(views) < keen * MIX["cart"] / MIX["view"]
    bought = carted & (rng.random(views) < BOUGHT)
    at_once = (MIX["purchase"] - BOUGHT * MIX["cart"]) / MIX["view"]
    bought |= rng.random(views) < keen * at_once
    after = rng.integers(5, 60, views)
    parts = []
    for kind, rows in enumerate((np.arange(views), np.flatnonzero(carted), np.flatnonzero(bought))):
        late = times[rows] + after[rows] * kind
        kinds = np.full(len(rows), kind, np.int8)
        parts.append((late, kinds, products[rows], customers[rows], sessions[rows]))
    columns = [np.concatenate(column) for column in zip(*parts, strict=True)]
    order = np.argsort(columns[0], kind="stable")[:count]
    return ShopEvents(*(column[order] for column in columns))


def _views(
    market: Market, shop: int, views: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Customers (ascending) and products of views, int64[n], and how well each suits, float64[n]:
    the product of taste and character."""
    members, sold = np.flatnonzero(market.visits[shop]), np.flatnonzero(market.sold[shop])
    weights = market.activity[members]
    counts = rng.multinomial(views, weights / weights.sum())
    rows = max(1, BLOCK // len(sold))
    products, suits = [], []
    for first in range(0, len(members), rows):
        block = slice(first, first + rows)
        # einsum adds up in one order; a library's product may depend on the number of threads.
        suit = np.einsum("ud,nd->un", market.tastes[members[block]], market.characters[sold])
        weight = AFFINITY * suit + market.popularity[sold]
        share = np.cumsum(np.exp(weight - weight.max(axis=1, keepdims=True)), axis=1)
        share /= share[:, -1:]
        row = np.repeat(np.arange(len(suit)), counts[block])
        # Row by row one after the other, so that one search serves all customers.
        steps = (share + np.arange(len(suit))[:, None]).ravel()
        found = np.searchsorted(steps, row + rng.random(len(row)), side="right")
        column = np.clip(found - row * len(sold), 0, len(sold) - 1)
        products.append(sold[column])
        suits.append(suit[row, column])
    return np.repeat(members, counts), np.concatenate(products), np.concatenate(suits)


def _times(new: np.ndarray, sessions: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Seconds since 1970 of views: sessions at any day, mostly in the afternoon, and in them less
    than a minute between views on average."""
    count = int(sessions[-1]) + 1
    begin = int(BEGIN.timestamp())
    starts = begin + DAY * rng.integers(DAYS, size=count)
    starts += np.rint(rng.normal(15 * 3_600, 4 * 3_600, count)).astype(np.int64) % DAY
    gaps = 1 + np.rint(rng.exponential(45.0, len(new))).astype(np.int64)
    passed = np.cumsum(gaps)
    times: np.ndarray = starts[sessions] + passed - passed[new][sessions]
    return times


def write_events(
    file: BinaryIO, market: Market, shop: int, events: ShopEvents, streams: Streams
) -> None:
    """Write a shop's events as CSV; ``streams`` give the sessions' ids."""
    file.write((",".join(COLUMNS) + "\n").encode())
    words = streams.generator("market", 2, shop).bytes(16 * (int(events.sessions.max()) + 1))
    for text in _rows(market, events, words):
        file.write(text.encode())


def _rows(market: Market, events: ShopEvents, words: bytes) -> Iterator[str]:
    products = np.array(market.product_texts, object)
    customers = market.customer_ids.astype(str).astype(object)
    names = np.array(EVENT_TYPES, object)
    ids = np.array(
        [str(uuid.UUID(bytes=words[k : k + 16], version=4)) for k in range(0, len(words), 16)],
        object,
    )
    for first in range(0, len(events.times), WRITTEN):
        part = ShopEvents(*(column[first : first + WRITTEN] for column in events))
        times = np.datetime_as_string(part.times.astype("datetime64[s]")).tolist()
        columns = (names[part.kinds], products[part.products], customers[part.customers])
        told = zip(times, *columns, ids[part.sessions], strict=True)
        yield "".join(
            f"{time[:10]} {time[11:]} UTC,{kind},{product},{customer},{session}\n"
            for time, kind, product, customer, session in told
        )
