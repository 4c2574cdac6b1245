"""Sampling of each round's clients: a seeded permutation of all clients, dealt M at a time.

That is sampling "without replacement within and across rounds" (paper, IV.A): all clients are dealt
before any is dealt again.
"""

from __future__ import annotations

from functools import lru_cache

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
    hand = _deal(streams, clients, per_round, deal)[offset : offset + per_round]
    missing = per_round - len(hand)
    if missing:
        hand = np.concatenate([hand, _deal(streams, clients, per_round, deal + 1)[:missing]])
    return hand


@lru_cache(maxsize=8)
def _deal(streams: Streams, clients: int, per_round: int, deal: int) -> np.ndarray:
    """Permutation number ``deal``, int64[clients], with those clients moved behind the round it
    begins in who are already in that round from the permutation before."""
    order = streams.generator("sampling", deal).permutation(clients)
    carried = (deal * clients) % per_round
    if not carried:
        return order
    before = _deal(streams, clients, per_round, deal - 1)[-carried:]
    late = np.isin(order, before)
    missing = per_round - carried
    fresh = order[~late]
    # The first `missing` fresh ones complete the round; then everybody else in the drawn order.
    rest = np.concatenate([order[late], fresh[missing:]])
    place = np.empty(clients, np.int64)
    place[order] = np.arange(clients)
    return np.concatenate([fresh[:missing], rest[np.argsort(place[rest], kind="stable")]])
