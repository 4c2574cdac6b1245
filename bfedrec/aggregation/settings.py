"""The `aggregation` section of an experiment."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field, model_validator

from bfedrec.aggregation.aggregator import Aggregator
from bfedrec.aggregation.registry import AGGREGATORS
from bfedrec.parts import PartSection
from bfedrec.section import setting_error

SMALLEST_GROUP = 3
"""Members of a group below which a sum would tell one member another's update."""


class AggregationSettings(PartSection):
    """The rule by which a round's updates become one aggregate A."""

    choice: ClassVar[str] = "rule"
    #: As recorded configs write them.
    first: ClassVar[tuple[str, ...]] = ("malicious_permille", "norm_permille", "iterations")

    rule: str = "samples"
    secure: bool = Field(
        default=False,
        description="servers see the sum of a group's updates alone, each update being masked "
        "(docs/secure-aggregation.md); needs compression.kind levels and crypto real. Rules that "
        "look at single updates then look at the groups' means; samples cannot be used",
    )
    group: int = Field(
        default=15,
        ge=SMALLEST_GROUP,
        le=255,
        description="secure: the most clients of a group; more than two thirds of it must stay to "
        "the end of a round, else it is dropped",
    )
    neighbours: int = Field(
        default=0,
        ge=0,
        le=254,
        description="secure: the members, an even number, with whom one shares masks and secrets, "
        "for large groups; 0: all others of its group",
    )
    lane_bits: int = Field(
        default=0,
        ge=0,
        le=15,
        description="secure: bits in which a group's sum of a number is kept, modulo 2^lane_bits; "
        "0: as many as the greatest sum takes. Sums are mostly far from it, so that fewer bits "
        "leave bytes for more rows; a sum that does not fit comes out wrong by 2^lane_bits levels",
    )

    @model_validator(mode="after")
    def _agree(self) -> AggregationSettings:
        """Refuse sizes of groups that are not read, or do not fit each other."""
        if not self.secure:
            unread = ("group", "neighbours", "lane_bits")
            self.refuse_unread(unread, "aggregation.secure is false")
        elif self.neighbours % 2 or self.neighbours >= self.group:
            raise setting_error("neighbours", f"an even number below group = {self.group}")
        return self

    def check_lanes(self, levels: int, noisy: bool) -> None:
        """Raise a validation error where lanes of `lane_bits` do not suit levels from -``levels``
        to ``levels``, or, ``noisy``, would lose noise of differential privacy."""
        least, whole = (2 * levels).bit_length(), (2 * self.group * levels).bit_length()
        told = ""
        if self.lane_bits and not least <= self.lane_bits < whole:
            told = f"0, or from the {least} of a level to {whole - 1}, as every sum fits in {whole}"
        elif self.lane_bits and noisy:
            told = "0, as privacy.dp.noise is on: sums have to keep all of their noise"
        if told:
            raise setting_error("aggregation.lane_bits", told)

    @classmethod
    def parts(cls) -> tuple[type[Aggregator], ...]:
        return tuple(AGGREGATORS.values())
