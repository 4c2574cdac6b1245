"""The parts of a simulated world, in one record."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from consensus.adversary.behaviour import Behaviour
from consensus.adversary.delays import Schedule
from consensus.application import Application
from consensus.crypto.ahead import Ahead
from consensus.crypto.suites import Prover, Signer
from consensus.faults.faults import Faults
from consensus.ledger.validity import Head
from consensus.network.mesh import Mesh
from consensus.network.topology import Topology
from consensus.network.traced import Book
from consensus.records.genesis import Genesis
from consensus.simulation.host import Costs
from consensus.simulation.observer import UNSEEN, Observer


@dataclass(frozen=True)
class WorldSpec:
    """The parts that a world is built from, except the time and the chain at which it starts."""

    genesis: Genesis
    """The chain's parameters and members."""
    application: Application
    """The application whose aggregates the servers agree on."""
    topology: Topology
    """The servers' links and latencies."""
    keys: Sequence[tuple[Signer, Prover]]
    """The signing key and the VRF key of each server, by its index."""
    behaviours: dict[int, Behaviour]
    """The malicious servers' behaviours, by index."""
    costs: Costs
    """Simulated seconds, and seconds per MiB, of a server's operations."""
    bandwidth_mib_per_s: float
    """Bandwidth of a link, in MiB per simulated second."""
    jitter: float
    """Mean of the random factor that lengthens a link's latency."""
    network_stream: Callable[[int], np.random.Generator]
    """The generator of a height's jitter draws, by height."""
    randomness: Callable[..., np.random.Generator]
    """The generator of a server's random draws, by the server and further integer labels."""
    faults: Faults | None = None
    """The faults of the run, or None."""
    retry_seconds: float = 2.0
    """Simulated seconds after which a client whose update was refused tries another server."""
    observer: Observer = UNSEEN
    """The observer of what happens; it changes nothing."""
    compiled: bool = True
    """Deliver what servers take in unheard in a compiled loop (`consensus.network.compiled`); the
    result is the same without, and later."""
    schedule: Schedule | None = None
    """The adversary that chooses when honest servers receive each other's messages; None for none.
    It is begun by whoever observes the world (`consensus.simulation.adversary`)."""
    book: Book | None = None
    """The book of all deliveries; None for none. With one the network is `TracedNetwork`, and the
    result the same, later."""
    ahead: Ahead | None = None
    """The helper that makes proofs and checks signatures before they are needed; None for none."""
    foresee: Callable[[Head, bytes], None] | None = None
    """Is told of the head after each block, and of the block's aggregate, once the first server has
    it, and before that of those after a candidate that is likely to be decided
    (`consensus.simulation.foresight`): whoever needs them at the next height may begin. Nothing
    that happens depends on it."""
    mesh: Mesh | None = None
    """The mesh over which messages are gossiped (`consensus.network.mesh`); None for the spanning
    tree of shortest paths. A mesh is not compiled, whatever ``compiled`` says."""
    meets_every: int = 1
    """Servers wait for each other after every so many heights: 1 after each; 0 never. In between
    each goes on to its next height as soon as it has decided."""
