"""The aggregation rules that average; `bfedrec.aggregation.rules.robust` has those against attacks.

A rule's parameters are integers, which the genesis records, so that an audit computes the same
aggregate. The formats in which updates travel are the business of `bfedrec.compression.exchange`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from bfedrec.aggregation.aggregator import Aggregator, DecodedUpdate, aggregator


@aggregator("samples")
@dataclass(frozen=True)
class Samples(Aggregator):
    """Equation 5 and Algorithm 2, line 5: A = sum over u of (N_u / N) A_u."""

    meaning = "the mean weighted by sample counts, as in the paper"
    goes_by_item = False
    weighs_samples = True

    def mean(
        self, updates: Iterable[DecodedUpdate], sample_counts: Sequence[int], r: int, N: int
    ) -> np.ndarray:
        total = np.zeros((r, N), np.float64)
        term = np.empty((r, N), np.float64)
        for update, count in zip(updates, sample_counts, strict=True):
            # Without dtype the product would be rounded to float32 before it reaches `term`.
            np.multiply(update.A, count, out=term, dtype=np.float64)
            total += term
        return total / sum(sample_counts)


@aggregator("per_item")
@dataclass(frozen=True)
class PerItem(Aggregator):
    """Each item's row is the mean over the clients that touched the item; 0 where none did."""

    meaning = "each item's mean over the clients that trained on it"

    def mean(
        self, updates: Iterable[DecodedUpdate], sample_counts: Sequence[int], r: int, N: int
    ) -> np.ndarray:
        from bfedrec.aggregation.kernels import add  # a config is read without a compiler

        total = np.zeros((r, N), np.float64)
        clients = np.zeros(N, np.int64)
        for update in updates:
            add(total, update.A)
            clients += update.touched
        return total / np.maximum(clients, 1)

    def of_sums(self, total: np.ndarray, counts: np.ndarray, updates: int) -> np.ndarray | None:
        return total / np.maximum(counts, 1)


@aggregator("uniform")
@dataclass(frozen=True)
class Uniform(Aggregator):
    """The plain mean of the updates, for methods whose updates move every item."""

    meaning = "the plain mean of the updates, whatever their clients' sample counts"
    goes_by_item = False
    plain = True

    def mean(
        self, updates: Iterable[DecodedUpdate], sample_counts: Sequence[int], r: int, N: int
    ) -> np.ndarray:
        from bfedrec.aggregation.kernels import add  # a config is read without a compiler

        total = np.zeros((r, N), np.float64)
        for update in updates:
            add(total, update.A)
        return total / len(sample_counts)

    def of_sums(self, total: np.ndarray, counts: np.ndarray, updates: int) -> np.ndarray | None:
        return total / updates
