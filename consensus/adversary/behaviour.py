"""The base of malicious servers' behaviours, their registry, and the circle that the servers of one
adversary form.

A behaviour is a subclass of `Behaviour` that overrides the hooks of an honest server that it
changes, registered by a decorator, in a file of `consensus.adversary.behaviours`, which is found
there, or in a plugin; docs/extending.md shows a whole one.

Configs then know it by this name, alone or with others (`consensus.adversary.groups`). A behaviour
may send any message to any server, but it signs and draws with its own server's keys, or with those
of its circle. It knows what its server knows, and the other servers of the same adversary
(`Circle`). It draws its randomness
from its server (`Behaviour.draws`), so that a run can be repeated, and keeps nothing from one
height to the next, so that a run can be resumed between any two.
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
    """The servers of one adversary; each may read the state of the others."""

    members: frozenset[int] = frozenset()
    regions: tuple[int, ...] = ()
    """The region of each server by its index, as far as the members know it: of all servers, or of
    none."""
    servers: dict[int, EdgeServer] = field(default_factory=dict)
    """Members whose first height has begun, by index."""
    attentive: set[str] = field(default_factory=set)
    """Names of the members' behaviours, at whatever height, that look at what servers hear or may
    change what one waits for: its own, or another member's."""
    schemes: dict[str, tuple[int, Any]] = field(default_factory=dict)
    """Plans that members share for one height, by the behaviour's name: the height and the plan."""


class Behaviour(Hooks["EdgeServer"]):
    """The base of every behaviour: the hooks of an honest server, and tools for attacks.

    A subclass is registered by `behaviour`.
    """

    name: ClassVar[str] = "honest"
    """The name that configs use; `behaviour` sets it."""
    recorded: ClassVar[bool] = False
    """True if torture may draw it for a seed unless told otherwise. True for the behaviours that
    existed when the recorded campaigns were made and for no other: one more would change what every
    recorded seed means."""
    compared: ClassVar[bool] = True
    """False for a behaviour that bears on traffic alone, with so many messages that a whole run
    takes long, or on moving stake: `strategies` leaves it out."""
    decides_alone: ClassVar[bool] = False
    """True for a behaviour that changes decisions (`contents`, `verdict`) and looks at nothing but
    them, not even by its circle: servers then need not hear everything (`Hooks.hears_all`)."""
    partner: ClassVar[str] = ""
    """Name of the behaviour without which this one has little effect; `strategies` lists the two
    together, and neither alone."""

    def __init__(self) -> None:
        self.acted: Counter[str] = Counter()
        """Number of acts that an honest server would not do, by the behaviour's name; acts of a
        kind of their own are counted as ``name: kind``."""
        self.circle = Circle()
        self._done: set[tuple[object, ...]] = set()
        self._draws: dict[int, np.random.Generator] = {}

    def begins(self, server: EdgeServer) -> None:
        """Prepare for the height that is about to begin at ``server``."""
        self.circle.servers[server.index] = server
        self._done.clear()
        self._draws.clear()

    @property
    def acting(self) -> bool:
        """True if the server misbehaves in the height in progress; a sleeper does later."""
        return True

    # -- tools for attacks -------------------------------------------------------------------------

    @property
    def colluders(self) -> frozenset[int]:
        """The servers of the adversary, this one included."""
        return self.circle.members

    def act(self, what: str = "", times: int = 1) -> None:
        """Count ``times`` acts that an honest server would not do, under ``what`` if given."""
        self.acted[f"{self.name}: {what}" if what else self.name] += times

    def send(
        self,
        server: EdgeServer,
        kind: Any,
        body: Any,
        to: Collection[int] | None = None,
        delay: float = 0.0,
    ) -> None:
        """Send a message that an honest server would not send, to some servers or (None) by gossip,
        and count it; ``delay`` is in seconds."""
        self.act()
        if to is None:
            server.host.gossip(kind, body, delay)
        elif to:
            server.host.send(to, kind, body, delay)

    def once(self, *what: object) -> bool:
        """True if called with ``what`` for the first time in this height."""
        first = what not in self._done
        self._done.add(what)
        return first

    def draws(self, server: EdgeServer) -> np.random.Generator:
        """The generator of this behaviour's random draws for the height in progress."""
        found = self._draws.get(server.height)
        if found is None:
            label = crc32(self.name.encode())
            found = self._draws[server.height] = server.host.generator(server.height, label)
        return found


BEHAVIOURS: Registry[type[Behaviour]] = Registry("behaviour")
"""Every registered behaviour by its name in a config."""


def strategies() -> list[str]:
    """Names of the strategies to compare, as configs write them: each behaviour's name, and
    ``NAME+NAME`` for one with a partner."""
    paired = {cls.partner for cls in BEHAVIOURS.values() if cls.partner}
    return [
        f"{cls.partner}+{name}" if cls.partner else name
        for name, cls in BEHAVIOURS.items()
        if name not in paired and cls.compared
    ]


B = TypeVar("B", bound=Behaviour)


def behaviour(
    name: str, recorded: bool = False, registry: Registry[type[Behaviour]] = BEHAVIOURS
) -> Callable[[type[B]], type[B]]:
    """A decorator that registers a behaviour under the name that configs use, or that a
    ``registry`` of its own uses.

    ``recorded`` marks the behaviours of torture's recorded campaigns (`Behaviour.recorded`). Raises
    ValueError for a name that is taken.
    """

    def register(cls: type[B]) -> type[B]:
        registry.register_named(name)(cls)
        cls.recorded = recorded
        return cls

    return register
