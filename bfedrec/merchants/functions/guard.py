"""The guard before every function: method, length, type, signature, nonce; and its answers.

Checks go from cheap to dear: nothing of a body is read before its length, its type and the
signature of a merchant over its digest are right, and no more than its length afterwards. Every
answer is one line of JSON, and counted; an error that nobody expected is told to the function's log
and to nobody else.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final, TypeAlias, TypeVar

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from bfedrec.merchants.functions import signing
from bfedrec.merchants.functions.site import UNUSABLE, Site, Sites
from bfedrec.merchants.rounds.checks import Missing, Refused
from consensus.ethereum.errors import EthereumError, NonceTaken, RegistryError

Result = TypeVar("Result")
Told: TypeAlias = "str | int | Sequence[Told] | Mapping[str, Told]"
"""Content of an answer."""

BINARY: Final = "application/octet-stream"
JSON: Final = "application/json"
OLDEST: Final = 300.0
"""Seconds that a request may be older than the function's clock, or newer."""
BODY_SECONDS: Final = 60.0
"""Seconds in which a body has to arrive."""
WORKERS: Final = 4
"""Requests that a process works on at once; others wait."""
MOST_WAITING: Final = 32
"""Requests that are worked on or wait; more are answered with 503."""

LONGEST_REASON: Final = 400
"""Characters of the longest reason."""


class Refusal(Exception):
    """An answer other than the wanted one: status, kind (a word to count by), reason (a line)."""

    def __init__(self, status: int, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.status, self.kind, self.reason = status, kind, reason


@dataclass
class Function:
    """One function: its name, what its bodies are, and what it does with one.

    ``work`` gets the site, the address of the merchant that asks and the body, and returns what is
    answered. ``most`` is the greatest length of a body, of which some depend on the agreement.
    """

    name: str
    kind: str
    most: Callable[[Site], int]
    work: Callable[[Site, str, bytes], Mapping[str, Told]]
    sites: Sites = field(default_factory=Sites)

    def __post_init__(self) -> None:
        self._pool = ThreadPoolExecutor(WORKERS, thread_name_prefix=self.name)
        self._waiting = 0

    async def serve(self, request: Request) -> Response:
        """The answer to a request."""
        try:
            if request.method in ("GET", "HEAD"):
                return _answer(200, await self._blocking(self._standing))
            told = await self._answered(request)
            await self._blocking(lambda: self.sites.nonces().count(self.name, "accepted"))
            return _answer(200, told)
        except Exception as error:
            refusal = self._refusal_of(error)
        try:
            await self._blocking(lambda: self.sites.nonces().count(self.name, refusal.kind))
        except Refusal:  # too busy to count
            pass
        except Exception as error:
            self._log(error)
        return _refused(refusal)

    async def _answered(self, request: Request) -> Mapping[str, Told]:
        if request.method != "POST":
            raise Refusal(405, "method", f"{request.method} is not POST")
        length = _length(request)
        given = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if given != self.kind:
            raise Refusal(415, "type", f"the content type has to be {self.kind}")
        for name in signing.FORMS:
            if len(request.headers.getlist(name)) > 1:
                raise Refusal(401, "signature", f"the header {name} is there twice")
        site = await self._blocking(self.sites.site)
        most = self.most(site)
        if length > most:
            raise Refusal(
                413, "length", f"the body has {length:,} bytes; at most {most:,} are read"
            )
        merchant, signed = await self._blocking(lambda: self._authenticated(site, request))
        body = await _body(request, length)
        if hashlib.sha256(body).digest() != signed.digest:
            raise Refusal(401, "signature", "the body is not the one that was signed")
        if not await self._blocking(lambda: site.nonces.take(merchant, signed.nonce)):
            raise Refusal(409, "replayed", "the nonce is not above the merchant's latest one")
        return await self._blocking(lambda: self.work(site, merchant, body))

    def _authenticated(self, site: Site, request: Request) -> tuple[str, signing.Request]:
        """The merchant that signed a request, and what it signed. Raises Refusal."""
        registry = site.registry
        try:
            merchant, signed = signing.read(
                request.headers, self.name, registry.address, registry.node.chain_id
            )
        except signing.BadSignature as error:
            raise Refusal(401, "signature", str(error)) from None
        age = site.clock() - signed.nonce / 1e9
        if abs(age) > OLDEST:
            said = f"{age:.0f} s old" if age > 0 else f"of a time {-age:.0f} s ahead"
            raise Refusal(
                401, "stale", f"the request is {said}; at most {OLDEST:.0f} s are allowed"
            )
        if not site.is_merchant(merchant):
            raise Refusal(403, "foreign", f"{merchant} is no merchant of this registry")
        return merchant, signed

    def _standing(self) -> Mapping[str, Told]:
        return {"function": self.name, "answers": self.sites.nonces().counts(self.name)}

    async def _blocking(self, call: Callable[[], Result]) -> Result:
        """The result of something that waits, computed in a thread of this function's own."""
        if self._waiting >= MOST_WAITING:
            raise Refusal(503, "busy", "too many requests at once; ask again later")
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, call)
        finally:
            self._waiting -= 1

    def _refusal_of(self, error: Exception) -> Refusal:
        match error:
            case Refusal():
                return error
            case NonceTaken():
                return Refusal(409, "nonce-taken", self._line(error))
            case RegistryError():
                return Refusal(409, "registry", self._line(error))
            case Missing():
                return Refusal(422, "missing", self._line(error))
            case Refused():
                return Refusal(422, "refused", self._line(error))
            case EthereumError():
                return Refusal(502, "chain", self._line(error))
            case _ if isinstance(error, UNUSABLE):
                self._log(error)
                return Refusal(503, "unusable", "the function cannot use its store or settings")
            case _:
                self._log(error, *traceback.format_exception(error))
                return Refusal(500, "error", "the function failed; its log says why")

    def _line(self, error: Exception) -> str:
        """The text of an error, in one line and without what may hold a key."""
        told = str(error)
        for part in self.sites.secrets():
            told = told.replace(part, "...")
        return " ".join(told.split())[:LONGEST_REASON]

    def _log(self, error: Exception, *trace: str) -> None:
        said = " ".join(str(error).split())
        print(f"{self.name}: {type(error).__name__}: {said}", *trace, sep="\n", file=sys.stderr)


def _length(request: Request) -> int:
    """The length of a request's body. Raises Refusal without one."""
    told = request.headers.getlist("content-length")
    if len(told) != 1 or "transfer-encoding" in request.headers:
        raise Refusal(411, "length", "a Content-Length is needed")
    if not (told[0].isascii() and told[0].isdigit() and len(told[0]) < 16):
        raise Refusal(400, "length", "the Content-Length is no length")
    return int(told[0])


async def _body(request: Request, length: int) -> bytes:
    """The body of a request, of exactly ``length`` bytes. Raises Refusal."""
    pieces: list[bytes] = []
    total = 0
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for piece in request.stream():
                pieces.append(piece)
                total += len(piece)
                if total > length:
                    break
    except TimeoutError:
        raise Refusal(408, "slow", f"the body took over {BODY_SECONDS:.0f} s") from None
    except ClientDisconnect:
        raise Refusal(400, "length", "the body was cut off") from None
    if total != length:
        raise Refusal(400, "length", f"the body has not the {length:,} bytes that were announced")
    return b"".join(pieces)


def _answer(
    status: int, told: Mapping[str, Told], headers: Mapping[str, str] | None = None
) -> Response:
    text = json.dumps(told) + "\n"
    common = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
    return Response(text, status, {**common, **(headers or {})}, JSON)


def _refused(refusal: Refusal) -> Response:
    # What is left of the body was not read: what follows on this connection is no request.
    headers = {
        "Connection": "close",
        **({"Allow": "GET, HEAD, POST"} if refusal.status == 405 else {}),
    }
    return _answer(refusal.status, {"error": refusal.kind, "reason": refusal.reason}, headers)
