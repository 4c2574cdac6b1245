"""Guards around every page: headers, hosts, bounded bodies that have to come in time, and patience
with connections that ends."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Sequence
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

POLICY: Final = (
    "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'"
)
"""Content-Security-Policy: nothing comes from elsewhere, and nothing stands inline."""
HEADERS: Final = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # Not no-referrer, under which browsers name no origin in the requests of forms.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
HSTS: Final = "max-age=31536000"
SMALL_BODY: Final = 16 * 1024
"""Bytes of a form without a file."""
PIECE_SECONDS: Final = 15.0
"""Seconds in which the next piece of a body has to come."""
BODY_SECONDS: Final = 300.0
"""Seconds in which a whole body has to come."""


class SafeHeaders:
    """An application whose responses have `HEADERS`, and are not kept unless they say so."""

    def __init__(self, app: ASGIApp, https: bool = False) -> None:
        self.app, self.https = app, https

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
                headers.setdefault("Cache-Control", "no-store")
                if self.https:
                    headers["Strict-Transport-Security"] = HSTS
            await send(message)

        await self.app(scope, receive, guarded)


class OneHost:
    """An application that answers under its own names alone, and to its own pages' forms alone.

    A page of a foreign name that resolves to this machine would otherwise be of one origin with
    ours. A POST has to name our origin, or none. A page of another origin may lead here by a link;
    what else a browser says that it asks for (an image, a frame, a script) is refused: it would
    start work here that nobody wants.
    """

    def __init__(
        self, app: ASGIApp, hosts: Sequence[str], origins: Sequence[str], any_port: bool = False
    ) -> None:
        """``any_port``: ``hosts`` are names without a port, and any port may follow them, as a
        tunnel has one of its own."""
        self.app, self.hosts, self.origins = app, frozenset(hosts), frozenset(origins)
        self.any_port = any_port

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "http":
            headers = Headers(scope=scope)
            named = headers.getlist("host")
            if len(named) != 1 or self._name(named[0]) not in self.hosts:
                told = PlainTextResponse("not a name of this server\n", 421, _CLOSE)
                return await told(scope, receive, send)
            if _embedded(headers):
                told = PlainTextResponse("asked for by a page of another origin\n", 403, _CLOSE)
                return await told(scope, receive, send)
            origin = headers.get("origin")
            if scope["method"] not in ("GET", "HEAD") and origin not in (None, *self.origins):
                told = PlainTextResponse("a form of another origin\n", 403, _CLOSE)
                return await told(scope, receive, send)
        return await self.app(scope, receive, send)

    def _name(self, host: str) -> str:
        """A header's host as `hosts` have it."""
        return (_PORT.sub("", host) if self.any_port else host).lower()


def _embedded(headers: Headers) -> bool:
    """True for a request that a browser makes for a page of another origin, unless a visitor
    followed a link there."""
    followed = headers.get("sec-fetch-mode"), headers.get("sec-fetch-dest")
    foreign = headers.get("sec-fetch-site", "none") in ("same-site", "cross-site")
    return foreign and followed != ("navigate", "document")


def _media_type(headers: Headers) -> str:
    return headers.get("content-type", "").partition(";")[0].strip().lower()


_PORT: Final = re.compile(r":[0-9]{1,5}$")
_CLOSE: Final = {"Connection": "close"}


class BoundedBodies:
    """An application whose requests have bounded bodies that have to come in time.

    A body that is no form with files has at most `SMALL_BODY`: the parser of other forms stops at a
    number of fields in newer versions of starlette only, and would make millions of a longer one.
    """

    def __init__(
        self,
        app: ASGIApp,
        most: Callable[[str], int] = lambda path: SMALL_BODY,
        piece_seconds: float = PIECE_SECONDS,
        body_seconds: float = BODY_SECONDS,
    ) -> None:
        """``most``: from a request's path to the bytes that its form with files may have."""
        self.app, self.most = app, most
        self.piece_seconds, self.body_seconds = piece_seconds, body_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; 413 for a body that is too long, 408 for one that is too slow."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        most, total, done = self.most(scope["path"]), 0, False
        headers = Headers(scope=scope)
        if _media_type(headers) != "multipart/form-data":
            most = min(most, SMALL_BODY)
        told = headers.get("content-length", "0")
        if not (told.isascii() and told.isdigit() and len(told) < 16 and int(told) <= most):
            refusal = PlainTextResponse("the body is too long\n", 413, _CLOSE)
            return await refusal(scope, receive, send)
        loop = asyncio.get_running_loop()
        deadline: float | None = None

        async def bounded() -> Message:
            nonlocal total, done, deadline
            if done:  # what comes now is the end of the connection, whenever it comes
                return await receive()
            if deadline is None:
                deadline = loop.time() + self.body_seconds
            left = min(self.piece_seconds, deadline - loop.time())
            try:
                message = await asyncio.wait_for(receive(), max(left, 0.0))
            except TimeoutError:
                raise HTTPException(408, "the body came too slowly", _CLOSE) from None
            total += len(message.get("body", b""))
            done = message["type"] != "http.request" or not message.get("more_body", False)
            if total > most:
                raise HTTPException(413, "the body is too long", _CLOSE)
            return message

        return await self.app(scope, bounded, send)
