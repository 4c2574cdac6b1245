"""The participants of a run, drawn from its seed: clients' and servers' keys, stakes, the servers'
graph, malicious servers, and the genesis that registers them."""

from __future__ import annotations

from functools import cached_property, partial

import numpy as np

from bfedrec.config.schema import Config
from bfedrec.config.servers import CostSettings, round_trips_of
from bfedrec.federation.global_model import GlobalModel
from bfedrec.federation.run_record import run_record
from bfedrec.streams import Streams
from bfedrec.threads import thread_count
from consensus.adversary.behaviour import Behaviour
from consensus.adversary.groups import assign
from consensus.crypto.ahead import Ahead
from consensus.crypto.suites import Prover, Signer, suite_named
from consensus.crypto.vrf import VrfKey
from consensus.encoding.unixfs import file_cid
from consensus.faults.faults import Faults, fault_from_node
from consensus.network.mesh import Mesh
from consensus.network.peers import Degrees
from consensus.network.topology import Topology, regions_of
from consensus.records.genesis import Genesis, Member, Parameters
from consensus.simulation.host import Costs

KEPT_KEYS = 2**16
"""Signing keys of clients that are kept once they are made; others are made again when they are
needed."""
WORTH_A_PROCESS = 500
"""Proofs and checks of a run, of some 0.2 ms each, below which a process of their own takes longer
to start than they do."""


class Participants:
    """All clients and edge servers of one run."""

    def __init__(self, config: Config, streams: Streams) -> None:
        self._config = config
        self._streams = streams
        self.suite = suite_named(config.crypto)
        self._client_keys: dict[int, Signer] = {}

    @cached_property
    def server_keys(self) -> list[tuple[Signer, Prover]]:
        """Each server's signing key and VRF key, by index."""
        return [
            (
                self.suite.signing_key(self._streams.bytes("keys", 0, index)),
                self.suite.vrf_key(self._streams.bytes("keys", 1, index)),
            )
            for index in range(self._config.servers.count)
        ]

    def helper(self) -> Ahead | None:
        """A process that makes proofs and checks signatures before they are needed, where there is
        a processor for it, and they take real time, more of it than to start a process."""
        config = self._config
        if config.rounds * (config.servers.count + config.clients.per_round) < WORTH_A_PROCESS:
            return None
        provers = [prover for _, prover in self.server_keys]
        if thread_count() < 2 or not all(isinstance(each, VrfKey) for each in provers):
            return None
        try:
            return Ahead(provers)  # type: ignore[arg-type]
        except OSError:
            return None

    def client_key(self, client: int) -> Signer:
        """A client's signing key, made when it is needed and kept while there is room."""
        key = self._client_keys.get(client)
        if key is None:
            key = self.suite.signing_key(self._streams.bytes("keys", 2, client))
            if len(self._client_keys) < KEPT_KEYS:
                self._client_keys[client] = key
        return key

    def genesis(self, model: GlobalModel, sample_counts: np.ndarray) -> Genesis:
        """The genesis: the protocol's constants, every server with its stake, every client with its
        N_u (``sample_counts``, int64[M]), the initial model, and the run: its config's digest and
        its policy of retention."""
        committee, incentives = self._config.committee, self._config.ledger.incentives
        parameters = Parameters(
            protocol=self._config.protocol,
            crypto=self._config.crypto,
            committee=committee.kind,
            committee_size=committee.size,
            max_step=committee.max_step,
            vote_us=_microseconds(committee.vote_seconds),
            ticket_us=_microseconds(committee.ticket_seconds),
            update_us=_microseconds(committee.update_seconds),
            quota=max(1, round(committee.update_quota * self._messages())),
            settle_us=round(committee.settle_seconds * 1e6),
            recovery_us=round(committee.recovery_seconds * 1e6),
            resend_us=_microseconds(committee.resend_seconds),
        )
        return Genesis(
            parameters,
            tuple(
                Member(signing.public, vrf.public, stake)
                for (signing, vrf), stake in zip(self.server_keys, self.stakes(), strict=True)
            ),
            tuple(
                (self.client_key(client).public, int(samples))
                for client, samples in enumerate(sample_counts)
            ),
            file_cid(model.encode()),
            model.describe(),
            run=run_record(self._config),
            incentives=incentives.rule(sum(self.stakes())) if incentives.on else None,
        )

    def _messages(self) -> int:
        """The updates that a height's clients sign: one each; under masks a setup each, and a
        masked update and shares of those that stay."""
        clients = self._config.clients
        if not self._config.aggregation.secure:
            return clients.per_round
        return clients.per_round + 2 * clients.present

    def stakes(self) -> list[int]:
        """Every server's stake."""
        return self._config.servers.stakes(self._streams.generator("stake"))

    def malicious(self) -> dict[int, Behaviour]:
        """The behaviours of the malicious servers, by index."""
        servers = self._config.servers
        return assign(
            servers.malicious,
            servers.count,
            self.stakes(),
            self.regions(),
            self._streams.generator("malicious"),
        )

    def regions(self) -> list[int]:
        """The region of every server."""
        servers = self._config.servers
        order = {name: index for index, name in enumerate(dict.fromkeys(servers.placed))}
        places = [order[name] for name in servers.placed]
        return [places[turn] for turn in regions_of(servers.count, len(places))]

    def region_names(self) -> tuple[str, ...]:
        """The names of the regions, by number."""
        return tuple(dict.fromkeys(self._config.servers.placed))

    def malicious_stake_share(self) -> float:
        """Share of the stake that malicious servers hold, by which sortition draws them."""
        stakes = self.stakes()
        return sum(stakes[index] for index in self.malicious()) / sum(stakes)

    def faults(self) -> Faults | None:
        """The run's faults, with the servers they strike drawn; None without faults."""
        if not self._config.faults:
            return None
        return Faults(
            [fault_from_node(node) for node in self._config.faults],
            self._config.servers.count,
            self._streams.generator("faults"),
        )

    def topology(self) -> Topology:
        """The servers' graph."""
        servers = self._config.servers
        if servers.round_trips:
            matrix = round_trips_of(servers.round_trips)
            indices = [matrix.regions.index(name) for name in self.region_names()]
            return Topology.measured(
                np.array(self.regions(), np.int64),
                matrix.seconds(indices, servers.latency_ms_within),
                servers.links_per_server,
            )
        return Topology.generate(
            self._streams.generator("topology"),
            servers.count,
            servers.regions,
            servers.links_per_server,
            servers.latency_ms_within,
            servers.latency_ms_between,
        )

    def mesh(self) -> Mesh | None:
        """The mesh over which servers gossip; None for trees."""
        servers = self._config.servers
        if servers.gossip == "tree":
            return None
        degrees = Degrees(servers.mesh_degree, servers.lazy_degree)
        draws = partial(self._streams.generator, "gossip")
        return Mesh(draws, degrees, servers.heartbeat_ms / 1000.0)


def unit_costs(costs: CostSettings) -> Costs:
    """The config's unit costs as the world charges them. Checking an update is verifying its
    signature and hashing its payload."""
    return Costs(
        {
            "sign": costs.sign,
            "verify": costs.verify,
            "vrf_prove": costs.vrf_prove,
            "vrf_verify": costs.vrf_verify,
            "check_update": costs.verify,
            "hash": 0.0,
            "aggregate": 0.0,
            "store_put": costs.store_put,
            "store_get": costs.store_get,
        },
        {
            "check_update": costs.hash_per_mib,
            "hash": costs.hash_per_mib,
            "aggregate": costs.aggregate_per_mib,
            "store_put": costs.store_put_per_mib,
            "store_get": costs.store_get_per_mib,
        },
    )


def _microseconds(seconds: float) -> int:
    return max(1, round(seconds * 1e6))
