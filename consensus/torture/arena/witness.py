"""The interface of the observer that a scenario tells everything."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Protocol

from consensus.ledger.updates import SignedUpdate
from consensus.records.block import Block
from consensus.server.edge_server import EdgeServer


class Witness(Protocol):
    """An observer that is told everything that happens (`consensus.torture.oracle.monitor`)."""

    def handed_in(self, update: SignedUpdate) -> None:
        """A client brings an update to a server."""

    def said(self, index: int, kind: str, body: Any, to: Collection[int] | None) -> None:
        """A server sends a message, to some or (None) to all."""

    def appended(self, server: EdgeServer, block: Block) -> None:
        """A server's chain has grown."""

    def cut(self, server: EdgeServer) -> None:
        """A server is back from a crash, its chain perhaps shorter."""
