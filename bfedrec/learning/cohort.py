"""Algorithm 1 for a whole cohort at once: compiled, in closed form, one client per thread.

The gradients touch only the rows of the items in a client's sample (`factorization.py` derives
them), so a client costs microseconds. `client.py` is the same algorithm for one client, written
to be read, and the two agree on the same draws.

A client's result depends on its own inputs alone: the same inputs give the same bytes whatever
the number of threads and whoever else is in the cohort. Only the order of the sum in a dot product
is left to the compiler, which chooses it for the machine's vectors; another kind of processor may
differ in the last bits of what its clients learn (never in what servers agree on).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from bfedrec.learning.kernels import _gram, _products, _train_clients
from bfedrec.learning.settings import TrainingSettings
from bfedrec.learning.upload import CohortUpdate, Diverged
from bfedrec.threads import balanced, in_threads, thread_count


def train_cohort(
    clients: Sequence[int] | np.ndarray,
    P: np.ndarray,
    Q: np.ndarray,
    B: np.ndarray,
    indptr: np.ndarray,
    indices: np.ndarray,
    settings: TrainingSettings,
    seed: int,
    step_scale: float = 1.0,
    threads: int | None = None,
    flipped: bool = False,
    predicts: bool = False,
) -> CohortUpdate:
    """Train each client of a cohort from A_u = 0 against frozen Q and B; change no argument.

    clients: M client ids, each a row of `indptr`.
    P: float32[M, d], the user factors of those clients, in that order.
    Q: float32[N, d], the merged item factors; B: float32[d, r], this round's basis.
    indptr, indices: the training interactions of all clients (CSR).
    seed: the round's seed for draws, a signed 64-bit integer.
    step_scale: factor on both steps (`TrainingSettings.step_scale`).
    flipped: learn the opposite, every label turned around (`bfedrec.attacks.poisoning.LabelFlip`).
    predicts: label virtual items by predictions, not the mean (`TrainingSettings.predicts`).

    Raises ValueError for shapes that do not fit, and Diverged, naming the client.
    """
    clients = check_cohort(clients, P, Q, B, indptr)
    M, (N, d), r = len(clients), Q.shape, B.shape[1]
    samples = indptr[clients + 1] - indptr[clients]
    Q, BT = np.ascontiguousarray(Q, np.float32), np.ascontiguousarray(B.T, np.float32)
    identity = r == d and np.array_equal(B, np.eye(d))
    update = CohortUpdate(
        A=np.zeros((M, r, N), np.float32),
        touched=np.zeros((M, N), np.bool_),
        P=np.array(P, np.float32, order="C"),
        samples=samples.astype(np.int64),
        loss=np.zeros(M, np.float64),
    )
    shared = (
        clients,
        Q,
        # The L2 term's gradient in A_i is B'(Q_i + B A_i) = (QB)_i + (B'B) A_i: once a round.
        # Under B = I that is Q_i + A_i, without d products a number.
        Q if identity else _products(Q, BT) if settings.l2 else np.zeros((0, r), np.float32),
        BT,
        None if identity else _gram(BT),
        indptr,
        indices,
        seed,
        np.array([settings.user_epochs, settings.local_epochs]),
        settings.loss == "softmax",
        settings.step_samples,
        settings.negatives,
        settings.virtual_share,
        np.float32(settings.mean_label),
        predicts,
        np.float32(settings.item_step * step_scale * math.sqrt(r / d)),
        np.float32(settings.user_step * step_scale),
        np.float32(settings.l2),
        flipped,
        update.A,
        update.touched,
        update.P,
        update.loss,
    )
    parts = balanced(samples, min(thread_count(threads), max(M, 1)))
    in_threads(_train_clients, [(part, *shared) for part in parts])
    check_finite(update, clients)
    return update


def check_cohort(
    clients: Sequence[int] | np.ndarray,
    P: np.ndarray,
    Q: np.ndarray,
    B: np.ndarray,
    indptr: np.ndarray,
) -> np.ndarray:
    """The clients as int64[M], or ValueError when the arguments of a cohort do not fit together."""
    clients = np.asarray(clients, np.int64)
    if P.shape != (len(clients), Q.shape[1]) or B.shape[0] != Q.shape[1]:
        raise ValueError(
            f"{len(clients)} clients, P {P.shape}, Q {Q.shape} and B {B.shape} do not fit "
            "together: P must be (M, d), Q (N, d) and B (d, r)"
        )
    if len(clients) and not 0 <= clients.min() <= clients.max() < len(indptr) - 1:
        raise ValueError(f"client ids must lie between 0 and {len(indptr) - 2}")
    return clients


def check_finite(update: CohortUpdate, clients: np.ndarray) -> None:
    """Raise Diverged, naming the first client whose new factors are not finite numbers."""
    finite = np.isfinite(update.P).all(axis=1) & np.isfinite(update.A).all(axis=(1, 2))
    if not finite.all():
        raise Diverged(
            f"client {clients[np.argmin(finite)]}'s factors are no longer finite numbers; "
            "lower training.item_step or training.user_step"
        )
