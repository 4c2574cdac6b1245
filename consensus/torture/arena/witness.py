"""The interface of the observer of a scenario."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Protocol

from consensus.ledger.updates import SignedUpdate
from consensus.records.block import Block
from consensus.server.edge_server import EdgeServer
from consensus.server.host import Timer


class Witness(Protocol):
    """An observer of all messages and blocks of a scenario (`consensus.torture.oracle.monitor`)."""

    def handed_in(self, update: SignedUpdate) -> None:
        """Note an update that a client submits to a server."""

    def timed(self, index: int, timer: Timer) -> None:
        """Note a timer that server ``index`` sets."""

    def said(self, index: int, kind: str, body: Any, to: Collection[int] | None) -> None:
        """Note a message that server ``index`` sends: to all (``to`` is None) or to some."""

    def appended(self, server: EdgeServer, block: Block) -> None:
        """Note a block that a server has appended."""

    def cut(self, server: EdgeServer) -> None:
        """Note that a server is back from a crash, its chain perhaps shorter."""

    def corrupted(self, server: EdgeServer) -> None:
        """Note that a server is malicious from now on."""
