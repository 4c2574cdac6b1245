"""Generated events: format, mix, overlap, structure, and the same bytes from the same seed."""

from __future__ import annotations

import hashlib
import io
import re
from pathlib import Path

import numpy as np
import pytest

from bfedrec.merchants.generator import MIX, ShopEvents, shop_events, write_events
from bfedrec.merchants.lines import EVENT_TYPES
from bfedrec.merchants.market import Market, MarketSettings, market_of
from bfedrec.streams import Streams
from tests.bfedrec.merchants.event_files import read

SIZES = MarketSettings(shops=3, customers=300, products=200)


@pytest.fixture(scope="module")
def market() -> Market:
    return market_of(SIZES, Streams(4))


def made(market: Market, shop: int, count: int, seed: int = 4) -> tuple[ShopEvents, bytes]:
    streams = Streams(seed)
    found = shop_events(market, shop, count, streams)
    file = io.BytesIO()
    write_events(file, market, shop, found, streams)
    return found, file.getvalue()


def test_a_generated_file_is_read_without_a_bad_row(market: Market, tmp_path: Path) -> None:
    found, content = made(market, 1, 3_000)
    path = tmp_path / "shop.csv"
    path.write_bytes(content)
    (chunk,), reader = read(path)
    frame = chunk.frame
    assert (reader.reading.events, reader.reading.bad_rows) == (3_000, 0)
    assert frame["event_time"].is_monotonic_increasing
    assert frame["product_id"].tolist() == market.product_ids[found.products].tolist()
    assert frame["user_id"].tolist() == market.customer_ids[found.customers].tolist()
    assert frame["event_type"].tolist() == [EVENT_TYPES[kind] for kind in found.kinds]
    uuid4 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
    assert all(uuid4.fullmatch(session) for session in frame["user_session"].cat.categories)
    # A session is of one user, a product has one price, brand and category.
    for by, of in (("user_session", "user_id"), ("product_id", "price"), ("product_id", "brand")):
        assert frame.groupby(by, observed=True)[of].nunique().max() == 1
    assert set(frame["product_id"]) <= set(market.product_ids[market.sold[1]])
    assert set(frame["user_id"]) <= set(market.customer_ids[market.visits[1]])


def test_the_mix_is_that_of_the_true_events(market: Market) -> None:
    n = 200_000
    found = shop_events(market, 0, n, Streams(4))
    shares = np.bincount(found.kinds, minlength=3) / n
    for share, name in zip(shares, EVENT_TYPES, strict=True):
        assert abs(share - MIX[name]) < 4 * np.sqrt(MIX[name] * (1 - MIX[name]) / n)
    assert sum(MIX.values()) == pytest.approx(1.0)
    views = (found.kinds == 0).sum() / len(np.unique(found.sessions))
    assert 3.5 < views < 5.5


def test_what_suits_is_looked_at_and_bought(market: Market) -> None:
    found = shop_events(market, 0, 100_000, Streams(4))
    suits = (market.tastes[found.customers] * market.characters[found.products]).sum(axis=1)
    members, sold = market.visits[0], market.sold[0]
    everything = (market.tastes[members] @ market.characters[sold].T).mean()
    viewed, bought = suits[found.kinds == 0].mean(), suits[found.kinds == 2].mean()
    assert viewed > everything + 0.3
    assert bought > viewed + 0.05


def test_shops_share_some_customers_and_products(market: Market) -> None:
    for member in (market.visits, market.sold):
        assert member.any(axis=0).all()
        for one, other in ((0, 1), (1, 2), (0, 2)):
            both, either = (member[one] & member[other]).sum(), (member[one] | member[other]).sum()
            assert 0.2 < both / either < 0.8


def test_the_same_seed_gives_the_same_bytes_and_another_one_others(market: Market) -> None:
    content = made(market, 2, 500)[1]
    again = market_of(SIZES, Streams(4))
    assert made(again, 2, 500)[1] == content
    others = [made(market, 2, 500, 5)[1], made(market, 1, 500)[1]]
    others.append(made(market_of(SIZES, Streams(5)), 2, 500)[1])
    assert len({hashlib.sha256(one).digest() for one in (content, *others)}) == 4


def test_sizes_that_make_no_market_are_refused(market: Market) -> None:
    for changes in (
        {"shops": 0},
        {"customers": 0},
        {"products": 10**6 + 1},
        {"customers": 10**6, "products": 10**4},
        {"customer_share": 0.0},
        {"product_share": 1.1},
    ):
        with pytest.raises(ValueError, match="must be"):
            MarketSettings(**changes)  # type: ignore[arg-type]
    for count in (0, 10**8 + 1):
        with pytest.raises(ValueError, match="a shop has 1 to 100,000,000 events"):
            shop_events(market, 0, count, Streams(0))
    tiny = market_of(MarketSettings(2, 1, 1), Streams(0))
    assert len(shop_events(tiny, 1, 7, Streams(0)).times) == 7
