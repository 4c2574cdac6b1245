"""The training method ``fedrap``: additive personalisation (Li, Long and Zhou, ICLR 2024).

A client scores an item by the sum of two views: the shared one C_i (the rows of Q) and its own
D_i, which never leaves it. The paper keeps a dense D of N x d numbers on every client, 2.9 GB for
all of MovieLens-1M at d = 32, and as much again for every resume. Here D is of rank one: D_i = a_i
p, with p (d) the client's own factor and one number a_i for each item, 90 MB. It is where the
gradient of the score leads: that in D_i is a multiple of p in every step. Of the samples (i, y) of
a batch, n in number,

    z_i = (C_i + D_i) . p = C_i . p + a_i |p|^2
    L = 1/n sum [ -y log sigmoid(z_i) - (1 - y) log(1 - sigmoid(z_i))
                  - lambda_t/2 |D_i - C_i|^2 + mu_t |C_i|_1 ]
        + l2/2 ( |p|^2 + 1/n sum ( |C_i|^2 + a_i^2 ) ).

The two regularisers grow with the rounds, as tanh(10 t / T) (the paper: tanh(t / 10), T = 100
rounds of all clients); they cover the items of a batch, not all of N. Steps follow the gradient in
p, and n times the gradients in a_i (`private_step`) and C_i (`item_step`). The client sends its
change of C.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from bfedrec.learning.method import PASSES, Scorer, Trainer, TrainingMethod, training_method
from bfedrec.learning.settings import ModelSettings
from bfedrec.learning.task import TrainingTask
from bfedrec.learning.upload import LocalUpdates

if TYPE_CHECKING:  # reading a config loads no compiler
    from bfedrec.learning.negative_sampling import Epoch


@training_method("fedrap", place=5)
@dataclass(frozen=True)
class FedRAP(TrainingMethod):
    """A shared view of the items plus a private one."""

    meaning = (
        "FedRAP: a shared view of every item plus a private one, of rank one (a number an item)"
    )
    reads = PASSES | {"private_step", "difference", "sparsity"}
    products = False
    whole_rows = True

    def trainer(self, device: str, threads: int | None) -> Trainer:
        return partial(_train, threads)

    def width(self, dimension: int, items: int) -> int:
        return dimension + items

    def initial_factors(
        self, model: ModelSettings, users: int, items: int, generator: np.random.Generator
    ) -> np.ndarray:
        p = super().initial_factors(model, users, items, generator)
        return np.concatenate([p, np.zeros((users, items), np.float32)], axis=1)

    def scorer(self, task: TrainingTask, P: np.ndarray) -> Scorer:
        return partial(_scores, task.Q, P)


def _train(
    threads: int | None, task: TrainingTask, clients: np.ndarray, P: np.ndarray
) -> LocalUpdates:
    from bfedrec.learning.private_training import train_clients

    return train_clients(_train_client, task, clients, P, len(task.Q), threads)


def _train_client(
    task: TrainingTask,
    draws: list[Epoch],
    private: np.ndarray,
    delta: np.ndarray,
    touched: np.ndarray,
) -> float:
    from bfedrec.learning.fedrap_kernels import Steps, train_pass

    settings, d = task.settings, task.Q.shape[1]
    grown = math.tanh(10.0 * task.progress)
    steps = Steps(
        settings.batch_size,
        np.float32(task.user_step),
        np.float32(task.item_step),
        np.float32(settings.private_step * task.step_scale),
        np.float32(settings.l2),
        np.float32(settings.difference * grown),
        np.float32(settings.sparsity * grown),
    )
    loss = 0.0
    for epoch in draws:
        loss = train_pass(task.Q, delta, touched, private[:d], private[d:], epoch, steps)
    return loss / max(1, len(draws[-1].items))


def _scores(C: np.ndarray, P: np.ndarray, users: np.ndarray) -> np.ndarray:
    """The scores of all items for ``users`` (int64[b]), float32[b, N]."""
    from bfedrec.learning.fedrap_kernels import score_all

    d = C.shape[1]
    scores = np.empty((len(users), len(C)), np.float32)
    for row, user in zip(scores, users, strict=True):
        score_all(C, P[user, :d], P[user, d:], row)
    return scores
