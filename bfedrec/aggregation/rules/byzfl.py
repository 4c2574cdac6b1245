"""Robust aggregation rules of the library `byzfl` (González et al., 2025), as peers of ours: its
own code, fed with the round's updates.

They take an update for one vector, zeros included, as the literature on robust learning does, where
`bfedrec.aggregation.rules.robust` goes item by item: where most clients leave an item alone, the
medians here are 0 and the item is not learnt. `docs/peers.md` has what that costs.

Of the library's rules these are here whose bytes are the same for every server: they add and sort
float64 numbers in one order (numpy's, along the updates). Left out are those that choose by
numpy's `argpartition`, whose order among equals depends on the processor, and which clients could
therefore use to part servers (multi-Krum, MoNNA, mean around the median, nearest-neighbour
mixing); those that draw from a generator that all share (CAF, SMEA); and those that try all subsets
(MDA, SMEA).
"""

from __future__ import annotations

import importlib
import sys
from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec, module_from_spec
from typing import Any, ClassVar

import numpy as np

from bfedrec.aggregation.aggregator import Aggregator, DecodedUpdate, aggregator
from bfedrec.aggregation.robustness import (
    SMOOTHING,
    iterations,
    malicious_share,
    median_norm,
    norm_bound,
)
from consensus.registry import LAST

PLACE = LAST + 1
"""After this project's own rules."""
Rule = Callable[[np.ndarray], np.ndarray]
"""A rule of the library: vectors float64[n, D] to one float64[D]."""


@dataclass(frozen=True)
class OfByzfl(Aggregator):
    """A rule of byzfl."""

    goes_by_item: ClassVar[bool] = False
    libraries: ClassVar[tuple[str, ...]] = ("byzfl", "torch")
    extra: ClassVar[str] = "byzfl"

    def mean(
        self, updates: Iterable[DecodedUpdate], sample_counts: Sequence[int], r: int, N: int
    ) -> np.ndarray:
        vectors = np.empty((len(sample_counts), r * N), np.float64)
        for place, update in enumerate(updates):
            vectors[place] = update.A.ravel()
        if len(vectors) > 1:  # the library divides by 0 others
            vectors = self.rule(vectors)(vectors)
        # Of zeros with different signs, which comes first in a sort depends on the processor.
        return vectors.reshape(r, N) + 0.0

    @abstractmethod
    def rule(self, vectors: np.ndarray) -> Rule:
        """The library's object for two or more vectors, float64[n, r N]."""


@aggregator("byzfl_median", place=PLACE)
@dataclass(frozen=True)
class ByzflMedian(OfByzfl):
    """`byzfl.Median`: of each number the median (Yin et al., 2018)."""

    meaning = "the median of each number over all updates, by byzfl"

    def rule(self, vectors: np.ndarray) -> Rule:
        return _named("Median")()


@aggregator("byzfl_trimmed_mean", place=PLACE)
@dataclass(frozen=True)
class ByzflTrimmedMean(OfByzfl):
    """`byzfl.TrMean`: of each number the mean without the f largest and the f smallest (Yin et al.,
    2018)."""

    meaning = "the mean of each number without its extremes, malicious_permille each, by byzfl"

    malicious_permille: int = malicious_share()

    def rule(self, vectors: np.ndarray) -> Rule:
        return _named("TrMean")(f=_malicious(self.malicious_permille, len(vectors)))


@aggregator("byzfl_krum", place=PLACE)
@dataclass(frozen=True)
class ByzflKrum(OfByzfl):
    """`byzfl.Krum`: the one update whose mean squared distance to its n - f - 1 nearest is least
    (Blanchard et al., 2017, who count one fewer)."""

    meaning = "the one update nearest to its neighbours, by byzfl"

    malicious_permille: int = malicious_share()

    def rule(self, vectors: np.ndarray) -> Rule:
        return _named("Krum")(f=_malicious(self.malicious_permille, len(vectors)))


@aggregator("byzfl_geometric_median", place=PLACE)
@dataclass(frozen=True)
class ByzflGeometricMedian(OfByzfl):
    """`byzfl.GeometricMedian`: smoothed Weiszfeld iterations from 0 (Pillutla, Kakade and
    Harchaoui, 2022), with our smoothing."""

    meaning = "the point nearest to all updates, by byzfl"

    iterations: int = iterations()

    def rule(self, vectors: np.ndarray) -> Rule:
        return _named("GeometricMedian")(nu=SMOOTHING, T=self.iterations)


@aggregator("byzfl_centered_clipping", place=PLACE)
@dataclass(frozen=True)
class ByzflCenteredClipping(OfByzfl):
    """`byzfl.CenteredClipping` (Karimireddy, He and Jaggi, 2021): a centre, at first 0, moves by
    the mean of the updates' differences from it, each cut to a bound; it is not kept from round to
    round."""

    meaning = "a centre that moves by differences cut to norm_permille, by byzfl"

    norm_permille: int = norm_bound()
    iterations: int = iterations()

    def rule(self, vectors: np.ndarray) -> Rule:
        bound = self.norm_permille / 1000 or median_norm(np.linalg.norm(vectors, axis=1))
        # A difference of 0 is divided by in vain: minimum takes 1.
        tau = max(float(bound), np.finfo(np.float64).tiny)
        clipping = _named("CenteredClipping")(L=self.iterations, tau=tau)

        def clip(vectors: np.ndarray) -> np.ndarray:
            with np.errstate(divide="ignore"):
                return np.asarray(clipping(vectors))

        return clip


def _malicious(permille: int, n: int) -> int:
    """f: the share of n updates, rounded up, and below half of them."""
    return min(-(-n * permille // 1000), (n - 1) // 2)


def _named(name: str) -> Any:
    """The library's class of that name."""
    return getattr(_aggregators(), name)


@cache
def _aggregators() -> Any:
    """The library's module of aggregators, without the rest of the package: to import `byzfl` runs
    its benchmarks' imports, torchvision among them, which needs the one build of torch that it was
    made with. The package is not left behind half imported."""
    if "byzfl" in sys.modules:
        return importlib.import_module("byzfl.aggregators.aggregators")
    spec = find_spec("byzfl")
    if spec is None:
        raise ImportError("byzfl")
    sys.modules["byzfl"] = module_from_spec(spec)
    try:
        return importlib.import_module("byzfl.aggregators.aggregators")
    finally:
        for name in [each for each in sys.modules if each.partition(".")[0] == "byzfl"]:
            del sys.modules[name]
