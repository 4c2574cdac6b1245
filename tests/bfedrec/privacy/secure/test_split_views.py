"""Servers that show members of one group different rosters and survivors: what that tells them.

docs/secure-aggregation.md has the bound. A protocol in which members agree on the survivors before
they give shares (the consistency check of Bonawitz et al., 2017) would have another.
"""

from __future__ import annotations

import numpy as np
import pytest

from bfedrec.privacy.secure.masks import (
    KEY,
    Lanes,
    agreement,
    mask_of,
    pair_seed,
    self_seed,
)
from bfedrec.privacy.secure.messages import Masked, Unmask, set_of
from bfedrec.privacy.secure.scheme import Scheme
from bfedrec.privacy.secure.sharing import combine
from tests.helpers.masked_group import Group

MASK_KEY, SELF = 0, 1


class Views:
    """Lying servers and colluding members against the first few members of a group.

    These see as few setups as they accept, colluders' among them. All other honest members see
    everybody, and a set of survivors as small as they accept, of which the first members are.
    """

    def __init__(self, size: int, colluding: int, alone: int) -> None:
        self.group = Group.of(Scheme(3, 10, 4, True, size), size)
        self.group.set_up()
        self.least = self.group.scheme.threshold(size)
        self.alone = range(alone)
        self.colluding = range(alone, alone + colluding)
        self.others = range(alone + colluding, size)
        self.gone = self.others[: self.least - alone - colluding]
        """The honest members whose masks the first ones have, and whose keys are wanted."""
        self.shares: dict[tuple[int, int], dict[int, bytes]] = {}
        """By dealer and kind of secret: the shares, by holder."""

    def sums(self) -> Lanes:
        """The masked updates of the first members, added up."""
        group = self.group
        seen = [*self.alone, *self.colluding, *self.gone]
        total = Lanes.zero(group.scheme).copy()
        for place in self.alone:
            lanes = Lanes.of(group.scheme, group.levels[place], group.touched[place])
            setups = {each: group.setups[each] for each in seen}
            payload = group.members[place].masked(lanes, setups)
            assert payload is not None
            body = Masked.decode(group.scheme, payload).body
            total.add(Lanes.unpacked(group.scheme, body))
        return total

    def ask(self) -> None:
        """Collect the shares that the honest members other than the first ones give."""
        size = len(self.group.members)
        room = dict.fromkeys(self.others, size - self.least)
        missing: dict[int, set[int]] = {holder: set() for holder in self.others}
        for place in self.gone:
            most_room = sorted(self.others, key=lambda holder: -room[holder])
            for holder in most_room[: self.least - len(self.colluding)]:
                if room[holder]:
                    room[holder] -= 1
                    missing[holder].add(place)
        everybody = (1 << size) - 1
        for holder in self.others:
            survivors = everybody & ~set_of(missing[holder])
            member = self.group.members[holder]
            payload = member.unmask(self.group.setups, everybody, survivors)
            assert payload is not None
            for dealer, share in Unmask.decode(self.group.scheme, payload).shares.items():
                kind = survivors >> dealer & 1
                self.shares.setdefault((dealer, kind), {})[holder] = share

    def secret(self, dealer: int, kind: int) -> bytes | None:
        """A secret of a member, if there are enough shares of it; colluders give all of theirs."""
        found = dict(self.shares.get((dealer, kind), {}))
        for holder in self.colluding:
            both = self.group.members[holder]._opened(self.group.setups[dealer])
            found[holder] = both[KEY:] if kind == SELF else both[:KEY]
        holders = sorted(found)[: self.least]
        if len(holders) < self.least:
            return None
        rows = np.frombuffer(b"".join(found[holder] for holder in holders), np.uint8)
        points = [holder + 1 for holder in holders]
        return combine(points, rows.reshape(len(holders), -1))

    def found(self) -> np.ndarray | None:
        """The sum of the first members' levels, if their masks can be taken off."""
        scheme, members = self.group.scheme, self.group.members
        total, round_id = self.sums(), members[0].round_id
        self.ask()
        seeds = [self.secret(place, SELF) for place in self.alone]
        keys = {place: members[place]._key for place in self.colluding}
        keys |= {place: key for place in self.gone if (key := self.secret(place, MASK_KEY))}
        if None in seeds or len(keys) < len(self.colluding) + len(self.gone):
            return None
        for place, seed in zip(self.alone, seeds, strict=True):
            assert seed is not None
            total.subtract(mask_of(scheme, self_seed(seed, round_id)))
            for key in keys.values():
                agreed = agreement(key, self.group.setups[place].public)
                total.subtract(mask_of(scheme, pair_seed(agreed, round_id)))
        return total.centred


@pytest.mark.parametrize(
    ("size", "colluding", "alone", "told"),
    [
        (15, 4, 2, True),
        (15, 4, 1, False),
        (15, 3, 2, False),
        (15, 0, 4, False),
        (18, 5, 1, True),
        (18, 4, 1, False),
        (60, 10, 1, True),
        (60, 9, 1, False),
    ],
)
def test_few_are_told_apart_where_enough_collude(
    size: int, colluding: int, alone: int, told: bool
) -> None:
    least = 2 * size // 3 + 1
    wanted = (least - alone - colluding) * (least - colluding)
    given = (size - alone - colluding) * (size - least)
    assert (wanted <= given) is told, "the bound on the page"
    views = Views(size, colluding, alone)
    found = views.found()
    assert (found is not None) is told
    if found is not None:
        assert np.array_equal(found, views.group.sums(views.alone)[0])
