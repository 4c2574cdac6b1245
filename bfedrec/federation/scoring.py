"""The present model as users are scored by it: order-blind and, where asked for, with recency."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from bfedrec.config.schema import Config
from bfedrec.data.dataset import Dataset
from bfedrec.evaluation.metrics import Evaluation, Split, ordered_name
from bfedrec.evaluation.neighbours import NeighbourScores
from bfedrec.evaluation.ranking import Scorer, evaluate, evaluate_blocks, expose, expose_blocks
from bfedrec.learning.recency import Recency
from bfedrec.learning.task import TrainingTask
from bfedrec.streams import Streams


@dataclass(frozen=True)
class Scores:
    """The evaluations of one split: ``blind`` to order and, where a config asks for it,
    ``ordered``."""

    blind: Evaluation
    ordered: Evaluation | None

    def means(self) -> dict[str, float]:
        """The means of both (`Evaluation.means`), the ordered ones as "ordered_hr@10", ..."""
        means = self.blind.means()
        if self.ordered is not None:
            means |= {ordered_name(key): mean for key, mean in self.ordered.means().items()}
        return means


class Factors(NamedTuple):
    """Factors whose products are scores."""

    P: np.ndarray
    """float32[M, d]: of users."""
    Q: np.ndarray
    """float32[N, d]: of items."""


@dataclass(frozen=True)
class Scoring:
    """Every user's factors on the present Q, or another scorer (`scoring_of`)."""

    data: Dataset
    Q: np.ndarray
    """float32[N, d], as items are scored with."""
    P: np.ndarray
    """float32[M, d]."""
    ordered: Factors | None = None
    """Users' factors that weigh interactions by recency, and items' as these are scored with
    (`bfedrec.learning.recency`); None if none are asked for."""
    scorer: Scorer | None = None
    """The order-blind scores of users where they are not the products of P and Q alone."""

    def evaluate(self, split: Split, k: int, full: bool, threads: int | None = None) -> Scores:
        """Rank the held-out items of a split. Raises as `bfedrec.evaluation.ranking.evaluate`."""
        if self.scorer is not None:
            blind = evaluate_blocks(self.scorer, self.data, split, k, full, threads)
        else:
            blind = evaluate(self.P, self.Q, self.data, split, k, full, threads)
        if self.ordered is None:
            return Scores(blind, None)
        return Scores(blind, evaluate(*self.ordered, self.data, split, k, full, threads))

    def exposure(
        self, targets: Sequence[int], k: int, asked: np.ndarray, threads: int | None = None
    ) -> dict[str, float]:
        """ER@K of the ``targets`` over the users ``asked`` (bool[M]); empty without targets. Raises
        as `bfedrec.evaluation.ranking.expose`."""
        if not targets:
            return {}
        if self.scorer is not None:
            return expose_blocks(self.scorer, self.data, targets, k, asked, threads).means()
        return expose(self.P, self.Q, self.data, targets, k, asked, threads).means()


def scoring_of(
    config: Config, data: Dataset, Q: np.ndarray, P: np.ndarray, threads: int | None = None
) -> Scoring:
    """The scoring of the model Q (float32[N, d]), under the config's training method, from the
    private numbers P (float32[M, w]) that the clients keep."""
    told, method = config.evaluation, config.training.chosen
    # The data of all users beside this Q, with one seed for whatever users draw when they are
    # scored.
    whole = np.eye(Q.shape[1], dtype=np.float32)
    excluded = excluded_items(config, data)
    settings = config.training.model_copy(update=told.solves)
    task = TrainingTask(Q, whole, data.indptr, data.indices, settings, 0, excluded=excluded)
    scorer = method.scorer(task, P)
    if scorer is not None:
        return Scoring(data, Q, P, scorer=scorer)
    blind, ordered = method.factors(task, P, threads), None
    if told.recency:
        recency = Recency(
            told.recency_weight,
            told.recency_places,
            told.recency_unobserved,
            told.recency_l2,
            told.recency_power,
        )
        solved = method.ordered_factors(task, data.places, recency, threads)
        ordered = Factors(solved, by_length(Q, told.recency_norm))
    items = by_length(Q, told.norm)
    if told.neighbours:
        own, power = (data.indptr, data.indices), told.neighbours_power
        scorer = NeighbourScores(blind, items, Q, own, told.neighbours, power, threads)
    return Scoring(data, items, blind, ordered, scorer)


def by_length(Q: np.ndarray, norm: float) -> np.ndarray:
    """The rows q_i / |q_i|^norm of the item factors Q, with which item i scores p.q_i / |q_i|^norm;
    float32[N, d] both. A row of zeros stays one. At 0 it is Q itself.

    |q_i| grows with the number of clients that have item i, since the L2 term holds the others
    short: p is drawn towards what is popular, and the more so the fewer of its items count. The
    lengths are public as Q is.
    """
    if norm == 0:
        return Q
    rows = Q.astype(np.float64)
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    scale = np.power(length, -norm, out=np.zeros_like(length), where=length > 0)
    with np.errstate(invalid="ignore"):  # infinity becomes NaN, which an evaluation refuses
        return (rows * scale).astype(np.float32)


def scored(config: Config, data: Dataset) -> Dataset:
    """The data with the held-out items of those users alone who are scored (`evaluation.users`);
    the same data if all are. Users who have no test item come last into a sample."""
    count = config.evaluation.users
    if not count or count >= data.users:
        return data
    order = Streams(config.seed).generator("scored").permutation(data.users)
    order = order[np.argsort(data.test[order] < 0, kind="stable")]
    left = order[count:]
    validation, test = data.validation.copy(), data.test.copy()
    validation[left] = test[left] = -1
    return replace(data, validation=validation, test=test, digest=data.digest)


def excluded_items(config: Config, data: Dataset) -> tuple[np.ndarray, np.ndarray] | None:
    """The items that are never drawn as negatives, as `TrainingTask.excluded` has them."""
    if config.training.negatives_exclude == "train":
        return None
    return data.touched_indptr, data.touched_indices
