"""The places where a server's honesty matters, as hooks that a behaviour may override.

A server knows these hooks and no behaviour: `consensus.adversary` depends on the server, and not
the other way round. The defaults are those of an honest server.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from math import inf
from typing import Any, Final, Generic, TypeVar

import numpy as np

from consensus.application import Contents
from consensus.encoding.frozen import frozen
from consensus.records.block import Candidate

#: A delay that makes a message leave before what its server is busy with is done.
AT_ONCE: Final = -inf


@frozen
class Outgoing:
    """A message about to be sent."""

    kind: Any
    body: Any
    to: Collection[int] | None
    """The servers to send it to; None for everybody, by gossip."""
    delay: float = 0.0
    """Seconds from when the server's work is done; `AT_ONCE` does not wait for that."""


ServerT = TypeVar("ServerT")
"""The server that a hook is told about (`consensus.server.edge_server.EdgeServer`)."""


class Hooks(Generic[ServerT]):
    """The decisions of an honest server; a behaviour overrides those that it changes."""

    relays: bool = True
    """True if the server passes on what others gossip (read when a height begins)."""
    provides: bool = True
    """True if others get content from the server."""
    hears_all: bool = True
    """True if the server may take in nothing unheard (`consensus.server.unheard`), as a hook might
    look at what came, or change what the server waits for."""

    def begins(self, server: ServerT) -> None:
        """Prepare for a height that is about to begin at ``server``."""

    def entered(self, server: ServerT) -> None:
        """Prepare for a view (an attempt and step) that has begun at ``server``."""

    def hears(self, server: ServerT, kind: str, body: Any, sender: int) -> bool:
        """True to take in, and to pass on, a message that ``sender`` began; it may be of any
        height, and wrong."""
        return True

    def waits(self, server: ServerT, what: str, honest: float) -> float:
        """The number of seconds to wait where an honest server waits ``honest``: for others' draws
        (``what`` is "tickets") or, under ``paper``, where speed decides, before it announces its
        own ("announce") or proposes ("propose")."""
        return honest

    def takes(self, server: ServerT, client: bytes) -> bool:
        """True to take an update that a client hands in (and pass it on)."""
        return True

    def contents(self, honest: Contents, generator: np.random.Generator) -> Contents:
        """The contents to propose where an honest aggregator would propose ``honest``."""
        return honest

    def proposes(self, server: ServerT, candidate: Candidate) -> Candidate | None:
        """The candidate to propose, in its turn, where its server is about to propose
        ``candidate``; None lets the turn pass."""
        return candidate

    def verdict(self, honest: bool, draws: Callable[[], np.random.Generator]) -> bool:
        """True to approve a candidate that an honest member would (or would not) approve.
        ``draws`` makes a generator for the decision; most need none."""
        return honest

    def outgoing(self, server: ServerT, message: Outgoing) -> Iterable[Outgoing]:
        """The messages to send where an honest server would send ``message``."""
        return (message,)
