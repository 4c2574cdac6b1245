"""The `aggregation` section of an experiment."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from bfedrec.section import Section


class AggregationSettings(Section):
    """How a round's updates become one A."""

    rule: Literal[
        "samples",
        "per_item",
        "clip",
        "clip_items",
        "median",
        "trimmed_mean",
        "krum",
        "multi_krum",
        "geometric_median",
    ] = Field(
        default="per_item",
        description="samples: weight N_u/N (the paper's); per_item: divide each item's row by the "
        "clients that touched it (sends a mask of touched items as well). The others withstand "
        "malicious clients, also item by item: per_item of updates whose norm (clip) or of rows "
        "whose norm (clip_items) is cut, the median or the trimmed mean of each number, the "
        "update nearest to its neighbours (krum) or the mean of those that are (multi_krum), and "
        "the point nearest to all updates (geometric_median)",
    )
    malicious_permille: int = Field(
        default=333,
        ge=0,
        le=499,
        description="trimmed_mean, krum, multi_krum: the share of a round's updates to withstand, "
        "in thousandths (rounded up to whole updates). Whoever takes part in a round is drawn: a "
        "round may have many more malicious clients than their share",
    )
    norm_permille: int = Field(
        default=0,
        ge=0,
        le=2**31,
        description="clip: the bound on an update's norm in thousandths; 0: the median of the "
        "round's norms",
    )
    iterations: int = Field(
        default=8, ge=1, le=1000, description="geometric_median: Weiszfeld iterations"
    )
