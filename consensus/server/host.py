"""The interface between an edge server and the world that runs it: time, timers and sending."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Protocol

import numpy as np

from consensus.application import Contents
from consensus.records.block import Block
from consensus.records.evidence import Evidence
from consensus.server.message import Kind

Timer = tuple[str, int, int, int]
"""(what, height, attempt, step): what a timeout was set for; a stale one is ignored."""


class Host(Protocol):
    """The world as one server sees it."""

    def now_us(self) -> int:
        """This server's clock, in microseconds."""
        ...

    def charge(self, operation: str, size: int = 0, times: int = 1) -> None:
        """Spend the simulated time of ``times`` operations over ``size`` bytes: what is sent from
        now on leaves that much later."""
        ...

    def may_relay(self) -> None:
        """Let what is being handled be passed on when the work charged so far is done; more of it
        is done while it travels on (should it fail, what was passed on is refused there, too)."""
        ...

    def gossip(self, kind: Kind, body: Any, delay: float = 0.0) -> None:
        """Send to all other servers, ``delay`` seconds from now."""
        ...

    def send(self, to: Collection[int], kind: Kind, body: Any, delay: float = 0.0) -> None:
        """Send to these servers, ``delay`` seconds from now."""
        ...

    def timer(self, microseconds: int, timer: Timer) -> None:
        """Call ``on_timer(timer)`` so long after the work charged so far is done."""
        ...

    def publish(self, contents: Contents) -> None:
        """Put a block's contents into this server's content store, from which others get them."""
        ...

    def stored(self, link: bytes) -> bytes | None:
        """The content at ``link`` in this server's content store; None if it is not there."""
        ...

    def keep(self, height: int, link: bytes, data: bytes) -> None:
        """Put ``data``, the aggregate of the block of ``height``, into this server's content store
        at ``link``."""
        ...

    def generator(self, *label: int) -> np.random.Generator:
        """This server's own randomness."""
        ...

    def appended(self, block: Block) -> None:
        """The server's chain has grown by ``block``."""
        ...

    def accused(self, found: Evidence) -> None:
        """The server has come to hold this evidence against another."""
        ...
