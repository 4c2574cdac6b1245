"""The measured use of a block's updates, by the servers whose clients sent them.

Every client has a home server by its number in the genesis, so nobody chooses afterwards to whom an
update counts. docs/incentives.md has the equations, and tells what the measure is good for.
"""

from __future__ import annotations

from collections.abc import Sequence

from consensus.application import Application, MeasuresUse
from consensus.encoding.fields import MalformedRecord
from consensus.ledger.updates import SignedUpdate
from consensus.records.genesis import MILLION, Genesis
from consensus.records.settlement import Uses


def home(client: int, servers: int) -> int:
    """The home server, by index, of a client by its number in the genesis."""
    return client % servers


def most_use(genesis: Genesis, count: int) -> int:
    """The most parts per million that a block of ``count`` updates may give to all servers. Below
    the quota they are fewer, so that nobody gains by leaving others' updates out."""
    quota = genesis.parameters.quota
    return MILLION * min(count, quota) // quota


def uses_of(
    genesis: Genesis, application: Application, updates: Sequence[SignedUpdate], beacon: bytes
) -> Uses:
    """The shares of what a block of ``updates`` pays by use; empty where nothing is paid so.

    Raises `MalformedRecord` for an application that measures no use, and ValueError for updates
    whose use it cannot measure.
    """
    if genesis.incentives is None or not genesis.incentives.use:
        return ()
    if not isinstance(application, MeasuresUse):
        raise MalformedRecord("genesis.incentives.use: the application measures no use of updates")
    servers, most = len(genesis.servers), most_use(genesis, len(updates))
    groups: dict[int, list[bytes]] = {}
    for update in updates:
        server = home(genesis.client_numbers[update.record.client], servers)
        groups.setdefault(server, []).append(update.payload)
    known = sorted(groups)
    scores = application.use([groups[server] for server in known], beacon)
    whole = sum(scores)
    shares = [most * score // whole if whole else 0 for score in scores]
    return tuple((server, share) for server, share in zip(known, shares, strict=True) if share)
