"""Attributes of people, guessed from the interactions that their updates reveal."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from bfedrec.privacy.inference import Attribute, AttributeAttack, inference
from bfedrec.privacy.observation import Observation, PublicSetting

L2 = 0.01
"""Weight of the ridge, for each user that is learnt from."""


@inference("attributes", place=8)
class Attributes(AttributeAttack):
    """The items of which the sign of one update says that they are a client's are pooled by their
    public factors, and a ridge regression from these to each value of an attribute is fitted on the
    users of whom it is known: one half of them, for the other half, and the other way round. A
    user's last participation counts."""

    meaning = "gender, age, occupation from the interactions that the sign reveals"

    def __init__(self, public: PublicSetting) -> None:
        super().__init__(public)
        self._revealed: dict[int, np.ndarray] = {}
        """By client: the items that its last update reveals, as packed bits."""
        self._Q = np.zeros((public.items, public.dimension), np.float32)

    def observe(self, seen: Observation) -> None:
        packed = np.packbits(seen.main_direction[1] > 0, axis=1)
        for place, client in enumerate(seen.clients.tolist()):
            self._revealed[client] = packed[place]
        self._Q = seen.Q

    def conclude(self, attributes: Mapping[str, Attribute]) -> dict[str, dict[str, float]]:
        if not self._revealed:
            return {}
        users = np.array(sorted(self._revealed), np.int64)
        items = np.unpackbits(
            np.stack([self._revealed[user] for user in users.tolist()]),
            axis=1,
            count=self.public.items,
        )
        pooled = items.astype(np.float32) @ self._Q / np.maximum(items.sum(axis=1), 1)[:, None]
        return {
            name: found
            for name, attribute in attributes.items()
            if (found := _figures(pooled, attribute.of[users], len(attribute.values)))
        }


def _figures(pooled: np.ndarray, of: np.ndarray, values: int) -> dict[str, float]:
    """The figures of one attribute from the users' features (float32[n, d]) and the places of their
    values (int64[n], -1 unknown); empty where the halves are too small to learn from."""
    known = np.flatnonzero(of >= 0)
    if len(known) < 4 or len(np.unique(of[known])) < 2:
        return {}
    X, y = pooled[known].astype(np.float64), of[known]
    X = (X - X.mean(axis=0)) / np.maximum(X.std(axis=0), 1e-12)
    scores, usual = np.zeros((len(y), values)), np.zeros(len(y), np.int64)
    for half in (0, 1):
        learnt, asked = np.arange(len(y)) % 2 == half, np.arange(len(y)) % 2 != half
        targets = np.eye(values)[y[learnt]]
        centre = targets.mean(axis=0)
        ridge = X[learnt].T @ X[learnt] + L2 * learnt.sum() * np.eye(X.shape[1])
        scores[asked] = X[asked] @ np.linalg.solve(ridge, X[learnt].T @ (targets - centre)) + centre
        usual[asked] = np.argmax(centre)
    areas = [_area(scores[:, value], y == value) for value in np.unique(y).tolist()]
    return {
        "auc": float(np.mean(areas)),
        "accuracy": float((scores.argmax(axis=1) == y).mean()),
        "majority": float((usual == y).mean()),
        "users": float(len(y)),
    }


def _area(scores: np.ndarray, members: np.ndarray) -> float:
    """The area under the ROC curve of ``scores`` (float64[n]) over all pairs of a member (bool[n])
    and another of the same half, the even or the odd places.

    Those of different halves do not compare: where one half has more members than its share, the
    other is scored the higher for it, and has fewer, so that what tells nothing came out below 0.5.
    """
    from bfedrec.privacy.kernels import MEMBER, OTHER, compare

    result, total, pairs = np.empty(5), 0.0, 0
    for half in (0, 1):
        kinds = np.where(members[half::2], MEMBER, OTHER).astype(np.uint8)
        if compare(scores[half::2].astype(np.float32), kinds, 0.01, result):
            number = int((kinds == MEMBER).sum()) * int((kinds == OTHER).sum())
            total, pairs = total + number * float(result[0]), pairs + number
    return total / pairs if pairs else 0.5
