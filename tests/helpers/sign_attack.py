"""The sign attack: the items of a client from the first singular direction of its update.

Within a round A_i is about (label - prediction) B'p_u, one direction with two signs
(docs/differential-privacy.md): the direction's weights rank the client's own items first.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Direction(NamedTuple):
    """The first singular direction of an update."""

    weights: np.ndarray
    """float64[N]: the weight of every item."""
    vector: np.ndarray
    """float64[r]: the direction itself, about B'p_u up to its length."""


def direction(A: np.ndarray) -> Direction:
    """The first singular direction of ``A`` (float32[r, N]), with its sign turned so that the
    longer tail of the weights, in which positives stand, is positive."""
    numbers = A.astype(np.float64)
    values, vectors = np.linalg.eigh(numbers @ numbers.T)
    vector = vectors[:, np.argmax(values)]
    weights = numbers.T @ vector
    turned = 1.0 if float((weights**3).sum()) >= 0 else -1.0
    return Direction(turned * weights, turned * vector)


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
