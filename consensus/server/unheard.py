"""Messages that a server may take in without hearing of them, and how it comes by them later.

Most messages of a height change nothing that a server does: it checks them, counts them, and waits
for more. A network may deliver such messages without a call for each
(`consensus.network.compiled`), if a server says beforehand how many it need not hear of
(`EdgeServer.credits`), and takes them in before it does anything else (`EdgeServer.take_in`).
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Protocol

UPDATES: Final = 0
"""The lane of updates. Those after it are the protocol's."""
LANES: Final = 6
"""Number of lanes."""
ANY_NUMBER: Final = 2**40
"""A credit that no height uses up."""

IGNORED: Final = -1
"""A credit: any message of the ground comes too late to cost or change anything."""


class Fit(NamedTuple):
    """A message that servers may take in unheard, as it is right and they count it."""

    lane: int
    """The account that it goes to: updates, or one of the protocol's."""
    ground: Hashable
    """The point at which a server counts it: a head, perhaps a view and a block."""
    name: Hashable
    """The name of which a server counts one message at a height."""
    weight: int
    """The weight with which it counts."""
    operation: str
    """The operation that it costs a server (`Host.charge`), and ..."""
    size: int = 0
    """... the bytes that are charged."""


class Credit(NamedTuple):
    """The weight that a server may take in unheard in one lane, of messages with one ground."""

    lane: int
    ground: Hashable
    weight: int


class Inbox(Protocol):
    """The messages that one server has taken in unheard and not looked at yet."""

    def waiting(self) -> int:
        """The number of updates that are here."""
        ...

    def updates(self) -> tuple[Sequence[Any], Sequence[tuple[Any, int]]]:
        """Take out the updates: their names (`Fit.name`), and each with the server that began to
        gossip it."""
        ...

    def note(self, name: Hashable) -> None:
        """Note that the server has heard a message of this name: it hears the next one, too."""
        ...

    def clear(self) -> None:
        """Begin a height: forget what is here, and all names."""
        ...


@dataclass(frozen=True)
class NoInbox:
    """The inbox of a server that hears of everything."""

    def waiting(self) -> int:
        """None."""
        return 0

    def updates(self) -> tuple[Sequence[Any], Sequence[tuple[Any, int]]]:
        """None."""
        return (), ()

    def note(self, name: Hashable) -> None:
        """Do nothing."""

    def clear(self) -> None:
        """Do nothing."""


Taken = tuple[int, Any, int | None, float]
"""A message that was taken in unheard: its lane and body, the server that gossips it (None where it
was sent to some alone), and the simulated second at which the work on it was done."""
