"""A generated data set with hidden tastes, so that learning shows within a few dozen rounds."""

from __future__ import annotations

import numpy as np
from pydantic import Field, model_validator

from bfedrec.data.files import Files
from bfedrec.data.interactions import Interactions
from bfedrec.data.source import DataSource, data_set

AFFINITY = 5.0
"""Weight of a hidden taste against the unit-scale Gumbel noise of the choice."""
POPULARITY = 1.2
"""Weight of an item's log-popularity, a standard normal."""


MOST_PAIRS = 10**10
"""Greatest number of users times items; drawing as many weights takes minutes."""


@data_set("synthetic", place=5)
class Synthetic(DataSource):
    """The size and structure of the generated data set.

    User u and item i have unit taste vectors near the centre of a random cluster; u's items are
    drawn without replacement with probability proportional to
    exp(AFFINITY x_u . y_i + POPULARITY b_i) (Gumbel top-k). The number of a user's items is
    log-normal around `interactions_per_user`, at least 3 and at most half of the items. An item
    that nobody drew is not part of the data.
    """

    meaning = "generated; sizes are data.synthetic.*"

    users: int = Field(default=600, ge=2, le=1_000_000, description="number of users M")
    items: int = Field(default=400, ge=2, le=1_000_000, description="number of items N")
    interactions_per_user: int = Field(
        default=30, ge=3, description="mean number of distinct items a user interacts with"
    )
    rank: int = Field(default=6, ge=1, le=256, description="dimension of the hidden tastes")
    clusters: int = Field(
        default=12, ge=1, le=1_000_000, description="groups of users and items with a shared taste"
    )
    noise: float = Field(
        default=0.35,
        ge=0.0,
        description="spread of a user's or an item's taste around its cluster's",
    )

    @model_validator(mode="after")
    def _enough_items(self) -> Synthetic:
        if self.users * self.items > MOST_PAIRS:
            raise ValueError(
                f"users={self.users} times items={self.items} must be at most {MOST_PAIRS:,}: "
                "every user weighs every item"
            )
        if self.interactions_per_user * 2 > self.items:
            raise ValueError(
                f"interactions_per_user={self.interactions_per_user} must be at most half of "
                f"items={self.items}: the rest is needed for negatives"
            )
        return self

    def read(self, files: Files, seed: int) -> Interactions:
        """Interactions in the order of the draw."""
        rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(100,)))
        centres = rng.standard_normal((self.clusters, self.rank))
        x = _tastes(rng, centres, self.users, self.noise)
        y = _tastes(rng, centres, self.items, self.noise)
        popularity = POPULARITY * rng.standard_normal(self.items)
        spread = 0.3
        drawn = self.interactions_per_user * rng.lognormal(-(spread**2) / 2, spread, self.users)
        sizes = np.clip(np.rint(drawn), 3, self.items // 2).astype(np.int64)

        chosen = []
        for u in range(self.users):
            keys = AFFINITY * (y @ x[u]) + popularity + rng.gumbel(size=self.items)
            # Users meet their items in a random order, so that the test item is an ordinary one.
            chosen.append(rng.permutation(np.argpartition(-keys, sizes[u])[: sizes[u]]))
        users = np.repeat(np.arange(self.users, dtype=np.int64), sizes)
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
