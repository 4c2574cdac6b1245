"""Connections on which no request comes."""

from __future__ import annotations

import socket
import threading
import time
from typing import Any

import requests
import uvicorn

from bfedrec.connections import PatientConnection


class Hasty(PatientConnection):
    """A connection that waits for a moment only."""

    idle_seconds = 0.3


async def slow(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """An application that takes longer than an idle connection may."""
    import asyncio

    await asyncio.sleep(4 * Hasty.idle_seconds)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"done"})


def test_a_silent_connection_is_closed_and_a_slow_answer_is_not() -> None:
    listening = socket.create_server(("127.0.0.1", 0))
    address = listening.getsockname()
    server = uvicorn.Server(
        uvicorn.Config(slow, http=Hasty, lifespan="off", log_level="error", limit_concurrency=2)
    )
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        silent = socket.create_connection(address, timeout=60)
        begun = socket.create_connection(address, timeout=60)
        begun.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nX-Head")
        assert silent.recv(1) == b""
        assert begun.recv(1) == b""
        dribbling = socket.create_connection(address, timeout=60)
        until = time.monotonic() + 60
        try:
            while time.monotonic() < until:
                dribbling.sendall(b"X")
                time.sleep(0.05)
        except OSError:
            pass
        assert time.monotonic() < until
        url = f"http://127.0.0.1:{address[1]}"
        assert requests.get(url, timeout=60).text == "done"
    finally:
        server.should_exit = True
        thread.join()
