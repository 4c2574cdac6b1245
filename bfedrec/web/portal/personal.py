"""The personal page and the recommendations."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final, NamedTuple

from starlette.responses import Response

from bfedrec.merchants.rounds.promotions import Promotion
from bfedrec.web.portal.market import PROBLEMS
from bfedrec.web.portal.shelf import Shelf
from bfedrec.web.portal.visits import Visit

TOP: Final = 20
"""Products on each list."""
PATIENCE_SECONDS: Final = 5.0
"""Seconds that a page waits for a list; after that it loads itself anew."""
REFRESH: Final = 3


def show_home(visit: Visit) -> Response:
    """The personal page: today's featured items, and where the round is."""
    market = visit.portal.market
    shelf = market.shop(visit.name).shelf()
    now, problem = market.look()
    values = {
        "featured": shelf.featured(visit.name, datetime.now(UTC).date()),
        "events": shelf.events,
        "products": len(shelf.products),
        "files": len(market.shop(visit.name).files()),
        "round": now,
        "problem": problem,
    }
    return visit.page("home.html", values)


class Row(NamedTuple):
    """One product of a list."""

    id: int
    title: str
    price: float
    score: float
    share: float
    """Its score as a share of the list's greatest."""
    other: int
    """Its place on the other list, or 0."""


def show_recommendations(visit: Visit) -> Response:
    """The products to promote, by the merchants' aggregate and by the merchant alone."""
    market, shop = visit.portal.market, visit.portal.market.shop(visit.name)
    if not shop.workspace.trained_rounds():
        return _told(visit, "Recommendations need a model of your own: train in a round first.")
    try:
        found = market.promotions(visit.name)
        if found is None:
            return _told(visit, "No round has been closed yet; there is no aggregate.")
        number, advice = found
        ranked = advice.result(PATIENCE_SECONDS)
    except TimeoutError:
        return _told(visit, "Your own model without the others is being trained.", REFRESH)
    except PROBLEMS as error:
        return _told(visit, market.discreet(error))
    shelf = shop.shelf()
    together = [each for each in ranked if each.rank <= TOP]
    alone = sorted(
        (each for each in ranked if each.alone_rank <= TOP), key=lambda each: each.alone_rank
    )
    values = {
        "problem": "",
        "round": number,
        "together": _rows(shelf, [(each, each.score, each.alone_rank) for each in together]),
        "alone": _rows(shelf, [(each, each.alone_score, each.rank) for each in alone]),
        "shared": sum(each.alone_rank <= TOP for each in together),
    }
    return visit.page("recommendations.html", values)


def _told(visit: Visit, problem: str, refresh: int = 0) -> Response:
    values = {"problem": problem, "together": [], "refresh": refresh}
    return visit.page("recommendations.html", values)


def _rows(shelf: Shelf, ranked: Sequence[tuple[Promotion, float, int]]) -> list[Row]:
    """Rows of products, each with its score and its place on the other list."""
    most = max((score for _, score, _ in ranked), default=0.0)
    rows = []
    for each, score, other in ranked:
        product = shelf.products.get(each.product)
        title = product.title if product else f"product {each.product}"
        price = product.price if product else math.nan
        share = max(0.0, score / most) if most > 0 else 0.0
        rows.append(Row(each.product, title, price, score, share, other if other <= TOP else 0))
    return rows
