"""What malicious servers do differently.

A behaviour overrides one or several of the places where a server's honesty matters: what it
proposes, how it votes, what it sends to whom and when, whose updates it takes, whether it relays
and provides content. To add one, subclass `Behaviour`, override what it changes and register it:

    @behaviour("lazy")
    class Lazy(Behaviour):
        def verdict(self, honest, generator):
            return True
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from consensus.application import Contents

if TYPE_CHECKING:
    from consensus.edge_server import EdgeServer


@dataclass(frozen=True)
class Outgoing:
    """A message about to be sent."""

    kind: Any
    body: Any
    to: Collection[int] | None
    """Whom to; None for everybody."""
    delay: float = 0.0
    """Seconds from now."""


class Behaviour:
    """An honest server; the base of every other."""

    relays: bool = True
    """Whether it passes on what others gossip."""
    provides: bool = True
    """Whether others get content from it."""

    def contents(self, honest: Contents, generator: np.random.Generator) -> Contents:
        """What to propose where an honest aggregator would propose ``honest``."""
        return honest

    def verdict(self, honest: bool, generator: np.random.Generator) -> bool:
        """Whether to approve a candidate that an honest member would (or would not) approve."""
        return honest

    def outgoing(self, server: EdgeServer, message: Outgoing) -> Iterable[Outgoing]:
        """What to send where an honest server would send ``message``."""
        return (message,)

    def entered(self, server: EdgeServer) -> None:
        """A view (an attempt and step) has begun at ``server``."""

    def takes(self, server: EdgeServer, client: bytes) -> bool:
        """Whether to take an update that a client hands in (and pass it on)."""
        return True


BEHAVIOURS: dict[str, type[Behaviour]] = {}


def behaviour(name: str) -> Callable[[type[Behaviour]], type[Behaviour]]:
    """Register a behaviour under the name that configs use."""

    def register(cls: type[Behaviour]) -> type[Behaviour]:
        if name in BEHAVIOURS:
            raise ValueError(f"behaviour {name!r} is registered twice")
        BEHAVIOURS[name] = cls
        return cls

    return register


@behaviour("gaussian")
class Gaussian(Behaviour):
    """Proposes random values as the global model (paper, IV.D): float32 standard normals."""

    def contents(self, honest: Contents, generator: np.random.Generator) -> Contents:
        values = generator.standard_normal(len(honest.model) // 4, dtype=np.float32)
        return replace(honest, model=values.astype("<f4").tobytes())


@behaviour("invert_votes")
class InvertVotes(Behaviour):
    """Approves incorrect candidates and rejects correct ones (paper, IV.D): with `gaussian`, the
    malicious servers collude, each approving every other's random model."""

    def verdict(self, honest: bool, generator: np.random.Generator) -> bool:
        return not honest


class Composed(Behaviour):
    """Several behaviours at once, applied in order."""

    def __init__(self, names: Sequence[str]) -> None:
        unknown = [name for name in names if name not in BEHAVIOURS]
        if unknown:
            known = ", ".join(sorted(BEHAVIOURS))
            raise ValueError(f"unknown behaviour {unknown[0]!r} (known: {known})")
        self._parts = [BEHAVIOURS[name]() for name in names]
        self.relays = all(part.relays for part in self._parts)
        self.provides = all(part.provides for part in self._parts)

    def contents(self, honest: Contents, generator: np.random.Generator) -> Contents:
        for part in self._parts:
            honest = part.contents(honest, generator)
        return honest

    def verdict(self, honest: bool, generator: np.random.Generator) -> bool:
        for part in self._parts:
            honest = part.verdict(honest, generator)
        return honest

    def outgoing(self, server: EdgeServer, message: Outgoing) -> Iterable[Outgoing]:
        messages: list[Outgoing] = [message]
        for part in self._parts:
            messages = [out for each in messages for out in part.outgoing(server, each)]
        return messages

    def entered(self, server: EdgeServer) -> None:
        for part in self._parts:
            part.entered(server)

    def takes(self, server: EdgeServer, client: bytes) -> bool:
        return all(part.takes(server, client) for part in self._parts)
