"""The first page: all runs and sweeps of the folder."""

from __future__ import annotations

from starlette.responses import Response

from bfedrec.web.explorer.visits import Visit


def show(visit: Visit) -> Response:
    """The runs and sweeps of the folder, with filter and order."""
    return visit.page("runs.html")
