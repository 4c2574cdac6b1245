"""The base of malicious servers' behaviours, their registry, and what the members of one adversary
know of each other.

A behaviour is a subclass of `Behaviour` that overrides the hooks of an honest server that it
changes, registered by a decorator:

    @behaviour("echo")
    class Echo(Behaviour):
        \"\"\"Says everything twice, the second time a second later.\"\"\"

        def outgoing(self, server, message):
            yield message
            yield replace(message, delay=message.delay + 1.0)

Configs then know it by this name, alone or with others (`consensus.adversary.groups`). An attack
says what it likes to whom it likes, but it signs and draws with its server's own keys. What it
knows is what its server knows; the servers of one adversary know each other (`Circle`). Its
randomness is its server's (`Behaviour.draws`), so that a run can be repeated, and it keeps nothing
from one height to the next, so that a run can be resumed between any two.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar
from zlib import crc32

import numpy as np

from consensus.registry import Registry
from consensus.server.hooks import Hooks

if TYPE_CHECKING:
    from consensus.server.edge_server import EdgeServer


@dataclass(frozen=True)
class Circle:
    """The servers of one adversary: they know each other, and each other's insides."""

    members: frozenset[int] = frozenset()
    regions: tuple[int, ...] = ()
    """In which region each server is, as far as they know: all servers, or none."""
    servers: dict[int, EdgeServer] = field(default_factory=dict)
    """Those that are about, by index."""


class Behaviour(Hooks["EdgeServer"]):
    """The base of every behaviour: the hooks of an honest server, and tools for attacks."""

    name: ClassVar[str] = "honest"
    """The name that configs use; `behaviour` sets it."""
    recorded: ClassVar[bool] = False
    """Whether a seed of torture alone may draw it. True for those that were drawn when the recorded
    campaigns were made, and for no other: one more would change what every recorded seed means."""
    partner: ClassVar[str] = ""
    """The behaviour that it takes to do much: `strategies` has the two together, and neither
    alone."""

    def __init__(self) -> None:
        self.acted: Counter[str] = Counter()
        """How often it did what an honest server would not, by its name and, where there is more
        to tell, as ``name: what``."""
        self.circle = Circle()
        self._done: set[tuple[object, ...]] = set()
        self._draws: dict[int, np.random.Generator] = {}

    def begins(self, server: EdgeServer) -> None:
        """A height is about to begin at ``server``."""
        self.circle.servers[server.index] = server
        self._done.clear()
        self._draws.clear()

    # -- what attacks are made with ---------------------------------------------------------------

    @property
    def colluders(self) -> frozenset[int]:
        """The servers of the adversary, this one included."""
        return self.circle.members

    def act(self, what: str = "", times: int = 1) -> None:
        """Count something that an honest server would not do."""
        self.acted[f"{self.name}: {what}" if what else self.name] += times

    def send(
        self,
        server: EdgeServer,
        kind: Any,
        body: Any,
        to: Collection[int] | None = None,
        delay: float = 0.0,
    ) -> None:
        """Say something of its own accord, and count it."""
        self.act()
        if to is None:
            server.host.gossip(kind, body, delay)
        elif to:
            server.host.send(to, kind, body, delay)

    def once(self, *what: object) -> bool:
        """Whether this is the first time in this height."""
        first = what not in self._done
        self._done.add(what)
        return first

    def draws(self, server: EdgeServer) -> np.random.Generator:
        """This attack's randomness for the height in progress."""
        found = self._draws.get(server.height)
        if found is None:
            label = crc32(self.name.encode())
            found = self._draws[server.height] = server.host.generator(server.height, label)
        return found


BEHAVIOURS: Registry[type[Behaviour]] = Registry("behaviour")
"""Every registered behaviour by its name in a config."""


def strategies() -> list[str]:
    """What there is to compare, as configs write it: each behaviour by its name, and ``NAME+NAME``
    for one with a partner."""
    paired = {cls.partner for cls in BEHAVIOURS.values() if cls.partner}
    return [
        f"{cls.partner}+{name}" if cls.partner else name
        for name, cls in BEHAVIOURS.items()
        if name not in paired
    ]


B = TypeVar("B", bound=Behaviour)


def behaviour(name: str, recorded: bool = False) -> Callable[[type[B]], type[B]]:
    """A decorator that registers a behaviour under the name that configs use.

    ``recorded`` marks those of torture's recorded campaigns (`Behaviour.recorded`). Raises
    ValueError for a name that is taken.
    """

    def register(cls: type[B]) -> type[B]:
        BEHAVIOURS.register(name)(cls)
        cls.name = name
        cls.recorded = recorded
        return cls

    return register
