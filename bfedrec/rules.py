"""Rules of aggregation: how the updates of a round become one.

What a rule can be told are integers, which the genesis records, so that an audit computes the same
aggregate. Here are the two that average; `bfedrec.robust` has those that withstand malicious
clients. How updates travel is `bfedrec.exchange`'s.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np


class Update(NamedTuple):
    """What a server reads in a payload."""

    A: np.ndarray
    """float32[r, N], read-only or not."""
    touched: np.ndarray
    """uint8[N] of 0 and 1: the items that the client trained on; empty under rules that do not go
    by item."""


@dataclass(frozen=True)
class Rule(ABC):
    """A way to aggregate the updates A_u (float32[r, N]) of a round.

    A subclass's fields are its parameters: integers, each with its least and largest value.
    """

    name: ClassVar[str]
    meaning: ClassVar[str]
    goes_by_item: ClassVar[bool] = True
    """Whether it has to know which items a client trained on."""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value, (least, most) = getattr(self, field.name), field.metadata["bounds"]
            if type(value) is not int or not least <= value <= most:
                raise ValueError(
                    f"aggregation rule {self.name!r}: {field.name} must be an integer from "
                    f"{least} to {most}, not {value!r}"
                )

    @property
    def parameters(self) -> dict[str, int]:
        """What the genesis records of the rule, beside its name."""
        return dataclasses.asdict(self)

    @abstractmethod
    def mean(
        self, updates: Iterable[Update], sample_counts: Sequence[int], r: int, N: int
    ) -> np.ndarray:
        """The aggregate, float64[r, N], of as many updates as there are sample counts (N_u), which
        are gone through once, in their order."""


@dataclass(frozen=True)
class Samples(Rule):
    """Equation 5 and Algorithm 2, line 5: A = sum over u of (N_u / N) A_u."""

    name = "samples"
    meaning = "the mean weighted by sample counts, as in the paper"
    goes_by_item = False

    def mean(
        self, updates: Iterable[Update], sample_counts: Sequence[int], r: int, N: int
    ) -> np.ndarray:
        total = np.zeros((r, N), np.float64)
        term = np.empty((r, N), np.float64)
        for update, count in zip(updates, sample_counts, strict=True):
            # Without dtype the product would be rounded to float32 before it reaches `term`.
            np.multiply(update.A, count, out=term, dtype=np.float64)
            total += term
        return total / sum(sample_counts)


@dataclass(frozen=True)
class PerItem(Rule):
    """Each item's row is the mean over the clients that touched the item; 0 where none did."""

    name = "per_item"
    meaning = "each item's mean over the clients that trained on it"

    def mean(
        self, updates: Iterable[Update], sample_counts: Sequence[int], r: int, N: int
    ) -> np.ndarray:
        total = np.zeros((r, N), np.float64)
        clients = np.zeros(N, np.int64)
        for update in updates:
            total += update.A
            clients += update.touched
        return total / np.maximum(clients, 1)
