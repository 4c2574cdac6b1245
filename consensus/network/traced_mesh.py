"""The network with gossip over a mesh whose every delivery is noted.

A gossiped message has a delivery for each copy of it that is pushed, or sent as it was asked for.
Only the first copy that comes to a server whole is received; the others are lost as what comes
"again". Control messages (`consensus.network.mesh.CONTROL`) are numbered as all others are.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from consensus.network.mesh import MeshNetwork, _Post
from consensus.network.traced import TracedNetwork
from consensus.server.message import Message


class TracedMeshNetwork(TracedNetwork, MeshNetwork):
    """A `MeshNetwork` that writes a book of all deliveries."""

    def _out_of_reach(
        self, origin: int, recipients: Collection[int], message: Message
    ) -> list[int]:
        """Nobody, for gossip: whom no copy comes to has no delivery of the message."""
        return [] if message.gossiped else super()._out_of_reach(origin, recipients, message)

    def _emit(
        self, server: int, peers: Sequence[int], message: Message, post: _Post | None, at: float
    ) -> None:
        """Send ``message`` over links (`MeshNetwork._emit`); number a control message."""
        if peers and post is None:
            self._number(message)
        super()._emit(server, peers, message, post, at)

    def _hand_over(self, delivery: Any) -> None:
        """Note the end of a delivery that no server's protocol is handed."""
        super()._hand_over(delivery)
        if delivery.place not in self._on_their_way:
            return
        _, server, _, _, tag = delivery
        self._took_in = None
        if not self._is_up(server):
            self._end(delivery.place, lost="down")
        else:
            self._end(delivery.place, lost=None if tag[1] is None else "again")
