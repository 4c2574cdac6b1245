"""A generated data set with hidden tastes, so that learning shows within a few dozen rounds."""

from __future__ import annotations

import numpy as np

from bfedrec.data.interactions import Interactions
from bfedrec.data.settings import SyntheticSettings

AFFINITY = 5.0
"""Weight of a hidden taste against the unit-scale Gumbel noise of the choice."""
POPULARITY = 1.2
"""Weight of an item's log-popularity, a standard normal."""


def generate(settings: SyntheticSettings, seed: int) -> Interactions:
    """Interactions drawn from a low-rank model of clustered tastes, in the order of the draw.

    User u and item i have unit taste vectors near the centre of a random cluster; u's items are
    drawn without replacement with probability proportional to
    exp(AFFINITY x_u . y_i + POPULARITY b_i) (Gumbel top-k). How many is log-normal around
    `interactions_per_user`, at least 3 and at most half of the items. An item that nobody drew
    is not part of the data.
    """
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(100,)))
    centres = rng.standard_normal((settings.clusters, settings.rank))
    x = _tastes(rng, centres, settings.users, settings.noise)
    y = _tastes(rng, centres, settings.items, settings.noise)
    popularity = POPULARITY * rng.standard_normal(settings.items)
    spread = 0.3
    drawn = settings.interactions_per_user * rng.lognormal(-(spread**2) / 2, spread, settings.users)
    sizes = np.clip(np.rint(drawn), 3, settings.items // 2).astype(np.int64)

    chosen = []
    for u in range(settings.users):
        keys = AFFINITY * (y @ x[u]) + popularity + rng.gumbel(size=settings.items)
        # Users meet their items in a random order, so that the test item is an ordinary one.
        chosen.append(rng.permutation(np.argpartition(-keys, sizes[u])[: sizes[u]]))
    users = np.repeat(np.arange(settings.users, dtype=np.int64), sizes)
    times = np.concatenate([np.arange(size, dtype=np.float64) for size in sizes])
    return Interactions(
        users=users,
        items=np.concatenate(chosen).astype(np.int64),
        times=times,
        counts=np.ones(len(users), dtype=np.int64),
        published=None,
        layout="generated",
    )


def _tastes(rng: np.random.Generator, centres: np.ndarray, count: int, noise: float) -> np.ndarray:
    """[count, rank] unit vectors, each near the centre of a random cluster."""
    vectors = centres[rng.integers(len(centres), size=count)]
    vectors = vectors + noise * rng.standard_normal(vectors.shape)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
