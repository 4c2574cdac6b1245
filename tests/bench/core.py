"""The core benchmarks: those that a release is held to (`make bench`).

Each is a function that sets up, untimed, and returns the work to be timed. Together they cover what
a run, an audit and a torture campaign spend their time on, at a few seconds of processor time in
all; finer ones, and those of whole commands and pages, are in the `test_bench_*` files beside.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, Final

import numpy as np

from bfedrec.compression.registry import CODECS
from bfedrec.config.load import load
from bfedrec.data.prepare import prepare
from bfedrec.evaluation.ranking import evaluate
from bfedrec.federation.federation import Federation
from bfedrec.learning.cohort import train_cohort
from bfedrec.learning.task import TrainingTask
from consensus.adversary.behaviour import Behaviour
from consensus.adversary.composed import Composed
from consensus.audit import audit
from consensus.crypto.suites import REAL
from consensus.encoding.cid import digest
from consensus.storage.sqlite import SqliteStore
from consensus.torture.arena.scenario import Scenario
from consensus.torture.campaign import Plan
from consensus.torture.campaign import play as play_scenarios
from consensus.torture.run import run as run_scenario
from tests.bench import test_bench_codecs as codecs
from tests.bench import test_bench_cohort as cohort
from tests.bench import test_bench_ledger as ledger
from tests.bench import test_bench_metrics as metrics
from tests.bench import test_bench_network as network
from tests.bench.command import ROOT
from tests.helpers.audited import Keeper, build
from tests.helpers.forge import Forge
from tests.helpers.payloads import aggregate, encode_update
from tests.helpers.rules import chain_from
from tests.helpers.toy import Toy

Work = Callable[[], Any]
"""What is timed. Each call does the same amount of work, whatever was done before."""

CORE: Final[dict[str, Callable[[], Work]]] = {}
"""What sets a benchmark up, by the benchmark's name."""


def core(name: str) -> Callable[[Callable[[], Work]], Callable[[], Work]]:
    """Register a benchmark under a name."""

    def register(setting_up: Callable[[], Work]) -> Callable[[], Work]:
        assert name not in CORE
        CORE[name] = setting_up
        return setting_up

    return register


# -- whole rounds ---------------------------------------------------------------------------------


def _federation(*overrides: str) -> Work:
    config = load(ROOT / "experiments" / "quickstart.yaml", list(overrides))
    return Federation(config, prepare(config.data)).play_round


@core("round: quickstart")
def quickstart() -> Work:
    return _federation()


@core("round: quickstart, modelled, a third malicious")
def quickstart_attacked() -> Work:
    malicious = "servers.malicious=[{behaviour: [gaussian, invert_votes], share: 1/3}]"
    return _federation("crypto=modelled", malicious)


# -- the ledger -----------------------------------------------------------------------------------


@core("height: 30 servers")
def height() -> Work:
    return Toy(servers=30, clients=60, committee_size=20).play


@core("height: 100 servers, modelled")
def height_of_100() -> Work:
    return Toy(servers=100, clients=60, committee_size=20, crypto="modelled").play


@core("height: 30 servers, a third malicious")
def height_attacked() -> Work:
    colluding: dict[int, Behaviour] = {
        server: Composed(("gaussian", "invert_votes")) for server in range(10)
    }
    toy = Toy(servers=30, clients=60, committee_size=20, malicious=colluding)
    return partial(toy.play, 1000.0)


@core("check of a block")
def block_check() -> Work:
    toy = Toy(servers=30, clients=2, committee_size=20)
    block, chain = Forge(toy).block(), chain_from(toy.genesis)

    def check() -> None:
        ledger.forget()
        chain.protocol.check_block(toy.genesis, chain.head, block)

    return check


@core("audit: 4 heights")
def audit_of_heights() -> Work:
    toy = Toy(servers=30, clients=60, committee_size=20)
    folder = tempfile.TemporaryDirectory()
    results = [toy.play() for _ in range(4)]
    path = Keeper(Path(folder.name) / "chain.sqlite", toy.genesis).write_all(results)

    def verify(_: object = folder) -> None:  # which is there for as long as the work is
        ledger.forget()
        with SqliteStore(path, read_only=True) as store:
            assert audit(store, build).blocks == 4

    return verify


@core("storage of a round")
def storage() -> Work:
    folder = tempfile.TemporaryDirectory()
    store = SqliteStore(Path(folder.name) / "c.sqlite")
    model, heights = bytes(59_296), count()

    def commit(_: object = folder) -> None:
        height = next(heights)
        with store.transaction():
            store.put(height.to_bytes(8, "big") + model)
            store.put_updates(height, [model] * 60)
            store.put_block(height, bytes(20_000))

    return commit


# -- the network ----------------------------------------------------------------------------------


@core("gossip: 4 servers, 2,000 messages")
def gossip_of_4() -> Work:
    graph = network.topology(4)
    return lambda: network.speak(network.network(graph), 2_000)


@core("gossip: 1,000 servers, 10 messages")
def gossip_of_1000() -> Work:
    graph = network.topology(1000)
    return lambda: network.speak(network.network(graph), 10)


@core("layout of 100 servers")
def layout() -> Work:
    return partial(network.topology, 100)


# -- torture --------------------------------------------------------------------------------------


@core("torture: 10 scenarios, 4 servers")
def torture() -> Work:
    return partial(play_scenarios, Plan(servers=4), range(10))


@core("torture: a scenario without faults")
def torture_without_faults() -> Work:
    return partial(run_scenario, Scenario(seed=1, servers=4))


# -- cryptography ---------------------------------------------------------------------------------

BATCH: Final = 20


def _messages() -> list[bytes]:
    return [digest(b"%d" % number) for number in range(BATCH)]


@core("signatures")
def sign() -> Work:
    key, messages = REAL.signing_key(digest(b"key")), _messages()
    return lambda: [key.sign(message) for message in messages]


@core("signature checks")
def verify() -> Work:
    key = REAL.signing_key(digest(b"key"))
    signed = [(message, key.sign(message)) for message in _messages()]

    def check() -> None:
        ledger.forget()
        assert all(REAL.verify(key.public, message, signature) for message, signature in signed)

    return check


@core("VRF proofs")
def prove() -> Work:
    key, messages = REAL.vrf_key(digest(b"key")), _messages()

    def prove() -> None:
        ledger.forget()
        for message in messages:
            key.prove(message)

    return prove


@core("VRF checks")
def verify_proofs() -> Work:
    key = REAL.vrf_key(digest(b"key"))
    proven = [(message, key.prove(message)[0]) for message in _messages()]

    def check() -> None:
        ledger.forget()
        for message, proof in proven:
            REAL.vrf_verify(key.public, message, proof)

    return check


# -- learning -------------------------------------------------------------------------------------


@core("training of 60 clients")
def training() -> Work:
    P, Q, B, indptr, indices = cohort.world()
    task = TrainingTask(Q, B, indptr, indices, cohort.SETTINGS, 1)
    return lambda: train_cohort(task, np.arange(cohort.M), P, 1)


@core("training of 60 clients, implicit ALS, ternary")
def training_als() -> Work:
    P, task = np.zeros((cohort.M, cohort.D), np.float32), cohort.als_task()
    train = cohort.IALS.unwritten_trainer(1)
    clients = np.arange(cohort.M)
    return lambda: cohort.ALS_TERNARY.encode_unwritten(train(task, clients, P), b"", 1)


def _aggregation(rule: str) -> Work:
    update = cohort.updates()
    pairs = zip(update.A, update.touched, strict=True)
    payloads = [encode_update(A, touched, rule) for A, touched in pairs]
    counts = update.samples.tolist()
    return lambda: aggregate(payloads, counts, cohort.R, cohort.N, rule)


@core("aggregation: per item")
def aggregation_per_item() -> Work:
    return _aggregation("per_item")


@core("aggregation: trimmed mean")
def aggregation_robust() -> Work:
    return _aggregation("trimmed_mean")


def _codec(kind: str) -> Work:
    codec, A = codecs.case(kind)
    return lambda: codec.encode(A, b"beacon")


for kind in CODECS:
    core(f"codec: {kind}")(partial(_codec, kind))


@core("scoring: 99 negatives")
def scoring_sampled() -> Work:
    P, Q, data = metrics.world()
    return lambda: evaluate(P, Q, data, "validation", full=False, threads=1)


@core("scoring: all items")
def scoring_full() -> Work:
    P, Q, data = metrics.world()
    return lambda: evaluate(P, Q, data, "test", threads=1)
