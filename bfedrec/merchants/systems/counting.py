"""Counters of bytes: a content store, and the embedded chain's server with all that HTTP needs."""

from __future__ import annotations

import socket
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from consensus.ethereum.accounts import accounts, mnemonic
from consensus.ethereum.chain import Chain
from consensus.ethereum.embedded import Server
from consensus.storage.content import MemoryStore


class CountingStore(MemoryStore):
    """A store in memory that counts the bytes of whole files that are put and fetched."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes: Counter[str] = Counter()

    def put(self, data: bytes) -> bytes:
        """Store a file."""
        self.bytes["models put into the store"] += len(data)
        return super().put(data)

    def get_at_most(self, cid: bytes, most: int) -> bytes:
        """Fetch a file."""
        data = super().get_at_most(cid, most)
        self.bytes["models fetched from the store"] += len(data)
        return data


class CountingServer(Server):
    """An embedded chain's server that counts the bytes of all connections, both ways."""

    bytes = 0

    def __init__(self, chain: Chain) -> None:
        self._counting = threading.Lock()
        super().__init__(chain)

    def get_request(self) -> tuple[socket.socket, Any]:
        """Accept a connection."""
        found, address = super().get_request()
        counted = _Counted(found.family, found.type, found.proto, fileno=found.detach())
        counted.server = self
        return counted, address

    def count(self, more: int) -> None:
        """Add to the count."""
        with self._counting:
            self.bytes += more


class _Counted(socket.socket):
    """A connection whose bytes are counted."""

    server: CountingServer

    def recv_into(self, *given: Any) -> int:
        count = super().recv_into(*given)
        self.server.count(count)
        return count

    def send(self, *given: Any) -> int:
        count = super().send(*given)
        self.server.count(count)
        return count


@contextmanager
def embedded_chain(seed: int, owners: int) -> Iterator[CountingServer]:
    """A new chain on loopback in this process, on which accounts of a seed have a balance."""
    funded = accounts(mnemonic(seed), owners)
    server = CountingServer(Chain([each.address for each in funded]))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
