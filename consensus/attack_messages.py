"""Attacks by what is said or not said, whatever the vote."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from consensus.behaviour import Behaviour, Outgoing, behaviour

if TYPE_CHECKING:
    from consensus.edge_server import EdgeServer


@behaviour("silent")
class Silent(Behaviour):
    """Says nothing, relays nothing, provides nothing."""

    relays = False
    provides = False

    def takes(self, server: EdgeServer, client: bytes) -> bool:
        return False

    def outgoing(self, server: EdgeServer, message: Outgoing) -> Iterable[Outgoing]:
        return ()


@behaviour("withhold")
class Withhold(Behaviour):
    """Proposes and votes, but keeps what its proposals are made of: it hands on no update of its
    clients, provides no content, and answers nobody who asks."""

    provides = False

    def hears(self, server: EdgeServer, kind: str, body: Any, sender: int) -> bool:
        return kind not in ("want", "status")

    def outgoing(self, server: EdgeServer, message: Outgoing) -> Iterable[Outgoing]:
        return () if message.kind == "update" else (message,)
