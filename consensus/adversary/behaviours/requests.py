"""Attacks by requests, which cost those who answer more than whoever asks."""

from __future__ import annotations

from itertools import cycle
from typing import TYPE_CHECKING, Any, Final

from consensus.adversary.behaviour import Behaviour, behaviour
from consensus.adversary.toolbox import others
from consensus.records.sync import Fetch, Status, Want

if TYPE_CHECKING:
    from consensus.server.edge_server import EdgeServer

#: Seconds between two requests to all other servers.
INTERVAL: Final = 0.005
#: Requests to all other servers in every view: so many fill more than half a second.
REQUESTS: Final = 120
#: Number of blocks whose models it fetches, ...
BLOCKS: Final = 3
#: ... and how often each.
FETCHES: Final = 10


@behaviour("beg")
class Beg(Behaviour):
    """Asks all servers on and on for the longest answers there are: as one that has nothing of the
    height in progress, no block, or not the last one, that is further than anybody, and that lacks
    every update of a candidate, and the models of that and of the last blocks."""

    compared = False

    def entered(self, server: EdgeServer) -> None:
        mine, everyone = server.chain.height, others(server)
        heights = dict.fromkeys((mine, 0, max(0, mine - 1), mine + 2**32))
        for number, height in zip(range(REQUESTS), cycle(heights), strict=False):
            self.send(server, "status", Status(height, 0, 0), everyone, INTERVAL * number)

    def hears(self, server: EdgeServer, kind: str, body: Any, sender: int) -> bool:
        if kind == "candidate" and self.once(body.header.cid):
            want = Want(server.height, body.updates * 2)
            for number in range(REQUESTS // 4):
                self.send(server, "want", want, others(server), INTERVAL * number)
            blocks = [*server.chain.blocks[-BLOCKS:], body]
            for number, block in enumerate(blocks * FETCHES):
                self.act("fetched")
                fetch = Fetch(block.header.height, block.header.aggregate_cid)
                self.send(server, "fetch", fetch, others(server), INTERVAL * number)
        return True
