"""Rounds of the committee ledger: every merchant is a server and a client of its own server.

A merchant's model is its update's payload, as the contract's merchants publish it; the ledger's
aggregate is computed by the same rule. Servers have equal stake and all sit in the committee.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np

from bfedrec.config.servers import CommitteeSettings, CostSettings, ServerSettings
from bfedrec.federation.participants import unit_costs
from bfedrec.learning.upload import Diverged
from bfedrec.merchants.model import PayloadError
from bfedrec.merchants.systems.record import Caught, Played, lies_in
from bfedrec.merchants.systems.shops import Result, Shops
from consensus.adversary.behaviour import Behaviour, Circle, behaviour
from consensus.adversary.composed import Composed
from consensus.application import Contents
from consensus.crypto.suites import suite_named
from consensus.encoding.cid import cid_text
from consensus.encoding.unixfs import file_cid
from consensus.ledger.updates import SignedUpdate
from consensus.network.topology import Topology
from consensus.protocols.registry import DEFAULT
from consensus.records.evidence import Evidence
from consensus.records.genesis import Genesis, Member, Parameters
from consensus.records.update import UpdateRecord
from consensus.registry import Registry
from consensus.simulation.accounts import evidence_between
from consensus.simulation.results import Arrival, Forked, HeightResult, Stalled
from consensus.simulation.spec import WorldSpec
from consensus.simulation.world import World

ATTEMPTS: Final = 20
"""Committees after which a height is given up."""
PATIENCE: Final = 3600.0
"""Simulated seconds after which it is given up as well."""

OWN: Registry[type[Behaviour]] = Registry("behaviour")
SERVERS: Final = {
    "silence": ("silent",),
    "replay": ("stale", "replay_tickets"),
    "twice": ("equivocate_candidates", "equivocate_votes"),
}
"""The behaviours of the liar's server, by lie; under the other lies but `average` it is honest."""


@behaviour("false_average", registry=OWN)
class FalseAverage(Behaviour):
    """Proposes its own model as the aggregate, approves of that, and of nothing else."""

    model = b""
    """The payload of its model of this height."""

    def contents(self, honest: Contents, generator: np.random.Generator) -> Contents:
        """Its own model."""
        self.act()
        return Contents(self.model, honest.snapshot)

    def verdict(self, honest: bool, draws: Callable[[], np.random.Generator]) -> bool:
        """The contrary."""
        return not honest


class MerchantModels:
    """The ledger's application: the merchants' models and their aggregate."""

    def __init__(self, shops: Shops, rule: str) -> None:
        self._shops, self._rule = shops, rule
        self.starts: tuple[bytes, ...] = (shops.initial,)
        """The models from which rounds began, the open one's last."""

    def check_payload(self, payload: bytes) -> str | None:
        """The reason not to aggregate a model."""
        try:
            self._shops.model(payload)
        except PayloadError as error:
            return str(error)
        return None

    def slot(self, client: int, payload: bytes) -> int | None:
        """The only slot of a merchant's."""
        return 0

    def aggregate(self, payloads: Sequence[bytes], samples: Sequence[int], beacon: bytes) -> bytes:
        """The aggregate, which does not depend on the order."""
        models = list(zip(payloads, samples, strict=True))
        return self._shops.average(self.starts[-1], models, self._rule)

    def snapshot(self, height: int, beacon: bytes, aggregate: bytes) -> bytes | None:
        """Nothing: the aggregate is the whole state."""
        return None

    def commit(self, height: int, beacon: bytes, aggregate: bytes) -> None:
        """Begin the next round from an aggregate."""
        self.starts += (aggregate,)


class Ledger:
    """A ledger of some merchants of whom the last may lie."""

    def __init__(self, shops: Shops, lie: str, rule: str) -> None:
        self._shops, self._lie = shops, lie
        self._application = MerchantModels(shops, rule)
        streams, count = shops.streams, len(shops.names)
        suite = suite_named("real")
        self._clients = [suite.signing_key(streams.bytes("keys", 2, one)) for one in range(count)]
        keys = [
            (
                suite.signing_key(streams.bytes("keys", 0, one)),
                suite.vrf_key(streams.bytes("keys", 1, one)),
            )
            for one in range(count)
        ]
        liar = count - 1
        self._liar: FalseAverage | None = None
        behaviours: dict[int, Behaviour] = {}
        if lie == "average":
            self._liar = FalseAverage()
            self._liar.circle = Circle(frozenset({liar}))
            behaviours[liar] = self._liar
        elif lie in SERVERS:
            behaviours[liar] = Composed(SERVERS[lie], circle=Circle(frozenset({liar})))
        servers = ServerSettings()
        members = [Member(one.public, two.public, 1) for one, two in keys]
        clients = [
            (key.public, shops.samples[name])
            for key, name in zip(self._clients, shops.names, strict=True)
        ]
        self._genesis = Genesis(
            _parameters(count), tuple(members), tuple(clients), file_cid(shops.initial), {}
        )
        latency = servers.latency_ms_between
        self._world = World(
            WorldSpec(
                self._genesis,
                self._application,
                Topology.complete(streams.generator("topology"), count, latency),
                keys,
                behaviours,
                unit_costs(CostSettings()),
                servers.bandwidth_mib_per_s,
                servers.jitter,
                lambda height: streams.generator("latency", height),
                lambda *label: streams.generator("gaussian", *label),
            )
        )
        self._first: list[SignedUpdate] = []

    def play(self, rounds: int) -> Result:
        """Play rounds until one does not end."""
        played: list[Played] = []
        stopped = ""
        caught: tuple[Caught, ...] = ()
        for number in range(1, rounds + 1):
            try:
                played.append(self._round(number))
            except (Stalled, Forked, Diverged) as error:
                stopped = f"{type(error).__name__.lower()}: {error}"
                caught = self._proven(evidence_between(self._world.servers, number, number))
                break
        return Result(tuple(played), stopped, self._application.starts, caught)

    def _round(self, number: int) -> Played:
        arrivals = self._arrivals(number)
        acted = self._liar.acted.total() if self._liar else 0
        begun = time.perf_counter()
        result = self._world.run_height(arrivals, PATIENCE, ATTEMPTS)
        real = time.perf_counter() - begun
        models = [(each.payload, each.record.samples) for each in result.updates]
        names = {
            key.public: name for key, name in zip(self._clients, self._shops.names, strict=True)
        }
        return Played(
            number=number,
            model=cid_text(result.block.header.aggregate_cid),
            right=not result.captured,
            included=tuple(sorted(names[each.record.client] for each in result.updates)),
            simulated_seconds=result.ended - result.began,
            real_seconds=real,
            bytes={f"gossip: {kind}": size for kind, size in sorted(result.gossip_bytes.items())},
            gas=0,
            attempts=result.block.certificate.attempt + 1,
            lied=self._liar.acted.total() > acted if self._liar else lies_in(self._lie, number),
            caught=self._caught(result, acted, len(models)),
        )

    def _caught(self, result: HeightResult, acted: int, models: int) -> tuple[Caught, ...]:
        """Observations of honest servers against the liar after a round."""
        found = list(self._proven(result.evidence))
        found += [
            Caught("honest servers", f"update refused: {reason}")
            for reason in sorted(result.refused)
            if reason in ("stale", "second update") or reason.startswith("model: ")
        ]
        if self._liar is not None and self._liar.acted.total() > acted and not result.captured:
            times = self._liar.acted.total() - acted
            found.append(Caught("honest servers", f"{times} false averages got no quorum"))
        if models < len(self._shops.names) and not found:
            found.append(Caught("the block", "a merchant has no update in it"))
        return tuple(dict.fromkeys(found))

    def _proven(self, evidence: Sequence[Evidence]) -> tuple[Caught, ...]:
        """Observations that two signatures of the liar prove."""
        return tuple(
            dict.fromkeys(
                Caught("honest servers, by evidence", f"two signed {each.phase}s in one view")
                for each in evidence
                if each.server in self._world.behaviours
            )
        )

    # -- updates -----------------------------------------------------------------------------------

    def _arrivals(self, number: int) -> list[Arrival]:
        """The updates of a round: each honest merchant's at its own server; the liar's at all."""
        now, count = self._world.env.now, len(self._shops.names)
        arrivals = []
        for place, name in enumerate(self._shops.names):
            trained = self._shops.train(name, self._application.starts)
            update = self._signed(place, trained.payload, trained.samples)
            sent = [update] if name != self._shops.liar else self._lies(number, place, update)
            for other, one in enumerate(sent):
                if len(sent) == 1 and one is update:
                    to = [place]  # as an honest merchant does
                elif len(sent) == 1:
                    to = list(range(count))
                else:  # two different ones, each to every second server
                    to = list(range(other, count, 2))
                arrivals += [Arrival(now, server, lambda one=one: one) for server in to]  # type: ignore[misc]
        return arrivals

    def _lies(self, number: int, place: int, update: SignedUpdate) -> list[SignedUpdate]:
        """The updates that the liar sends instead of its own."""
        payload, samples = update.payload, update.record.samples
        if self._liar is not None:
            self._liar.model = payload
        if self._lie == "silence":
            return []
        if self._lie == "malformed":
            return [self._signed(place, self._shops.malformed(payload), samples)]
        if self._lie == "garbage":
            return [self._signed(place, self._shops.garbage(number), samples)]
        if self._lie == "twice":
            return [update, self._signed(place, self._application.starts[-1], samples)]
        if self._lie == "replay" and number > 1:
            return self._first
        self._first = self._first or [update]
        return [update]

    def _signed(self, client: int, payload: bytes, samples: int) -> SignedUpdate:
        """A model as an update of the open round."""
        head, key, link = self._world.head, self._clients[client], file_cid(payload)
        chain_id, height = self._genesis.chain_id, head.height + 1
        signature = key.sign(
            UpdateRecord.signing_digest(chain_id, height, head.cid, key.public, samples, link)
        )
        record = UpdateRecord(chain_id, height, head.cid, key.public, samples, link, signature)
        return SignedUpdate(record, payload)


def _parameters(count: int) -> Parameters:
    """The protocol's constants: the project's defaults, with all servers in the committee."""
    committee = CommitteeSettings()
    micro = 1_000_000
    return Parameters(
        protocol=DEFAULT,
        crypto="real",
        committee="fixed",
        committee_size=count,
        max_step=committee.max_step,
        vote_us=round(committee.vote_seconds * micro),
        ticket_us=round(committee.ticket_seconds * micro),
        update_us=round(committee.update_seconds * micro),
        quota=count,
        settle_us=round(committee.settle_seconds * micro),
        recovery_us=round(committee.recovery_seconds * micro),
        resend_us=round(committee.resend_seconds * micro),
    )
