"""Sampling of each round's clients: a seeded permutation of all clients, dealt M at a time.

That is sampling "without replacement within and across rounds" (paper, IV.A): all clients are dealt
before any is dealt again.
"""

from __future__ import annotations

from functools import lru_cache
from math import gcd

import numpy as np

from bfedrec.config.clients import ClientSettings
from bfedrec.streams import Streams


def participants(
    streams: Streams, clients: int, settings: ClientSettings, height: int
) -> np.ndarray:
    """The clients that take part in round ``height``, int64[settings.present]: its cohort in the
    order in which it was dealt, without those that drop out. Raises ValueError as `cohort`."""
    dealt = cohort(streams, clients, settings.per_round, height)
    if settings.present == settings.per_round:
        return dealt
    order = streams.generator("dropout", height).permutation(settings.per_round)
    return dealt[np.sort(order[: settings.present])]


def cohort(streams: Streams, clients: int, per_round: int, height: int) -> np.ndarray:
    """The clients of round ``height`` (1, 2, ...), int64[per_round], without repeats.

    Where one permutation ends within a round, the next one continues; clients that it would deal to
    that round a second time follow right after the round instead. The result depends on the
    arguments alone, so a resumed run needs no saved state. Raises ValueError for more clients a
    round than there are.
    """
    if not 1 <= per_round <= clients:
        raise ValueError(f"a round of {per_round} clients cannot be dealt from {clients}")
    first = (height - 1) * per_round
    deal, offset = divmod(first, clients)
    deals = _deals(streams, clients, per_round)
    hand = deals.order(deal)[offset : offset + per_round]
    missing = per_round - len(hand)
    if missing:
        hand = np.concatenate([hand, deals.order(deal + 1)[:missing]])
    return hand


class _Deals:
    """The permutations of one sampling, of which each follows from the one before."""

    def __init__(self, streams: Streams, clients: int, per_round: int) -> None:
        self._streams, self._clients, self._per_round = streams, clients, per_round
        # Every so many permutations one begins with a round, and follows from none.
        self._period = per_round // gcd(clients, per_round)
        self._kept: dict[int, np.ndarray] = {}

    def order(self, deal: int) -> np.ndarray:
        """Permutation number ``deal`` (0, 1, ...), int64[clients], with those clients moved behind
        the round it begins in who are already in that round from the permutation before.

        The last two are kept, so that rounds in their order cost one permutation each at most. Any
        other is built from the last one that follows from none, at most per_round before it.
        """
        kept = dict(self._kept)
        if deal in kept:
            return kept[deal]
        first = max([deal - deal % self._period, *(each + 1 for each in kept if each < deal)])
        for number in range(first, deal + 1):
            kept[number] = self._after(kept.get(number - 1), number)
            kept = {each: kept[each] for each in (number - 1, number) if each in kept}
        self._kept = kept
        return kept[deal]

    def _after(self, before: np.ndarray | None, deal: int) -> np.ndarray:
        """Permutation number ``deal``, after the one ``before`` where it follows from that."""
        order = self._streams.generator("sampling", deal).permutation(self._clients)
        carried = (deal * self._clients) % self._per_round
        if not carried:
            return order
        assert before is not None
        late = np.isin(order, before[-carried:])
        missing = self._per_round - carried
        fresh = order[~late]
        # The first `missing` fresh ones complete the round; then all others in the drawn order.
        rest = np.concatenate([order[late], fresh[missing:]])
        place = np.empty(self._clients, np.int64)
        place[order] = np.arange(self._clients)
        return np.concatenate([fresh[:missing], rest[np.argsort(place[rest], kind="stable")]])


_deals = lru_cache(maxsize=8)(_Deals)
