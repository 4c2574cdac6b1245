"""Interaction-level membership inference by shadow training (IMIA; Yuan et al., WWW 2023)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bfedrec.privacy.inference import MembershipAttack, inference
from bfedrec.privacy.observation import Observation, tamed

TURNS = 3
"""Times that a shadow client is trained and the labels are guessed anew."""
PASSES = 4
"""Gradient steps of a shadow client between two guesses."""
STEP = 4.0
"""Length of these steps, over the mean squared length of the items' factors."""
SLIGHT = 1e-12
"""Stands for 0 where something is divided."""


@inference("imia", place=3)
class Shadow(MembershipAttack):
    """A shadow client is trained on the public Q with guessed labels of the items in an update.
    Each item's movement is compared with those that it would have under either label; the items
    nearest to the label 1, as many as the client's signed sample count, are guessed next. Both
    senses of the first guess are tried, and the one is kept whose movements explain the update
    better."""

    meaning = "shadow training with candidate interactions (IMIA, WWW 2023)"
    per_round = 8

    def scores(self, seen: Observation) -> np.ndarray:
        assert seen.A is not None
        assert seen.touched is not None
        along, updates = seen.main_direction[1], tamed(seen.A)
        found = np.zeros(along.shape, np.float32)
        unobserved = self.public.unobserved
        loss = Loss(unobserved is not None, 1.0 if unobserved is None else unobserved)
        for place in range(len(seen.clients)):
            candidates = np.flatnonzero(seen.touched[place])
            if not candidates.size:
                continue
            A, Q = updates[place][:, candidates].T, seen.Q[candidates]
            count = min(max(1, int(seen.samples[place])), candidates.size)
            tries = [
                _played(loss, Q, seen.B, A, along[place][candidates] * sense, count)
                for sense in (1.0, -1.0)
            ]
            scores = min(tries, key=lambda each: each[1])[0]
            found[place] = min(float(scores.min()), 0.0) - 1.0
            found[place, candidates] = scores
        return found


@dataclass(frozen=True)
class Loss:
    """The public loss of a client's samples, as far as movements follow from it."""

    squared: bool
    """True for (label - score)^2, False for the cross-entropy of the score's logistic."""
    unobserved: float
    """Weight of a sample with label 0."""

    def predicted(self, scores: np.ndarray) -> np.ndarray:
        """The predictions of these scores, float32[n]."""
        return scores if self.squared else np.asarray(0.5 * (1 + np.tanh(0.5 * scores)), np.float32)

    def slopes(self, scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """By how much each sample would have its score grow, float32[n]."""
        weights = np.where(labels > 0, np.float32(1), np.float32(self.unobserved))
        return np.asarray(weights * (labels - self.predicted(scores)), np.float32)


def _played(
    loss: Loss, Q: np.ndarray, B: np.ndarray, A: np.ndarray, first: np.ndarray, count: int
) -> tuple[np.ndarray, float]:
    """The scores (float32[n]: by how much label 1 is nearer than label 0) of the n candidates with
    factors ``Q`` (float32[n, d]) and movements ``A`` (float32[n, r]), and the squared distance that
    is left. ``first`` (float32[n]) ranks them at the start; ``count``: positives among them."""
    step = STEP / max(float(np.square(Q).sum(axis=1).mean()), SLIGHT)
    p = np.zeros(Q.shape[1], np.float32)
    ones, zeros = np.ones(len(A), np.float32), np.zeros(len(A), np.float32)
    sizes = np.einsum("nr,nr->n", A, A)
    scores, left = first, 0.0
    for _ in range(TURNS):
        labels = zeros.copy()
        labels[np.argpartition(-scores, count - 1)[:count]] = 1.0
        for _ in range(PASSES):
            p = p + np.float32(step / len(A)) * (loss.slopes(Q @ p, labels) @ Q)
        b, own = B.T @ p, Q @ p
        shadow = loss.slopes(own, labels)
        along = A @ b
        # The scale of the client's steps is not known: the one that fits the guess best.
        length = max(float(b @ b) * float(shadow @ shadow), SLIGHT)
        scale = np.float32(max(0.0, float(along @ shadow) / length))
        # |A_i - s b|^2 less |A_i|^2, for the movement s b under either label.
        one, zero = (
            s * (s * (b @ b) - np.float32(2) * along)
            for s in (scale * loss.slopes(own, ones), scale * loss.slopes(own, zeros))
        )
        scores = zero - one
        left = float((sizes + np.minimum(one, zero)).sum())
    return scores, left
