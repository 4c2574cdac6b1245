"""The making of a world's servers and network from its parts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from consensus.crypto.ahead import AheadProver
from consensus.ledger import protocol as ledger
from consensus.ledger.chain import Chain
from consensus.ledger.validity import Head
from consensus.network.clock import Clock
from consensus.network.held import HeldNetwork, HeldTracedNetwork
from consensus.network.mesh import MeshNetwork
from consensus.network.network import Network
from consensus.network.traced import TracedNetwork
from consensus.network.traced_mesh import TracedMeshNetwork
from consensus.records.block import Block
from consensus.server.checks import SharedChecks
from consensus.server.edge_server import EdgeServer
from consensus.server.message import Message
from consensus.simulation.host import WorldHost
from consensus.simulation.spec import WorldSpec
from consensus.simulation.unheard import Judge


class World(Protocol):
    """The part of a world (`consensus.simulation.world.World`) that is there first."""

    env: Clock
    checks: SharedChecks
    protocol: ledger.Protocol
    network: Network
    hosts: list[WorldHost]
    servers: list[EdgeServer]

    def is_up(self, index: int) -> bool:
        """True if server ``index`` is running."""
        ...


def make_network(
    world: World, spec: WorldSpec, receive: Callable[[int, Message, int], float | None]
) -> Network:
    """The network of a world, which hands messages to ``receive``."""
    parts = world.env, spec.topology, spec.bandwidth_mib_per_s, spec.jitter, receive, spec.faults
    held, book, is_up = spec.schedule, spec.book, world.is_up
    if held is not None and book is not None:
        return HeldTracedNetwork(*parts, book=book, is_up=is_up, holding=held)
    if held is not None:
        return HeldNetwork(*parts, holding=held)
    if spec.mesh is not None and book is not None:
        return TracedMeshNetwork(*parts, book=book, is_up=is_up, mesh=spec.mesh)
    if spec.mesh is not None:
        return MeshNetwork(*parts, mesh=spec.mesh, is_up=is_up)
    if book is not None:
        return TracedNetwork(*parts, book=book, is_up=is_up)
    if not spec.compiled:
        return Network(*parts)
    from consensus.network.compiled import CompiledNetwork  # loads the compiler

    return CompiledNetwork(*parts, unheard=Judge(world))


def make_servers(
    world: World, spec: WorldSpec, blocks: Sequence[Block], heads: Sequence[Head]
) -> list[EdgeServer]:
    """The servers of a world, which stand at these blocks and heads."""
    genesis, ahead = spec.genesis, spec.ahead
    participant = world.protocol.participant_class()
    heads = heads or [world.protocol.first_head(genesis)]
    servers = [
        EdgeServer(
            index,
            signer,
            prover if ahead is None else AheadProver(ahead, index, prover.public),
            Chain(genesis, world.protocol, blocks, heads),
            world.checks,
            world.hosts[index],
            participant,
            spec.behaviours.get(index),
        )
        for index, (signer, prover) in enumerate(spec.keys)
    ]
    for server in servers:
        server.hear_through(world.network.inbox(server.index))
    return servers
