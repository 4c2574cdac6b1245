"""The scheme of a chain's secure aggregation: sizes of groups, lanes and messages, thresholds, and
who is whose neighbour."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from hashlib import blake2b

import numpy as np

from bfedrec.aggregation.settings import SMALLEST_GROUP
from bfedrec.compression.lanes import MOST_BITS, lane_type, packed_size
from bfedrec.privacy.secure.sharing import MOST_SHARES


@dataclass(frozen=True)
class Scheme:
    """The public parameters of secure aggregation, fixed by the genesis.

    A masked update is ``rows x items`` levels from -``levels`` to ``levels``, and, where
    ``counted``, for each item whether the client touched it.
    """

    rows: int
    items: int
    levels: int
    counted: bool
    group: int
    """The most members of a group."""
    neighbours: int = 0
    """The members with whom one shares masks and secrets (SecAgg+, Bell et al., CCS 2020), an even
    number; 0: all others of its group."""
    lane_bits: int = 0
    """The bits k of a level's lane; 0: as many as hold every sum."""

    def __post_init__(self) -> None:
        if not SMALLEST_GROUP <= self.group <= MOST_SHARES:
            raise ValueError(f"groups of {self.group}: expected {SMALLEST_GROUP} to {MOST_SHARES}")
        if self.neighbours % 2 or not 0 <= self.neighbours < self.group:
            raise ValueError(f"{self.neighbours} neighbours in a group of {self.group}")
        if min(self.rows, self.items, self.levels) < 1:
            raise ValueError("a masked update has rows, items and levels")
        whole = (2 * self.group * self.levels).bit_length()
        least = (2 * self.levels).bit_length()
        if self.lane_bits and not least <= self.lane_bits < whole:
            raise ValueError(
                f"lanes of {self.lane_bits} bits: expected {least}, which a single level takes, to "
                f"{whole - 1}, or 0 for the {whole} that every sum fits in"
            )
        if self.bits > MOST_BITS:
            raise ValueError(f"sums of {self.bits} bits: expected at most {MOST_BITS}")

    # -- lanes ------------------------------------------------------------------------------------

    @cached_property
    def bits(self) -> int:
        """The bits k of a level's lane: with 2^k more than the 2 n L + 1 values of a group's sum
        every sum is whole; with fewer it is so modulo 2^k."""
        return self.lane_bits or (2 * self.group * self.levels).bit_length()

    @cached_property
    def count_bits(self) -> int:
        """The bits of a count's lane, which holds 0 to n."""
        return self.group.bit_length()

    @cached_property
    def body_size(self) -> int:
        """Bytes of a masked update's lanes."""
        counts = packed_size(self.items, self.count_bits) if self.counted else 0
        return packed_size(self.rows * self.items, self.bits) + counts

    @cached_property
    def stream_size(self) -> int:
        """Bytes of key stream that mask one update."""
        levels = self.rows * self.items * lane_type(self.bits).itemsize
        return levels + self.items * lane_type(self.count_bits).itemsize * self.counted

    @cached_property
    def map_size(self) -> int:
        """Bytes of a set of members, one bit each."""
        return (self.group + 7) // 8

    # -- groups -----------------------------------------------------------------------------------

    def closed(self, members: int, position: int) -> tuple[int, ...]:
        """The positions of one member's neighbours and its own, ascending, in a group of so many
        members: those next to it on a ring (a Harary graph, whose labels are drawn)."""
        return _closed(members, position, self.neighbours)

    def hides(self, members: int, roster: int, survivors: int) -> bool:
        """True if the sum of the ``survivors`` of a ``roster`` (sets, a bit for each position) may
        be opened: of every member of the roster enough neighbours, itself counted, survive.

        Enough in the whole group are not enough where masks are shared on a ring: a survivor whose
        neighbours are all gone has no mask left, and the sum comes apart into single updates.
        """
        least = self.threshold(members)
        return bool(survivors) and all(
            (survivors & _closed_set(members, place, self.neighbours)).bit_count() >= least
            for place in range(roster.bit_length())
            if roster >> place & 1
        )

    def threshold(self, members: int) -> int:
        """The shares t that give a secret: more than two thirds of those that are dealt, so that
        honest members who were told different survivors never give both secrets of one."""
        return len(self.closed(members, 0)) * 2 // 3 + 1

    def deal(self, clients: Sequence[int], beacon: bytes) -> list[tuple[int, ...]]:
        """The groups of a round's clients (numbers in the genesis), of nearly equal sizes.

        The order is that of hashes of the height's beacon and the number: nobody chooses with whom
        a client shares a group, or who is next to it.
        """
        order = sorted(
            map(int, clients),
            key=lambda number: blake2b(
                number.to_bytes(4, "little"), key=beacon[:64], digest_size=16
            ).digest(),
        )
        parts = np.array_split(np.array(order, np.int64), self._parts(len(order)))
        return [tuple(part.tolist()) for part in parts]

    def _parts(self, clients: int) -> int:
        """The number of groups of so many clients."""
        return -(-clients // self.group)

    def smallest(self, clients: int) -> int:
        """The members of the smallest group, in rounds of so many ``clients``."""
        return clients // self._parts(clients)

    def fewest(self, clients: int) -> int:
        """The fewest updates in a sum that is opened, in rounds of so many ``clients``: the
        threshold of the smallest group."""
        return self.threshold(self.smallest(clients))

    def round_id(self, beacon: bytes, members: Sequence[int]) -> bytes:
        """32 bytes that name a group at a height; all its secrets are bound to them."""
        told = b"".join(number.to_bytes(4, "little") for number in members)
        return blake2b(told, key=beacon[:64], digest_size=32, person=b"bfedrec secure").digest()


@lru_cache(maxsize=4096)
def _closed(members: int, position: int, neighbours: int) -> tuple[int, ...]:
    reach = neighbours // 2
    if not neighbours or neighbours >= members - 1:
        return tuple(range(members))
    return tuple(sorted((position + step) % members for step in range(-reach, reach + 1)))


@lru_cache(maxsize=4096)
def _closed_set(members: int, position: int, neighbours: int) -> int:
    """The same as a set, a bit for each position."""
    return sum(1 << place for place in _closed(members, position, neighbours))
