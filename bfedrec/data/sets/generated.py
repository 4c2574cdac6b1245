"""A generated data set of any size: popular and rare items, hidden tastes, a million users."""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field, model_validator

from bfedrec.data.files import Files
from bfedrec.data.interactions import Interactions, interactions_of
from bfedrec.data.source import DataSource, data_set
from bfedrec.data.split import NEGATIVES, Split

AFFINITY = 10.0
"""Weight of a hidden taste: an item is taken with probability sigmoid(AFFINITY x . y)."""
SPREAD = 0.6
"""Deviation of the logarithm of a user's number of interactions."""
LEAST = 3
"""Fewest interactions of a user: one to train on, and both held-out items."""
CHUNK = 2**16
"""Users whose draws have one generator; another number gives other draws."""


@data_set("generated", place=6)
class Generated(DataSource):
    """The size of the generated data set.

    Items have Zipf's popularity, (1 + rank)^-exponent, and users and items unit vectors of taste,
    of independent normals. A user's items are different ones, proposed by popularity and taken with
    probability sigmoid(AFFINITY x . y). The number of interactions of a user is log-normal, at
    least 3 and at most half of the items. Every item is part of the data. Memory and time grow with
    the number of interactions and of users, not with users times items.
    """

    meaning = "generated in any size, up to a million users; sizes are data.generated.*"

    clients: int = Field(default=10_000, ge=2, le=10_000_000, description="number of users M")
    items: int = Field(default=1_000, ge=400, le=10_000_000, description="number of items N")
    interactions: int = Field(
        default=1_000_000, ge=6, le=2**31 - 1, description="interactions of all users together"
    )
    exponent: float = Field(
        default=0.8,
        ge=0.0,
        le=3.0,
        description="of Zipf's law, by which popularity falls with an item's rank; 0: all alike",
    )
    rank: int = Field(default=4, ge=1, le=256, description="dimension of the hidden tastes")

    @model_validator(mode="after")
    def _possible(self) -> Generated:
        """Refuse sizes that no draw can have."""
        least, most = LEAST * self.clients, self.clients * (self.items // 4)
        if not least <= self.interactions <= most:
            raise ValueError(
                f"interactions={self.interactions} must be {least} to {most}, {LEAST} to a quarter "
                f"of the {self.items} items for each of the {self.clients} clients"
            )
        return self

    def read(self, files: Files, seed: int) -> Interactions:
        """Interactions by user, in the order of time."""
        indptr, rows = self._rows(seed)
        sizes = np.diff(indptr)
        users = np.repeat(np.arange(self.clients, dtype=np.int64), sizes)
        times = np.arange(len(rows)) - np.repeat(indptr[:-1], sizes)
        return interactions_of("generated", users, rows.astype(np.int64), times.astype(np.float64))

    def split(self, seed: int, validation: Literal["hold_out", "train"]) -> Split:
        """The split of `read`'s rows by their order, with negatives from streams of its own."""
        from bfedrec.data.generated_kernels import arrange

        indptr, rows = self._rows(seed)
        M, holds_out = self.clients, validation == "hold_out"
        own = indptr - (2 if holds_out else 1) * np.arange(M + 1)
        arrays = (
            np.empty(own[-1], np.int32),
            np.empty(own[-1], np.int32),
            np.empty(M, np.int32),
            np.empty(M, np.int32),
            np.full((M, NEGATIVES), -1, np.int32),
            np.empty((M, NEGATIVES), np.int32),
            np.empty(len(rows), np.int32),
        )
        for number, first in enumerate(range(0, M, CHUNK)):
            users = np.arange(first, min(first + CHUNK, M))
            arrange(_generator(seed, 2, number), users, indptr, rows, self.items, holds_out, arrays)
        indices, places, validations, tests, validation_negatives, test_negatives, touched = arrays
        return Split(
            indptr=own,
            indices=indices,
            places=places,
            validation=validations,
            test=tests,
            validation_negatives=validation_negatives,
            test_negatives=test_negatives,
            touched_indptr=indptr,
            touched_indices=touched,
            user_ids=np.arange(M),
            item_ids=np.arange(self.items),
            later_than_test=0,
            published_tests=0,
            drawn_validations=0,
            test_in_training=0,
        )

    def _rows(self, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """The items of all users in the order of time (int32), and whose they are
        (int64[M + 1])."""
        from bfedrec.data.generated_kernels import alias, draw_rows

        once = _generator(seed, 0, 0)
        y = _tastes(once, self.items, self.rank)
        weights = (1.0 + once.permutation(self.items)) ** -self.exponent
        share, other = alias(weights / weights.sum())
        sizes = self._sizes(once)
        indptr = np.concatenate([[0], np.cumsum(sizes)])
        rows = np.empty(self.interactions, np.int32)
        for number, first in enumerate(range(0, self.clients, CHUNK)):
            generator, last = _generator(seed, 1, number), min(first + CHUNK, self.clients)
            x = _tastes(generator, last - first, self.rank)
            part = rows[indptr[first] : indptr[last]]
            draw_rows(generator, sizes[first:last], share, other, x, y, AFFINITY, part)
        return indptr, rows

    def _sizes(self, generator: np.random.Generator) -> np.ndarray:
        """Each user's number of interactions, int64[M], of the sum that is asked for."""
        most = self.items // 2
        drawn = generator.lognormal(0.0, SPREAD, self.clients)
        sizes = LEAST + np.floor(
            drawn / drawn.sum() * (self.interactions - LEAST * self.clients)
        ).astype(np.int64)
        sizes = np.minimum(sizes, most)
        while (lack := self.interactions - int(sizes.sum())) > 0:
            room = np.flatnonzero(sizes < most)[:lack]
            sizes[room] += 1
        return sizes


def _generator(seed: int, part: int, chunk: int) -> np.random.Generator:
    """The generator of a part of the draws, for a chunk of users."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(101, part, chunk)))


def _tastes(generator: np.random.Generator, count: int, rank: int) -> np.ndarray:
    """float32[count, rank]: unit vectors."""
    vectors = generator.standard_normal((count, rank), np.float32)
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)
