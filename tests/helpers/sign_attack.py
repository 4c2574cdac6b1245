"""The sign attack: the items of a client from the first singular direction of its update.

Within a round A_i is about (label - prediction) B'p_u, one direction with two signs
(docs/differential-privacy.md): the direction's weights rank the client's own items first.
"""

from __future__ import annotations

import numpy as np


def direction(A: np.ndarray) -> np.ndarray:
    """The weight of every item in the first singular direction of ``A`` (float32[r, N]),
    float64[N]; its sign is turned so that the longer tail, in which positives stand, is
    positive."""
    numbers = A.astype(np.float64)
    values, vectors = np.linalg.eigh(numbers @ numbers.T)
    weights = numbers.T @ vectors[:, np.argmax(values)]
    skew = float(((weights - weights.mean()) ** 3).sum())
    return np.asarray(weights if skew >= 0 else -weights)


def auc(scores: np.ndarray, own: np.ndarray, others: np.ndarray) -> float:
    """The chance that an item of ``own`` scores above one of ``others`` (int[n], int[k]), ties
    counted by half."""
    mine, rest = scores[own], np.sort(scores[others])
    below = np.searchsorted(rest, mine, "left") + np.searchsorted(rest, mine, "right")
    return float(below.mean() / 2 / len(rest))


def precision(scores: np.ndarray, own: np.ndarray) -> float:
    """The share of a client's ``own`` items (int[n], different) among the n that score highest."""
    guessed = np.argsort(-scores, kind="stable")[: len(own)]
    return float(np.isin(guessed, own).mean())
