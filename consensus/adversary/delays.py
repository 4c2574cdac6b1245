"""Delays chosen by an adversary: when, within a bound D, it lets honest servers receive what
other honest servers say, by a strategy that configs name.

A strategy is a subclass of `Delays` in a file of `consensus.adversary.delaying`, registered by
`delays`. It sees every message on its way, as an observer of the network does, and says which
share of D may pass from when a message is said to when it is received. The network's own time is
not shortened, and messages to or from the adversary's servers are not held.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

import numpy as np

from consensus.registry import Registry


class Delays(ABC):
    """One strategy of delays, made anew for every height."""

    name: ClassVar[str]
    """The name that configs use; `delays` sets it."""
    meaning: ClassVar[str]
    """The strategy in a few words, for the help."""

    def __init__(
        self, generator: np.random.Generator, servers: int, malicious: Collection[int]
    ) -> None:
        """``generator``: of its draws; ``servers``: their number; ``malicious``: those that are, a
        collection that may change."""
        self.generator = generator
        self.servers = servers
        self.malicious = malicious

    @abstractmethod
    def share(self, origin: int, to: int, kind: str, body: Any) -> float:
        """The share of D, from 0 to 1, after which an honest server ``to`` receives a message of
        the honest server ``origin``. The body may be malformed."""


DELAYS: Registry[type[Delays]] = Registry("strategy of delays")
"""Every registered strategy of delays by its name in a config."""

D = TypeVar("D", bound=Delays)


def delays(name: str) -> Callable[[type[D]], type[D]]:
    """A decorator that registers a strategy under the name that configs use. Raises ValueError for
    a name that is taken or malformed."""
    return DELAYS.register_named(name)


@dataclass
class Held:
    """Messages that an adversary held, counted once for each receiver."""

    messages: int = 0
    seconds: float = 0.0
    """Sum of the simulated seconds by which they came later than by the network alone."""
    greatest: float = 0.0
    """The greatest time from when an honest server said a message to when another received it, in
    simulated seconds, held or not: more than D where the network itself took longer."""


class Schedule:
    """The times at which one adversary lets messages be received."""

    def __init__(
        self, strategy: type[Delays], servers: int, malicious: Collection[int], bound: float
    ) -> None:
        """``bound``: D in seconds; the rest as for `Delays`."""
        self._strategy = strategy
        self._servers = servers
        self._malicious = malicious
        self.bound = bound
        self.held = Held()
        """The messages since the last beginning."""

    def begin(self, generator: np.random.Generator) -> None:
        """Begin anew, with a generator of the strategy's draws; before any message."""
        self._delays = self._strategy(generator, self._servers, self._malicious)
        self.held = Held()

    def is_own(self, server: int) -> bool:
        """True for a server of the adversary."""
        return server in self._malicious

    def received(
        self, said: float, arrives: float, origin: int, to: int, kind: str, body: Any
    ) -> float:
        """The time at which ``to`` receives a message of ``origin`` that was ``said`` at a time and
        ``arrives`` at another one, not before that. In simulated seconds."""
        if self.is_own(origin) or self.is_own(to):
            return arrives
        share = self._delays.share(origin, to, kind, body)
        at, held = max(arrives, said + share * self.bound), self.held
        if at > arrives:
            held.messages += 1
            held.seconds += at - arrives
        held.greatest = max(held.greatest, at - said)
        return at
