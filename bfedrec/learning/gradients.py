"""Updates that are known by their terms: a cohort's gradients before they are written out.

An update of `bfedrec.learning.implicit_als` has r x N numbers that follow from N + r of its client
and the factors that all clients share. A codec that reads the terms (`bfedrec.compression.codec`)
never needs the numbers all at once: at ML-1M's size they are a megabyte a client.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from bfedrec.learning.upload import LocalUpdates


class Problem(NamedTuple):
    """The constants of a solve, symbols as in `bfedrec.learning.implicit_als`."""

    alpha: float
    l2: float
    target: float
    catalogue: float


class Gradients(NamedTuple):
    """The terms of the updates of M clients, in the layout of the compiled loops.

    A_u[k, i] = -alpha ((x_i - catalogue) b_k + l2 F_ki), and for every interaction of u with i less
    (x_i - target) b_k + l2 F_ki.
    """

    x: np.ndarray
    """float32[M, N]: the scores x_i = q_i . p_u."""
    slopes: np.ndarray
    """float32[M, r]: b = B'p_u."""
    factors: np.ndarray
    """float32[r, N]: F = (QB)', of all clients."""
    problem: Problem
    clients: np.ndarray
    """int64[M]: their rows of ``indptr``."""
    indptr: np.ndarray
    indices: np.ndarray
    """The interactions, as `bfedrec.learning.task.TrainingTask` has them."""


@dataclass(frozen=True)
class Unwritten:
    """The updates of a cohort of M clients, each of which moves every item; ``P``, ``samples`` and
    ``loss`` as of `bfedrec.learning.upload.LocalUpdates`."""

    P: np.ndarray
    samples: np.ndarray
    loss: np.ndarray
    gradients: Gradients

    def update(self, place: int) -> np.ndarray:
        """A_u of the client at ``place`` in the cohort, float32[r, N]."""
        from bfedrec.learning.ials_kernels import write_updates

        factors = self.gradients.factors
        A = np.empty((1, *factors.shape), np.float32)
        write_updates(np.array([place]), self.gradients, A)
        return np.asarray(A[0])

    def written(self) -> LocalUpdates:
        """The updates with all of their numbers."""
        from bfedrec.learning.ials_kernels import write_updates

        (r, N), M = self.gradients.factors.shape, len(self.P)
        A = np.empty((M, r, N), np.float32)
        for place in range(M):
            write_updates(np.array([place]), self.gradients, A[place : place + 1])
        return LocalUpdates(
            P=self.P,
            samples=self.samples,
            loss=self.loss,
            A=A,
            touched=np.ones((M, N), np.bool_),
        )
