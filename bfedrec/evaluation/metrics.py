"""Metrics of a ranking under leave-one-out, their registry, and the records of an evaluation.

The rank of a user's held-out item (the positive) is the number of negatives that score at least as
high: ties count against the model, so that a model which scores all items alike gets 0. Scores are
compared exactly, hence computed in the same way for every item: one sum, in the order of the
factors. Sampled metrics rank the positive among the data set's 99 negatives; full ranking ranks it
among all items the user never touched (Krichene and Rendle, 2020, explain why both are needed).
ER@K measures the exposure of target items in the lists of users who never touched them.

A metric is a class with one method. Every evaluation has every registered metric: in the lines and
the summary of a run, in sweeps and on the terminal; docs/extending.md shows a whole one.

Tables and figures of the paper compare the metrics that the paper has (`compared`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal, TypeVar

import numpy as np

from bfedrec.parts import Part, PartError, array_of, register
from consensus.registry import Registry

Split = Literal["validation", "test"]

FULL = "full_"
"""Prefix of a metric's name in records of full ranking."""
ORDERED = "ordered_"
"""Prefix of a metric's name, before `FULL`, where users are scored with recency."""


@dataclass(frozen=True)
class Metric(Part, ABC):
    """A score of each user's ranking, reported as its mean over the users."""

    kind_of_part: ClassVar[str] = "metric"
    label: ClassVar[str]
    """The printed name, before ``@K``."""
    higher_is_better: ClassVar[bool] = True
    compared: ClassVar[bool] = False
    """True for metrics of the paper: tables and figures compare them, and tuning selects by
    them (`tunable`)."""

    @abstractmethod
    def of(self, rank: np.ndarray, k: int) -> np.ndarray:
        """The metric of each rank (int64[n], 0 is best) in lists of ``k`` items, float64[n]."""

    def checked(self, rank: np.ndarray, k: int) -> np.ndarray:
        """The numbers that `of` gives. Raises PartError where they are not one for each rank, or
        not finite, which no record can hold."""
        found = array_of(self.method("of"), self.of(rank, k), rank.shape)
        if not np.isfinite(found).all():
            raise PartError(f"{self.method('of')} returned NaN or infinity")
        return found


METRICS: Registry[type[Metric]] = Registry(Metric.kind_of_part)

Kind = TypeVar("Kind", bound=type[Metric])


def metric(name: str) -> Callable[[Kind], Kind]:
    """Register a metric under the name that records use, as ``NAME@K``.

    Raises ValueError as `bfedrec.parts.register`, and for a name that records use otherwise.
    """
    if name == "er" or name.startswith((FULL, ORDERED, "validation_", "test_")):
        raise ValueError(f"metric {name!r}: records use this name otherwise")
    return register(METRICS, name)


def compared() -> dict[str, Metric]:
    """The metrics that tables and figures compare, by name."""
    return {name: kind() for name, kind in METRICS.items() if kind.compared}


def tunable() -> dict[str, Metric]:
    """The metrics by which tuning may select, by name: those that are `compared`, among sampled
    negatives and in full ranking, order-blind and ordered ("ordered_full_ndcg")."""
    return {
        f"{order}{ranking}{name}": kind
        for order in ("", ORDERED)
        for ranking in ("", FULL)
        for name, kind in compared().items()
    }


def ordered_name(name: str) -> str:
    """The name in records of a metric of users scored with recency: "ordered_hr@10"."""
    return f"{ORDERED}{name}"


def labelled(means: Mapping[str, float], k: int) -> dict[str, float]:
    """The means of an evaluation's metrics among the sampled negatives, by printed name:
    "HR@10"."""
    return {f"{kind.label}@{k}": means[f"{name}@{k}"] for name, kind in METRICS.items()}


@metric("hr")
@dataclass(frozen=True)
class HitRate(Metric):
    """HR@K: 1 where the positive is among the first K, else 0."""

    label = "HR"
    meaning = "hit rate: whether the held-out item is in the list"
    compared = True

    def of(self, rank: np.ndarray, k: int) -> np.ndarray:
        return (rank < k).astype(np.float64)


@metric("ndcg")
@dataclass(frozen=True)
class Gain(Metric):
    """NDCG@K with one relevant item: 1 / log2(rank + 2) within the list, else 0."""

    label = "NDCG"
    meaning = "discounted gain: a hit counts for less at a lower place"
    compared = True

    def of(self, rank: np.ndarray, k: int) -> np.ndarray:
        return np.where(rank < k, 1.0 / np.log2(rank + 2.0), 0.0)


class NotFinite(ArithmeticError):
    """A model with NaN or infinity in it, which cannot be scored."""


@dataclass(frozen=True)
class Evaluation:
    """The rank of the held-out item of each user that has one.

    users: int64[n], ascending; the other arrays follow its order.
    rank: int64[n], 0 is best, among the sampled negatives.
    full_rank: int64[n], among all items that the user never touched; None if not computed.
    k: the length K of the recommendation list.
    """

    users: np.ndarray
    rank: np.ndarray
    full_rank: np.ndarray | None
    k: int

    def of(self, name: str) -> np.ndarray:
        """The metric called ``name`` of each user, float64[n], among the sampled negatives."""
        return METRICS.named(name)().checked(self.rank, self.k)

    def means(self) -> dict[str, float]:
        """The mean of every registered metric, by its name in a run's summary: "hr@10",
        "full_ndcg@10", ..."""
        ranks = {"": self.rank} | ({} if self.full_rank is None else {FULL: self.full_rank})
        return {
            f"{prefix}{name}@{self.k}": float(kind().checked(rank, self.k).mean())
            for prefix, rank in ranks.items()
            for name, kind in METRICS.items()
        }


@dataclass(frozen=True)
class Exposure:
    """The ranks of target items in the recommendation lists of users who never touched them.

    targets: the items.
    rank: int64[len(targets), M], the target's place among all items that the user did not train
        on, 0 is best; -1 for users who touched it or were left out.
    k: the length K of the recommendation list.
    """

    targets: tuple[int, ...]
    rank: np.ndarray
    k: int

    @property
    def er(self) -> np.ndarray:
        """ER@K of each target, float64: the share of the users without it in whose list it is; 0 if
        every user has it."""
        asked = self.rank >= 0
        hits = asked & (self.rank < self.k)
        return np.asarray(hits.sum(axis=1) / np.maximum(asked.sum(axis=1), 1))

    def means(self) -> dict[str, float]:
        """The mean over the targets (Zhang et al., 2022) under its name in the summary: "er@10"."""
        return {f"er@{self.k}": float(self.er.mean())}
