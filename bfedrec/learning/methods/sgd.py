"""The training method ``sgd``: Algorithm 1, local stochastic gradient descent."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from bfedrec.learning.method import Trainer, TrainingMethod, training_method
from bfedrec.learning.settings import TrainingSettings


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

    def trainer(self, device: str, threads: int | None) -> Trainer:
        if device == "cpu":
            from bfedrec.learning.cohort import train_cohort

            return partial(train_cohort, threads=threads)
        from bfedrec.learning import cohort_torch  # torch takes seconds to import

        where = cohort_torch.device_of(device)
        return partial(cohort_torch.train_cohort_on, where, threads=threads)
