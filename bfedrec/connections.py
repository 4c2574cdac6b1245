"""HTTP servers on loopback whose connections end where no request comes: uvicorn itself would wait
for ever."""

from __future__ import annotations

import asyncio
import socket
from typing import Final

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

IDLE_SECONDS: Final = 15.0
"""Seconds in which a request's head has to come, after the connection or after the last answer."""


class PatientConnection(H11Protocol):
    """A connection that is closed if it begins no request in `IDLE_SECONDS`, however slowly its
    bytes come; a request that is being answered is not disturbed.

    uvicorn's own timer runs between requests alone and begins anew with every byte: a connection
    that sends a header letter by letter would stay for ever.
    """

    idle_seconds = IDLE_SECONDS
    _seen: object = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to watch."""
        super().connection_made(transport)
        self._watch = self.loop.call_later(self.idle_seconds, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        """Watch no longer."""
        self._watch.cancel()
        super().connection_lost(exc)

    def _look(self) -> None:
        answering = self.cycle is not None and not self.cycle.response_complete
        if not answering and self.cycle is self._seen:
            self.transport.close()
            return
        self._seen = self.cycle
        self._watch = self.loop.call_later(self.idle_seconds, self._look)


CONNECTIONS: Final = 256
"""Connections at once; of more, each is answered with 503."""
LONGEST_HEAD: Final = 16 * 1024
"""Bytes of the longest request line with its headers."""
LEAVING_SECONDS: Final = 2
"""Seconds that open requests have to end in when the server ends."""


def listen(port: int = 0, host: str = "127.0.0.1") -> socket.socket:
    """A socket that listens on a port of an address of this machine; 0 for any free port. Raises
    OSError, or OverflowError for a number that is no port."""
    family, kind, protocol, *_ = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)[0]
    listening = socket.socket(family, kind, protocol)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))  # getaddrinfo would cut a port to 16 bits
        listening.listen(128)
    except BaseException:
        listening.close()
        raise
    return listening


def server(
    app: ASGIApp, connections: int = CONNECTIONS, behind_proxy: bool = False
) -> uvicorn.Server:
    """A server of an application, which answers more than so many ``connections`` at once with 503;
    ``behind_proxy``: another program on this machine is the only
    one that connects, and says who asks (X-Forwarded-For) and how (X-Forwarded-Proto)."""
    return uvicorn.Server(
        uvicorn.Config(
            app,
            http=PatientConnection,
            ws="none",
            loop="asyncio",
            lifespan="off",
            access_log=False,
            log_level="error",
            server_header=False,
            # Anyone could say so otherwise, and be another address at every try.
            proxy_headers=behind_proxy,
            forwarded_allow_ips="127.0.0.1",
            limit_concurrency=connections,
            h11_max_incomplete_event_size=LONGEST_HEAD,
            timeout_graceful_shutdown=LEAVING_SECONDS,
        )
    )
