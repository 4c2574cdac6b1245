"""A server that answers with bytes as a test gives them, whatever HTTP says."""

from __future__ import annotations

import itertools
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"

Answer = Callable[[bytes], Iterator[bytes]]


@contextmanager
def server_that(answer: Answer, pause: float = 0.0) -> Iterator[int]:
    """A server that sends what ``answer`` makes of a request's head, piece by piece, with a pause
    before each; its port."""
    ended = threading.Event()

    def serve(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            while head := connection.recv(65_536):
                if b"chunked" in head:
                    while not head.endswith(b"0\r\n\r\n"):
                        head += connection.recv(65_536)
                for piece in answer(head):
                    if ended.wait(pause):
                        return
                    connection.sendall(piece)
                if b"Connection: close" in head:
                    return

    def accept(listening: socket.socket) -> None:
        with suppress(OSError):
            while True:
                connection, _ = listening.accept()
                threading.Thread(target=serve, args=(connection,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=accept, args=(listening,), daemon=True)
        thread.start()
        yield listening.getsockname()[1]
        ended.set()
        listening.shutdown(socket.SHUT_RDWR)


def of(body: bytes, more: bytes = b"") -> bytes:
    """A whole answer."""
    return HEAD + more + b"Content-Length: %d\r\n\r\n" % len(body) + body


def endless(before: bytes, piece: bytes) -> Answer:
    """An answer that does not end."""
    return lambda head: itertools.chain([before], itertools.repeat(piece))
