"""Strategies of delays that do not read what messages say."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

import numpy as np

from consensus.adversary.delays import Delays, delays

#: Shares of D that a kind of messages may take from one side to the other; None: drawn each time.
SHARES: Final[tuple[float | None, ...]] = (1.0, 1.0, 1.0, 0.02, 0.02, 0.5, None)


@delays("last_moment")
class LastMoment(Delays):
    """Every message takes all of D."""

    meaning = "every message takes all of D"

    def share(self, origin: int, to: int, kind: str, body: Any) -> float:
        return 1.0


@delays("shuffle")
class Shuffle(Delays):
    """Every message takes a share of D that is drawn for each receiver: they overtake each other
    at random."""

    meaning = "each takes a random share of D, so that they overtake each other"

    def share(self, origin: int, to: int, kind: str, body: Any) -> float:
        return float(self.generator.random())


@delays("halves")
class Halves(Delays):
    """The servers are two halves, drawn for each height: what the one says takes all of D to the
    other, and is on time within."""

    meaning = "two halves of the servers, drawn each height, hear each other after all of D"

    def __init__(
        self, generator: np.random.Generator, servers: int, malicious: Collection[int]
    ) -> None:
        super().__init__(generator, servers, malicious)
        first = generator.permutation(servers)[: servers // 2]
        self._first = frozenset(first.tolist())

    def share(self, origin: int, to: int, kind: str, body: Any) -> float:
        return 0.0 if (origin in self._first) == (to in self._first) else 1.0


@delays("sides")
class Sides(Delays):
    """Every server is on one of two sides, by lot; for each kind of messages and each pair of sides
    one share of `SHARES` is drawn."""

    meaning = "for each kind of messages and each pair of two sides, by lot: late, on time or mixed"

    def __init__(
        self, generator: np.random.Generator, servers: int, malicious: Collection[int]
    ) -> None:
        super().__init__(generator, servers, malicious)
        self._sides = generator.integers(0, 2, servers).tolist()
        self._shares: dict[tuple[str, int, int], float | None] = {}

    def share(self, origin: int, to: int, kind: str, body: Any) -> float:
        sides = kind, self._sides[origin], self._sides[to]
        if sides not in self._shares:
            self._shares[sides] = SHARES[int(self.generator.integers(len(SHARES)))]
        share = self._shares[sides]
        return float(self.generator.random()) if share is None else share
