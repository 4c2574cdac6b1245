"""The fixed parts of all scenarios: keys, costs, link latencies and a tiny application."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from functools import lru_cache, partial
from hashlib import sha256
from math import isfinite

import numpy as np

from consensus.crypto.keys import derive_seed
from consensus.crypto.suites import MODELLED, Prover, Signer
from consensus.encoding.unixfs import file_cid
from consensus.network.mesh import Mesh
from consensus.network.peers import Degrees
from consensus.network.topology import Topology
from consensus.records.genesis import MILLION, Genesis, Incentives, Member, Parameters
from consensus.simulation.host import Costs
from consensus.torture.arena.scenario import Scenario

PAYLOAD = struct.Struct("<2f")
_MASTER = b"torture"

COSTS = Costs(
    {
        "sign": 5e-5,
        "verify": 1e-4,
        "vrf_prove": 5e-4,
        "vrf_verify": 5e-4,
        "aggregate": 1e-3,
        "hash": 1e-4,
        "check_update": 2e-4,
        "store_put": 5e-3,
        "store_get": 5e-3,
    },
    dict.fromkeys(("aggregate", "hash", "check_update", "store_put", "store_get"), 0.0),
)
#: Units of stake, where it moves, for each one that a scenario gives a server.
UNIT = 1000
#: MiB/s of every server.
BANDWIDTH = 12.5
#: Mean of the exponential factor that stretches a link's latency.
JITTER = 0.1
#: Number of graphs of a kind and size, which scenarios take in turn by their seeds.
GRAPHS = 16


class TinyApplication:
    """An application whose payloads are two float32 and whose aggregate is their mean weighted by
    sample counts, summed in order."""

    def check_payload(self, payload: bytes) -> str | None:
        """Return the flaw of a payload: "shape", "not finite", or None."""
        if len(payload) != PAYLOAD.size:
            return "shape"
        return None if all(map(isfinite, PAYLOAD.unpack(payload))) else "not finite"

    def slot(self, client: int, payload: bytes) -> int | None:
        """The only slot of a client's."""
        return 0

    def aggregate(self, payloads: Sequence[bytes], samples: Sequence[int], beacon: bytes) -> bytes:
        """The aggregate's bytes (`weighted_mean`)."""
        return weighted_mean(payloads, samples)

    def use(self, groups: Sequence[Sequence[bytes]], beacon: bytes) -> Sequence[int]:
        """The use of each group of payloads: the sum of theirs (`tiny_use`)."""
        return [sum(map(tiny_use, group)) for group in groups]

    def snapshot(self, height: int, beacon: bytes, aggregate: bytes) -> bytes | None:
        """No snapshot at any height."""
        return None

    def commit(self, height: int, beacon: bytes, aggregate: bytes) -> None:
        """Raises AssertionError: torture's world commits no aggregate."""
        raise AssertionError("a continuous world commits nothing")


def weighted_mean(payloads: Sequence[bytes], samples: Sequence[int]) -> bytes:
    """sum_u N_u A_u / sum_u N_u in float64, rounded once to float32."""
    first = second = 0.0
    for payload, count in zip(payloads, samples, strict=True):
        a, b = PAYLOAD.unpack(payload)
        first += a * count
        second += b * count
    total = float(sum(samples))
    return PAYLOAD.pack(first / total, second / total)


def tiny_use(payload: bytes) -> int:
    """The use of a payload, in parts of a million: any number that follows from it, as torture asks
    who is paid, and not whether use is measured well."""
    return int.from_bytes(sha256(payload).digest()[:4], "big") % (MILLION + 1)


def stream(seed: int, which: int, *server: int) -> np.random.Generator:
    """A stream of a scenario's randomness, or of one of its servers' (number ``which``)."""
    seeds = np.random.SeedSequence((seed, which), spawn_key=server)
    return np.random.Generator(np.random.PCG64(seeds))


@lru_cache(maxsize=256)
def server_keys(index: int) -> tuple[Signer, Prover]:
    """The signing key and VRF key of a server; the same in every scenario."""
    return (
        MODELLED.signing_key(derive_seed(_MASTER, "server", index)),
        MODELLED.vrf_key(derive_seed(_MASTER, "vrf", index)),
    )


@lru_cache(maxsize=256)
def client_key(index: int) -> Signer:
    """The signing key of a client; the same in every scenario."""
    return MODELLED.signing_key(derive_seed(_MASTER, "client", index))


def registered_samples(client: int) -> int:
    """The N_u of a client that the genesis records."""
    return 10 + client


@lru_cache(maxsize=1024)
def graph(kind: str, servers: int, latency: float, which: int) -> Topology:
    """Graph number ``which`` of a kind, with link latencies around ``latency`` milliseconds."""
    generator = np.random.default_rng((servers, which))
    if kind == "complete":
        return Topology.complete(generator, servers, latency)
    if kind == "ring":
        return Topology.ring(generator, servers, latency)
    return Topology.generate(generator, servers, 2, 2, latency, 2 * latency)


def graph_of(scenario: Scenario) -> Topology:
    """The graph of a scenario's servers."""
    return graph(scenario.topology, scenario.servers, scenario.latency, scenario.seed % GRAPHS)


def mesh_of(scenario: Scenario) -> Mesh | None:
    """The mesh of a scenario's servers: sparser than usual, as they are few; None for trees."""
    if scenario.gossip == "tree":
        return None
    draws = partial(stream, scenario.seed, 9)
    return Mesh(draws, Degrees(degree=3, lazy=2), heartbeat=0.25)


def genesis_of(scenario: Scenario) -> Genesis:
    """The genesis of a scenario's chain. It contains the seed, so that no two seeds share
    beacons."""
    keys = [server_keys(index) for index in range(scenario.servers)]
    stake, rule = scenario.stake, None
    if scenario.incentives:
        stake = tuple(UNIT * each for each in stake)
        rule = incentives_of(scenario.seed, sum(stake))
    return Genesis(
        Parameters(
            protocol=scenario.protocol,
            crypto="modelled",
            committee=scenario.committee,
            committee_size=scenario.committee_size,
            max_step=scenario.max_step,
            vote_us=1000 * scenario.vote,
            ticket_us=1000 * scenario.ticket,
            update_us=1000 * scenario.update,
            quota=scenario.quota or scenario.clients,
            settle_us=1000 * scenario.settle,
            recovery_us=1000 * scenario.recovery,
            resend_us=1000 * scenario.resend,
        ),
        tuple(
            Member(signing.public, vrf.public, stake[index])
            for index, (signing, vrf) in enumerate(keys)
        ),
        tuple(
            (client_key(index).public, registered_samples(index))
            for index in range(scenario.clients)
        ),
        file_cid(b"initial"),
        {"seed": scenario.seed},
        incentives=rule,
    )


def incentives_of(seed: int, stake: int) -> Incentives:
    """The rule by which stake moves in the scenario of a seed, of so much stake in all."""
    generator = np.random.default_rng((seed, 10))

    def share(*values: float) -> int:
        return round(MILLION * values[int(generator.integers(len(values)))])

    return Incentives(
        treasury=share(0.0, 0.02, 0.05) * stake // MILLION,
        slash=share(0.1, 0.5, 1.0),
        report=share(0.0, 0.05, 1.0),
        reward=share(0.01, 0.1, 1.0),
        propose=share(0.0, 0.125, 1.0),
        leak=share(0.0, 0.01),
        patience=int(generator.integers(0, 9)),
        window=int(generator.integers(1, 6)),
        use=share(0.0, 0.0, 0.5, 1.0),
    )
