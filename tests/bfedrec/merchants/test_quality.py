"""The evaluation: who is held out, who is ranked, ranks by hand, and the methods' order."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from bfedrec.evaluation.metrics import NotFinite
from bfedrec.merchants import quality
from bfedrec.merchants.comparison import METHODS, compare, histories_of
from bfedrec.merchants.interactions import History
from bfedrec.merchants.market import MarketSettings
from bfedrec.merchants.quality import hold_out, metrics_of, ranks
from bfedrec.merchants.record import LABELS, from_json, to_json
from bfedrec.merchants.settings import StepSettings
from bfedrec.streams import Streams

STREAMS = Streams(1)


def history(events: dict[int, list[int]]) -> History:
    """A history of each user's products, one view a second."""
    rows = [(user, item, 0, time) for user, of in events.items() for time, item in enumerate(of)]
    return History(*np.array(rows, np.int64).T)


ONE = {1: [10, 11, 12, 13, 14], 2: [10, 10, 11, 11], 3: [16, 10, 11, 12, 14, 16]}
OTHER = {1: [14, 20, 21, 13, 10], 9: [10, 11, 12, 20, 21, 22]}


def test_the_latest_products_are_held_out_everywhere() -> None:
    market = hold_out([history(ONE), history(OTHER)], STREAMS)
    ids = market.catalogue.ids
    one, other = market.shops
    # User 2 has too few products; user 3 came back to 16, which is the latest.
    assert one.lists.user.tolist() == [1, 3]
    for part, expected in (("validation", [13, 14]), ("test", [14, 16])):
        assert ids[one.assortment[one.lists.held_out[part]]].tolist() == expected
    assert other.lists.user.tolist() == [1, 9]
    # User 1's 13 and 14 are held out at the one shop, 13 and 10 at the other: nobody has them.
    seen = {user: set() for user in (1, 3)}  # type: dict[int, set[int]]
    for shop in market.shops:
        for user, product in zip(shop.training.users, shop.training.products, strict=True):
            seen.setdefault(int(user), set()).add(int(product))
    assert seen[1] == {11, 12, 20, 21}
    assert seen[3] == {10, 11, 12}
    assert seen[9] == {10, 11, 12, 20}


def test_ranked_is_what_the_shop_sells_and_the_user_never_met() -> None:
    market = hold_out([history(ONE), history(OTHER)], STREAMS)
    ids = market.catalogue.ids
    one, other = market.shops
    assert ids[one.assortment].tolist() == [10, 11, 12, 13, 14, 16]
    assert [ids[one.assortment[row]].tolist() for row in one.lists.ranked] == [[16], [13]]
    # 12 is not sold there; user 1 had to do with 11 and 12 at the other shop.
    assert ids[other.assortment].tolist() == [10, 11, 12, 13, 14, 20, 21, 22]
    ranked = [ids[other.assortment[row]].tolist() for row in other.lists.ranked]
    assert ranked == [[22], [13, 14]]


def test_ranks_by_hand() -> None:
    Q = np.array([[1.0], [3.0], [2.0], [3.0], [0.0]], np.float32)
    P = np.array([[1.0], [1.0], [-1.0], [0.0]], np.float32)
    ranked = np.ones((4, 5), np.bool_)
    held_out = np.array([1, 2, 4, 2])
    ranked[np.arange(4), held_out] = False
    ranked[1, 3] = False
    # A tie counts against the model, and so does a scorer that knows nothing.
    assert ranks(P, Q, ranked, held_out).tolist() == [1, 1, 0, 4]
    P[0] = np.nan
    with pytest.raises(NotFinite):
        ranks(P, Q, ranked, held_out)
    found = metrics_of(np.array([0, 1, 9, 10]))
    assert found["hr@10"] == 0.75
    assert found["ndcg@10"] == pytest.approx((1 + 1 / np.log2(3) + 1 / np.log2(11)) / 4)


def test_popularity_by_hand() -> None:
    events = {user: [10, 11, 12, 13, 14 + user % 2] for user in range(1, 7)}
    events |= {9: [15, 15, 15]}
    market = hold_out([history(events)], STREAMS)
    # Left to train on: 10, 11, 12 of six users, and 15 of one; 13 and 14 of none.
    found = quality.popularity(market, StepSettings())
    # Who is tested on 15 has 14 beside it, which nobody has; who is tested on 14 has 15.
    assert found.test.tolist() == [0, 1] * 3
    assert found.validation.tolist() == [1, 1] * 3


def test_too_little_is_refused() -> None:
    with pytest.raises(ValueError, match="no user has 5 products at a shop"):
        hold_out([history({1: [1, 2, 3, 4]})], STREAMS)
    with pytest.raises(ValueError, match="no events left"):
        hold_out([history(ONE), history({1: [14]})], STREAMS)


SMALL = MarketSettings(2, 150, 80)


@pytest.fixture(scope="module")
def market() -> quality.HeldOut:
    return hold_out(histories_of(SMALL, 3_000, Streams(0)), Streams(0))


def test_methods_rank_the_same_lists_again_and_again(market: quality.HeldOut) -> None:
    settings = StepSettings(10)
    users = sum(len(shop.lists.user) for shop in market.shops)
    for name, method in METHODS.items():
        found = method(market, settings)
        assert len(found.test) == len(found.validation) == users, name
        assert (found.test >= 0).all()
        assert (method(market, settings).test == found.test).all(), name
    assert list(METHODS) == list(LABELS)


def test_a_round_of_one_merchant_is_that_merchant_alone(market: quality.HeldOut) -> None:
    single = replace(market, shops=market.shops[:1])
    settings = StepSettings(6)
    alone = quality.alone(single, settings)
    once = quality.federated(1, "plain")(single, settings)
    assert (once.test == alone.test).all()


def test_learning_finds_what_popularity_does_not(market: quality.HeldOut) -> None:
    """A floor of quality on generated structure."""
    settings = StepSettings(100, 0.06, 0.01)
    by = {
        name: metrics_of(METHODS[name](market, settings).test)
        for name in ("popularity", "alone", "pooled")
    }
    assert by["pooled"]["ndcg@10"] > 1.2 * by["popularity"]["ndcg@10"]
    assert by["alone"]["ndcg@10"] > by["popularity"]["ndcg@10"]


def test_a_comparison_is_recorded_and_read_back() -> None:
    told: list[tuple[str, int, int]] = []
    grid = (StepSettings(3, 0.05), StepSettings(3, 10.0), StepSettings(6, 0.05))
    tiny = MarketSettings(2, 60, 40)
    found = compare([0, 1], lambda *one: told.append(one), tiny, 700, grid)
    assert told.count(("alone", 3, 3)) == 1
    assert found.methods["popularity"].settings is None
    chosen = found.methods["pooled"].settings
    assert chosen in (grid[0], grid[2])  # the other diverges
    assert all(len(one.test["hr@10"]) == 2 for one in found.methods.values())
    assert from_json(to_json(found), "x") == found
    assert [loss.negatives for loss in found.losses] == [0, 4]
    assert all(0 < loss.test < 1 for loss in found.losses)
