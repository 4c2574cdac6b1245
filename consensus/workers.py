"""Workers: processes that call functions, here or on other machines, behind one small interface.

A campaign hands units of work to workers and takes results as units end; it does not know where
they are made. This module imports nothing of ours, and both packages may import it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

TRIES = 3
"""Number of times that a unit is tried before it is given up: a worker or its machine may die."""


@dataclass(frozen=True)
class Unit:
    """A unit of work: a function with its arguments, all of which can be pickled."""

    label: str
    """Short text that distinguishes it from others, as "seeds 20-39"."""
    function: Callable[..., Any]
    arguments: tuple[Any, ...] = ()

    def call(self) -> Any:
        """The result of the function."""
        return self.function(*self.arguments)


@dataclass(frozen=True)
class Lost:
    """The end of a unit that was given up, as its workers died."""

    label: str
    why: str
    """The reason, without a full stop."""

    def __str__(self) -> str:
        return f"{self.label}: {self.why}"


class Workers(Protocol):
    """Workers that make units, `at_once` at a time."""

    @property
    def at_once(self) -> int:
        """Number of units that are made at the same time."""

    def submit(self, unit: Unit) -> None:
        """Have a unit made; those that were submitted first are begun first."""

    def ended(self) -> Sequence[Any]:
        """The results of units that have ended since the last call, at least one, in the order of
        their ends; a `Lost` in the place of the result of one that was given up. Empty if all
        results have been given.

        Raises the exception that a unit's function raised.
        """


class InTurn:
    """Workers without a process of their own: units are made one after the other, when asked."""

    at_once = 1

    def __init__(self) -> None:
        self._waiting: deque[Unit] = deque()

    def submit(self, unit: Unit) -> None:
        """Have a unit made by a later call of `ended`."""
        self._waiting.append(unit)

    def ended(self) -> Sequence[Any]:
        """The result of the next unit, which is made now; empty without one."""
        return [self._waiting.popleft().call()] if self._waiting else []
