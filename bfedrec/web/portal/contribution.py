"""Contribution: uploads, training and aggregation, and how they are watched live."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Final

from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.exceptions import HTTPException
from starlette.responses import FileResponse, Response

from bfedrec.merchants.lines import COLUMNS
from bfedrec.merchants.training import EpochLosses
from bfedrec.web.live import Figure, told_figure, told_fragment
from bfedrec.web.pages import render
from bfedrec.web.portal.jobs import Busy
from bfedrec.web.portal.market import AGGREGATE, TRAIN
from bfedrec.web.portal.shop import Losses
from bfedrec.web.portal.state import LISTENERS
from bfedrec.web.portal.uploads import MOST_BYTES, Upload, UploadError
from bfedrec.web.portal.visits import Visit, go

REFRESH: Final = 3
"""Seconds after which a page without a script loads itself anew."""
LOOK_SECONDS: Final = 0.3
"""Seconds between looks at what has changed."""
ROWS: Final = 10
"""Rows of the table of losses."""
LINES: Final = (
    ("training", "training", 1, "solid", 2.5),
    ("test", "test", 2, "solid", 2.5),
    ("constant_training", "constant, training", 1, "dot", 1.5),
    ("constant_test", "constant, test", 2, "dot", 1.5),
)
"""Lines of the chart of losses: column, name, colour, dash and width."""


def show(visit: Visit) -> Response:
    """The page."""
    return _page(visit)


def upload(visit: Visit) -> Response:
    """Keep an uploaded file until its merchant has seen what is in it."""
    file = visit.file("file")
    if file is None or not (file.filename or file.size):
        return _page(visit, "Please choose a file.", 422)
    shop = visit.portal.market.shop(visit.name)
    try:
        with shop.receiving:
            found = shop.uploads.receive(
                file.file, file.filename or "", visit.portal.market.catalogue
            )
    except UploadError as error:
        return _page(visit, str(error), 422)
    return go(f"/uploads/{found.number}")


def show_upload(visit: Visit) -> Response:
    """The preview of an upload."""
    found = _upload(visit)
    values = {"number": found.number, "report": found.report, "columns": COLUMNS}
    return visit.page("upload.html", values)


def bad_rows(visit: Visit) -> Response:
    """All rows of an upload that cannot be used, as a CSV file."""
    found = _upload(visit)
    return FileResponse(found.bad, media_type="text/csv", filename=f"bad-rows-{found.number}.csv")


def keep(visit: Visit) -> Response:
    """Make an upload part of the merchant's events."""
    shop = visit.portal.market.shop(visit.name)
    with shop.receiving:
        shop.keep(_upload(visit))
    return go("/contribute")


def discard(visit: Visit) -> Response:
    """Remove an upload."""
    shop = visit.portal.market.shop(visit.name)
    with shop.receiving:
        shop.uploads.discard(_upload(visit))
    return go("/contribute")


def train(visit: Visit) -> Response:
    """Begin to train on all kept events, and to publish what was learned."""
    if not visit.portal.market.shop(visit.name).files():
        return _page(visit, "There are no events to train on; please upload some.", 422)
    return _start(visit, TRAIN)


def aggregate(visit: Visit) -> Response:
    """Begin to aggregate the open round, whoever is missing, and to attest the result."""
    return _start(visit, AGGREGATE)


def live(visit: Visit) -> Response:
    """The merchant's job as server-sent events, as `static/script.js` reads them."""
    listening = visit.portal.listeners
    if listening.get(visit.name, 0) >= LISTENERS:
        raise HTTPException(429, "Too many pages are being told at once; please close some.")
    return EventSourceResponse(_told(visit))


async def _told(visit: Visit) -> AsyncIterator[ServerSentEvent]:
    portal, name = visit.portal, visit.name
    cookie = visit.request.cookies.get(portal.cookie, "")
    shop = portal.market.shop(name)
    portal.listeners[name] = portal.listeners.get(name, 0) + 1
    version, epochs = -1, -1
    try:
        # A look is no use of a session: a forgotten page does not keep it alive.
        while portal.visitor(cookie, touch=False)[0] == name:
            progress = portal.market.jobs.progress(name)
            losses = await asyncio.to_thread(shop.losses)
            if losses.count != epochs:
                epochs = losses.count
                yield told_figure("chart", _figure(losses))
            if progress.version != version:
                version = progress.version
                yield told_fragment("live", render("steps.html", {"job": progress}))
            if not progress.running:
                yield ServerSentEvent("", event="done")
                return
            await asyncio.sleep(LOOK_SECONDS)
    finally:
        portal.listeners[name] -= 1


def _start(visit: Visit, kind: str) -> Response:
    try:
        visit.portal.market.start(visit.name, kind)
    except Busy as busy:
        return _page(visit, str(busy), 409)
    return go("/contribute")  # a page with a fragment would not load itself anew


def _upload(visit: Visit) -> Upload:
    """The upload that a path names, among those of the merchant who asks."""
    uploads = visit.portal.market.shop(visit.name).uploads
    number = visit.request.path_params["number"]
    plain = number.isascii() and number.isdigit() and len(number) < 10
    found = uploads.find(int(number)) if plain else None
    if found is None:
        raise HTTPException(404)
    return found


def _page(visit: Visit, told: str = "", status: int = 200) -> Response:
    market = visit.portal.market
    shop = market.shop(visit.name)
    job = market.jobs.progress(visit.name)
    losses = shop.losses()
    now, problem = market.look()
    step = max(1, losses.count // ROWS)
    rows = losses.rows[step - 1 :: step] if losses.count else []
    charted = bool(losses.count or job.running)
    values = {
        "told": told,
        "problem": problem,
        "most_bytes": MOST_BYTES,
        "uploads": shop.uploads.all(),
        "files": shop.files(),
        "round": now,
        "job": job,
        "refresh": REFRESH if job.running else 0,
        "losses": json.dumps(_figure(losses)) if charted else "",
        "losses_round": losses.round,
        "table": rows,
        "last": losses.rows[-1] if losses.count else None,
    }
    return visit.page("contribute.html", values, status)


def _figure(losses: Losses) -> Figure:
    """The losses by epoch, as a figure of a page; without numbers that JSON does not know."""
    columns = {
        name: [_number(getattr(row, name)) for row in losses.rows] for name in EpochLosses._fields
    }
    return {
        "x": [{"key": "epoch", "name": "Epoch"}],
        "y": [{"key": "loss", "name": "Mean squared error", "zero": True}],
        "series": [
            {
                "name": name,
                "values": {"epoch": columns["epoch"], "loss": columns[column]},
                "colour": colour,
                "dash": dash,
                "width": width,
            }
            for column, name, colour, dash, width in LINES
        ],
    }


def _number(value: float) -> float | None:
    return value if value == value and abs(value) != float("inf") else None
