"""The parts that a simulated world is built from, held together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from consensus.adversary.behaviour import Behaviour
from consensus.application import Application
from consensus.crypto.suites import Prover, Signer
from consensus.faults.faults import Faults
from consensus.network.topology import Topology
from consensus.records.genesis import Genesis
from consensus.simulation.host import Costs


@dataclass(frozen=True)
class WorldSpec:
    """All that a world is built from, but for the time and the chain that it starts at."""

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
    """Simulated seconds, and seconds per MiB, of what a server does."""
    bandwidth_mib_per_s: float
    """MiB per simulated second of a link."""
    jitter: float
    """Spread of the links' latencies, relative to them."""
    network_stream: Callable[[int], np.random.Generator]
    """The generator of a height's jitter draws, by height."""
    randomness: Callable[..., np.random.Generator]
    """The generator of what a server draws, by the server and further integer labels."""
    faults: Faults | None = None
    """The faults that strike, or None."""
    retry_seconds: float = 2.0
    """Simulated seconds after which a client whose update was not taken tries another server."""
