"""The limit of what one server sends because another asked, and the helpers that servers ask.

Any server may ask any other where it stands, unsigned, and a full answer is thousands of times as
long as the question. Every server limits its answers on its own; askers are known by their index,
which the transport vouches for. Between two resend times of the server that answers,

- nobody is sent the same thing twice, however often it asks;
- an asker gets no more than `ALLOWANCE` bytes or, if that is more, `RATIO` times the bytes of its
  own requests, and in any case one thing, however long that is;
- unless this server is one of the asker's *helpers*: these send all that it lacks.

`Answers.helps` gives the helpers of an asker, a few servers in an order that looks random and is
known to all (`rota`). Honest servers ask their helpers, and whoever answers checks that it is one,
so that nobody gets everything from all servers at once. A server at the height in progress asks
only after a resend time without progress, so no server is a helper for it before; with every
resend time that passes there are more of them, until all are.

For a height shorter than a resend time this bounds the answers to one asker at the same height by
``max(servers x ALLOWANCE, RATIO x requests)`` bytes (more only where single records are longer than
`ALLOWANCE`). Every further resend time may add `FIRST_HELPERS` full answers, and later
`MORE_HELPERS` more each time; a server that says it is far behind may get `BLOCKS_AT_ONCE` blocks
from as many helpers for every `STRETCH` heights of the chain.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable
from functools import lru_cache
from hashlib import blake2b
from typing import Final

#: Bytes that an asker may get from any one server between two resend times: a candidate of 60
#: updates (5 KB), or two blocks with 20 signatures (4 KB each), so that nobody has to wait for a
#: helper who lacks the last block, or one that others have decided. This is what a single short
#: request to every server costs: 240 KB among 30 servers.
ALLOWANCE: Final = 8 * 1024
#: Bytes of answers for each byte of requests, where that is more. It is below the 3 bytes for each
#: that an asker may cost all servers together, by as much as single long records may add.
RATIO: Final = 2
#: Helpers that an asker has at first ...
FIRST_HELPERS: Final = 3
#: ... and so many more for every further resend time of a height: as many as a server asks.
MORE_HELPERS: Final = 2
#: An asker's helpers are others after so many heights of its chain: those that come first and do
#: not help, do so no longer.
STRETCH: Final = 32


@lru_cache(maxsize=4096)
def rota(chain_id: bytes, servers: int, asker: int, stretch: int) -> tuple[int, ...]:
    """All servers but ``asker`` in the order in which they help it, pseudo-random and the same for
    all; ``stretch``: the height of its chain, divided by `STRETCH`."""
    label = f"{asker} {stretch} ".encode()

    def lot(server: int) -> bytes:
        return blake2b(label + b"%d" % server, digest_size=8, key=chain_id[:64]).digest()

    return tuple(sorted((other for other in range(servers) if other != asker), key=lot))


class Answers:
    """The account of what a server has sent others since its last resend time, because they asked.

    It holds, by asker, two numbers of bytes and the keys of what was sent: no more keys than things
    that the server has to send.
    """

    def __init__(self, index: int, chain_id: bytes, servers: int) -> None:
        """``index``: of the server that answers; ``servers``: the number of all."""
        self._index = index
        self._chain_id = chain_id
        self._servers = servers
        self.resends = 0
        """Resend times that have passed in the height in progress."""
        self.asked: Counter[int] = Counter()
        """By asker: bytes of its requests."""
        self.spent: Counter[int] = Counter()
        """By asker: bytes of answers."""
        self._sent: dict[int, set[Hashable]] = {}

    def begin(self, anew: bool) -> None:
        """Begin a height; ``anew``: with an empty account. (Whoever catches up begins many heights
        in no time.)"""
        self.resends = 0
        if anew:
            self._clear()

    def renew(self) -> None:
        """Go on with an empty account, as a resend time has passed."""
        self.resends += 1
        self._clear()

    def _clear(self) -> None:
        self.asked.clear()
        self.spent.clear()
        self._sent.clear()

    def note(self, asker: int, size: int) -> None:
        """Count a request of ``size`` bytes."""
        self.asked[asker] += size

    def was_sent(self, asker: int, key: Hashable) -> bool:
        """True if ``asker`` was sent what ``key`` names."""
        return key in self._sent.get(asker, ())

    def spend(self, asker: int, key: Hashable, size: int, helping: bool = False) -> bool:
        """Note that ``asker`` is sent ``size`` bytes, which ``key`` names, by one of its helpers
        (``helping``) or another; returns False, and notes nothing, where it is not to get them
        now."""
        if self.was_sent(asker, key):
            return False
        spent = self.spent[asker]
        limit = max(ALLOWANCE, RATIO * self.asked[asker])
        if spent and not helping and spent + size > limit:
            return False
        self.spent[asker] = spent + size
        self._sent.setdefault(asker, set()).add(key)
        return True

    # -- helpers ----------------------------------------------------------------------------------

    @property
    def reach(self) -> int:
        """The number of providers of an aggregate that a server may ask, and that answer it
        (`consensus.server.fetching`)."""
        return FIRST_HELPERS + MORE_HELPERS * self.resends

    def helps(self, asker: int, height: int, behind: bool) -> bool:
        """True if this server is a helper of ``asker``, whose chain has ``height`` blocks.

        One that is not ``behind`` has no helpers before a resend time of the height has passed."""
        if behind:
            count = FIRST_HELPERS + MORE_HELPERS * self.resends
        elif self.resends:
            count = FIRST_HELPERS + MORE_HELPERS * (self.resends - 1)
        else:
            return False
        return self._index in self._rota(asker, height)[:count]

    def helpers(self, height: int) -> list[int]:
        """The helpers of this server, whose chain has ``height`` blocks, in ascending order; as
        many as there are if the others began the height when it did."""
        count = FIRST_HELPERS + MORE_HELPERS * max(0, self.resends - 1)
        return sorted(self._rota(self._index, height)[:count])

    def _rota(self, asker: int, height: int) -> tuple[int, ...]:
        return rota(self._chain_id, self._servers, asker, height // STRETCH)
