"""The state of a world between two heights, beyond its chain and its clock: the servers that have
less than that chain, the servers that hold contents which others may still ask for, and the queues
that are not empty. A resumed run begins with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Any, Self

from consensus.encoding.node import Node
from consensus.records.block import Block
from consensus.server.edge_server import EdgeServer
from consensus.server.settling import Gathered
from consensus.simulation.content_providers import Providers

if TYPE_CHECKING:  # a config is read, and a run's pages are shown, without the network's SciPy
    from consensus.network.network import Backlog


@dataclass(frozen=True)
class ServerStanding:
    """The state of a server that has less than the whole chain, or may lose some of it in a
    crash."""

    index: int
    height: int
    """Height of its own chain."""
    written: int
    """Height up to which its chain survives a crash (`EdgeServer.written_height`)."""
    lacking: tuple[int, ...]
    """Heights of its chain whose aggregates it does not have yet."""


@dataclass(frozen=True)
class Standing:
    """The state of a world between two heights; empty if every server has the whole chain and none
    may crash."""

    servers: tuple[ServerStanding, ...] = ()
    """By ascending index."""
    holders: tuple[tuple[int, tuple[int, ...]], ...] = ()
    """(height, servers) for each aggregate that some server lacks: the servers that hold it."""
    backlog: tuple[Backlog, ...] = ()
    """The queues that are not free yet, by ascending server."""
    settlements: tuple[tuple[int, Gathered], ...] = ()
    """By ascending server: what it holds that moves stake, beyond what is in the chain."""

    def to_node(self) -> Node:
        """The state as plain lists and numbers, JSON-ready."""
        node: Node = {
            "servers": [[s.index, s.height, s.written, list(s.lacking)] for s in self.servers],
            "holders": [[height, list(servers)] for height, servers in self.holders],
            "backlog": [list(each) for each in self.backlog],
        }
        if self.settlements:
            node["settlements"] = [[index, each.to_node()] for index, each in self.settlements]
        return node

    @classmethod
    def from_node(cls, node: Mapping[str, Any]) -> Self:
        """The state from which `to_node` made ``node``.

        Raises KeyError, TypeError or ValueError if it made none like it.
        """
        return cls(
            tuple(
                ServerStanding(_count(index), _count(height), _count(written), _counts(lacking))
                for index, height, written, lacking in node["servers"]
            ),
            tuple((_count(height), _counts(servers)) for height, servers in node["holders"]),
            # Worlds of before emptied the queues at every height.
            tuple(
                (_count(server), _seconds(egress), _seconds(ingress), _seconds(busy))
                for server, egress, ingress, busy in node.get("backlog", ())
            ),
            tuple(
                (_count(index), Gathered.from_node(gathered))
                for index, gathered in node.get("settlements", ())
            ),
        )

    def check(self, servers: int, height: int) -> None:
        """Raise ValueError for servers or heights that a world of ``servers`` at ``height`` does
        not have."""
        names = [server.index for server in self.servers]
        names += [server for _, holding in self.holders for server in holding]
        names += [server for server, *_ in self.backlog]
        names += [server for server, _ in self.settlements]
        heights = [max(s.height, s.written, *s.lacking, 0) for s in self.servers]
        heights += [at for at, _ in self.holders]
        if max(names, default=0) >= servers or max(heights, default=0) > height:
            raise ValueError(f"there are {servers} servers, and {height} heights")


def standing_of(
    servers: Sequence[EdgeServer],
    agreed: Sequence[Block],
    providers: Providers,
    backlog: tuple[Backlog, ...],
    needed_after: int,
    faulty: bool,
) -> Standing:
    """The state of a world between two heights: which servers stand elsewhere than at the last of
    the ``agreed`` blocks, and who holds the aggregates after height ``needed_after``; of all
    servers if there are faults. ``backlog``: of the network's queues."""
    height = len(agreed)
    found, wanted = [], set(range(needed_after + 1, height + 1))
    for index, server in enumerate(servers):
        own, links = server.chain.height, server.lacking
        missing = (b for b in agreed if b.header.aggregate_cid in links)
        lacking = [b.height for b in missing] if links else []
        if own < height or lacking or faulty:
            found.append(ServerStanding(index, own, server.written_height(), tuple(lacking)))
            wanted.update(lacking)
    holders = (
        (at, tuple(sorted(providers.holders(agreed[at - 1].header.aggregate_cid))))
        for at in sorted(wanted)
    )
    gathered = ((server.index, server.settling.gathered()) for server in servers)
    settlements = tuple((index, each) for index, each in gathered if each is not None)
    return Standing(tuple(found), tuple(holders), backlog, settlements)


def restore(
    standing: Standing,
    servers: Sequence[EdgeServer],
    agreed: Sequence[Block],
    providers: Providers,
    content: Callable[[bytes], bytes],
) -> None:
    """Give servers and providers the state that `standing_of` told of an earlier world."""
    aggregates = [block.header.aggregate_cid for block in agreed]
    for server in standing.servers:
        servers[server.index].resume(
            server.height, server.written, {aggregates[at - 1]: at for at in server.lacking}
        )
    for index, settlement in standing.settlements:
        servers[index].settling.resume(settlement)
    for at, holders in standing.holders:
        providers.restore(aggregates[at - 1], content(aggregates[at - 1]), at, holders)


def _count(value: object) -> int:
    if type(value) is not int or value < 0:
        raise ValueError("expected a number from 0")
    return value


def _seconds(value: object) -> float:
    if type(value) is not float or not 0.0 <= value < inf:
        raise ValueError("expected simulated seconds")
    return value


def _counts(values: object) -> tuple[int, ...]:
    if not isinstance(values, list):
        raise ValueError("expected a list of numbers")
    return tuple(map(_count, values))
