"""Accounts of a height, computed from the servers that played it: committee weights, evidence and
refusals."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from consensus.adversary.behaviour import Behaviour
from consensus.faults.faults import Faults
from consensus.ledger.committee import Committee
from consensus.ledger.updates import SignedUpdate
from consensus.ledger.validity import Head
from consensus.network.network import Network
from consensus.records.block import Block
from consensus.records.evidence import Evidence
from consensus.server.checks import SharedChecks
from consensus.server.edge_server import EdgeServer
from consensus.simulation.results import Forked, HeightResult, Stalled


class Spent(NamedTuple):
    """The messages of a world since it began, or of one height."""

    bytes: Counter[str]
    """Bytes between servers by kind of message, every hop counted."""
    messages: int
    refused: Counter[str]
    """Number of messages that honest servers refused, by reason."""
    duplicates: Counter[str]
    """``messages`` and ``bytes`` of gossip that came to servers which had it (`Network`)."""
    delay: float = 0.0
    """Greatest delay between honest servers, in seconds (`greatest_delay`); of the height alone."""

    def since(self, before: Spent) -> Spent:
        """The part that came after ``before``."""
        return Spent(
            self.bytes - before.bytes,
            self.messages - before.messages,
            self.refused - before.refused,
            self.duplicates - before.duplicates,
            self.delay,
        )


def spent_so_far(network: Network, messages: int, servers: Sequence[EdgeServer]) -> Spent:
    """The account of a world of these ``servers``, which have sent so many messages."""
    delay = greatest_delay(servers, network.delays)
    twice = network.duplicates.copy()
    return Spent(network.bytes.copy(), messages, refusals(servers), twice, delay)


Weights = tuple[tuple[int, int], ...]
"""(malicious weight, total weight) of each committee, by attempt."""


def weights_foreseen(
    checks: SharedChecks, malicious: Mapping[int, Behaviour], head: Head, attempts: int
) -> Weights:
    """The weights of the committees of a height's first ``attempts``, of which there is one where
    it stands; empty under a protocol whose committees are not known beforehand. Of the malicious
    servers those count that misbehave at this height."""
    if not checks.protocol.committees_foreseen:
        return ()
    if checks.protocol.committee_stands:  # a third of it can take the others to any attempt
        attempts = min(attempts, 1)
    return tuple(
        _weigh(checks.sortition(checks.genesis, head, attempt).committee, malicious)
        for attempt in range(attempts)
    )


def weights_deciding(
    checks: SharedChecks, malicious: Mapping[int, Behaviour], head: Head, block: Block
) -> Weights:
    """The weights of the committees up to the one that decided ``block``; of that one alone under a
    protocol whose committees are not known beforehand."""
    if checks.protocol.committees_foreseen:
        return weights_foreseen(checks, malicious, head, block.certificate.attempt + 1)
    return (_weigh(checks.protocol.voters(checks.genesis, head, block), malicious),)


def _weigh(committee: Committee, malicious: Mapping[int, Behaviour]) -> tuple[int, int]:
    acting = (server for server, behaviour in malicious.items() if behaviour.acting)
    return committee.weight_of(acting), committee.total


def evidence_between(servers: Sequence[EdgeServer], first: int, last: int) -> tuple[Evidence, ...]:
    """Evidence that honest servers hold against others at the heights from ``first`` to ``last``,
    each piece once."""
    found: dict[tuple[str, int, int], Evidence] = {}
    for server in servers:
        if server.behaviour is None:
            found |= {key: each for key, each in server.evidence.items() if first <= key[1] <= last}
    return tuple(found[key] for key in sorted(found))


def updates_listed(
    servers: Sequence[EdgeServer], block: Block, digests: tuple[bytes, ...]
) -> tuple[SignedUpdate, ...]:
    """The updates of ``block``, in the order of the ``digests`` that its candidate lists.

    Raises AssertionError if no server holds all of them.
    """
    for server in servers:
        found = server.pool.pick(digests)
        if found is not None:
            return tuple(found)
    raise AssertionError(f"height {block.height}: no server holds the block's updates")


def kept(
    first: Block | None,
    block: Block,
    servers: Sequence[EdgeServer],
    appended: Collection[int],
    index: int,
) -> Block:
    """The one of the height's ``first`` block and the ``block`` that server ``index`` has appended
    whose certificate is kept; the servers in ``appended`` have one already. Raises `Forked` if the
    blocks differ.

    It is the first one; where signatures earn stake, the first of an honest server: a malicious one
    may have signed what it showed nobody.
    """
    if first is None:
        return block
    if block.cid != first.cid:
        raise Forked(block.height, first.cid, block.cid)
    if not servers[index].gathering.on or servers[index].behaviour is not None:
        return first
    return first if any(servers[each].behaviour is None for each in appended) else block


def with_stakes(
    result: HeightResult, servers: Sequence[EdgeServer], head: Head, malicious: Collection[int]
) -> HeightResult:
    """The result of a height with the stake of its ``head``, if stake moves; the ``servers`` that
    have its block keep the same certificate of it."""
    stakes = head.stakes
    if stakes is None:
        return result
    for server in servers:
        if server.chain.height == head.height:
            server.chain.keep(result.block)
    theirs = sum(stakes.held[server] for server in malicious)
    return replace(result, stakes=stakes, malicious_stake=theirs)


def behind(servers: Sequence[EdgeServer], head: int) -> dict[int, int]:
    """Heights of the honest servers that are below the height ``head``, by server."""
    return {
        server.index: server.chain.height
        for server in servers
        if server.behaviour is None and server.chain.height < head
    }


def needed_after(servers: Sequence[EdgeServer], head: int, faults: Faults | None) -> int:
    """The height after which an honest server may still need the aggregates of blocks, where the
    chain is at height ``head``; a crash by ``faults`` takes some."""
    honest = (server.chain.height for server in servers if server.behaviour is None)
    tail = 0 if faults is None else faults.lost_tail
    return max(0, min(honest, default=head) - tail)


def furthest_chain(servers: Sequence[EdgeServer]) -> EdgeServer:
    """The first server with the longest chain."""
    return max(servers, key=lambda server: server.chain.height)


def bring_along(malicious: Collection[int], servers: Sequence[EdgeServer], head: int) -> None:
    """Append the agreed blocks, up to the height ``head``, to the chains of malicious servers
    (catching up is not simulated)."""
    ahead = furthest_chain(servers).chain
    for server in (servers[index] for index in malicious):
        for block in ahead.blocks[server.chain.height : head]:
            server.chain.append(block, server.checks.block)


def refusals(servers: Sequence[EdgeServer]) -> Counter[str]:
    """Number of messages that honest servers have refused, by reason."""
    total: Counter[str] = Counter()
    for server in servers:
        if server.behaviour is None:
            for refused in (server.refused, server.pool.rejected):
                if refused:
                    total.update(refused)
    return total


def greatest_delay(servers: Sequence[EdgeServer], delays: Sequence[float]) -> float:
    """The greatest time, in seconds, from when an honest server said a message until an honest one
    took it in, of those that each took in latest (`consensus.network.network.Network.delays`)."""
    return max(
        (delay for server, delay in zip(servers, delays, strict=True) if server.behaviour is None),
        default=0.0,
    )


def furthest(servers: Sequence[EdgeServer]) -> EdgeServer:
    """The server at the latest view of the height, among the honest ones if there are any."""
    honest = [server for server in servers if server.behaviour is None] or servers
    return max(honest, key=lambda server: server.stage())


def stalled(
    servers: Sequence[EdgeServer],
    height: int,
    waited: float,
    done: int,
    weigh: Callable[[int], Weights],
) -> Stalled:
    """The error of a height that ``done`` of the servers have decided after ``waited`` seconds;
    ``weigh`` gives the committees' weights up to an attempt (`weights_foreseen`)."""
    ahead = furthest(servers)
    stage, predicament = ahead.stage(), ahead.predicament()
    pools = [len(server.pool) for server in servers]
    without = sum(bool(server.lacking) for server in servers)
    lacking = f", {without} lack an aggregate" if without else ""
    return Stalled(
        f"height {height}: after {waited:g} simulated seconds {done} of {len(servers)} servers "
        f"have a block{lacking} (attempt {stage[0]}, step {stage[1]}, {min(pools)}-{max(pools)} "
        f"updates in the pools, quota {ahead.parameters.quota})"
        + (predicament and f": {predicament}"),
        height,
        stage[0] + 1,
        weigh(stage[0] + 1),
    )
