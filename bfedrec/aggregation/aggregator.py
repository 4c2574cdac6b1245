"""The interface of an aggregation rule (a round's updates in, one aggregate out), and the register.

A rule is a class with one method. Its fields are its parameters, which a config gives as
``aggregation.FIELD``. docs/extending.md shows a whole one.

`bfedrec.aggregation.rules.mean` has the rules that average, `bfedrec.aggregation.rules.robust`
those that withstand malicious clients, `bfedrec.aggregation.rules.byzfl` those of a library.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import ClassVar, NamedTuple, TypeVar

import numpy as np

from bfedrec.parts import Part, parameter, register
from consensus.registry import LAST, Registry

__all__ = ["AGGREGATORS", "Aggregator", "DecodedUpdate", "aggregator", "parameter"]


class DecodedUpdate(NamedTuple):
    """One client's update as a server reads it from a payload."""

    A: np.ndarray
    """float32[r, N], read-only or not."""
    touched: np.ndarray
    """uint8[N] of 0 and 1: the items that the client trained on; empty under rules that do not go
    by item."""


@dataclass(frozen=True)
class Aggregator(Part, ABC):
    """A way to aggregate the updates A_u (float32[r, N]) of a round.

    A subclass's fields are its parameters, each made by `parameter`.
    """

    kind_of_part: ClassVar[str] = "aggregation rule"
    goes_by_item: ClassVar[bool] = True
    """True if it has to know which items a client trained on."""
    weighs_samples: ClassVar[bool] = False
    """True if the sample counts N_u that clients state move it, which sums of integers under masks
    do not allow."""
    libraries: ClassVar[tuple[str, ...]] = ()
    """The modules that it imports when it is used and that are not required by this package."""
    extra: ClassVar[str] = ""
    """The extra of this package that brings them."""
    plain: ClassVar[bool] = False
    """True if it is the sum of all updates by their number, which a codec may add up undecoded
    (`bfedrec.compression.codec.Codec.total`)."""

    @classmethod
    def missing(cls) -> str:
        """A line about the first of its libraries that is not installed; "" if there is none."""
        for library in cls.libraries:
            if find_spec(library) is None:
                return f"{cls.name}: this needs {library}: pip install 'bfedrec[{cls.extra}]'"
        return ""

    def of_sums(self, total: np.ndarray, counts: np.ndarray, updates: int) -> np.ndarray | None:
        """The aggregate that `mean` gives of ``updates`` updates, float64[r, N], where it follows
        from their sum ``total`` (float64[r, N]) and the number of updates that touched each item
        (int[N]; int[0] where it does not go by item); None where it needs them one by one."""
        return None

    @abstractmethod
    def mean(
        self, updates: Iterable[DecodedUpdate], sample_counts: Sequence[int], r: int, N: int
    ) -> np.ndarray:
        """The aggregate A, float64[r, N], of a round's updates.

        ``updates`` are as many as ``sample_counts`` (N_u), and are gone through once, in their
        order. Every server has to get the same bytes.
        """


AGGREGATORS: Registry[type[Aggregator]] = Registry(Aggregator.kind_of_part)

Kind = TypeVar("Kind", bound=type[Aggregator])


def aggregator(name: str, place: int = LAST) -> Callable[[Kind], Kind]:
    """Register a rule under the name that configs and the genesis use, at this place in lists.

    Raises ValueError as `bfedrec.parts.register`.
    """
    taken = ("rule", "secure", "group", "neighbours", "lane_bits")
    return register(AGGREGATORS, name, taken=taken, place=place)
