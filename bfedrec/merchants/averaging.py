"""Aggregation of what merchants share: the report's plain mean, or any rule of the project.

Everybody computes the same bytes from the same models: the order is that of the merchants' names as
bytes, sums run in float64 one number after the other, and the result is rounded to float32 once.

Under the project's rules (`bfedrec.aggregation`) a merchant's update is its difference to the
parent of the round, and the products that it touched are those whose numbers differ: that follows
from the bytes, and nobody can claim otherwise. A product that nobody touched keeps its numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from bfedrec.aggregation.aggregator import DecodedUpdate
from bfedrec.aggregation.registry import AGGREGATORS, aggregator_named
from bfedrec.merchants.model import Shared

PLAIN = "plain"
"""The report's rule (section 3.4): w' = 1/N sum of w_i, over all products alike."""


class Contribution(NamedTuple):
    """One merchant's model of a round."""

    merchant: str
    shared: Shared
    samples: int
    """Number of pairs that it was trained on; the rule `samples` weighs by it."""


def rules() -> tuple[str, ...]:
    """The names that `aggregate` knows."""
    return (PLAIN, *AGGREGATORS)


def aggregate(parent: Shared, contributions: Sequence[Contribution], rule: str = PLAIN) -> Shared:
    """The aggregate of models that were all trained from ``parent``, in whatever order they come.

    Raises ValueError for no model, two of one merchant, a shape that is not the parent's, a count
    below 1, numbers that may not be shared, or an unknown rule (with the nearest name).
    """
    ordered = sorted(contributions, key=lambda one: one.merchant.encode())
    _check(parent, ordered)
    if rule == PLAIN:
        total = np.zeros(parent.stacked().shape, np.float64)
        for one in ordered:
            total += one.shared.stacked()
        return Shared.unstacked((total / len(ordered)).astype(np.float32))
    if rule not in AGGREGATORS:
        near = AGGREGATORS.nearest(rule)
        raise ValueError(f"rule {rule!r} is not one of {', '.join(rules())}{near}")
    base = parent.stacked()
    updates = []
    for one in ordered:
        difference = one.shared.stacked() - base
        updates.append(DecodedUpdate(difference, (difference != 0).any(axis=0).astype(np.uint8)))
    chosen = aggregator_named(rule)
    if chosen.missing():
        raise ValueError(f"rule {chosen.missing()}")
    moved = chosen.mean(updates, [one.samples for one in ordered], *base.shape)
    return Shared.unstacked((base.astype(np.float64) + moved).astype(np.float32))


def _check(parent: Shared, ordered: Sequence[Contribution]) -> None:
    if not ordered:
        raise ValueError("there is no model to aggregate")
    if len({one.merchant for one in ordered}) < len(ordered):
        raise ValueError("a merchant has two models in one round")
    for one in ordered:
        shapes = one.shared.factors.shape, one.shared.biases.shape
        if shapes != (parent.factors.shape, parent.biases.shape):
            raise ValueError(f"{one.merchant}: the model's shape is not that of the round's parent")
        if one.samples < 1:
            raise ValueError(f"{one.merchant}: a sample count is at least 1, not {one.samples}")
        problem = one.shared.problem()
        if problem:
            raise ValueError(f"{one.merchant}: {problem}")
