"""The parts that several specifications share: servers that are alike, facts and their ages, names
of locks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

from consensus.torture.model.engine import Spec

S = TypeVar("S")

Ages = tuple[int, ...]
"""By fact: 0 before an honest server told it, then 1 + the ticks since."""


def alike(columns: Sequence[Sequence[int]]) -> list[bool]:
    """By server: True if every column (its seat in a view, its stake) has the value of the one
    before."""
    return [
        index > 0 and all(column[index] == column[index - 1] for column in columns)
        for index in range(len(columns[0]))
    ]


def classes(columns: Sequence[Sequence[int]]) -> list[tuple[int, int]]:
    """The ranges of servers that are alike."""
    starts = [index for index, same in enumerate(alike(columns)) if not same]
    return list(zip(starts, [*starts[1:], len(columns[0])], strict=True))


def told(ages: Ages, fact: int) -> Ages:
    """The ages of facts after one of them was told, unless it was before."""
    return ages if ages[fact] else (*ages[:fact], 1, *ages[fact + 1 :])


def named(lock: int) -> str:
    """A lock, twice its view and its block, in words."""
    return f"{'AB'[lock & 1]} in view {lock >> 1}"


def fork(final: Sequence[int]) -> str:
    """Both locks, in words, if two of those that are decided are on different blocks; else
    nothing."""
    for one in final:
        for other in final:
            if (one ^ other) & 1:
                return f"{named(one)} and {named(other)} are both decided"
    return ""


@dataclass(frozen=True)
class Committees(Spec[S]):
    """The base of specifications of views with a committee each."""

    seats: tuple[tuple[int, ...], ...]
    """By view: the weight of every honest server; alike servers stand side by side."""
    malicious: tuple[int, ...]
    """By view: the weight of the malicious members."""

    @cached_property
    def views(self) -> int:
        """The number of views."""
        return len(self.seats)

    @cached_property
    def alike(self) -> list[bool]:
        """By server: True if it has the same seats as the one before."""
        return alike(self.seats)

    @cached_property
    def classes(self) -> list[tuple[int, int]]:
        """The ranges of servers that are alike."""
        return classes(self.seats)
