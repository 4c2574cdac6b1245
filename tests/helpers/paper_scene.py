"""One height under `paper` that several tests look at: its servers and its first messages."""

from __future__ import annotations

from tests.helpers.paper_rig import PaperForge
from tests.helpers.toy import Toy

SERVERS, SEATS, CLIENTS = 12, 3, 3
TOY = Toy(
    servers=SERVERS, clients=CLIENTS, committee_size=SEATS, protocol="paper", crypto="modelled"
)
FORGE = PaperForge(TOY)
SEATED = FORGE.winners[:SEATS]
LOSERS = [server for server in range(SERVERS) if server not in FORGE.winners]
MEMBER = SEATED[-1]
FIRST = FORGE.candidate()
SECOND = FORGE.candidate(aggregator=1)
