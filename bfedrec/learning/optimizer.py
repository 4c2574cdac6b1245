"""The step on the merged update: how an aggregate A moves the item factors Q, and the registry.

Everyone computes the step from the blocks: its state starts at 0 and follows from the aggregates,
so that an audit and a resume recompute it. Parameters are integers, which the genesis records.
Numbers are combined one by one in a fixed order, with sums, products, quotients and square roots
alone, so that every machine has the same bytes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, TypeVar

import numpy as np

from bfedrec.parts import Part, PartError, array_of, check_keys, fixed, parameter, register
from consensus.registry import LAST, Registry

__all__ = [
    "OPTIMIZERS",
    "Optimizer",
    "Plain",
    "Progress",
    "RowAdaptive",
    "optimizer",
    "optimizer_named",
    "parameter",
]


class Progress(NamedTuple):
    """The place of a step in its run."""

    height: int
    """1 ... ``rounds``."""
    rounds: int

    def falling(self, first: float, last: float) -> float:
        """A value that falls linearly from ``first`` at height 1 to ``last`` at the last height,
        where it stays."""
        if self.rounds <= 1:
            return first
        return first + (last - first) * (min(self.height, self.rounds) - 1) / (self.rounds - 1)


@dataclass(frozen=True)
class Optimizer(Part, ABC):
    """A rule by which everyone merges a round's A (r x N) into Q (N x d) under B (d x r)."""

    kind_of_part: ClassVar[str] = "optimizer"
    scheduled: ClassVar[bool] = False
    """True if its step depends on the number of rounds, which the genesis then records."""

    def state_shapes(self, N: int, d: int) -> tuple[tuple[int, ...], ...]:
        """The shapes of its state's float32 arrays, which are 0 before the first round."""
        return ()

    @abstractmethod
    def merged(
        self,
        Q: np.ndarray,
        state: tuple[np.ndarray, ...],
        B: np.ndarray,
        A: np.ndarray,
        progress: Progress,
    ) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
        """The new Q and state; the given arrays (float32) stay as they are."""

    def checked(
        self,
        Q: np.ndarray,
        state: tuple[np.ndarray, ...],
        B: np.ndarray,
        A: np.ndarray,
        progress: Progress,
    ) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
        """The new Q and state that `merged` gives. Raises PartError where they are not arrays of
        float32 in the shapes of the given ones."""
        found = self.merged(fixed(Q), tuple(map(fixed, state)), B, A, progress)
        told = self.method("merged")
        if not isinstance(found, tuple) or len(found) != 2:
            raise PartError(f"{told} returned {type(found).__name__}, and not (Q, state)")
        merged, after = found
        if len(after) != len(state):
            raise PartError(f"{told} returned {len(after)} arrays of state, and not {len(state)}")
        pairs = zip((merged, *after), (Q, *state), strict=True)
        merged, *left = (array_of(told, new, old.shape, np.dtype(np.float32)) for new, old in pairs)
        return merged, tuple(left)


OPTIMIZERS: Registry[type[Optimizer]] = Registry(Optimizer.kind_of_part)

Kind = TypeVar("Kind", bound=type[Optimizer])


def optimizer(name: str, place: int = LAST) -> Callable[[Kind], Kind]:
    """Register an optimizer under the name that configs and the genesis use, at this place in
    lists. Raises ValueError as `bfedrec.parts.register`."""
    return register(OPTIMIZERS, name, taken=("kind",), place=place)


def optimizer_named(name: str, parameters: dict[str, int]) -> Optimizer:
    """The optimizer of that name with exactly its parameters. Raises ValueError for an unknown
    name, other parameters, and values out of range."""
    kind = OPTIMIZERS.named(name)
    check_keys(kind, parameters)
    return kind(**parameters)


@optimizer("plain", place=1)
@dataclass(frozen=True)
class Plain(Optimizer):
    """Q <- Q + (B A)', the paper's equation 6."""

    meaning = "Q + BA, the paper's"

    def merged(
        self,
        Q: np.ndarray,
        state: tuple[np.ndarray, ...],
        B: np.ndarray,
        A: np.ndarray,
        progress: Progress,
    ) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
        from bfedrec.learning.lowrank import merge

        return merge(Q, B, A), ()


@optimizer("row_adaptive", place=2)
@dataclass(frozen=True)
class RowAdaptive(Optimizer):
    """A step with momentum whose length is adapted to each item: Adam (Kingma and Ba, 2015) with
    one second moment for a row of Q.

    With Z = (B A)', m the momentum, b the memory and h_t the step of round t, item by item:

        V <- m V + (1 - m) Z
        s <- b s + (1 - b) mean_k Z_k^2
        Q <- Q + h_t / (1 - m^t) V / (sqrt(s / (1 - b^t)) + 1e-8)

    h_t falls linearly over the run. Its state is V (N x d) and s (N).
    """

    meaning = "momentum, and a step adapted to each item (Adam with one second moment a row)"
    scheduled = True

    step_ppm: int = parameter(20_000, 1, 10_000_000, "the step of the first round, in millionths")
    final_step_ppm: int = parameter(
        400, 0, 10_000_000, "the step of the last round, in millionths; it falls linearly"
    )
    momentum_permille: int = parameter(
        900, 0, 999, "the share of the former direction that a round keeps, in thousandths"
    )
    memory_permille: int = parameter(
        950,
        0,
        999,
        "the share of an item's mean square that a round keeps, in thousandths; more for sparser "
        "data",
    )

    def state_shapes(self, N: int, d: int) -> tuple[tuple[int, ...], ...]:
        return (N, d), (N,)

    def merged(
        self,
        Q: np.ndarray,
        state: tuple[np.ndarray, ...],
        B: np.ndarray,
        A: np.ndarray,
        progress: Progress,
    ) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
        from bfedrec.learning.lowrank import merge
        from bfedrec.learning.optimizer_kernels import advance

        Q, V, s = (np.array(array, np.float32, order="C") for array in (Q, *state))
        Z = merge(np.zeros_like(Q), B, A)
        momentum, memory = self.momentum_permille / 1000, self.memory_permille / 1000
        step = progress.falling(self.step_ppm, self.final_step_ppm) / 1e6
        advance(Q, V, s, Z, step, momentum, memory, progress.height)
        return Q, (V, s)
