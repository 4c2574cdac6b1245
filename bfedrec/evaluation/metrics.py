"""HR@K and NDCG@K under leave-one-out: one value per user, the mean is left to the caller.

The rank of a user's held-out item (the positive) is the number of negatives that score at least
as high: ties count against us, so that a model which scores all alike gets nothing. Scores are
compared exactly, hence computed the same way for every item: one sum, in the order of the factors.
Sampled metrics rank the positive among the data set's 99 negatives; full ranking ranks it among
all items the user never touched (Krichene and Rendle, 2020, say why both are needed). ER@K looks at
items that somebody wants recommended, in the lists of users who never had to do with them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

Split = Literal["validation", "test"]


class NotFinite(ArithmeticError):
    """A model with NaN or infinity in it has no score."""


@dataclass(frozen=True)
class Evaluation:
    """How high the held-out item ranks for each user that has one.

    users: int64[n], ascending; the other arrays follow its order.
    rank: int64[n], 0 is best, among the sampled negatives.
    full_rank: int64[n], among all items never touched; None if it was not asked for.
    k: the length K of the recommendation list.
    """

    users: np.ndarray
    rank: np.ndarray
    full_rank: np.ndarray | None
    k: int

    @property
    def hr(self) -> np.ndarray:
        """HR@K per user, float64[n]: 1 where the positive is among the first K."""
        return hit(self.rank, self.k)

    @property
    def ndcg(self) -> np.ndarray:
        """NDCG@K per user, float64[n]."""
        return gain(self.rank, self.k)

    def means(self) -> dict[str, float]:
        """The means under the names of the run folder's summary: "hr@10", "full_ndcg@10", ..."""
        ranks = {"": self.rank} | ({} if self.full_rank is None else {"full_": self.full_rank})
        figures = {}
        for prefix, rank in ranks.items():
            figures[f"{prefix}hr@{self.k}"] = float(hit(rank, self.k).mean())
            figures[f"{prefix}ndcg@{self.k}"] = float(gain(rank, self.k).mean())
        return figures


@dataclass(frozen=True)
class Exposure:
    """How high target items stand in the recommendation lists of users who never touched them.

    targets: the items; rank: int64[len(targets), M], the target's place among all items that the
    user did not train on, 0 is best; -1 for users who ever touched it or were not asked about.
    k: the length K of the recommendation list.
    """

    targets: tuple[int, ...]
    rank: np.ndarray
    k: int

    @property
    def er(self) -> np.ndarray:
        """ER@K of each target, float64: the share of the users without it in whose list it is; 0
        where every user has it."""
        asked = self.rank >= 0
        hits = asked & (self.rank < self.k)
        return np.asarray(hits.sum(axis=1) / np.maximum(asked.sum(axis=1), 1))

    def means(self) -> dict[str, float]:
        """The mean over the targets (Zhang et al., 2022) under its name in the summary: "er@10"."""
        return {f"er@{self.k}": float(self.er.mean())}


def hit(rank: np.ndarray, k: int) -> np.ndarray:
    """HR@k of each rank (0 is best): 1.0 or 0.0."""
    return (rank < k).astype(np.float64)


def gain(rank: np.ndarray, k: int) -> np.ndarray:
    """NDCG@k of each rank: 1 / log2(rank + 2) within the list, else 0 (one relevant item)."""
    return np.where(rank < k, 1.0 / np.log2(rank + 2.0), 0.0)
