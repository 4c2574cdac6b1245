"""The content stores of the edge servers: contents, and the servers that hold them."""

from __future__ import annotations

from collections.abc import Callable, Collection

from consensus.application import Contents
from consensus.records.block import Header


class Providers:
    """Contents by link, with the servers that hold each."""

    def __init__(self) -> None:
        self.published: dict[tuple[int, bytes], Contents] = {}
        """Published contents of the heights in progress, by height and the aggregate's link."""
        self._data: dict[bytes, tuple[bytes, int]] = {}
        """The bytes at a link, and the height of the block that they belong to."""
        self._holders: dict[bytes, set[int]] = {}

    def hold(self, server: int, contents: Contents, height: int, address: AddressOf) -> None:
        """Note that ``server`` has the contents of a block at ``height``; ``address`` computes
        links."""
        link = address(contents.aggregate)
        self.published.setdefault((height, link), contents)
        self.keep(server, link, contents.aggregate, height)
        if contents.snapshot is not None:
            self.keep(server, address(contents.snapshot), contents.snapshot, height)

    def aggregate_of(self, header: Header) -> bytes | None:
        """The aggregate of a block above the head, if a server has published it, or None."""
        contents = self.published.get((header.height, header.aggregate_cid))
        return None if contents is None else contents.aggregate

    def holders(self, link: bytes) -> set[int]:
        """The servers that hold the content at ``link``."""
        return self._holders.get(link, set())

    def get(self, server: int, link: bytes) -> bytes | None:
        """The content at ``link``, if ``server`` holds it, or None."""
        return self._data[link][0] if server in self.holders(link) else None

    def restore(self, link: bytes, data: bytes, height: int, servers: Collection[int]) -> None:
        """Note ``data`` of a block at ``height`` and its holders, as they were when the resumed run
        stopped."""
        for server in servers:
            self.keep(server, link, data, height)

    def forget(self, height: int, but: Collection[bytes], decided: int) -> None:
        """Drop contents of blocks up to ``height``, except at the links in ``but``; every height up
        to ``decided`` is."""
        for key in [key for key in self.published if key[0] <= decided]:
            del self.published[key]
        for link in [
            link for link, (_, at) in self._data.items() if at <= height and link not in but
        ]:
            del self._data[link], self._holders[link]

    def keep(self, server: int, link: bytes, data: bytes, height: int) -> None:
        """Note that ``server`` has ``data`` of a block at ``height``, whose address is ``link``."""
        self._data[link] = (data, max(height, self._data.get(link, (data, 0))[1]))
        self._holders.setdefault(link, set()).add(server)


AddressOf = Callable[[bytes], bytes]
"""Computes the link of bytes: `consensus.encoding.dag_cbor.file_cid`, or a function that caches its
results."""
