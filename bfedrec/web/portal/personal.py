"""The personal page and the recommendations."""

from __future__ import annotations

from datetime import UTC, datetime

from starlette.responses import Response

from bfedrec.web.portal.visits import Visit


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


def show_recommendations(visit: Visit) -> Response:
    """The products to promote, by the merchants' aggregate and by the merchant alone."""
    return visit.page("recommendations.html", {"problem": "", "together": []})
