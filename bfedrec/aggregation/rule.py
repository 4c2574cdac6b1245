"""The interface of an aggregation rule (a round's updates in, one aggregate out) and the register.

A rule is a class with one method. Its fields are its parameters, which a config gives as
``aggregation.FIELD``. A whole rule:

    @rule("largest")
    @dataclass(frozen=True)
    class Largest(Rule):
        \"""Each number is the largest that a client sent, times a factor.\"""

        meaning = "the largest of each number, times factor_permille"

        factor_permille: int = parameter(1000, 1, 2000, "the factor in thousandths")

        def mean(self, updates, sample_counts, r, N):
            largest = np.max([update.A for update in updates], axis=0).astype(np.float64)
            return largest * self.factor_permille / 1000

`bfedrec.aggregation.mean` has the rules that average, `bfedrec.aggregation.robust` those that
withstand malicious clients.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, TypeVar

import numpy as np


class DecodedUpdate(NamedTuple):
    """One client's update as a server reads it in a payload."""

    A: np.ndarray
    """float32[r, N], read-only or not."""
    touched: np.ndarray
    """uint8[N] of 0 and 1: the items that the client trained on; empty under rules that do not go
    by item."""


@dataclass(frozen=True)
class Rule(ABC):
    """A way to aggregate the updates A_u (float32[r, N]) of a round.

    A subclass's fields are its parameters: integers, each made by `parameter`.
    """

    name: ClassVar[str]
    """The name that configs and the genesis use; `rule` sets it."""
    meaning: ClassVar[str]
    """The rule in a few words, for the help."""
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
        self, updates: Iterable[DecodedUpdate], sample_counts: Sequence[int], r: int, N: int
    ) -> np.ndarray:
        """The aggregate, float64[r, N], of as many updates as there are sample counts (N_u), which
        are gone through once, in their order."""


def parameter(default: int, least: int, most: int, description: str) -> Any:
    """A field of a rule: an integer from ``least`` to ``most``, with its help."""
    return dataclasses.field(
        default=default, metadata={"bounds": (least, most), "description": description}
    )


RULES: dict[str, type[Rule]] = {}

Kind = TypeVar("Kind", bound=type[Rule])


def rule(name: str) -> Callable[[Kind], Kind]:
    """Register a rule under the name that configs and the genesis use.

    Raises ValueError for a name that is taken, and for a parameter that another rule has with
    another default, other bounds or another description: a config has one key for both.
    """

    def register(kind: Kind) -> Kind:
        if name in RULES:
            raise ValueError(f"aggregation rule {name!r} is registered twice")
        for field in dataclasses.fields(kind):
            if field.name == "rule":
                raise ValueError(f"aggregation rule {name!r}: a parameter cannot be named 'rule'")
            for other in RULES.values():
                theirs = {known.name: known for known in dataclasses.fields(other)}
                if field.name in theirs and not _same(field, theirs[field.name]):
                    raise ValueError(
                        f"aggregation rule {name!r}: {field.name} is another parameter than "
                        f"that of {other.name!r}"
                    )
        kind.name = name
        RULES[name] = kind
        return kind

    return register


def _same(one: dataclasses.Field[Any], other: dataclasses.Field[Any]) -> bool:
    return (one.default, one.metadata) == (other.default, other.metadata)
