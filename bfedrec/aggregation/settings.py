"""The `aggregation` section of an experiment."""

from __future__ import annotations

from typing import ClassVar

from bfedrec.aggregation.aggregator import Aggregator
from bfedrec.aggregation.registry import AGGREGATORS
from bfedrec.parts import PartSection


class AggregationSettings(PartSection):
    """The rule by which a round's updates become one aggregate A."""

    choice: ClassVar[str] = "rule"
    #: As recorded configs write them.
    first: ClassVar[tuple[str, ...]] = ("malicious_permille", "norm_permille", "iterations")

    rule: str = "samples"

    @classmethod
    def parts(cls) -> tuple[type[Aggregator], ...]:
        return tuple(AGGREGATORS.values())
