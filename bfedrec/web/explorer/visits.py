"""A visit of a page of the explorer, and the answers that every page may give."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.types import Receive, Scope, Send

from bfedrec.explorer.catalogue import State
from bfedrec.runs.folder import RunError
from bfedrec.web.explorer.state import Explorer
from bfedrec.web.pages import render

Tabs = tuple[tuple[str, str], ...]
"""Pages of a run: the first part of their paths, and their names."""


class Events(EventSourceResponse):
    """Server-sent events, counted as a visitor that is told live until they end."""

    def __init__(self, explorer: Explorer, events: AsyncIterator[ServerSentEvent]) -> None:
        """Raises HTTPException (429) where too many are told already."""
        self._counted = explorer.listening()
        self._counted.__enter__()
        super().__init__(events)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send them, to their end or the visitor's."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._counted.__exit__(None, None, None)


@dataclass(frozen=True)
class Visit:
    """One request to a page."""

    request: Request
    explorer: Explorer

    @property
    def path(self) -> str:
        """The relative path of the run or sweep that the address names."""
        return str(self.request.path_params["run"])

    def place(self, path: str | None = None) -> Path:
        """The folder of the run that the address names, or of ``path``. Raises HTTPException (404)
        if it is not below the folder that is shown."""
        try:
            place = self.explorer.places.find(self.path if path is None else path)
        except RunError as error:
            raise HTTPException(404, str(error)) from None
        if not place.is_dir():
            raise HTTPException(404)
        return place

    def height(self) -> int:
        """The height that the address names."""
        return int(self.request.path_params["height"])

    def asked(self, name: str, most: int = 200) -> str:
        """A value of the query, at most ``most`` characters of it; empty if there is none."""
        return self.request.query_params.get(name, "")[:most]

    def all_asked(self, name: str, most: int = 40) -> list[str]:
        """At most ``most`` values of the query that have one name."""
        return self.request.query_params.getlist(name)[:most]

    def page(
        self, template: str, values: Mapping[str, object] | None = None, status: int = 200
    ) -> Response:
        """A page from a template of `templates/explorer`. A page of a run has its tabs."""
        run = self.request.path_params.get("run", "")
        tabs = self._tabs() if run else ()
        shared = {"path": self.request.url.path, "run": run, "tabs": tabs, "url": address}
        text = render(f"explorer/{template}", {**shared, **(values or {})})
        return HTMLResponse(text.encode(errors="replace"), status)  # half a character has no bytes

    def _tabs(self) -> Tabs:
        """The pages that the run of the address has; none for a folder that is no run."""
        try:
            run = self.explorer.catalogue.run(self.path)
        except RunError:
            return ()
        imported = run.state is State.IMPORTED
        pages = (
            ("run", "Run", True),
            ("chain", "Chain", run.ledger),
            ("network", "Network", run.ledger and not imported),
            ("users", "Users", not imported),
        )
        return tuple((page, name) for page, name, there in pages if there)

    def events(self, told: AsyncIterator[ServerSentEvent]) -> Response:
        """Server-sent events. Raises HTTPException (429) where too many are told already."""
        return Events(self.explorer, told)

    def json(self, value: Any) -> Response:
        """A value as JSON, in ASCII; it may hold no number that is not finite."""
        return Response(json.dumps(value, allow_nan=False), media_type="application/json")


def address(page: str, run: str, **query: str | int) -> str:
    """The address of a page, as ``address("block/7", "sweep/a run")``: `/block/7/sweep/a%20run`."""
    asked = "&".join(f"{name}={quote(str(value), safe='')}" for name, value in query.items())
    return f"/{page}/{quote(run, safe='/')}{'?' if asked else ''}{asked}"
