"""Implicit alternating least squares on the client, for one client in readable form.

Hu, Koren and Volinsky (2008), with the regularisation of Rendle, Krichene, Zhang and Koren (2022),
and the items' half of the alternation replaced by one gradient, since no server sees a user. Of a
client with the training interactions I (n of them, repeats counted), over the catalogue's N items,

    L = sum_{i in I} (x_i - 1)^2 / 2 + alpha/2 sum_i x_i^2
        + lambda/2 (n + alpha N) |p|^2 + lambda/2 (sum_{i in I} |q_i|^2 + alpha sum_i |q_i|^2),

x_i = q_i . p. All items are negatives, at weight alpha: G = Q'Q, which everyone can compute, stands
for the sum over the catalogue. The client solves p exactly,

    (sum_{i in I} q_i q_i' + alpha G + lambda (n + alpha N) 1) p = sum_{i in I} q_i,

and sends the gradient in every item's factors at this p, with its sign turned:

    g_i = alpha (x_i p + lambda q_i), and (x_i - 1) p + lambda q_i more for each i in I.

It keeps no state, draws nothing, and has no steps: how far Q moves is the servers' business
(`bfedrec.learning.optimizer`). `bfedrec.learning.ials_kernels` is the fast form; tests hold the two
equal.
"""

from __future__ import annotations

import numpy as np

from bfedrec.learning.client import LocalUpdate
from bfedrec.learning.task import TrainingTask


def train_client(task: TrainingTask, client: int) -> LocalUpdate:
    """One client's round: its update A_u = -B'G_u (G_u: d x N, the gradients) and the p that it
    solved. Its `loss` is the mean of (x_i - 1)^2 over its interactions, 0 without any.

    On inverted labels (`task.flipped`) the targets of interactions are 0, and those of the
    catalogue 1.
    """
    Q, B = task.Q.astype(np.float64), task.B.astype(np.float64)
    alpha, l2 = task.settings.unobserved, task.settings.l2
    own, target, catalogue = task.positives(client), 1.0, 0.0
    if task.flipped:
        target, catalogue = catalogue, target
    p = solve(Q, own, np.ones(len(own)), alpha, l2, target, catalogue)
    x = Q @ p
    gradient = alpha * (np.outer(x - catalogue, p) + l2 * Q)
    for i in own:
        gradient[i] += (x[i] - target) * p + l2 * Q[i]
    loss = float(((x[own] - target) ** 2).mean()) if len(own) else 0.0
    A = np.ascontiguousarray((-gradient @ B).T, np.float32)
    return LocalUpdate(A, np.ones(len(Q), np.bool_), p.astype(np.float32), loss)


def solve(
    Q: np.ndarray,
    own: np.ndarray,
    weights: np.ndarray,
    alpha: float,
    l2: float,
    target: float = 1.0,
    catalogue: float = 0.0,
) -> np.ndarray:
    """The p (float64[d]) that minimises L for the items ``own`` (int[n]) with ``weights``
    (float[n]) on their squared errors, towards ``target`` for these and ``catalogue`` for all
    items."""
    N, d = Q.shape
    q = Q[own]
    matrix = (q * weights[:, None]).T @ q + alpha * Q.T @ Q
    matrix += l2 * (len(own) + alpha * N) * np.eye(d)
    right = target * (q * weights[:, None]).sum(axis=0) + alpha * catalogue * Q.sum(axis=0)
    return np.linalg.solve(matrix, right)
