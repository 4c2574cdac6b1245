"""Matrix factorisation on implicit feedback: initial factors, score, loss and gradients.

The score of item i for user u is Q_i . p_u. The local loss (equation 2, with the binary
cross-entropy as its l) over a batch of n samples (i, y), 0 <= y <= 1, is

    L = 1/n sum [ -y log sigmoid(z_i) - (1 - y) log(1 - sigmoid(z_i)) ]
        + lambda/2 ( |p_u|^2 + 1/n sum |q_i|^2 ),       z_i = q_i . p_u,   q_i = Q_i + B A_i.

With g_i = sigmoid(z_i) - y its gradients are (equations 3 and 4, the latter seen through B)

    in p_u:  1/n sum g_i q_i + lambda p_u
    in A_i:  1/n (g_i B'p_u + lambda B'q_i)      for each time that i is in the batch; else 0.

A client steps along n times the gradient in A: an item is rarely twice in a batch, so that the
step on an item's row does not shrink as the batch grows.
"""

from __future__ import annotations

import math

import numpy as np


def initial_factors(count: int, d: int, scale: float, generator: np.random.Generator) -> np.ndarray:
    """Initial factors: float32[count, d], normal with standard deviation scale/sqrt(d)."""
    return generator.standard_normal((count, d), np.float32) * np.float32(scale / math.sqrt(d))


def batch_loss(
    p: np.ndarray,
    A: np.ndarray,
    Q: np.ndarray,
    B: np.ndarray,
    items: np.ndarray,
    labels: np.ndarray,
    l2: float,
) -> float:
    """L above, in float64: p[d], A[r, N], Q[N, d], B[d, r], items and labels [n], n >= 1."""
    q = Q[items].astype(np.float64) + A[:, items].T.astype(np.float64) @ B.T
    z = q @ p.astype(np.float64)
    entropy = np.logaddexp(0.0, z) - labels * z
    return float(
        entropy.mean() + l2 / 2 * ((p.astype(np.float64) ** 2).sum() + (q**2).sum() / len(items))
    )


def batch_gradients(
    p: np.ndarray,
    A: np.ndarray,
    Q: np.ndarray,
    B: np.ndarray,
    items: np.ndarray,
    labels: np.ndarray,
    l2: float,
) -> tuple[np.ndarray, np.ndarray]:
    """The gradients of L in p (float64[d]) and in A (float64[r, N]); arguments as `batch_loss`."""
    q = Q[items].astype(np.float64) + A[:, items].T.astype(np.float64) @ B.T
    g = 1.0 / (1.0 + np.exp(-(q @ p))) - labels
    in_p = q.T @ g / len(items) + l2 * p
    rows = (g[:, None] * p[None, :] + l2 * q) @ B
    in_A = np.zeros(A.shape, np.float64)
    np.add.at(in_A.T, items, rows / len(items))
    return in_p, in_A
