"""The training method ``ials``: implicit alternating least squares on the client."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from bfedrec.learning.gradients import Gradients, Problem, Unwritten
from bfedrec.learning.method import (
    Trainer,
    TrainingMethod,
    UnwrittenTrainer,
    training_method,
)
from bfedrec.learning.recency import Recency
from bfedrec.learning.settings import ModelSettings, TrainingSettings
from bfedrec.learning.task import Shown, TrainingTask
from bfedrec.learning.upload import Diverged
from bfedrec.threads import balanced, in_threads, thread_count

if TYPE_CHECKING:  # reading a config loads no compiler
    from bfedrec.learning.ials_kernels import Catalogue


SMALLEST_SLOPE = 1e-6
"""Least magnitude of a factor on x_i by which another term is divided."""


@training_method("ials", place=2)
@dataclass(frozen=True)
class ImplicitAls(TrainingMethod):
    """A client solves its factors exactly and sends one gradient in every item's
    (`bfedrec.learning.implicit_als` derives both)."""

    meaning = (
        "implicit alternating least squares: p_u solved exactly with all items as negatives, and "
        "one gradient for every item"
    )
    reads = frozenset({"l2", "unobserved"})
    orders = True
    apart = True
    keeps_factors = False
    remedy = "lower optimizer.step_ppm, or raise training.l2"

    def trainer(self, device: str, threads: int | None) -> Trainer:
        train = self.unwritten_trainer(threads)
        return lambda task, clients, P: train(task, clients, P).written()

    def unwritten_trainer(self, threads: int | None) -> UnwrittenTrainer:
        return partial(_train, self.remedy, threads)

    def samples(
        self, settings: TrainingSettings, interactions: np.ndarray, items: int, dimension: int
    ) -> np.ndarray:
        # A sample of Algorithm 1 takes about four products of d numbers. Here an interaction takes
        # d/2 (the normal equations), the solution d^2/6, and every item two.
        products = interactions * dimension / 2 + dimension**2 / 6 + 2.0 * items
        return np.asarray(products / 4, np.float64)

    def initial_factors(
        self, model: ModelSettings, users: int, items: int, generator: np.random.Generator
    ) -> np.ndarray:
        # Nothing is read of them: p follows from Q and the client's interactions.
        return np.zeros((users, model.dimension), np.float32)

    def factors(self, task: TrainingTask, P: np.ndarray, threads: int | None = None) -> np.ndarray:
        settings = task.settings
        none = np.empty(0, np.float32)
        return _solved(task, none, settings.unobserved, settings.l2, threads)

    def ordered_factors(
        self, task: TrainingTask, places: np.ndarray, recency: Recency, threads: int | None = None
    ) -> np.ndarray:
        weights = recency.weights(places)
        return _solved(task, weights, recency.unobserved, recency.l2, threads)


def _catalogue(task: TrainingTask) -> Catalogue:
    """The catalogue of a round, computed once for all parts of its cohort."""
    from bfedrec.learning.ials_kernels import Catalogue, gram
    from bfedrec.learning.kernels import products

    def make() -> Catalogue:
        Q = np.ascontiguousarray(task.Q, np.float32)
        BT = np.ascontiguousarray(task.B.T, np.float32)
        r, d = BT.shape
        squares, total = gram(Q)
        if r == d and np.array_equal(BT, np.eye(d)):
            none = np.empty((0, d), np.float32)
            return Catalogue(Q, squares, total, none, np.ascontiguousarray(Q.T))
        return Catalogue(Q, squares, total, BT, products(BT, Q))

    return task.once(make)


def _train(
    remedy: str,
    threads: int | None,
    task: TrainingTask,
    clients: np.ndarray,
    P: np.ndarray,
) -> Unwritten:
    """Train ``clients`` (int64[m]); their former factors (``P``) do not matter."""
    from bfedrec.learning.ials_kernels import train_clients

    clients, catalogue, shown = task.cohort(clients, P), _catalogue(task), task.shown
    solved_on = shown if shown is not None and shown.factors else task
    settings, M, (N, d) = task.settings, len(clients), task.Q.shape
    target, others = (0.0, 1.0) if task.flipped else (1.0, 0.0)
    update = Unwritten(
        P=np.empty((M, d), np.float32),
        samples=task.samples(clients),
        loss=np.empty(M, np.float64),
        gradients=Gradients(
            np.empty((M, N), np.float32),
            np.empty((M, task.B.shape[1]), np.float32),
            catalogue.QB,
            Problem(settings.unobserved, settings.l2, target, others),
            clients,
            solved_on.indptr,
            solved_on.indices,
        ),
    )
    shared = (catalogue, update.gradients, update.P, update.loss)
    parts = balanced(update.samples, min(thread_count(threads), max(M, 1)))
    in_threads(train_clients, [(part, *shared) for part in parts])
    if shown is not None:
        update = replace(update, gradients=showing(update.gradients, shown))
    # Numbers of A that overflow all the same are encoded as such, and refused by every server.
    wrong = ~(np.isfinite(update.loss) & np.isfinite(update.P).all(axis=1))
    if wrong.any():
        raise Diverged(
            f"client {clients[np.argmax(wrong)]}'s factors are no longer finite numbers; {remedy}"
        )
    return update


def showing(gradients: Gradients, shown: Shown) -> Gradients:
    """The terms of updates on the items that are shown, at the p that was solved on others.

    With s_i = 1 for an item that is shown, else 0, the part of A_u[k, i] that is not -(l2 F_ki) is
    -b_k times (t - f) alpha (x_i - catalogue) + (s_i - f) (x_i - target), whose mean over the draws
    of s is t - f times that without: -f (x_i - target) is one more part of what all items have.
    """
    alpha, l2, target, catalogue = gradients.problem
    scale, f = shown.kept - shown.share, shown.share
    slope, offset = scale * alpha - f, scale * alpha * catalogue - f * target
    if abs(slope) < SMALLEST_SLOPE:  # where the two parts cancel, what is left is the offset
        slope = SMALLEST_SLOPE
    return gradients._replace(
        problem=Problem(slope, l2, target, offset / slope),
        indptr=shown.indptr,
        indices=shown.indices,
    )


def _solved(
    task: TrainingTask, weights: np.ndarray, alpha: float, l2: float, threads: int | None
) -> np.ndarray:
    """Every user's p on the Q of ``task``, float32[M, d]."""
    from bfedrec.learning.ials_kernels import solve_users

    users = len(task.indptr) - 1
    P = np.empty((users, task.Q.shape[1]), np.float32)
    problem = Problem(alpha, l2, 1.0, 0.0)
    shared = (_catalogue(task), problem, task.indptr, task.indices, weights, P)
    parts = balanced(np.diff(task.indptr) + 1, thread_count(threads))
    in_threads(solve_users, [(part, *shared) for part in parts])
    return P
