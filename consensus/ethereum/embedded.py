"""The embedded chain as a program: JSON-RPC over HTTP on loopback, for as long as it is not ended.

    python -m consensus.ethereum.embedded --port 0 --state chain.journal --seed 0

Its first line on standard output is its URL. It is no network: each accepted transaction is a block
at once, and whoever knows the seed can spend from every account.
"""

from __future__ import annotations

import argparse
import json
import signal
import socket
import sys
import threading
import time
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Final

from consensus.ethereum.accounts import accounts, mnemonic
from consensus.ethereum.bounded_json import parse
from consensus.ethereum.chain import Chain, Clock, stepping
from consensus.ethereum.errors import EthereumError
from consensus.ethereum.rpc import PARSE_ERROR, answer, failure

__all__ = ["Server", "main"]

LONGEST_BODY: Final = 2**19
"""The most bytes of a request."""
CONNECTIONS: Final = 64
IDLE_SECONDS: Final = 60.0
"""Seconds after which a silent connection is closed."""
BAD_INPUT: Final = 2


class Server(ThreadingHTTPServer):
    """An HTTP server of one chain on a port of loopback; 0 for any free one."""

    daemon_threads = True

    def __init__(self, chain: Chain, port: int = 0) -> None:
        self.chain = chain
        self._slots = threading.BoundedSemaphore(CONNECTIONS)
        super().__init__(("127.0.0.1", port), _Handler)

    @property
    def url(self) -> str:
        """The address at which it answers."""
        return f"http://127.0.0.1:{self.server_port}"

    def process_request(self, request: object, client_address: object) -> None:
        """Serve a connection in a thread of its own; close it if there are too many."""
        assert isinstance(request, socket.socket)
        if not self._slots.acquire(blocking=False):
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: object, client_address: object) -> None:
        """Serve one connection to its end."""
        assert isinstance(request, socket.socket)
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._slots.release()

    def handle_error(self, request: object, client_address: object) -> None:
        """Ignore connections that end in the middle of a request; tell of all else."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


class _Handler(BaseHTTPRequestHandler):
    """One connection: requests by POST, in JSON and of bounded length."""

    server: Server
    protocol_version = "HTTP/1.1"
    timeout = IDLE_SECONDS
    disable_nagle_algorithm = True
    wbufsize = -1  # an answer is sent in one piece

    def do_POST(self) -> None:
        """Answer one JSON-RPC request."""
        port = self.server.server_port
        # A page in a browser can send neither: not without asking first, nor under a name of ours.
        if self.headers.get("Host") not in (f"127.0.0.1:{port}", f"localhost:{port}"):
            return self._refuse(403, "not the name of this server")
        if self.headers.get_content_type() != "application/json":
            return self._refuse(415, "the content type has to be application/json")
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdigit()):
            return self._refuse(411, "a Content-Length is needed")
        if len(length) > 9 or int(length) > LONGEST_BODY:
            return self._refuse(413, f"longer than {LONGEST_BODY:,} bytes")
        body = self.rfile.read(int(length))
        if len(body) < int(length):
            self.close_connection = True
            return None
        try:
            asked = parse(body)
        except ValueError:
            return self._send(200, failure(None, PARSE_ERROR, "not JSON"))
        with self.server.chain.lock:
            told = answer(self.server.chain, asked)
        return self._send(200, told)

    def log_message(self, format: str, *arguments: object) -> None:
        """Write no log."""

    def _refuse(self, status: int, reason: str) -> None:
        # The body was not read: what follows on this connection is no request.
        self.close_connection = True
        self._send(status, failure(None, PARSE_ERROR, reason))

    def _send(self, status: int, content: object) -> None:
        data = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(data)


def real_time(parent: int) -> int:
    """The time of a block by the machine's clock, later than its parent's."""
    return max(parent + 1, int(time.time()))


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve a chain until SIGTERM or SIGINT; exit status 0, or 2 for what cannot be begun."""
    parser = argparse.ArgumentParser(
        prog="python -m consensus.ethereum.embedded", description=__doc__
    )
    parser.add_argument("--port", type=int, default=0, help="port on 127.0.0.1; 0 for a free one")
    parser.add_argument(
        "--state", type=Path, help="file that keeps the chain; else it is forgotten"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the funded accounts")
    parser.add_argument("--accounts", type=int, default=10, help="number of funded accounts")
    parser.add_argument(
        "--real-time",
        action="store_true",
        help="the machine's time for blocks, not their number's",
    )
    options = parser.parse_args(arguments)
    clock: Clock = real_time if options.real_time else stepping
    try:
        funded = [each.address for each in accounts(mnemonic(options.seed), options.accounts)]
        chain = Chain(funded, options.state, clock)
        server = Server(chain, options.port)
    except (EthereumError, OSError, OverflowError) as error:
        print(error, file=sys.stderr)
        return BAD_INPUT

    def end(number: int, frame: object) -> None:
        threading.Thread(target=server.shutdown).start()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    print(server.url, flush=True)
    server.serve_forever(poll_interval=0.1)
    server.server_close()
    chain.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
