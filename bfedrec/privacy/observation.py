"""One round of a run as an honest-but-curious party holds it, before any attack on it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

FEW = 1 / 3
"""Greatest share of the catalogue that counts as few items (`main_direction`)."""
SQUARINGS = 10
"""Squarings after which an eigenvalue that is a hundredth smaller counts for 1/30,000."""
MOST_EXPONENT = 32
"""Numbers below 2 to this have cubes whose sum over 2^25 items is a float32 (`tamed`)."""


@dataclass(frozen=True)
class PublicSetting:
    """The part of a run's config that everybody knows who takes part in it."""

    users: int
    """M, the registered clients."""
    items: int
    """N, the items of the catalogue."""
    dimension: int
    """d of the item factors."""
    unobserved: float | None = None
    """Weight of an item without interaction in a client's squared loss; None where clients train on
    the cross-entropy of positives and drawn negatives."""


@dataclass(frozen=True)
class Observation:
    """The knowledge of one round: its cohort, the decoded updates, and what is public.

    Rows that a method appends to Q for parameters other than the items' are left out.
    """

    height: int
    clients: np.ndarray
    """int64[m]: the clients whose updates the block holds. A holder without updates is granted it.
    """
    samples: np.ndarray
    """int64[m]: the sample counts N_u that they signed: their numbers of training interactions."""
    A: np.ndarray | None
    """float32[m, r, N]: their decoded updates A_u; None for a holder that has none."""
    touched: np.ndarray | None
    """bool[m, N]: the masks that were sent, else the items whose column of A_u is not 0."""
    Q: np.ndarray
    """float32[N, d]: the global item factors that the clients trained on."""
    B: np.ndarray
    """float32[d, r]: the round's basis."""
    aggregate: np.ndarray
    """float32[r, N]: the decoded aggregate of the block."""
    masked: np.ndarray | None = None
    """float32[m, r, N]: under secure aggregation each client's own update as it was sent, levels
    under its masks from -2^(k - 1) on; A_u is then the mean of the client's group. None without."""

    @cached_property
    def main_direction(self) -> tuple[np.ndarray, np.ndarray]:
        """`main_direction` of the updates: float32[m, r] and float32[m, N]."""
        assert self.A is not None
        return main_direction(self.A)


def main_direction(A: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The first left singular direction of each update and the items' coordinates along it.

    Within a round A_i is about (label - prediction) B'p_u: one direction, in which positives and
    negatives move with opposite signs. A singular direction has no sign of its own. Negatives are
    several to a positive, so the side with fewer items is taken for the positives'. Where every
    item moves, none was drawn, and no side has less than `FEW` of them, that with the larger third
    moment is taken: a few large numbers are the positives'.

    ``A``: float32[m, r, N]. Returns float32[m, r], unit vectors, and float32[m, N]; of an update
    with numbers that `tamed` makes less, as of that.
    """
    A = tamed(A)
    direction = _first_eigenvectors(np.matmul(A, A.transpose(0, 2, 1)))
    along = np.matmul(direction[:, None, :], A)[:, 0]
    positive, negative = (along > 0).sum(axis=1), (along < 0).sum(axis=1)
    cubes = np.einsum("mn,mn,mn->m", along, along, along)
    moved, few = positive + negative, np.minimum(positive, negative)
    clear = (moved < along.shape[1]) | (few <= FEW * moved)
    flipped = np.where(clear, positive > negative, cubes < 0)
    signs = np.where(flipped, np.float32(-1), np.float32(1))[:, None]
    return direction * signs, along * signs


def tamed(A: np.ndarray) -> np.ndarray:
    """The same updates (float32[m, r, N]), but for those with numbers whose squares and cubes a
    float32 may not hold: these are divided by a power of two, to numbers below 1."""
    exponents = np.frexp(np.abs(A).max(axis=(1, 2), initial=0.0))[1]
    wild = exponents > MOST_EXPONENT
    if not wild.any():
        return A
    return np.asarray(np.ldexp(A, np.where(wild, -exponents, 0)[:, None, None]), np.float32)


def _first_eigenvectors(gram: np.ndarray) -> np.ndarray:
    """The eigenvector of the largest eigenvalue of each symmetric matrix of non-negative ones
    (float32[m, r, r]), float32[m, r]; 0 for a matrix of zeros.

    A matrix squared `SQUARINGS` times is about that eigenvector's projection alone, at a tenth of
    the time that all eigenvectors take.
    """
    tiny = np.finfo(np.float32).tiny

    def scaled(matrices: np.ndarray) -> np.ndarray:
        traces = np.trace(matrices, axis1=1, axis2=2)
        return np.asarray(matrices / np.maximum(traces, tiny)[:, None, None], np.float32)

    power = scaled(gram)
    for _ in range(SQUARINGS):
        power = scaled(np.matmul(power, power))
    longest = np.argmax(np.diagonal(power, axis1=1, axis2=2), axis=1)
    vectors = np.take_along_axis(power, longest[:, None, None], axis=2)[:, :, 0]
    lengths = np.sqrt(np.square(vectors).sum(axis=1))
    return np.asarray(vectors / np.maximum(lengths, tiny)[:, None], np.float32)
