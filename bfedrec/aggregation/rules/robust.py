"""The aggregation rules that withstand malicious clients, item by item.

All of them work on the rows that clients really sent: an item's row follows from the updates of
the clients that touched it, by the mask of each. If the zeros of the others counted, the median
would be 0 for every item that less than half of a cohort touched, and no rare item would ever be
learnt. The price: where few honest clients touch an item, a few colluders are the majority there.

No rule looks at sample counts, which clients report themselves. Sums run in float64, one number
after the other in the order of the payloads (or of the sorted values), and the compiler may not
reorder them: the bytes are the same wherever they are computed.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from types import ModuleType

import numpy as np

from bfedrec.aggregation.aggregator import Aggregator, DecodedUpdate, aggregator
from bfedrec.aggregation.robustness import (
    SMOOTHING,
    iterations,
    malicious_share,
    median_norm,
    norm_bound,
)


@dataclass(frozen=True)
class Robust(Aggregator):
    """A rule that reads all updates of a round at once, as one array."""

    def mean(
        self, updates: Iterable[DecodedUpdate], sample_counts: Sequence[int], r: int, N: int
    ) -> np.ndarray:
        stacked = np.empty((len(sample_counts), r, N), np.float32)
        masks = np.empty((len(sample_counts), N), np.uint8)
        for place, update in enumerate(updates):
            stacked[place], masks[place] = update
        return self.combine(stacked, masks)

    @abstractmethod
    def combine(self, updates: np.ndarray, masks: np.ndarray) -> np.ndarray:
        """The aggregate, float64[r, N], of updates (float32[M, r, N]) and masks (uint8[M, N])."""


@aggregator("clip")
@dataclass(frozen=True)
class Clip(Robust):
    """The mean over the clients that touched an item, of updates whose norm is cut to a bound
    (Sun et al., 2019): a fixed one, or the median of the round's norms."""

    meaning = "per_item, of updates whose norm is cut to norm_permille, or to the round's median"

    norm_permille: int = norm_bound()

    def combine(self, updates: np.ndarray, masks: np.ndarray) -> np.ndarray:
        M, r, N = updates.shape
        squares = _kernels()._square_distances(updates, masks, _zero(r, N))
        norms = [math.sqrt(square) for square in squares]
        bound = self.norm_permille / 1000 or median_norm(norms)
        scales = np.array([1.0 if norm <= bound else bound / norm for norm in norms])
        return _kernels()._weighted_means(updates, masks, scales, np.ones(M))


@aggregator("clip_items")
@dataclass(frozen=True)
class ClipItems(Robust):
    """The mean over the clients that touched an item, of rows whose norm is cut to the median of
    the norms that these clients' rows of this item have. Cutting whole updates leaves a client
    free to put all it may send into one item; this does not."""

    meaning = "per_item, of rows whose norm is cut to the median norm of the item's rows"

    def combine(self, updates: np.ndarray, masks: np.ndarray) -> np.ndarray:
        return _kernels()._clipped_rows(updates, masks)


@aggregator("median")
@dataclass(frozen=True)
class Median(Robust):
    """Each number is the median over the clients that touched the item (Yin et al., 2018); of an
    even number of clients, the mean of the two in the middle."""

    meaning = "the median of each number over the clients that trained on the item"

    def combine(self, updates: np.ndarray, masks: np.ndarray) -> np.ndarray:
        return _kernels()._trimmed_means(updates, masks, 1000)


@aggregator("trimmed_mean")
@dataclass(frozen=True)
class TrimmedMean(Robust):
    """Each number is the mean over the clients that touched the item, without the largest and the
    smallest (Yin et al., 2018): without ceil(share n) of n at either end, or as many as leave the
    one or two in the middle."""

    meaning = "the mean of each number without its largest and smallest, malicious_permille each"

    malicious_permille: int = malicious_share()

    def combine(self, updates: np.ndarray, masks: np.ndarray) -> np.ndarray:
        return _kernels()._trimmed_means(updates, masks, self.malicious_permille)


@aggregator("krum")
@dataclass(frozen=True)
class Krum(Robust):
    """The one update with the least sum of distances to its n - f - 2 nearest (Blanchard et al.,
    2017), n updates of which f are taken for malicious.

    The squared distance of two updates is their mean squared difference over the items that both
    clients touched; infinite without one. Over all items, with zeros for what was not touched,
    the distance would tell how many items a client has, and Krum choose whoever has fewest.
    """

    meaning = "the one update nearest to its neighbours, malicious_permille of them left out"

    malicious_permille: int = malicious_share()

    def combine(self, updates: np.ndarray, masks: np.ndarray) -> np.ndarray:
        return self._mean_of(updates, masks, 1)

    def _mean_of(self, updates: np.ndarray, masks: np.ndarray, count: int) -> np.ndarray:
        """The mean over the ``count`` updates that score best, in the order of the updates."""
        scores = krum_scores(updates, masks, self.malicious(len(updates)))
        chosen = np.zeros(len(updates), np.float64)
        chosen[np.argsort(scores, kind="stable")[:count]] = 1.0
        return _kernels()._weighted_means(updates, masks, chosen, chosen)

    def malicious(self, n: int) -> int:
        """f: the share of n updates, rounded up, and at most the (n - 3) / 2 that Krum allows."""
        return max(0, min(-(-n * self.malicious_permille // 1000), (n - 3) // 2))


@aggregator("multi_krum")
@dataclass(frozen=True)
class MultiKrum(Krum):
    """Each item's mean over the n - f updates that `krum` scores best."""

    meaning = "per_item, over the updates that krum scores best, all but malicious_permille"

    def combine(self, updates: np.ndarray, masks: np.ndarray) -> np.ndarray:
        return self._mean_of(updates, masks, len(updates) - self.malicious(len(updates)))


@aggregator("geometric_median")
@dataclass(frozen=True)
class GeometricMedian(Robust):
    """The A with the least sum of distances to the updates, each distance taken over the items
    that its client touched; smoothed Weiszfeld iterations (Pillutla, Kakade and Harchaoui, 2022)
    from the coordinates' medians, so that the distance of an outlier does not matter."""

    meaning = "the point nearest to all updates, each measured on its own items"

    iterations: int = iterations()

    def combine(self, updates: np.ndarray, masks: np.ndarray) -> np.ndarray:
        middle = _kernels()._trimmed_means(updates, masks, 1000)
        weights = np.empty(len(updates), np.float64)
        for _ in range(self.iterations):
            for place, square in enumerate(_kernels()._square_distances(updates, masks, middle)):
                weights[place] = 1.0 / max(SMOOTHING, math.sqrt(square))
            middle = _kernels()._weighted_means(updates, masks, weights, weights)
        return middle


def krum_scores(updates: np.ndarray, masks: np.ndarray, f: int) -> np.ndarray:
    """Krum's score of each of n updates, float64[n]: the sum of its distances to the n - f - 2
    nearest others (at least one, where there is one)."""
    n = len(updates)
    # An update's distance to itself counts as infinite and comes last.
    distances = np.sort(_kernels()._pair_distances(updates, masks), axis=1)
    nearest = min(max(1, n - f - 2), n - 1)
    scores = np.zeros(n, np.float64)
    for place in range(nearest):
        scores += distances[:, place]
    return scores


def _zero(r: int, N: int) -> np.ndarray:
    return np.zeros((r, N), np.float64)


def _kernels() -> ModuleType:
    """The compiled loops, imported at their first use: a config can be read without numba."""
    from bfedrec.aggregation import kernels

    return kernels
