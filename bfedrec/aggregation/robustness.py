"""The parameters that several rules against malicious clients share, whoever computes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bfedrec.aggregation.aggregator import parameter

#: Distance below which Weiszfeld's iteration no longer tells updates apart (nu of Pillutla et al.).
SMOOTHING = 1e-6


def malicious_share() -> Any:
    """The parameter ``malicious_permille``, which several rules share."""
    return parameter(
        333,
        0,
        499,
        "the share of a round's updates to withstand, in thousandths (rounded up to whole "
        "updates). Whoever takes part in a round is drawn: a round may have many more malicious "
        "clients than their share",
    )


def norm_bound() -> Any:
    """The parameter ``norm_permille`` of rules that cut norms."""
    return parameter(
        0,
        0,
        2**31,
        "the bound on an update's norm in thousandths; 0: the median of the round's norms",
    )


def iterations() -> Any:
    """The parameter ``iterations`` of rules that come nearer step by step."""
    return parameter(8, 1, 1000, "Weiszfeld iterations; of centered clipping, its steps")


def median_norm(norms: Sequence[float]) -> float:
    """The median of norms, of which there is one at least."""
    ordered, n = sorted(norms), len(norms)
    return (ordered[(n - 1) // 2] + ordered[n // 2]) / 2
