"""One group of a round under secure aggregation, played without servers."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from bfedrec.privacy.secure.masks import Lanes, agreement, public_key
from bfedrec.privacy.secure.member import Member, Shared
from bfedrec.privacy.secure.messages import Setup, flaw, set_of
from bfedrec.privacy.secure.opening import Opening, open_round
from bfedrec.privacy.secure.scheme import Scheme

SMALL = Scheme(rows=3, items=10, levels=4, counted=True, group=9)


@dataclass
class Group:
    """The members of one group, their updates, and everything that they have sent."""

    scheme: Scheme
    beacon: bytes
    members: dict[int, Member]
    """By position."""
    levels: dict[int, np.ndarray]
    """int[rows, items], by position."""
    touched: dict[int, np.ndarray]
    """bool[items], by position."""
    setups: dict[int, Setup] = field(default_factory=dict)
    sent: list[bytes] = field(default_factory=list)
    masked: set[int] = field(default_factory=set)

    @classmethod
    def of(
        cls,
        scheme: Scheme,
        size: int,
        seed: int = 0,
        kinds: Mapping[int, type[Member]] | None = None,
    ) -> Group:
        """A group of ``size`` clients with random updates; ``kinds``: what some of them are."""
        draws = np.random.default_rng(seed)
        keys = [draws.bytes(32) for _ in range(size)]
        publics, beacon = [public_key(key) for key in keys], draws.bytes(32)
        (group,) = scheme.deal(range(size), beacon)
        shared, members, levels, touched = Shared(), {}, {}, {}
        for place, number in enumerate(group):
            agree = partial(_agree, keys[number], publics)
            kind = (kinds or {}).get(place, Member)
            members[place] = kind(scheme, group, number, beacon, draws.bytes(32), agree, shared)
            touched[place] = draws.random(scheme.items) < 0.6
            shape = (scheme.rows, scheme.items)
            drawn = draws.integers(-scheme.levels, scheme.levels + 1, shape)
            levels[place] = drawn * touched[place] if scheme.counted else drawn
        return cls(scheme, beacon, members, levels, touched)

    def set_up(self, without: Collection[int] = ()) -> None:
        """All members but some send their setups."""
        for place, member in self.members.items():
            if place not in without:
                payload = self._said(member.setup())
                self.setups[place] = Setup.decode(self.scheme, payload)

    def mask(self, without: Collection[int] = ()) -> None:
        """All members who have set up, but some, send their masked updates."""
        for place in self.setups:
            if place not in without:
                lanes = Lanes.of(self.scheme, self.levels[place], self.touched[place])
                payload = self.members[place].masked(lanes, self.setups)
                if payload is not None:
                    self._said(payload)
                    self.masked.add(place)

    def unmask(self, without: Collection[int] = ()) -> None:
        """All members whose masked updates are there, but some, send their shares."""
        for place in sorted(self.masked):
            if place not in without:
                payload = self.members[place].unmask(
                    self.setups, set_of(self.setups), set_of(self.masked)
                )
                if payload is not None:
                    self._said(payload)

    def play(
        self,
        no_setup: Collection[int] = (),
        no_mask: Collection[int] = (),
        no_shares: Collection[int] = (),
    ) -> Opening:
        """Play all waves, some members leaving before each, and open the group."""
        self.set_up(no_setup)
        self.mask(no_mask)
        self.unmask(no_shares)
        return self.open()

    def open(self) -> Opening:
        """Open the group from all that was sent."""
        return open_round(self.scheme, self.sent, self.beacon)

    def sums(self, members: Collection[int]) -> tuple[np.ndarray, np.ndarray]:
        """The sums in the clear of some members' levels, and of the items that they touched."""
        levels = sum(self.levels[place] for place in members)
        counts = sum(self.touched[place].astype(np.int64) for place in members)
        return np.asarray(levels), np.asarray(counts)

    def _said(self, payload: bytes) -> bytes:
        assert flaw(self.scheme, payload) is None
        self.sent.append(payload)
        return payload


def _agree(key: bytes, publics: list[bytes], other: int) -> bytes:
    return agreement(key, publics[other])
