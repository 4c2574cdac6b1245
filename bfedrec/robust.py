"""Rules of aggregation that withstand malicious clients, item by item.

All of them work on the rows that clients really sent: an item's row follows from the updates of
the clients that touched it, by the mask of each. Were the others' zeros counted, the median
would be 0 for every item that less than half of a cohort touched, and nothing rare were learnt.
The price: where few honest clients touch an item, few colluders are the majority there.

No rule looks at sample counts, which clients report themselves. Sums run in float64, one number
after the other in the order of the payloads (or of the sorted values), compiled without leave to
reorder: the bytes are the same wherever they are computed.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numba import njit

from bfedrec.rules import Rule, Update

#: Distance below which Weiszfeld's iteration no longer tells updates apart (nu of Pillutla et al.).
SMOOTHING = 1e-6


def parameter(default: int, least: int, most: int) -> Any:
    """A field of a rule: an integer from ``least`` to ``most``."""
    return field(default=default, metadata={"bounds": (least, most)})


@dataclass(frozen=True)
class Robust(Rule):
    """A rule that sees all updates of a round at once."""

    def mean(
        self, updates: Iterable[Update], sample_counts: Sequence[int], r: int, N: int
    ) -> np.ndarray:
        stacked = np.empty((len(sample_counts), r, N), np.float32)
        masks = np.empty((len(sample_counts), N), np.uint8)
        for place, update in enumerate(updates):
            stacked[place], masks[place] = update
        return self.combine(stacked, masks)

    @abstractmethod
    def combine(self, updates: np.ndarray, masks: np.ndarray) -> np.ndarray:
        """The aggregate, float64[r, N], of updates (float32[M, r, N]) and masks (uint8[M, N])."""


@dataclass(frozen=True)
class Median(Robust):
    """Each number is the median over the clients that touched the item (Yin et al., 2018); of an
    even number of clients, the mean of the two in the middle."""

    name = "median"
    meaning = "the median of each number over the clients that trained on the item"

    def combine(self, updates: np.ndarray, masks: np.ndarray) -> np.ndarray:
        return _trimmed_means(updates, masks, 1000)


@dataclass(frozen=True)
class TrimmedMean(Robust):
    """Each number is the mean over the clients that touched the item, without the largest and the
    smallest (Yin et al., 2018): without ceil(share n) of n at either end, or as many as leave the
    one or two in the middle."""

    name = "trimmed_mean"
    meaning = "the mean of each number without its largest and smallest, malicious_permille each"

    malicious_permille: int = parameter(333, 0, 499)

    def combine(self, updates: np.ndarray, masks: np.ndarray) -> np.ndarray:
        return _trimmed_means(updates, masks, self.malicious_permille)


@dataclass(frozen=True)
class GeometricMedian(Robust):
    """The A with the least sum of distances to the updates, each distance taken over the items
    that its client touched; smoothed Weiszfeld iterations (Pillutla, Kakade and Harchaoui, 2022)
    from the coordinates' medians, so that the distance of an outlier does not matter."""

    name = "geometric_median"
    meaning = "the point nearest to all updates, each measured on its own items"

    iterations: int = parameter(8, 1, 1000)

    def combine(self, updates: np.ndarray, masks: np.ndarray) -> np.ndarray:
        middle = _trimmed_means(updates, masks, 1000)
        weights = np.empty(len(updates), np.float64)
        for _ in range(self.iterations):
            for place, square in enumerate(_square_distances(updates, masks, middle)):
                weights[place] = 1.0 / max(SMOOTHING, math.sqrt(square))
            middle = _weighted_means(updates, masks, weights, weights)
        return middle


@dataclass(frozen=True)
class Clip(Robust):
    """The mean over the clients that touched an item, of updates whose norm is cut to a bound
    (Sun et al., 2019): a fixed one, or the median of the round's norms."""

    name = "clip"
    meaning = "per_item, of updates whose norm is cut to norm_permille, or to the round's median"

    norm_permille: int = parameter(0, 0, 2**31)
    """The bound in thousandths; 0 for the median of the round's norms."""

    def combine(self, updates: np.ndarray, masks: np.ndarray) -> np.ndarray:
        M, r, N = updates.shape
        norms = [math.sqrt(square) for square in _square_distances(updates, masks, _zero(r, N))]
        ordered = sorted(norms)
        bound = self.norm_permille / 1000 or (ordered[(M - 1) // 2] + ordered[M // 2]) / 2
        scales = np.array([1.0 if norm <= bound else bound / norm for norm in norms])
        return _weighted_means(updates, masks, scales, np.ones(M))


@dataclass(frozen=True)
class ClipItems(Robust):
    """The mean over the clients that touched an item, of rows whose norm is cut to the median of
    the norms that these clients' rows of this item have. Cutting whole updates leaves a client
    free to put all it may send into one item; this does not."""

    name = "clip_items"
    meaning = "per_item, of rows whose norm is cut to the median norm of the item's rows"

    def combine(self, updates: np.ndarray, masks: np.ndarray) -> np.ndarray:
        return _clipped_rows(updates, masks)


@dataclass(frozen=True)
class Krum(Robust):
    """The one update with the least sum of distances to its n - f - 2 nearest (Blanchard et al.,
    2017), n updates of which f are taken for malicious.

    The squared distance of two updates is their mean squared difference over the items that both
    clients touched; infinite without one. Over all items, with zeros for what was not touched,
    the distance would tell how many items a client has, and Krum choose whoever has fewest.
    """

    name = "krum"
    meaning = "the one update nearest to its neighbours, malicious_permille of them left out"

    malicious_permille: int = parameter(333, 0, 499)

    def combine(self, updates: np.ndarray, masks: np.ndarray) -> np.ndarray:
        return self._mean_of(updates, masks, 1)

    def _mean_of(self, updates: np.ndarray, masks: np.ndarray, count: int) -> np.ndarray:
        """The mean over the ``count`` updates that score best, in the order of the updates."""
        scores = krum_scores(updates, masks, self.malicious(len(updates)))
        chosen = np.zeros(len(updates), np.float64)
        chosen[np.argsort(scores, kind="stable")[:count]] = 1.0
        return _weighted_means(updates, masks, chosen, chosen)

    def malicious(self, n: int) -> int:
        """f: the share of n updates, rounded up, and at most the (n - 3) / 2 that Krum allows."""
        return max(0, min(-(-n * self.malicious_permille // 1000), (n - 3) // 2))


@dataclass(frozen=True)
class MultiKrum(Krum):
    """Each item's mean over the n - f updates that `krum` scores best."""

    name = "multi_krum"
    meaning = "per_item, over the updates that krum scores best, all but malicious_permille"

    def combine(self, updates: np.ndarray, masks: np.ndarray) -> np.ndarray:
        return self._mean_of(updates, masks, len(updates) - self.malicious(len(updates)))


def krum_scores(updates: np.ndarray, masks: np.ndarray, f: int) -> np.ndarray:
    """Krum's score of each of n updates, float64[n]: the sum of its distances to the n - f - 2
    nearest others (at least one, where there is one)."""
    n = len(updates)
    distances = np.sort(_pair_distances(updates, masks), axis=1)  # itself, at 0, comes last: inf
    nearest = min(max(1, n - f - 2), n - 1)
    scores = np.zeros(n, np.float64)
    for place in range(nearest):
        scores += distances[:, place]
    return scores


def _zero(r: int, N: int) -> np.ndarray:
    return np.zeros((r, N), np.float64)


@njit(nogil=True, cache=True)
def _trimmed_means(updates, masks, permille):  # type: ignore[no-untyped-def]
    """Of each item's numbers, sorted, the mean without `permille` of them at either end."""
    M, r, N = updates.shape
    result = np.zeros((r, N), np.float64)
    values = np.empty((N, M), np.float64)
    counts = np.empty(N, np.int64)
    for k in range(r):
        counts[:] = 0
        for m in range(M):
            for i in range(N):
                if masks[m, i]:
                    values[i, counts[i]] = updates[m, k, i]
                    counts[i] += 1
        for i in range(N):
            n = counts[i]
            if n:
                row = values[i, :n]
                _sort(row)
                cut = min((n * permille + 999) // 1000, (n - 1) // 2)
                total = 0.0
                for place in range(cut, n - cut):
                    total += row[place]
                result[k, i] = total / (n - 2 * cut)
    return result


@njit(nogil=True, cache=True)
def _sort(row):  # type: ignore[no-untyped-def]
    """Sort in place; by insertion where that is fastest."""
    if row.size > 48:
        row.sort()
        return
    for place in range(1, row.size):
        value = row[place]
        k = place
        while k > 0 and row[k - 1] > value:
            row[k] = row[k - 1]
            k -= 1
        row[k] = value


@njit(nogil=True, cache=True)
def _square_distances(updates, masks, centre):  # type: ignore[no-untyped-def]
    """Each update's squared distance to `centre` (float64[r, N]) over its own items."""
    M, r, N = updates.shape
    result = np.zeros(M, np.float64)
    for m in range(M):
        for k in range(r):
            for i in range(N):
                if masks[m, i]:
                    difference = updates[m, k, i] - centre[k, i]
                    result[m] += difference * difference
    return result


@njit(nogil=True, cache=True)
def _weighted_means(updates, masks, factors, weights):  # type: ignore[no-untyped-def]
    """Each item's sum of `factors` times updates over its sum of `weights`; 0 where that is 0."""
    M, r, N = updates.shape
    result = np.zeros((r, N), np.float64)
    total = np.zeros(N, np.float64)
    for m in range(M):
        if weights[m] > 0:
            for i in range(N):
                total[i] += weights[m] * masks[m, i]
            for k in range(r):
                for i in range(N):
                    result[k, i] += masks[m, i] * (factors[m] * updates[m, k, i])
    for k in range(r):
        for i in range(N):
            if total[i] > 0:
                result[k, i] /= total[i]
    return result


@njit(nogil=True, cache=True)
def _clipped_rows(updates, masks):  # type: ignore[no-untyped-def]
    """Each item's mean over its rows, those longer than their median cut to it."""
    M, r, N = updates.shape
    result = np.zeros((r, N), np.float64)
    norms = np.empty(M, np.float64)
    ordered = np.empty(M, np.float64)
    for i in range(N):
        n = 0
        for m in range(M):
            if masks[m, i]:
                square = 0.0
                for k in range(r):
                    number = np.float64(updates[m, k, i])
                    square += number * number
                norms[m] = math.sqrt(square)
                ordered[n] = norms[m]
                n += 1
        if n:
            _sort(ordered[:n])
            bound = (ordered[(n - 1) // 2] + ordered[n // 2]) / 2
            for m in range(M):
                if masks[m, i]:
                    scale = 1.0 if norms[m] <= bound else bound / norms[m]
                    for k in range(r):
                        result[k, i] += scale * updates[m, k, i]
            for k in range(r):
                result[k, i] /= n
    return result


@njit(nogil=True, cache=True)
def _pair_distances(updates, masks):  # type: ignore[no-untyped-def]
    """float64[M, M]: mean squared difference over the items that both touched; inf without one,
    and inf of an update to itself."""
    M, r, N = updates.shape
    squares = np.zeros((M, M), np.float64)
    common = np.zeros((M, M), np.int64)
    values = np.empty((M, r), np.float64)
    touching = np.empty(M, np.int64)
    for i in range(N):
        n = 0
        for m in range(M):
            if masks[m, i]:
                touching[n] = m
                for k in range(r):
                    values[n, k] = updates[m, k, i]
                n += 1
        for a in range(n):
            for b in range(a + 1, n):
                square = 0.0
                for k in range(r):
                    difference = values[a, k] - values[b, k]
                    square += difference * difference
                squares[touching[a], touching[b]] += square
                common[touching[a], touching[b]] += 1
    for a in range(M):
        squares[a, a] = np.inf
        for b in range(a + 1, M):
            distance = squares[a, b] / common[a, b] if common[a, b] else np.inf
            squares[a, b] = distance
            squares[b, a] = distance
    return squares
