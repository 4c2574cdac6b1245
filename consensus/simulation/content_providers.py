"""The simulated content-addressed network between edge servers: contents, and the servers that hold
them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection
from typing import Final

from consensus.application import Contents

#: So often one server gets the same content in a resend time: once more than it can need, in case
#: a crash took the first copy.
GIVEN: Final = 2


class Providers:
    """Contents by link, with the servers that hold each."""

    def __init__(self, resend_seconds: float) -> None:
        """``resend_seconds``: after so long a server may get the same content again."""
        self._resend_seconds = resend_seconds
        self.published: dict[bytes, Contents] = {}
        """Published contents of this height, by the aggregate's link."""
        self._data: dict[bytes, tuple[bytes, int]] = {}
        """The bytes at a link, and the height of the block that they belong to."""
        self._holders: dict[bytes, set[int]] = {}
        self._given: Counter[tuple[int, bytes]] = Counter()
        """By server and link: how often it was given the content since `_since` resend times."""
        self._since = -1

    def hold(self, server: int, contents: Contents, height: int, address: AddressOf) -> None:
        """Note that ``server`` has the contents of a block at ``height``; ``address`` computes
        links."""
        link = address(contents.aggregate)
        self.published.setdefault(link, contents)
        self._keep(server, link, contents.aggregate, height)
        if contents.snapshot is not None:
            self._keep(server, address(contents.snapshot), contents.snapshot, height)

    def holders(self, link: bytes) -> set[int]:
        """The servers that hold the content at ``link``."""
        return self._holders.get(link, set())

    def fetch(self, server: int, link: bytes, serves: Callable[[int], bool]) -> bytes | None:
        """The content at ``link`` from the first holder for which ``serves`` is true, or None;
        ``server`` then holds it, too."""
        for holder in sorted(self.holders(link)):
            if serves(holder):
                data, height = self._data[link]
                self._keep(server, link, data, height)
                return data
        return None

    def may_ask(self, server: int, link: bytes, now: float) -> bool:
        """True if ``server`` may be given the content at ``link`` at ``now`` (simulated seconds):
        it was not given it `GIVEN` times since the last multiple of the resend time. If anybody
        has it, it counts as given."""
        since = int(now / self._resend_seconds)
        if since != self._since:
            self._since = since
            self._given.clear()
        if self._given[server, link] >= GIVEN:
            return False
        if link in self._holders:
            self._given[server, link] += 1
        return True

    def restore(self, link: bytes, data: bytes, height: int, servers: Collection[int]) -> None:
        """Note ``data`` of a block at ``height`` and its holders, as they were when the resumed run
        stopped."""
        for server in servers:
            self._keep(server, link, data, height)

    def forget(self, height: int, but: Collection[bytes]) -> None:
        """Drop contents of blocks up to ``height``, except at the links in ``but``."""
        self.published.clear()
        for link in [
            link for link, (_, at) in self._data.items() if at <= height and link not in but
        ]:
            del self._data[link], self._holders[link]

    def _keep(self, server: int, link: bytes, data: bytes, height: int) -> None:
        self._data[link] = (data, max(height, self._data.get(link, (data, 0))[1]))
        self._holders.setdefault(link, set()).add(server)


AddressOf = Callable[[bytes], bytes]
"""Computes the link of bytes: `consensus.encoding.dag_cbor.file_cid`, or a function that caches its
results."""
