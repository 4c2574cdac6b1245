"""A toy federation for the ledger's tests: tiny payloads, the same servers, keys and clock."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from consensus.adversary.behaviour import Behaviour
from consensus.adversary.delays import Schedule
from consensus.crypto.ahead import Ahead
from consensus.crypto.keys import derive_seed
from consensus.crypto.suites import suite_named
from consensus.encoding.unixfs import file_cid
from consensus.faults.faults import Faults
from consensus.ledger.updates import SignedUpdate
from consensus.ledger.validity import Head
from consensus.network.mesh import Mesh
from consensus.network.topology import Topology
from consensus.network.traced import Book
from consensus.records.genesis import Genesis, Incentives, Member, Parameters, Run
from consensus.records.update import UpdateRecord
from consensus.simulation.accounts import furthest_chain
from consensus.simulation.host import Costs
from consensus.simulation.observer import UNSEEN, Observer
from consensus.simulation.results import Arrival, HeightResult
from consensus.simulation.spec import WorldSpec
from consensus.simulation.world import World

PAYLOAD_BYTES = 8
COSTS = Costs(
    {
        "sign": 5e-5,
        "verify": 1e-4,
        "vrf_prove": 5e-4,
        "vrf_verify": 8e-4,
        "aggregate": 0.0,
        "hash": 0.0,
        "check_update": 1e-4,
        "store_put": 5e-3,
        "store_get": 5e-3,
    },
    {"aggregate": 2e-3, "hash": 1e-3, "check_update": 1e-3, "store_put": 1e-2, "store_get": 1e-2},
)


class ToyApplication:
    """Payloads are two float32; the aggregate is their sample-weighted mean."""

    def __init__(self) -> None:
        self.committed: list[bytes] = []

    def check_payload(self, payload: bytes) -> str | None:
        if len(payload) != PAYLOAD_BYTES:
            return "shape"
        return None if np.isfinite(np.frombuffer(payload, "<f4")).all() else "not finite"

    def slot(self, client: int, payload: bytes) -> int | None:
        return 0

    def aggregate(
        self, payloads: Sequence[bytes], samples: Sequence[int], beacon: bytes = b""
    ) -> bytes:
        values = np.array([np.frombuffer(payload, "<f4") for payload in payloads], np.float64)
        weights = np.array(samples, np.float64)
        mean = (values * weights[:, None]).sum(axis=0) / weights.sum()
        return mean.astype("<f4").tobytes()

    def use(self, groups: Sequence[Sequence[bytes]], beacon: bytes) -> Sequence[int]:
        numbers = [[int(np.frombuffer(each, "<f4")[1]) for each in group] for group in groups]
        return [1000 * sum(1 + number for number in group) for group in numbers]

    def snapshot(self, height: int, beacon: bytes, aggregate: bytes) -> bytes | None:
        return None

    def commit(self, height: int, beacon: bytes, aggregate: bytes) -> None:
        self.committed.append(aggregate)


class Toy:
    """A world of ``servers`` with ``clients`` that all send an update every height."""

    def __init__(
        self,
        servers: int = 7,
        clients: int = 5,
        seed: int = 0,
        malicious: dict[int, Behaviour] | None = None,
        stakes: Sequence[int] | None = None,
        faults: Faults | None = None,
        continues: World | None = None,
        run: Run | None = None,
        topology: Topology | None = None,
        observer: Observer = UNSEEN,
        compiled: bool = True,
        helped: bool = False,
        schedule: Schedule | None = None,
        book: Book | None = None,
        mesh: Mesh | None = None,
        meets_every: int = 1,
        foresee: Callable[[Head, bytes], None] | None = None,
        **parameters: object,
    ) -> None:
        """``parameters`` are the genesis'. A world goes on from the one that it ``continues``."""
        master = seed.to_bytes(32, "big")
        suite = suite_named(str(parameters.get("crypto", "real")))
        self.keys = [
            (
                suite.signing_key(derive_seed(master, "server", index)),
                suite.vrf_key(derive_seed(master, "vrf", index)),
            )
            for index in range(servers)
        ]
        self.clients = [
            suite.signing_key(derive_seed(master, "client", index)) for index in range(clients)
        ]
        self.genesis = self._genesis(stakes or [1] * servers, parameters, run)
        self.application = ToyApplication()
        if topology is None:
            topology = Topology.generate(np.random.default_rng(seed), servers, 2, 2, 5.0, 40.0)
        self.ahead = Ahead([prover for _, prover in self.keys]) if helped else None
        ahead = None if continues is None else furthest_chain(continues.servers).chain
        spec = WorldSpec(
            self.genesis,
            self.application,
            topology,
            self.keys,
            {} if malicious is None else malicious,
            COSTS,
            bandwidth_mib_per_s=12.5,
            jitter=0.1,
            network_stream=lambda height: np.random.default_rng([seed, 1, height]),
            randomness=lambda *label: np.random.default_rng([seed, 2, *map(abs, label)]),
            faults=faults,
            observer=observer,
            compiled=compiled,
            schedule=schedule,
            book=book,
            ahead=self.ahead,
            mesh=mesh,
            meets_every=meets_every,
            foresee=foresee,
        )
        now = 0.0 if continues is None else continues.env.now
        stands = {} if ahead is None else {"blocks": ahead.blocks, "heads": ahead.heads}
        self.world = World(spec, now=now, **stands)  # type: ignore[arg-type]
        if continues is not None:
            held = continues.providers
            self.world.restore(
                continues.standing(), lambda link: held.get(min(held.holders(link)), link) or b""
            )

    def _genesis(
        self,
        stakes: Sequence[int],
        parameters: dict[str, object],
        run: Run | None,
    ) -> Genesis:
        """The genesis of these servers and clients; ``parameters`` replace the usual ones."""
        values: dict[str, object] = {
            "protocol": "bft",
            "crypto": "real",
            "committee": "fixed",
            "committee_size": len(self.keys),
            "max_step": 3,
            "vote_us": 2_000_000,
            "ticket_us": 500_000,
            "update_us": 20_000_000,
            "quota": len(self.clients),
            "settle_us": 500_000,
            "recovery_us": 10_000_000,
            "resend_us": 2_000_000,
        }
        values.update(parameters)
        incentives = values.pop("incentives", None)
        assert incentives is None or isinstance(incentives, Incentives)
        return Genesis(
            Parameters(**values),  # type: ignore[arg-type]
            tuple(
                Member(signing.public, vrf.public, stake)
                for (signing, vrf), stake in zip(self.keys, stakes, strict=True)
            ),
            tuple((key.public, 10 + index) for index, key in enumerate(self.clients)),
            file_cid(b"initial"),
            {},
            run=run,
            incentives=incentives,
        )

    def update(
        self, client: int, value: float = 1.0, samples: int | None = None, **changes: object
    ) -> SignedUpdate:
        """A signed update for the next height; ``changes`` replace fields before it is signed."""
        payload = np.array([value, client], "<f4").tobytes()
        head = self.world.head
        fields: dict[str, object] = {
            "chain_id": self.genesis.chain_id,
            "height": head.height + 1,
            "parent": head.cid,
            "client": self.clients[client].public,
            "samples": 10 + client if samples is None else samples,
            "payload": file_cid(payload),
        }
        fields.update(changes)
        signature = self.clients[client].sign(UpdateRecord.signing_digest(**fields))  # type: ignore[arg-type]
        return SignedUpdate(UpdateRecord(**fields, signature=signature), payload)  # type: ignore[arg-type]

    def play(self, patience: float = 200.0) -> HeightResult:
        """One height with one honest update of every client."""
        now = self.world.env.now
        arrivals = []
        for client in range(len(self.clients)):
            update = self.update(client, value=float(self.world.head.height))
            server = client % len(self.keys)
            arrivals.append(
                Arrival(now + 0.1 + 0.01 * client, server, lambda update=update: update)
            )
        return self.world.run_height(arrivals, patience)
