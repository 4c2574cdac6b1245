"""The frame of methods whose clients keep more than a factor: their draws, threads and results.

Such a method trains all of Delta Q (B = I) by passes over the client's interactions and drawn
negatives, as Algorithm 1 does, with parameters and gradients of its own. A client's result depends
on its own inputs alone, so that neither threads nor the other members of a cohort change a bit.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from bfedrec.learning.negative_sampling import Epoch, client_draws
from bfedrec.learning.task import TrainingTask, check_finite
from bfedrec.learning.upload import LocalUpdates
from bfedrec.threads import balanced, in_threads, thread_count

TrainClient = Callable[[TrainingTask, list[Epoch], np.ndarray, np.ndarray, np.ndarray], float]
"""Trains one client by its passes, in place: its private numbers (float32[w]), its Delta Q
(float32[rows, d], 0 at first) and the rows it touches (bool[rows], False at first). Returns the
mean cross-entropy of the last pass."""


def train_clients(
    train_client: TrainClient,
    task: TrainingTask,
    clients: np.ndarray,
    P: np.ndarray,
    items: int,
    threads: int | None,
) -> LocalUpdates:
    """Train ``clients`` (int64[m]) from their private numbers (float32[m, w]) on the first
    ``items`` rows of Q, whose others are no items.

    Raises ValueError for shapes that do not fit, or items that Q does not have, and Diverged,
    naming the client.
    """
    clients = task.cohort(clients, P, P.shape[1] if P.ndim == 2 else None)
    M, (rows, d) = len(clients), task.Q.shape
    if task.indices.max(initial=-1) >= items:
        raise ValueError(
            f"Q has {rows} rows, {items} of them items, and item {task.indices.max()} is trained on"
        )
    update = LocalUpdates(
        A=np.zeros((M, d, rows), np.float32),
        touched=np.zeros((M, rows), np.bool_),
        P=np.array(P, np.float32, order="C"),
        samples=task.samples(clients),
        loss=np.zeros(M, np.float64),
    )

    def train(part: np.ndarray) -> None:
        delta = np.zeros((rows, d), np.float32)
        for m in part:
            draws = drawn(task, int(clients[m]), items)
            touched = update.touched[m]
            update.loss[m] = train_client(task, draws, update.P[m], delta, touched)
            moved = np.flatnonzero(touched)
            update.A[m][:, moved] = delta[moved].T
            delta[moved] = 0

    parts = balanced(update.samples, min(thread_count(threads), max(M, 1)))
    in_threads(train, [(part,) for part in parts])
    check_finite(update, clients)
    return update


def drawn(task: TrainingTask, client: int, items: int) -> list[Epoch]:
    """The passes of a client, with inverted labels if the task is `flipped`."""
    positives, excluded = task.positives(client), task.known(client)
    draws = client_draws(task.seed, client, positives, items, task.settings, excluded)
    if not task.flipped:
        return draws
    return [Epoch(epoch.items, np.float32(1) - epoch.labels) for epoch in draws]
