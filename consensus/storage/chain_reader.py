"""The interface to a stored chain for those who only read it: audits, exports, pages."""

from __future__ import annotations

from abc import abstractmethod

from consensus.storage.closing import Closing
from consensus.storage.content import ContentReader


class ChainReader(ContentReader, Closing):
    """A run's chain: content by CID, blocks by height, retained updates, meta.

    Every method raises `consensus.storage.content.StoreError`, naming the file, for what cannot be
    read, and `NotFound` for what is not there.
    """

    @abstractmethod
    def block(self, height: int) -> bytes:
        """The encoded block of `height`; raises NotFound."""

    @abstractmethod
    def heights(self) -> list[int]:
        """The heights that have a block, ascending."""

    @abstractmethod
    def update_heights(self) -> list[int]:
        """The heights whose updates are retained, ascending."""

    @abstractmethod
    def cids(self) -> list[bytes]:
        """The CID of every block of content held, in ascending order."""

    @abstractmethod
    def updates(self, height: int) -> list[bytes]:
        """The retained updates of `height` in the block's order; empty where none are kept."""

    @abstractmethod
    def meta(self, key: str) -> bytes:
        """A named entry of metadata; raises NotFound."""
