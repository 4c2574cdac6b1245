"""The page of a height's messages between servers, of a run with a trace, and its rows as CSV."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.exceptions import HTTPException
from starlette.responses import Response

from bfedrec.explorer.messages import MOST_LISTED, MOST_ROWS, as_csv, messages_of
from bfedrec.web.explorer.visits import Visit

NO_TRACE = (
    "This run has no message trace. The same config makes one, and the same chain, with "
    "bfedrec run config.yaml --trace --out FOLDER"
)
REASONS: Mapping[str, str] = {
    "fault": "stopped by a fault",
    "unreachable": "no path open",
    "nobody": "to nobody",
    "down": "receiver down",
    "again": "came again",
    "over": "height over",
}
"""`consensus.network.traced.LOST`, in the words of the page."""


def show(visit: Visit) -> Response:
    """The messages of a height by kind; with ``?as=csv`` its rows."""
    folder, height = visit.place(), visit.height()
    found = messages_of(folder, height)
    if found is None:
        return visit.page("messages.html", {"height": height, "problem": NO_TRACE}, 404)
    if height not in found.heights:
        raise HTTPException(404, f"There are no messages of height {height:,}.")
    if visit.asked("as") == "csv":
        name = f'attachment; filename="messages-{height}.csv"'
        return Response(as_csv(folder, height), 200, {"Content-Disposition": name}, "text/csv")
    place = found.heights.index(height)
    values = {
        "height": height,
        "problem": "",
        "found": found,
        "reasons": REASONS,
        "most_rows": MOST_ROWS,
        "most_listed": MOST_LISTED,
        "before": found.heights[place - 1] if place else None,
        "after": found.heights[place + 1] if place + 1 < len(found.heights) else None,
    }
    return visit.page("messages.html", values)
