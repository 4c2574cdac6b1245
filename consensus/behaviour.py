"""What malicious servers do differently: the places where a server's honesty matters.

To add an attack, subclass `Behaviour`, override what it changes and register it:

    @behaviour("echo")
    class Echo(Behaviour):
        \"\"\"Says everything twice, the second time a second later.\"\"\"

        def outgoing(self, server, message):
            yield message
            yield replace(message, delay=message.delay + 1.0)

Configs then know it by this name, alone or with others (`consensus.byzantine`). An attack says
what it likes to whom it likes, but it signs and draws with its server's own keys. What it knows is
what its server knows; the servers of one adversary know each other (`Circle`). Its randomness is
its server's (`Behaviour.draws`), so that a run can be repeated, and it keeps nothing from one
height to the next, so that a run can be resumed between any two.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from math import inf
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeVar
from zlib import crc32

import numpy as np

from consensus.application import Contents
from consensus.frozen import frozen

if TYPE_CHECKING:
    from consensus.blocks import Candidate
    from consensus.edge_server import EdgeServer

#: A delay that makes a message leave before what its server is busy with is done.
AT_ONCE: Final = -inf


@frozen
class Outgoing:
    """A message about to be sent."""

    kind: Any
    body: Any
    to: Collection[int] | None
    """Whom to; None for everybody, by gossip."""
    delay: float = 0.0
    """Seconds from when the server's work is done; `AT_ONCE` does not wait for that."""


@dataclass(frozen=True)
class Circle:
    """The servers of one adversary: they know each other, and each other's insides."""

    members: frozenset[int] = frozenset()
    regions: tuple[int, ...] = ()
    """In which region each server is, as far as they know: all servers, or none."""
    servers: dict[int, EdgeServer] = field(default_factory=dict)
    """Those that are about, by index."""


class Behaviour:
    """An honest server; the base of every other."""

    name: ClassVar[str] = "honest"
    """What configs call it."""
    relays: bool = True
    """Whether it passes on what others gossip (read when a height begins)."""
    provides: bool = True
    """Whether others get content from it."""

    def __init__(self) -> None:
        self.acted: Counter[str] = Counter()
        """How often it did what an honest server would not, by its name and, where there is more
        to tell, as ``name: what``."""
        self.circle = Circle()
        self._done: set[tuple[object, ...]] = set()
        self._draws: dict[int, np.random.Generator] = {}

    # -- hooks ------------------------------------------------------------------------------------

    def begins(self, server: EdgeServer) -> None:
        """A height is about to begin at ``server``."""
        self.circle.servers[server.index] = server
        self._done.clear()
        self._draws.clear()

    def entered(self, server: EdgeServer) -> None:
        """A view (an attempt and step) has begun at ``server``."""

    def hears(self, server: EdgeServer, kind: str, body: Any, sender: int) -> bool:
        """Whether to take in, and to pass on, a message that ``sender`` began; it may be of any
        height, and wrong."""
        return True

    def waits(self, server: EdgeServer, what: str, honest: float) -> float:
        """``paper``, where speed decides: how many seconds to wait where an honest server waits
        ``honest`` before it announces its draw (``what`` is "announce") or proposes ("propose")."""
        return honest

    def takes(self, server: EdgeServer, client: bytes) -> bool:
        """Whether to take an update that a client hands in (and pass it on)."""
        return True

    def contents(self, honest: Contents, generator: np.random.Generator) -> Contents:
        """What to propose where an honest aggregator would propose ``honest``."""
        return honest

    def proposes(self, server: EdgeServer, candidate: Candidate) -> Candidate | None:
        """What to propose, in its turn, where its server is about to propose ``candidate``; None
        lets the turn pass."""
        return candidate

    def verdict(self, honest: bool, generator: np.random.Generator) -> bool:
        """Whether to approve a candidate that an honest member would (or would not) approve."""
        return honest

    def outgoing(self, server: EdgeServer, message: Outgoing) -> Iterable[Outgoing]:
        """What to send where an honest server would send ``message``."""
        return (message,)

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


BEHAVIOURS: dict[str, type[Behaviour]] = {}
"""Every registered behaviour by its name in a config."""


B = TypeVar("B", bound=Behaviour)


def behaviour(name: str) -> Callable[[type[B]], type[B]]:
    """Register a behaviour under the name that configs use."""

    def register(cls: type[B]) -> type[B]:
        if name in BEHAVIOURS:
            raise ValueError(f"behaviour {name!r} is registered twice")
        cls.name = name
        BEHAVIOURS[name] = cls
        return cls

    return register
