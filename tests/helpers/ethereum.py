"""Embedded chains within a test's process, and the accounts that are funded on every chain."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from consensus.ethereum.accounts import accounts, mnemonic
from consensus.ethereum.chain import Chain
from consensus.ethereum.embedded import Server

COUNT = 80
PHRASE = mnemonic(0)
ACCOUNTS = accounts(PHRASE, COUNT)


@contextmanager
def serving(chain: Chain | None = None) -> Iterator[Server]:
    """A chain behind HTTP, on which `ACCOUNTS` own something; None for a new one."""
    server = Server(chain or Chain([each.address for each in ACCOUNTS]))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
