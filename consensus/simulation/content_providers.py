"""The holders of contents: the content-addressed network between the edge servers, as simulated."""

from __future__ import annotations

from collections.abc import Callable, Collection

from consensus.application import Contents


class Providers:
    """Contents by link, and the servers that hold them."""

    def __init__(self) -> None:
        self.published: dict[bytes, Contents] = {}
        """This height's published contents, by the aggregate's link."""
        self._data: dict[bytes, tuple[bytes, int]] = {}
        """By link: the bytes, and the height they are of."""
        self._holders: dict[bytes, set[int]] = {}

    def hold(self, server: int, contents: Contents, height: int, address: AddressOf) -> None:
        """A server has these contents, made at ``height``."""
        link = address(contents.aggregate)
        self.published.setdefault(link, contents)
        self._keep(server, link, contents.aggregate, height)
        if contents.snapshot is not None:
            self._keep(server, address(contents.snapshot), contents.snapshot, height)

    def holders(self, link: bytes) -> set[int]:
        """The servers that have this content."""
        return self._holders.get(link, set())

    def fetch(self, server: int, link: bytes, serves: Callable[[int], bool]) -> bytes | None:
        """The content at ``link`` from the first holder that ``serves`` this server, which then
        holds it, too; None if there is none."""
        for holder in sorted(self.holders(link)):
            if serves(holder):
                data, height = self._data[link]
                self._keep(server, link, data, height)
                return data
        return None

    def restore(self, link: bytes, data: bytes, height: int, servers: Collection[int]) -> None:
        """These servers held ``data``, of a block at ``height``, when a resumed run was stopped."""
        for server in servers:
            self._keep(server, link, data, height)

    def forget(self, height: int, but: Collection[bytes]) -> None:
        """Let go of what was made up to ``height``, but for the links that are still asked for."""
        self.published.clear()
        for link in [
            link for link, (_, at) in self._data.items() if at <= height and link not in but
        ]:
            del self._data[link], self._holders[link]

    def _keep(self, server: int, link: bytes, data: bytes, height: int) -> None:
        self._data[link] = (data, max(height, self._data.get(link, (data, 0))[1]))
        self._holders.setdefault(link, set()).add(server)


AddressOf = Callable[[bytes], bytes]
"""`consensus.encoding.dag_cbor.file_cid`, or one that remembers its results."""
