"""The heights, or the simulated seconds, at which a malicious server follows a behaviour."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import inf
from typing import Final

HEIGHTS: Final = "heights"
SECONDS: Final = "seconds"
UNITS: Final = (HEIGHTS, SECONDS)


@dataclass(frozen=True)
class When:
    """A span of heights or of simulated seconds, of which several behaviours may take turns.

    A behaviour begins and ends between two heights: what counts is the height that begins, or the
    second, by the server's own clock, at which it begins there.
    """

    from_: float = 1
    until: float = inf
    """The last height, or second, included."""
    unit: str = HEIGHTS
    """One of `UNITS`, in which all times here are."""
    each: float = inf
    """Length of a turn; infinite for a behaviour that takes turns with no other."""
    turn: int = 0
    """Number of its turn, from 0, of each ..."""
    turns: int = 1
    """... so many."""

    def holds(self, height: int, seconds: float) -> bool:
        """True for a height that begins at ``seconds``."""
        now = seconds if self.unit == SECONDS else height
        if not self.from_ <= now <= self.until:
            return False
        return self.turns == 1 or int((now - self.from_) // self.each) % self.turns == self.turn

    def taking_turns(self, turns: int) -> list[When]:
        """The times of so many behaviours, each of which has a turn after the one before."""
        return [replace(self, turn=turn, turns=turns) for turn in range(turns)]


ALWAYS: Final = When()
