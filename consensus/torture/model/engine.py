"""The explicit-state checker: every state that a specification reaches, once, in order of depth.

A specification is a `Spec`: an initial state, the steps that lead on from a state, and what would
be wrong with one. Exploring breadth first finds a shortest counterexample. Servers that nothing
tells apart make states that differ in their order alone: `Spec.canonical` names one of them for
all, and only that is explored.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

StateT = TypeVar("StateT")

Action = tuple[str | int, ...]
"""A step's kind and its subjects, for `Spec.tell`."""


class Spec(ABC, Generic[StateT]):
    """A transition system over hashable states, and the property that all of them must have."""

    @abstractmethod
    def initial(self) -> StateT:
        """The state in which everything begins."""

    @abstractmethod
    def steps(self, state: StateT) -> Iterable[tuple[Action, StateT]]:
        """Every step that can follow, and the state after it."""

    @abstractmethod
    def tell(self, action: Action) -> str:
        """A step in words."""

    @abstractmethod
    def wrong(self, state: StateT) -> str:
        """The reason why a state must not be; empty if it is right."""

    @abstractmethod
    def canonical(self, state: StateT) -> StateT:
        """The state that stands for all which differ from this one in nothing that matters."""


@dataclass(frozen=True)
class Verdict:
    """Result of an exploration."""

    states: int
    """Canonical states reached, the wrong one included."""
    steps: int
    """Steps taken from them."""
    depth: int
    """Steps from the initial state to the furthest one."""
    wrong: str = ""
    """The reason why the last state of the trace must not be; empty if the property holds."""
    trace: tuple[str, ...] = ()
    """The steps of a shortest way to the wrong state."""
    complete: bool = True
    """False if further states lie beyond the greatest depth."""


def explore(spec: Spec[StateT], most: int | None = None) -> Verdict:
    """Explore all states, or all up to a depth of ``most``; stop at the first wrong one."""
    first = spec.canonical(spec.initial())
    before: dict[StateT, StateT | None] = {first: None}
    layer, depth, taken = [first], 0, 0
    steps, canonical, wrong_of = spec.steps, spec.canonical, spec.wrong
    while layer and depth != most:
        following: list[StateT] = []
        for state in layer:
            for _, successor in steps(state):
                taken += 1
                reached = canonical(successor)
                if reached in before:
                    continue
                before[reached] = state
                wrong = wrong_of(reached)
                if wrong:
                    trace = tuple(_trace(spec, before, reached))
                    return Verdict(len(before), taken, depth + 1, wrong, trace)
                following.append(reached)
        layer = following
        depth += bool(layer)
    return Verdict(len(before), taken, depth, complete=not layer)


def _trace(spec: Spec[StateT], before: dict[StateT, StateT | None], last: StateT) -> Iterator[str]:
    """The steps to a state, of the same servers from beginning to end: canonical states may swap
    those that are alike."""
    path: list[StateT] = []
    state: StateT | None = last
    while state is not None:
        path.append(state)
        state = before[state]
    concrete = spec.initial()
    for canonical in reversed(path[:-1]):
        action, concrete = next(
            (action, successor)
            for action, successor in spec.steps(concrete)
            if spec.canonical(successor) == canonical
        )
        yield spec.tell(action)
