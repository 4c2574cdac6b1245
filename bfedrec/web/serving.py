"""A server of pages on a port of loopback."""

from __future__ import annotations

import socket
from typing import Final

import uvicorn
from starlette.types import ASGIApp

from bfedrec.connections import PatientConnection

CONNECTIONS: Final = 256
"""Connections at once; of more, each is answered with 503."""
LONGEST_HEAD: Final = 16 * 1024
"""Bytes of the longest request line with its headers."""
LEAVING_SECONDS: Final = 2
"""Seconds that open requests have to end in when the server ends."""


def listen(port: int = 0) -> socket.socket:
    """A socket that listens on a port of 127.0.0.1; 0 for any free one. Raises OSError."""
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind(("127.0.0.1", port))
        listening.listen(128)
    except BaseException:
        listening.close()
        raise
    return listening


def server(app: ASGIApp, behind_proxy: bool = False) -> uvicorn.Server:
    """A server of an application; ``behind_proxy``: another program on this machine is the only
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
            limit_concurrency=CONNECTIONS,
            h11_max_incomplete_event_size=LONGEST_HEAD,
            timeout_graceful_shutdown=LEAVING_SECONDS,
        )
    )
