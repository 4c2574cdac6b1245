"""A world of one: it writes down what a server asks of it, and does nothing."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np

from consensus.application import Contents
from consensus.encoding.unixfs import file_cid
from consensus.records.block import Block
from consensus.records.evidence import Evidence
from consensus.server.host import Timer


class FakeHost:
    """What `consensus.server.host.Host` asks for, written down."""

    def __init__(self) -> None:
        self.now = 1_000_000
        self.charged: list[tuple[str, int, int]] = []
        """(operation, size, times)."""
        self.sent: list[tuple[str, Any, tuple[int, ...] | None]] = []
        """(kind, body, to whom; None for everybody)."""
        self.timers: list[tuple[int, Timer]] = []
        self.published: list[Contents] = []
        self.contents: dict[bytes, bytes] | None = None
        """What the store holds, by link; None: everything, of no bytes."""
        self.blocks: list[Block] = []
        self.accusations: list[Evidence] = []

    def now_us(self) -> int:
        return self.now

    def charge(self, operation: str, size: int = 0, times: int = 1) -> None:
        assert size >= 0
        assert times >= 0
        self.charged.append((operation, size, times))

    def may_relay(self) -> None:
        self.charged.append(("may relay", 0, 1))

    def gossip(self, kind: str, body: Any, delay: float = 0.0) -> None:
        self.sent.append((kind, body, None))

    def send(self, to: Collection[int], kind: str, body: Any, delay: float = 0.0) -> None:
        self.sent.append((kind, body, tuple(to)))

    def timer(self, microseconds: int, timer: Timer) -> None:
        self.timers.append((microseconds, timer))

    def publish(self, contents: Contents) -> None:
        self.published.append(contents)
        if self.contents is not None:
            self.contents[file_cid(contents.aggregate)] = contents.aggregate

    def stored(self, link: bytes) -> bytes | None:
        return b"" if self.contents is None else self.contents.get(link)

    def keep(self, height: int, link: bytes, data: bytes) -> None:
        assert self.contents is not None
        self.contents[link] = data

    def generator(self, *label: int) -> np.random.Generator:
        return np.random.default_rng([abs(entry) for entry in label])

    def appended(self, block: Block) -> None:
        self.blocks.append(block)

    def accused(self, found: Evidence) -> None:
        self.accusations.append(found)

    def all(self, kind: str) -> list[Any]:
        """The bodies sent of one kind."""
        return [body for sent, body, _ in self.sent if sent == kind]

    def whom(self, kind: str) -> list[tuple[int, ...] | None]:
        """To whom messages of one kind were sent."""
        return [to for sent, _, to in self.sent if sent == kind]
