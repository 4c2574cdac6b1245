"""The training method ``pfedrec``: dual personalisation (Zhang et al., IJCAI 2023).

A client keeps a score function, one linear layer under a sigmoid: w (d) and b. It shares the item
factors Q with all others. With q_i = Q_i + Delta_i, z_i = q_i . w + b, and n samples (i, y) in a
batch, drawn as in Algorithm 1,

    L = 1/n sum [ -y log sigmoid(z_i) - (1 - y) log(1 - sigmoid(z_i)) ]
        + lambda/2 ( |w|^2 + 1/n sum |q_i|^2 ).

In a round it first trains w and b in `user_epochs` passes on the Q it was given, then its item
factors in `local_epochs` passes under that score function, and sends Delta. Steps follow the
gradient in w and b, and n times the gradient in Delta.

It recommends by item factors of its own: those of the present Q, tuned in the same `local_epochs`
passes, at the full step, on draws that are the same at every scoring. They cost no bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from bfedrec.learning.method import PASSES, Scorer, Trainer, TrainingMethod, training_method
from bfedrec.learning.settings import ModelSettings, TrainingSettings
from bfedrec.learning.task import TrainingTask
from bfedrec.learning.upload import LocalUpdates
from bfedrec.section import setting_error

if TYPE_CHECKING:  # reading a config loads no compiler
    from bfedrec.learning.negative_sampling import Epoch


@training_method("pfedrec", place=3)
@dataclass(frozen=True)
class PFedRec(TrainingMethod):
    """A private score function, and item factors that every client tunes for itself."""

    meaning = "PFedRec: a private linear score function, and item factors tuned by every client"
    reads = PASSES | {"user_epochs"}
    products = False
    whole_rows = True

    def trainer(self, device: str, threads: int | None) -> Trainer:
        return partial(_train, threads)

    def width(self, dimension: int, items: int) -> int:
        return dimension + 1

    def initial_factors(
        self, model: ModelSettings, users: int, items: int, generator: np.random.Generator
    ) -> np.ndarray:
        w = super().initial_factors(model, users, items, generator)
        return np.concatenate([w, np.zeros((users, 1), np.float32)], axis=1)

    def check(self, training: TrainingSettings, dimension: int) -> None:
        if not training.user_epochs:
            told = "1 or more, as training.method pfedrec trains the score function in these passes"
            raise setting_error("training.user_epochs", told)

    def scorer(self, task: TrainingTask, P: np.ndarray) -> Scorer:
        return partial(_scores, task, P)


def _train(
    threads: int | None, task: TrainingTask, clients: np.ndarray, P: np.ndarray
) -> LocalUpdates:
    from bfedrec.learning.private_training import train_clients

    return train_clients(_train_client, task, clients, P, len(task.Q), threads)


def _train_client(
    task: TrainingTask,
    draws: list[Epoch],
    function: np.ndarray,
    delta: np.ndarray,
    touched: np.ndarray,
) -> float:
    from bfedrec.learning.pfedrec_kernels import train_pass

    settings, loss = task.settings, 0.0
    for number, epoch in enumerate(draws):
        on_items = number >= settings.user_epochs
        step = np.float32(task.item_step if on_items else task.user_step)
        loss = train_pass(
            task.Q,
            delta,
            touched,
            function,
            epoch,
            settings.batch_size,
            step,
            np.float32(settings.l2),
            on_items,
        )
    return loss / max(1, len(draws[-1].items))


def _scores(task: TrainingTask, P: np.ndarray, users: np.ndarray) -> np.ndarray:
    """The scores of all items for ``users`` (int64[b]), float32[b, N], by their score functions and
    the item factors that they tune now."""
    from bfedrec.learning.pfedrec_kernels import score_all, train_pass
    from bfedrec.learning.private_training import drawn

    settings, (N, d) = task.settings, task.Q.shape
    scores = np.empty((len(users), N), np.float32)
    delta, touched = np.zeros((N, d), np.float32), np.zeros(N, np.bool_)
    numbers = settings.batch_size, np.float32(task.item_step), np.float32(settings.l2)
    for row, user in zip(scores, users, strict=True):
        for epoch in drawn(task, int(user), N)[settings.user_epochs :]:
            train_pass(task.Q, delta, touched, P[user], epoch, *numbers, True)
        score_all(task.Q, delta, P[user], row)
        delta[touched] = 0
        touched[:] = False
    return scores
