"""The explorer's application: its table of pages, and the guards around them.

A page that is not in `PAGES` does not exist. Every page only reads.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.convertors import Convertor, register_url_convertor
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from bfedrec.runs.folder import RunError
from bfedrec.web import assets
from bfedrec.web.errors import error_pages
from bfedrec.web.explorer import (
    chain,
    compare,
    live,
    messages,
    network,
    records,
    run,
    runs,
    sweep,
    timeline,
    trace,
    users,
    verify,
)
from bfedrec.web.explorer.state import Explorer
from bfedrec.web.explorer.visits import Visit
from bfedrec.web.pages import render
from bfedrec.web.security import BoundedBodies, OneHost, SafeHeaders
from consensus.storage.content import StoreError


class Height(Convertor[int]):
    """A height in a path, as ``{height:height}``: Starlette's ``int`` takes more digits than Python
    reads."""

    regex = "[0-9]{1,12}"

    def convert(self, value: str) -> int:
        """The number in a path."""
        return int(value)

    def to_string(self, value: int) -> str:
        """A number as a path has it."""
        return str(value)


register_url_convertor("height", Height())


class Page(NamedTuple):
    """One page: its path, with ``{run:path}`` last where it is of a run, and its answer."""

    path: str
    answer: Callable[[Visit], Response]


PAGES: Final = (
    Page("/", runs.show),
    Page("/chain/{run:path}", chain.show),
    Page("/block/{height:height}/{run:path}", chain.show_block),
    Page("/search/{run:path}", chain.show_search),
    Page("/verify/{run:path}", verify.show),
    Page("/verifying/{run:path}", verify.tell),
    Page("/run/{run:path}", run.show),
    Page("/live/{run:path}", live.live),
    Page("/curves", compare.curves),
    Page("/curves/{run:path}", run.curves),
    Page("/compare", compare.show),
    Page("/sweep/{run:path}", sweep.show),
    Page("/record/{kind}/{name}", records.show),
    Page("/users/{run:path}", users.show),
    Page("/network/{run:path}", network.show),
    Page("/timeline/{height:height}/{run:path}", timeline.show),
    Page("/messages/{height:height}/{run:path}", messages.show),
)

TRACE_PAGES: Final = (
    Page("/", trace.lead),
    Page("/trace", trace.show),
    Page("/trace/{height:height}", trace.show_height),
)
"""The pages of a server that shows a torture trace in place of runs."""

ERROR: Final = "explorer/error.html"
"""The template of every error page."""
TITLES: Final = {
    400: "This request makes no sense",
    404: "There is no such page",
    405: "This page takes no such request",
    413: "Too large",
    429: "Too many requests",
    503: "Busy",
}


def application(explorer: Explorer) -> Starlette:
    """The application of an explorer."""
    pages = PAGES if explorer.trace is None else TRACE_PAGES
    routes = [Route(page.path, _endpoint(explorer, page), methods=["GET"]) for page in pages]
    routes.append(Route(f"{assets.PREFIX}/{{digest}}/{{name}}", assets.serve))
    return Starlette(
        routes=routes,
        middleware=[
            Middleware(SafeHeaders),
            Middleware(OneHost, hosts=explorer.hosts, origins=(), any_port=True),
            Middleware(BoundedBodies),
        ],
        exception_handlers=error_pages(ERROR, TITLES, "The terminal of the server has it."),
    )


def _endpoint(explorer: Explorer, page: Page) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        try:
            with explorer.answering():
                return await run_in_threadpool(page.answer, Visit(request, explorer))
        except (RunError, StoreError) as error:  # a broken or foreign folder
            values = {"title": "This cannot be shown", "told": str(error)}
            return HTMLResponse(render(ERROR, values), 422)

    return answer
