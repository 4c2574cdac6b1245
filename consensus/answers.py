"""HTTP answers of bounded length that have to come in time, whoever sends them.

HTTP clients bound the time between two pieces of an answer, and neither the answer's time nor its
length: a server that sends a byte now and then holds up its client for ever, and one that never
ends fills its memory. The bounds here are below the clients, where bytes are read from the socket,
so that they hold for the heads of answers as well.
"""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException, HTTPResponse
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from requests import Session

__all__ = ["Bounds"]

PIECE: Final = 2**20
"""Bytes for each of which an answer has its time anew, so that a long one may take longer."""
HEAD: Final = 2**16
"""Bytes that an answer may have beside its body."""


class TooLong(HTTPException):
    """Error: an answer of more bytes than are read, or one that may become so."""


class Bounds:
    """The bounds of all answers in some sessions of `requests`.

    An answer has the time that its request names (``timeout``) for its head and the first MiB, and
    as much for each further one. One that names another place is followed nowhere.
    """

    def __init__(self, most: int) -> None:
        """``most``: bytes of the longest answer."""
        self._usual = most
        self._here = threading.local()

    @property
    def most(self) -> int:
        """Bytes of the longest answer to this thread's requests."""
        return int(getattr(self._here, "most", self._usual))

    @contextmanager
    def at_most(self, most: int) -> Iterator[None]:
        """Have answers to this thread's requests be at most so long within."""
        before, self._here.most = self.most, most
        try:
            yield
        finally:
            self._here.most = before

    def hold(self, session: Session) -> Session:
        """Put a session under these bounds, before its first request; returns it."""
        # What is packed may unpack to any length, and is refused.
        session.headers["Accept-Encoding"] = "identity"
        # Who is asked may not choose who else is, as a server that this machine alone reaches.
        session.max_redirects = 0
        for adapter in dict.fromkeys(session.adapters.values()):
            self._watch(adapter)
        return session

    def _watch(self, adapter: Any) -> None:
        """Have an adapter's connections read answers within the bounds, through proxies as well."""
        bounds, manager_for = self, adapter.proxy_manager_for

        class Response(_Response):
            most = property(lambda self: bounds.most)

        def watched(manager: Any) -> Any:
            manager.pool_classes_by_scheme = {
                scheme: _pool(kind, Response)
                for scheme, kind in manager.pool_classes_by_scheme.items()
            }
            return manager

        known: set[int] = set()  # ids, of what the adapter keeps

        def proxy_manager_for(*given: Any, **options: Any) -> Any:
            manager = manager_for(*given, **options)
            if id(manager) not in known:
                known.add(id(watched(manager)))
            return manager

        watched(adapter.poolmanager)
        adapter.proxy_manager_for = proxy_manager_for


def _pool(kind: Any, response: type[HTTPResponse]) -> Any:
    """A kind of connection pools whose connections make such responses."""
    below = kind.ConnectionCls
    connection = type(below.__name__, (below,), {"response_class": response})
    return type(kind.__name__, (kind,), {"ConnectionCls": connection})


class _Response(HTTPResponse):
    """An answer that is read within bounds."""

    most: int

    def __init__(self, sock: Any, *given: Any, **options: Any) -> None:
        super().__init__(sock, *given, **options)
        self._most = self.most
        raw: Any = self.fp.detach()
        self.fp = io.BufferedReader(_Reader(raw, sock, self._most + HEAD))

    def begin(self) -> None:
        """Read the head. Raises TooLong where it announces more than is read."""
        super().begin()
        packing = (self.getheader("Content-Encoding") or "identity").strip().lower()
        if packing != "identity":
            raise TooLong(f"an answer that is packed ({packing:.20})")
        if (self.length or 0) > self._most:  # a client would make room for it at once
            raise TooLong(f"an answer of {self.length:,} bytes; at most {self._most:,} are read")


class _Reader(io.RawIOBase):
    """The bytes of one answer from a socket, whose own timeout is the time for each `PIECE`."""

    def __init__(self, raw: io.RawIOBase, sock: Any, most: int) -> None:
        self._raw, self._sock, self._most = raw, sock, most
        self._seconds: float | None = sock.gettimeout()
        self._begun, self._count = time.monotonic(), 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        if self._count > self._most:
            raise TooLong(f"an answer of more than {self._most:,} bytes")
        if self._seconds is not None:
            end = self._begun + self._seconds * (1 + self._count // PIECE)
            left = end - time.monotonic()
            if left <= 0:
                raise TimeoutError("timed out")
            self._sock.settimeout(min(left, self._seconds))
        count = self._raw.readinto(buffer)
        self._count += count or 0
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()
