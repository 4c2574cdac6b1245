"""The opening of a round's groups from the messages of a block: anybody who has them computes the
same sums, the same dropped groups and the same accusations.

Nothing here needs a secret. What the members agree on follows from their messages: the roster is
the one that most masked updates name, the survivors those that most unmasking messages name. A
group that cannot be opened, or whose sum no honest levels have, is dropped and counted; the others
are not touched by it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from bfedrec.privacy.secure.masks import (
    Lanes,
    agreement,
    commitment,
    mask_of,
    pair_seed,
    public_key,
    self_seed,
)
from bfedrec.privacy.secure.messages import (
    MASKED,
    SETUP,
    UNMASK,
    Masked,
    Setup,
    Unmask,
    number_of,
    positions,
    set_of,
    stage_of,
)
from bfedrec.privacy.secure.scheme import Scheme
from bfedrec.privacy.secure.sharing import combine


@dataclass(frozen=True)
class Opened:
    """The sum of one group's updates."""

    members: tuple[int, ...]
    """The numbers of the clients whose updates it sums."""
    levels: np.ndarray
    """int32[rows, items]: sums of levels."""
    counts: np.ndarray
    """int32[items]: by item, the number of members that touched it; int32[0] where the scheme does
    not count."""


@dataclass(frozen=True)
class Opening:
    """The result of a round: opened groups, dropped ones, and proven false statements."""

    groups: tuple[Opened, ...]
    dropped: Mapping[str, int]
    """Number of groups that were not opened, by reason."""
    accused: Mapping[int, str] = field(default_factory=dict)
    """False statements that a client's own signed messages prove, by its number, beside the setups
    in the block: a dealer who signs two can have an honest member give a share of the other."""


class _Unopened(Exception):
    """A group that cannot be opened; the text is the reason under which it is counted."""


def open_round(scheme: Scheme, payloads: Iterable[bytes], beacon: bytes) -> Opening:
    """Open all groups of a height from its payloads, in any order: each without a flaw
    (`bfedrec.privacy.secure.messages.flaw`), each the only one of its stage by its client."""
    sent: dict[int, dict[int, bytes]] = {SETUP: {}, MASKED: {}, UNMASK: {}}
    for payload in payloads:
        sent[stage_of(payload)][number_of(payload)] = payload
    groups: dict[tuple[int, ...], dict[int, Setup]] = {}
    for number in sorted(sent[SETUP]):
        setup = Setup.decode(scheme, sent[SETUP][number])
        groups.setdefault(setup.group, {})[setup.position] = setup
    opened, dropped, accused = [], Counter[str](), dict[int, str]()
    for group in sorted(groups):
        members = _Group(scheme, group, groups[group], sent, beacon)
        try:
            opened.append(members.open())
        except _Unopened as reason:
            dropped[str(reason)] += 1
        accused |= members.accused
    return Opening(tuple(opened), dict(sorted(dropped.items())), accused)


class _Group:
    """One group's messages, by position, and its opening."""

    def __init__(
        self,
        scheme: Scheme,
        group: tuple[int, ...],
        setups: dict[int, Setup],
        sent: Mapping[int, Mapping[int, bytes]],
        beacon: bytes,
    ) -> None:
        self.scheme, self.group, self.setups = scheme, group, setups
        self.round_id = scheme.round_id(beacon, group)
        self.threshold = scheme.threshold(len(group))
        self.accused: dict[int, str] = {}
        self.masked = {
            place: Masked.decode(scheme, sent[MASKED][setup.number])
            for place, setup in setups.items()
            if setup.number in sent[MASKED]
        }
        self.unmasking = {
            place: Unmask.decode(scheme, sent[UNMASK][setup.number])
            for place, setup in setups.items()
            if setup.number in sent[UNMASK]
        }

    def open(self) -> Opened:
        """The group's sum. Raises `_Unopened`."""
        self.roster = self._roster()
        self.survivors = self._survivors()
        shares = self._shares()
        total = Lanes.zero(self.scheme).copy()
        for place in positions(self.survivors):
            total.add(Lanes.unpacked(self.scheme, self.masked[place].body))
        for place in positions(self.roster):
            secret = self._secret(place, shares[place])
            if self.survivors >> place & 1:
                total.subtract(mask_of(self.scheme, self_seed(secret, self.round_id)))
            else:
                self._cancel(total, place, secret)
        return self._checked(total)

    # -- what the members agree on ----------------------------------------------------------------

    def _roster(self) -> int:
        """The set of members whose keys mask the updates."""
        there = set_of(self.setups)
        named = [
            message.roster
            for place, message in self.masked.items()
            if message.roster >> place & 1 and not message.roster & ~there
        ]
        return _most_named(named, self.threshold, "too few masked updates")

    def _survivors(self) -> int:
        """The set of members whose updates count."""
        masked = set_of(
            place for place, message in self.masked.items() if message.roster == self.roster
        )
        named = [
            message.survivors
            for place, message in self.unmasking.items()
            if self.roster >> place & 1
            and not message.survivors & ~masked
            and message.survivors.bit_count() >= self.threshold
        ]
        return _most_named(named, 1, "too few survivors")

    def _shares(self) -> dict[int, dict[int, bytes]]:
        """The shares that members give and that were committed to: by dealer, by holder."""
        found: dict[int, dict[int, bytes]] = {place: {} for place in positions(self.roster)}
        for holder, message in sorted(self.unmasking.items()):
            if message.survivors != self.survivors:
                continue
            for dealer, share in message.shares.items():
                if dealer not in found or holder not in self.setups[dealer].commitments:
                    continue
                kind = self.survivors >> dealer & 1
                wanted = self.setups[dealer].commitments[holder][kind]
                if commitment(share, self.round_id, dealer, holder, kind) == wanted:
                    found[dealer][holder] = share
                else:
                    self.accused[self.group[holder]] = "a share that is not the one committed to"
        return found

    # -- masks ------------------------------------------------------------------------------------

    def _secret(self, dealer: int, shares: Mapping[int, bytes]) -> bytes:
        """A member's secret from the shares of it: its self-mask's seed if it survived, else its
        mask's key; either is shown to be that of its setup. Raises `_Unopened`."""
        if len(shares) < self.threshold:
            raise _Unopened("too few shares")
        closed = self.scheme.closed(len(self.group), dealer)
        holders = sorted(shares)[: self.threshold]
        points = [closed.index(holder) + 1 for holder in holders]
        rows = np.frombuffer(b"".join(shares[holder] for holder in holders), np.uint8)
        secret = combine(points, rows.reshape(len(holders), -1))
        setup = self.setups[dealer]
        if self.survivors >> dealer & 1:
            found = commitment(secret, self.round_id, dealer, dealer, 2) == setup.self_commitment
        else:
            found = public_key(secret) == setup.public
        if not found:
            self.accused[self.group[dealer]] = "shares that do not give its own secret"
            raise _Unopened("false shares dealt")
        return secret

    def _cancel(self, total: Lanes, gone: int, key: bytes) -> None:
        """Take away the masks that the survivors share with a member that is gone."""
        for place in self.scheme.closed(len(self.group), gone):
            if place == gone or not self.survivors >> place & 1:
                continue
            agreed = agreement(key, self.setups[place].public)
            mask = mask_of(self.scheme, pair_seed(agreed, self.round_id))
            if place < gone:
                total.subtract(mask)
            else:
                total.add(mask)

    def _checked(self, total: Lanes) -> Opened:
        """The sum, if honest levels have it: counts from 0 to n, and by item at most as many times
        L as members touched it."""
        scheme = self.scheme
        levels = total.centred
        members = tuple(self.group[place] for place in positions(self.survivors))
        counts = (total.counts & ((1 << scheme.count_bits) - 1)).astype(np.int32)
        touched = counts if scheme.counted else np.int32(len(members))
        if (counts > len(members)).any() or (np.abs(levels) > touched * scheme.levels).any():
            raise _Unopened("sum out of range")
        return Opened(members, levels, counts)


def _most_named(named: Sequence[int], least: int, reason: str) -> int:
    """The set that most members name, the smallest of several; raises `_Unopened` where fewer than
    ``least`` do."""
    count = Counter(named)
    best = min(count, key=lambda each: (-count[each], each), default=0)
    if count[best] < least:
        raise _Unopened(reason)
    return best
