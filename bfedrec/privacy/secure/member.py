"""One client in one round of its group: the messages that it sends, and what it takes from others.

An honest member sends at most one message of each stage. It unmasks only where enough members have
survived, and gives of each member one share: of the self-mask's seed, or of the mask's key.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property, partial

from bfedrec.privacy.secure.masks import (
    KEY,
    Lanes,
    agreement,
    commitment,
    key_stream,
    mask_of,
    pad,
    pair_seed,
    public_key,
    self_seed,
    xor,
)
from bfedrec.privacy.secure.messages import Masked, Setup, Unmask, set_of
from bfedrec.privacy.secure.scheme import Scheme
from bfedrec.privacy.secure.sharing import split


class Shared:
    """Results that two members of a group both need, computed once where one process plays both.

    A pair's mask is made when the first of the two asks, and let go when the second has.
    """

    def __init__(self) -> None:
        self._agreed: dict[tuple[bytes, bytes], bytes] = {}
        self._masks: dict[bytes, Lanes] = {}

    def agreed(self, one: bytes, other: bytes, compute: Callable[[], bytes]) -> bytes:
        """The bytes that the keys with these names agree on."""
        name = (min(one, other), max(one, other))
        found = self._agreed.get(name)
        if found is None:
            found = self._agreed[name] = compute()
        return found

    def mask(self, scheme: Scheme, seed: bytes) -> Lanes:
        """The mask of a pair's seed."""
        found = self._masks.pop(seed, None)
        if found is None:
            found = self._masks[seed] = mask_of(scheme, seed)
        return found


class Member:
    """A client's secrets of one round, and its three messages."""

    def __init__(
        self,
        scheme: Scheme,
        group: tuple[int, ...],
        number: int,
        beacon: bytes,
        entropy: bytes,
        agree: Callable[[int], bytes],
        shared: Shared | None = None,
    ) -> None:
        """``group``: the members' numbers in their order (`Scheme.deal`), ``number`` being its own.
        ``entropy``: 32 bytes of its own for this height and nothing else. ``agree``: maps another
        member's number to the 32 bytes that the two keys in the genesis agree on."""
        self.scheme, self.group, self.number = scheme, group, number
        self.position = group.index(number)
        self.closed = scheme.closed(len(group), self.position)
        self.threshold = scheme.threshold(len(group))
        self.round_id = scheme.round_id(beacon, group)
        self._agree = agree
        self._shared = shared or Shared()
        coefficients = (self.threshold - 1) * 2 * KEY
        stream = key_stream(entropy, 2 * KEY + coefficients)
        self._key, self._self = stream[:KEY], stream[KEY : 2 * KEY]
        self._coefficients = stream[2 * KEY :]

    @cached_property
    def public(self) -> bytes:
        """Its mask key of this round."""
        return public_key(self._key)

    @cached_property
    def _dealt(self) -> dict[int, bytes]:
        """The pair of shares of each holder, by position: key, then self-mask."""
        rows = split(self._key + self._self, self.threshold, len(self.closed), self._coefficients)
        return {place: row.tobytes() for place, row in zip(self.closed, rows, strict=True)}

    def setup(self) -> bytes:
        """The message by which it joins its group."""
        sealed, commitments = {}, {}
        for place, both in self._dealt.items():
            if place != self.position:
                hidden = pad(self._agree(self.group[place]), self.round_id, self.position, place)
                sealed[place] = xor(both, hidden)
            commitments[place] = (
                commitment(both[:KEY], self.round_id, self.position, place, 0),
                commitment(both[KEY:], self.round_id, self.position, place, 1),
            )
        own = commitment(self._self, self.round_id, self.position, self.position, 2)
        setup = Setup(self.number, self.group, self.public, sealed, commitments, own)
        return setup.encode(self.scheme)

    def masked(self, lanes: Lanes, setups: Mapping[int, Setup]) -> bytes | None:
        """Its update under the masks that it shares with those whose ``setups`` (by position) it
        has; None where these are too few for a sum to hide it. ``lanes`` are changed."""
        roster = sorted(setups)
        near = [place for place in self.closed if place in setups]
        if self.position not in setups or len(near) < self.threshold:
            return None
        lanes.add(mask_of(self.scheme, self_seed(self._self, self.round_id)))
        for place in near:
            if place == self.position:
                continue
            public = setups[place].public
            agreed = self._shared.agreed(self.public, public, partial(agreement, self._key, public))
            mask = self._shared.mask(self.scheme, pair_seed(agreed, self.round_id))
            if self.position < place:
                lanes.add(mask)
            else:
                lanes.subtract(mask)
        return Masked.encode(self.scheme, self.number, set_of(roster), lanes.packed())

    def unmask(self, setups: Mapping[int, Setup], roster: int, survivors: int) -> bytes | None:
        """Its shares of the secrets that open the sum of the ``survivors``; None where these are
        too few, or not of the roster. A share that is not the one committed to is left out."""
        if survivors & ~roster or not self.scheme.hides(len(self.group), roster, survivors):
            return None
        shares = {}
        for place in self.closed:
            if not roster >> place & 1 or place not in setups:
                continue
            kind = survivors >> place & 1
            both = self._dealt[place] if place == self.position else self._opened(setups[place])
            share = both[KEY:] if kind else both[:KEY]
            wanted = setups[place].commitments[self.position][kind]
            if commitment(share, self.round_id, place, self.position, kind) == wanted:
                shares[place] = share
        return Unmask(self.number, survivors, shares).encode(self.scheme)

    def _opened(self, setup: Setup) -> bytes:
        """The pair of shares that another member has sealed for this one."""
        agreed = self._agree(setup.number)
        return xor(
            setup.sealed[self.position],
            pad(agreed, self.round_id, setup.position, self.position),
        )
