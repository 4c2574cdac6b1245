"""Algorithm 1 for a whole cohort at once: compiled, in closed form, one client per thread.

The gradients touch only the rows of the items in a client's sample (`factorization.py` derives
them), so a client costs microseconds. `client.py` is the same algorithm for one client in readable
form, and the two agree on the same draws.

A client's result depends on its own inputs alone: the same inputs give the same bytes for any
number of threads and any other members of the cohort. Only the order of the sum in a dot product is
left to the compiler, which chooses it for the machine's vector width. Another kind of processor may
therefore give trained factors that differ in the last bits (but never in the bytes that servers
vote on).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bfedrec.learning.kernels import CompiledTask, gram, products, train_clients
from bfedrec.learning.task import TrainingTask, check_finite
from bfedrec.learning.upload import LocalUpdates
from bfedrec.threads import balanced, in_threads, thread_count


def train_cohort(
    task: TrainingTask,
    clients: Sequence[int] | np.ndarray,
    P: np.ndarray,
    threads: int | None = None,
) -> LocalUpdates:
    """Train each client of a cohort from A_u = 0 against frozen Q and B; no argument is changed.

    clients: M client ids, each a row of `task.indptr`.
    P: float32[M, d], the user factors of those clients, in that order.
    threads: number of threads; None: all processors.

    Raises ValueError for shapes that do not fit, and Diverged, naming the client.
    """
    clients = task.cohort(clients, P)
    M, N, r = len(clients), len(task.Q), task.B.shape[1]
    update = LocalUpdates(
        A=np.zeros((M, r, N), np.float32),
        touched=np.zeros((M, N), np.bool_),
        P=np.array(P, np.float32, order="C"),
        samples=task.samples(clients),
        loss=np.zeros(M, np.float64),
    )
    shared = (_compiled(task, clients), update.A, update.touched, update.P, update.loss)
    parts = balanced(update.samples, min(thread_count(threads), max(M, 1)))
    in_threads(train_clients, [(part, *shared) for part in parts])
    check_finite(update, clients)
    return update


def _compiled(task: TrainingTask, clients: np.ndarray) -> CompiledTask:
    """The task of these clients in the layout of the kernels."""
    settings, (d, r) = task.settings, task.B.shape
    Q, BT = np.ascontiguousarray(task.Q, np.float32), np.ascontiguousarray(task.B.T, np.float32)
    excluded_indptr, excluded = task.excluded or (task.indptr, task.indices)
    identity = r == d and np.array_equal(task.B, np.eye(d))
    return CompiledTask(
        clients=clients,
        Q=Q,
        # The L2 term's gradient in A_i is B'(Q_i + B A_i) = (QB)_i + (B'B) A_i: once a round.
        # Under B = I that is Q_i + A_i, without d products a number.
        QB=Q if identity else products(Q, BT) if settings.l2 else np.zeros((0, r), np.float32),
        BT=BT,
        BB=None if identity else gram(BT),
        indptr=task.indptr,
        indices=task.indices,
        excluded_indptr=excluded_indptr,
        excluded=excluded,
        seed=task.seed,
        user_epochs=settings.user_epochs,
        local_epochs=settings.local_epochs,
        softmax=settings.loss == "softmax",
        batch_size=settings.step_samples,
        negatives=settings.negatives,
        virtual_share=settings.virtual_share,
        mean_label=np.float32(settings.mean_label),
        predicts=task.predicts,
        item_step=np.float32(task.item_step),
        averages=settings.item_gradient == "mean",
        user_step=np.float32(task.user_step),
        l2=np.float32(settings.l2),
        flipped=task.flipped,
    )
