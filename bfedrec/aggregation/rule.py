"""The interface of an aggregation rule: a round's updates in, one aggregate out."""

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
