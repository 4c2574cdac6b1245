"""The transparent record, and its verification on the spot."""

from __future__ import annotations

from collections import defaultdict
from typing import Final, NamedTuple

from starlette.responses import Response

from bfedrec.web.portal import lineage
from bfedrec.web.portal.ledger import Transaction
from bfedrec.web.portal.market import OUT_OF_REACH
from bfedrec.web.portal.visits import Visit, go

PER_PAGE: Final = 50


class Pages(NamedTuple):
    """The place in a list that is shown page by page."""

    page: int
    last: int
    total: int


def show(visit: Visit) -> Response:
    """The page."""
    return _page(visit)


def verify(visit: Visit) -> Response:
    """Recompute all models and aggregates, and show what came of it."""
    try:
        visit.portal.market.verify()
    except OUT_OF_REACH as error:
        return _page(visit, visit.portal.market.discreet(error), 503)
    return go("/record")


def _page(visit: Visit, problem: str = "", status: int = 200) -> Response:
    market = visit.portal.market
    values: dict[str, object] = {"names": defaultdict(str, market.names)}
    try:
        ledger, rounds, verified = market.ledger(), market.rounds(), market.recomputed()
    except OUT_OF_REACH as error:
        values |= {"verified": market.verified, "problem": problem or market.discreet(error)}
        empty: dict[str, object] = {"ledger": None, "lineage": None, "refusals_off_chain": []}
        return visit.page("record.html", {**values, **empty}, 503)
    marks = verified.marks if verified else {}
    shown, pages = _cut(ledger.transactions, visit.request.query_params.get("page", "1"))
    values |= {
        "problem": problem,
        "verified": verified,
        "ledger": ledger,
        "transactions": shown,
        "pages": pages,
        "refusals": sum(bool(each.refused) for each in ledger.transactions),
        "models": lineage.lines(rounds, market.names, marks),
        "lineage": lineage.drawing(rounds, market.names, marks),
        "refusals_off_chain": verified.refused if verified else [],
    }
    return visit.page("record.html", values, status)


def _cut(found: tuple[Transaction, ...], asked: str) -> tuple[list[Transaction], Pages]:
    """The transactions of a page, the latest first; a page that there is not is the nearest."""
    last = max(1, -(-len(found) // PER_PAGE))
    wanted = int(asked) if asked.isascii() and asked.isdigit() and len(asked) < 9 else 1
    page = min(max(1, wanted), last)
    latest = found[::-1]
    return list(latest[(page - 1) * PER_PAGE : page * PER_PAGE]), Pages(page, last, len(found))
