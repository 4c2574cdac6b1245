"""The portal's application: its table of pages, and what is checked before any of them.

A page that is not in `PAGES` does not exist, and each says there who may ask for it.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from enum import Enum
from typing import Final, NamedTuple

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bfedrec.web import assets
from bfedrec.web.errors import error_pages
from bfedrec.web.portal import contribution, login, personal, record
from bfedrec.web.portal.state import AT_ONCE, Portal
from bfedrec.web.portal.uploads import MOST_BYTES
from bfedrec.web.portal.visits import Visit, go
from bfedrec.web.security import SMALL_BODY, BoundedBodies, OneHost, SafeHeaders

OLD_FORM: Final = "This form is no longer valid. Please open the page again."
FIELDS: Final = 8
"""Fields of the largest form."""
ROOM_FOR_FIELDS: Final = 64 * 1024
"""Bytes of an upload's body beside its file."""


class Access(Enum):
    """The visitors that may ask for a page."""

    ANYONE = 1
    NEW = 2
    """Merchants, even before they have changed their one-time password."""
    MERCHANT = 3


class Page(NamedTuple):
    """One page or action."""

    path: str
    method: str
    answer: Callable[[Visit], Response]
    access: Access = Access.MERCHANT


PAGES: Final = (
    Page("/", "GET", lambda visit: go("/home")),
    Page("/login", "GET", login.show_login, Access.ANYONE),
    Page("/login", "POST", login.log_in, Access.ANYONE),
    Page("/password", "GET", login.show_password, Access.NEW),
    Page("/password", "POST", login.change_password, Access.NEW),
    Page("/logout", "POST", login.log_out, Access.NEW),
    Page("/home", "GET", personal.show_home),
    Page("/recommendations", "GET", personal.show_recommendations),
    Page("/contribute", "GET", contribution.show),
    Page("/uploads", "POST", contribution.upload),
    Page("/uploads/{number}", "GET", contribution.show_upload),
    Page("/uploads/{number}/bad.csv", "GET", contribution.bad_rows),
    Page("/uploads/{number}/keep", "POST", contribution.keep),
    Page("/uploads/{number}/discard", "POST", contribution.discard),
    Page("/train", "POST", contribution.train),
    Page("/aggregate", "POST", contribution.aggregate),
    Page("/live", "GET", contribution.live),
    Page("/record", "GET", record.show),
    Page("/record/verify", "POST", record.verify),
)


def application(portal: Portal) -> Starlette:
    """The application of a portal."""
    routes = [Route(page.path, _endpoint(portal, page), methods=[page.method]) for page in PAGES]
    routes.append(Route(f"{assets.PREFIX}/{{digest}}/{{name}}", assets.serve))
    return Starlette(
        routes=routes,
        middleware=[
            Middleware(SafeHeaders, https=portal.https),
            Middleware(OneHost, hosts=portal.hosts, origins=portal.origins),
            Middleware(BoundedBodies, most=_most_bytes),
        ],
        exception_handlers=error_pages("error.html", TITLES, FAILED),
    )


def _most_bytes(path: str) -> int:
    """Bytes that the body of a request to a path may have."""
    return MOST_BYTES + ROOM_FOR_FIELDS if path == "/uploads" else SMALL_BODY


def _endpoint(portal: Portal, page: Page) -> Callable[[Request], Awaitable[Response]]:
    """The page behind its checks: log-in, one-time password, token."""

    async def answer(request: Request) -> Response:
        cookie = request.cookies.get(portal.cookie, "")
        merchant, one_time = portal.visitor(cookie, touch=page.path != "/live")
        if page.access is not Access.ANYONE and merchant is None:
            return _away(page, "/login")
        if page.access is Access.MERCHANT and one_time:
            return _away(page, "/password")
        stranger = "" if merchant else request.cookies.get(portal.stranger_cookie, "")
        known = cookie if merchant else stranger or secrets.token_urlsafe(32)
        form = FormData()
        if page.method == "POST":
            form = await _form(request)
            token = form.get("token")
            held = cookie if merchant else stranger
            if not (isinstance(token, str) and portal.sessions.genuine(held, token)):
                raise HTTPException(
                    403, "This form is no longer valid. Please open the page again."
                )
        name = merchant or ""
        if merchant and portal.at_work.get(name, 0) >= AT_ONCE:
            await form.close()
            raise HTTPException(429, "Please wait until your other pages have come.")
        portal.at_work[name] = portal.at_work.get(name, 0) + 1
        try:
            visit = Visit(request, portal, merchant, portal.sessions.token(known), form)
            response = await run_in_threadpool(page.answer, visit)
        finally:
            portal.at_work[name] -= 1
            await form.close()
        if merchant is None and not stranger:
            response.set_cookie(portal.stranger_cookie, known, **portal.cookie_settings)
        return response

    return answer


async def _form(request: Request) -> FormData:
    """The form of a request, all of whose texts can be written as UTF-8.

    A form may name its encoding, and Python has some that raise other errors than starlette
    expects, or that spell half a pair of surrogates.
    """
    try:
        form = await request.form(max_files=1, max_fields=FIELDS, max_part_size=SMALL_BODY)
        for name, value in form.multi_items():
            f"{name}{value if isinstance(value, str) else value.filename}".encode()
    except (UnicodeError, LookupError):
        raise HTTPException(400, "The form is not text.") from None
    return form


def _away(page: Page, path: str) -> Response:
    """A redirection; a script that listens is refused instead, so that it stops."""
    if page.path == "/live":
        raise HTTPException(401)
    return go(path)


FAILED: Final = "It has been noted. Please try again."
TITLES: Final = {
    400: "This request makes no sense",
    401: "Please log in",
    403: "Refused",
    404: "There is no such page",
    405: "This page takes no such request",
    408: "Too slow",
    413: "Too large",
    429: "Too many requests",
    503: "Out of reach",
}
