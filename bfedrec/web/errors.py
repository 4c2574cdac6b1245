"""Pages in place of what is refused or goes wrong."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from bfedrec.web.pages import render

Handler = Callable[[Request, Any], Awaitable[Response]]


def error_pages(template: str, titles: Mapping[int, str], failed: str) -> dict[Any, Handler]:
    """The exception handlers of an application whose error pages have a template, which is given
    ``title`` and ``told``.

    ``titles``: by status. ``failed``: said of an error of ours, whose text goes to the server's log
    alone.
    """

    async def refused(request: Request, error: HTTPException) -> Response:
        title = titles.get(error.status_code, "An error")
        standard = HTTPException(error.status_code).detail
        told = "" if error.detail == standard else error.detail
        values = {"title": title, "told": told}
        return HTMLResponse(render(template, values), error.status_code, error.headers)

    async def broken(request: Request, error: Exception) -> Response:
        traceback.print_exception(error, file=sys.stderr)
        values = {"title": "Something went wrong here", "told": failed}
        return HTMLResponse(render(template, values), 500)

    return {HTTPException: refused, 500: broken}
