"""The training method ``sgd``: Algorithm 1, local stochastic gradient descent."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from bfedrec.learning.method import Trainer, TrainingMethod, training_method
from bfedrec.learning.settings import TrainingSettings
from bfedrec.learning.task import TrainingTask
from bfedrec.learning.upload import LocalUpdates


@training_method("sgd", place=1)
@dataclass(frozen=True)
class LocalSgd(TrainingMethod):
    """Passes of gradient descent over a client's interactions and drawn negatives, on p_u and A_u
    (lines 9 to 14)."""

    meaning = "stochastic gradient descent on sampled negatives, the paper's Algorithm 1"
    reads = frozenset(TrainingSettings.model_fields) - {
        "method",
        "unobserved",
        "network_step",
        "private_step",
        "difference",
        "sparsity",
    }
    on_devices = True
    apart = True

    def trainer(self, device: str, threads: int | None) -> Trainer:
        if device == "cpu":
            from bfedrec.learning.cohort import train_cohort

            return _apart(partial(train_cohort, threads=threads))
        from bfedrec.learning import cohort_torch  # torch takes seconds to import

        where = cohort_torch.device_of(device)
        return _apart(partial(cohort_torch.train_cohort_on, where, threads=threads))


def _apart(train: Trainer) -> Trainer:
    """``train``, where p_u may be trained on other items than updates: first both on a client's own
    items, of which p_u stays, then updates alone, with this p_u, on the items that it shows."""

    def trained(task: TrainingTask, clients: np.ndarray, P: np.ndarray) -> LocalUpdates:
        own = train(replace(task, shown=None), clients, P)
        if task.shown is None:
            return own
        shown = train(task.for_updates(), clients, own.P)
        return replace(own, A=shown.A, touched=shown.touched)

    return trained
