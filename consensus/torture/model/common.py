"""The parts that several specifications share: servers that are alike, facts and their ages, names
of locks."""

from __future__ import annotations

from collections.abc import Sequence

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
