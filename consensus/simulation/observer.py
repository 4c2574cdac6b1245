"""The interface of an observer of a simulated world. It may look, and must change nothing: not an
event, not a random draw, not a byte of a message."""

from __future__ import annotations

from typing import Any, Final, Protocol

from consensus.ledger.validity import Head
from consensus.network.clock import Clock
from consensus.records.block import Block
from consensus.records.evidence import Evidence
from consensus.simulation.accounts import Spent


class Observed(Protocol):
    """The part of a world that an observer may look at (`consensus.simulation.world.World`)."""

    env: Clock
    head: Head

    def is_up(self, index: int) -> bool:
        """True if server ``index`` is running."""
        ...

    def spent(self) -> Spent:
        """The messages of the height in progress so far."""
        ...


class Observer:
    """An observer that sees nothing; the base of those that do. Times are simulated seconds."""

    def begin(self, world: Observed) -> None:
        """Note that a height begins: for all servers of ``world`` together, or for the first honest
        one where each goes on by itself."""

    def sent(self, server: int, kind: str, body: Any, at: float) -> None:
        """Note a message that ``server`` sends, leaving at ``at``; it may say it again, or for
        others, and a malicious one may send anything."""

    def took(self, server: int, kind: str, body: Any, at: float) -> None:
        """Note a message that ``server`` has checked, found new, and taken in; candidates only."""

    def appended(self, server: int, block: Block, at: float) -> None:
        """Note a block that ``server`` has appended."""

    def accused(self, server: int, found: Evidence, at: float) -> None:
        """Note new evidence that ``server`` holds against another."""

    def crashed(self, server: int, height: int, fault: str, at: float) -> None:
        """Note that ``server``, which is at ``height``, goes down by a fault."""

    def corrupted(self, server: int, height: int, at: float) -> None:
        """Note that ``server`` misbehaves from now on, which is at this height."""

    def released(self, server: int, height: int, at: float) -> None:
        """Note that ``server`` is honest again as this height begins."""

    def restarted(self, server: int, height: int, fault: str, at: float) -> None:
        """Note that ``server``, which was at ``height``, comes back."""


UNSEEN: Final = Observer()
"""The observer of a world at which nobody looks."""
