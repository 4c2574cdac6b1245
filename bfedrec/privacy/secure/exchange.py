"""The exchange of a run whose updates are masked: the payloads that servers accept, and the
aggregate of a block.

It stands in the place of `bfedrec.compression.exchange.Exchange` towards the ledger; towards the
model it is the same codec and rule, applied to sums.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from bfedrec.aggregation.aggregator import DecodedUpdate
from bfedrec.compression.codec import FLOAT
from bfedrec.compression.codecs.levels import Levels
from bfedrec.compression.exchange import Exchange
from bfedrec.privacy.secure.masks import Lanes
from bfedrec.privacy.secure.messages import Masked, flaw, number_of, stage_of
from bfedrec.privacy.secure.opening import Opening, open_round
from bfedrec.privacy.secure.scheme import Scheme


@dataclass(frozen=True)
class SecureExchange:
    """A scheme of masks around an exchange of levels."""

    scheme: Scheme

    @classmethod
    def of(cls, plain: Exchange, group: int, neighbours: int, lane_bits: int = 0) -> SecureExchange:
        """Secure aggregation in groups of at most ``group`` clients, each with so many neighbours
        (0: all), in lanes of so many bits (0: as wide as sums may be). Raises ValueError for a
        codec or a rule that cannot be summed under masks, and for sizes out of range."""
        up, rule = plain.up, plain.rule
        if not isinstance(up, Levels):
            raise ValueError(f"secure aggregation sums levels, not {up.name}")
        if rule.weighs_samples:
            raise ValueError(f"secure aggregation cannot weigh updates, as {rule.name} does")
        counted = rule.goes_by_item
        return cls(Scheme(up.rows, up.items, up.levels, counted, group, neighbours, lane_bits))

    @property
    def parameters(self) -> dict[str, int]:
        """The description in the genesis, beside that of the codec and the rule."""
        scheme = self.scheme
        told = {"group": scheme.group, "neighbours": scheme.neighbours}
        return told | ({"lane_bits": scheme.lane_bits} if scheme.lane_bits else {})

    @classmethod
    def described(cls, plain: Exchange, told: object) -> SecureExchange:
        """The exchange that a genesis describes. Raises ValueError for an invalid description."""
        sizes = {"group", "neighbours"}
        if not isinstance(told, Mapping) or set(told) - {"lane_bits"} != sizes:
            raise ValueError("the genesis describes no secure aggregation")
        values: list[Any] = [told["group"], told["neighbours"], told.get("lane_bits", 0)]
        if any(type(value) is not int for value in values):
            raise ValueError("the genesis describes no secure aggregation: sizes are integers")
        if "lane_bits" in told and values[2] < 1:
            raise ValueError("the genesis describes no secure aggregation: lanes have bits")
        return cls.of(plain, *values)

    @property
    def largest_payload(self) -> bytes:
        """Bytes of the length of a masked update."""
        return Masked.encode(self.scheme, 0, 0, bytes(self.scheme.body_size))

    # -- towards the ledger -----------------------------------------------------------------------

    def check(self, payload: bytes) -> str | None:
        """Return the reason why an edge server must refuse ``payload``, or None."""
        return flaw(self.scheme, payload)

    def slot(self, client: int, payload: bytes) -> int | None:
        """The stage of a payload that passed `check`; None if it is another client's."""
        return stage_of(payload) if number_of(payload) == client else None

    def opening(self, payloads: Sequence[bytes], beacon: bytes) -> Opening:
        """The opened groups of the height with this beacon."""
        known = self._openings.get(beacon)
        if known is None or known[0] != (told := frozenset(payloads)):
            told = frozenset(payloads)
            self._openings.clear()  # of one height after the other, the last is asked for
            known = self._openings[beacon] = told, open_round(self.scheme, payloads, beacon)
        return known[1]

    def step(self, plain: Exchange) -> float:
        """The number that a level of 1 stands for; ``plain``: the exchange in the round."""
        return _levels(plain).step

    @cached_property
    def _openings(self) -> dict[bytes, tuple[frozenset[bytes], Opening]]:
        return {}

    def aggregate(self, plain: Exchange, payloads: Sequence[bytes], beacon: bytes) -> bytes:
        """The bytes of A from a height's payloads, in any order: the rule's aggregate of all
        updates in opened groups where it follows from sums, else that of the groups' means. Without
        an opened group nothing moves: A is 0. ``plain``: the exchange in this round."""
        opening, step = self.opening(payloads, beacon), self.step(plain)
        r, N = self.scheme.rows, self.scheme.items
        if not opening.groups:
            mean = np.zeros((r, N), np.float64)
        else:
            total = np.sum([group.levels for group in opening.groups], axis=0) * np.float64(step)
            counts = np.sum([group.counts for group in opening.groups], axis=0)
            updates = sum(len(group.members) for group in opening.groups)
            pooled = plain.rule.of_sums(total, counts, updates)
            mean = self._of_means(plain, opening) if pooled is None else pooled
        return plain.down.encode(mean.astype(FLOAT), beacon)

    def _of_means(self, plain: Exchange, opening: Opening) -> np.ndarray:
        """The rule's aggregate of the groups' means, float64[r, N]: it withstands false groups, but
        no false member of a group."""
        step = np.float32(self.step(plain))
        means = []
        for group in opening.groups:
            counts = np.maximum(group.counts if self.scheme.counted else len(group.members), 1)
            touched = np.asarray(group.counts > 0, np.uint8)
            means.append(DecodedUpdate((group.levels / counts).astype(FLOAT) * step, touched))
        sizes = [len(group.members) for group in opening.groups]
        return plain.rule.mean(means, sizes, self.scheme.rows, self.scheme.items)

    # -- towards clients --------------------------------------------------------------------------

    def lanes(self, plain: Exchange, A: np.ndarray, touched: np.ndarray, beacon: bytes) -> Lanes:
        """The lanes of one client's update (float32[r, N]) and of its mask (bool[N]); ``plain``:
        the exchange in this round."""
        if self.scheme.counted:
            A = np.where(touched, A, FLOAT.type(0))
        return Lanes.of(self.scheme, _levels(plain).rounded(A, beacon), touched)


def _levels(plain: Exchange) -> Levels:
    up = plain.up
    assert isinstance(up, Levels)
    return up
