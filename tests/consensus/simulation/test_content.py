"""Content moves through the network: it takes time, fills queues, is counted, and is waited for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from consensus.adversary.behaviour import Behaviour
from consensus.application import Contents
from consensus.encoding.unixfs import file_cid
from consensus.faults.faults import Faults
from consensus.network.network import MIB
from consensus.network.topology import Topology
from consensus.records.sync import Delivery, Fetch
from consensus.server.answers import FIRST_HELPERS
from consensus.server.fetching import providers
from consensus.simulation.host import WorldHost
from consensus.simulation.observer import Observer
from tests.helpers.toy import PAYLOAD_BYTES, Toy, ToyApplication
from tests.helpers.worlds import NOTHING, check_invariants, crash, cut, struck

BANDWIDTH = 12.5 * MIB
LARGE = 2 * MIB
"""Bytes of a model, of which a link carries `BANDWIDTH` a second."""
SECONDS = LARGE / BANDWIDTH


class Large(ToyApplication):
    """The toy's application with models of so many bytes."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def aggregate(
        self, payloads: Sequence[bytes], samples: Sequence[int], beacon: bytes = b""
    ) -> bytes:
        return super().aggregate(payloads, samples, beacon).ljust(self.size, b"\0")


@dataclass
class Said(Observer):
    """What servers send, and when it leaves."""

    log: list[tuple[float, int, str, Any]] = field(default_factory=list)

    def sent(self, server: int, kind: str, body: Any, at: float) -> None:
        self.log.append((at, server, kind, body))

    def when(self, server: int, kind: str, height: int) -> float:
        """When a server first sent a message of a height."""
        said = ((at, body) for at, who, what, body in self.log if (who, what) == (server, kind))
        return min(at for at, body in said if body.height == height)


def world_of(
    servers: int = 5,
    faults: Faults | None = None,
    latency: float | None = None,
    malicious: dict[int, Behaviour] | None = None,
    size: int = LARGE,
    **more: Any,
) -> tuple[Toy, Said]:
    """A world of models of ``size`` bytes; each link takes ``latency`` seconds if that is told."""
    said = Said()
    topology = None
    if latency is not None:
        seconds = latency * (1.0 - np.eye(servers))
        others = [[other for other in range(servers) if other != each] for each in range(servers)]
        topology = Topology(np.zeros(servers, np.int64), seconds, others)
    toy = Toy(
        servers=servers,
        clients=3,
        crypto="modelled",
        faults=faults,
        observer=said,
        malicious=malicious,
        topology=topology,
        **more,
    )
    toy.world.application = toy.world.checks.application = toy.application = Large(size)
    return toy, said


def left_behind(**more: Any) -> tuple[Toy, Said]:
    """A world after a height of which the last server has forgotten all."""
    toy, said = world_of(faults=struck(5, NOTHING), latency=0.05, **more)
    toy.play()
    last = toy.world.servers[4]
    last.chain.cut(0)
    for holders in toy.world.providers._holders.values():
        holders.discard(4)
    return toy, said


# -- time ------------------------------------------------------------------------------------------


def test_a_model_takes_its_way_and_its_time_through_both_queues() -> None:
    """A MiB over links of ten seconds: there and back, and through egress and ingress."""
    toy, _ = world_of(servers=4, latency=10.0)
    world, network = toy.world, toy.world.network
    network._jitter = 0.0
    network.begin(np.random.default_rng(0))
    data = bytes(MIB)
    link = file_cid(data)
    world.hold(0, Contents(data))
    body = Delivery(link, data)
    size = len(body.encoded)
    world.hosts[0].send([3], "model", body)
    assert network._egress_free[0] == pytest.approx(size / BANDWIDTH)
    assert network.bytes["model"] == size
    assert world.hosts[3].stored(link) is None
    world.env.run(until=10.0)
    assert network._ingress_free[3] == 0.0
    world.env.run(until=10.0 + 1.01 * size / BANDWIDTH)
    assert network._ingress_free[3] == pytest.approx(10.0 + size / BANDWIDTH)


def test_a_fetch_delays_a_vote_and_nothing_else() -> None:
    """A server that catches up votes at once on what it can judge, and on what builds on a model
    that it has not got when that is here; meanwhile it takes in what comes."""
    toy, said = left_behind(size=4 * LARGE)
    toy.play()
    toy.play()
    world, mine = toy.world, 4
    asked = said.when(mine, "fetch", 1)
    given = min(at for at, _, kind, _ in said.log if kind == "model")
    voted = {server: said.when(server, "vote", 2) for server in range(5)}
    assert asked + 0.05 < given < asked + 0.2
    others = max(voted[server] for server in range(4))
    assert voted[mine] >= given + 4 * SECONDS + 0.05
    assert voted[mine] > others + 0.1, "the others have long voted"
    ticket = said.when(mine, "ticket", 3)
    assert ticket < given, "meanwhile it has drawn for the next height"
    assert world.servers[mine].chain.height == 3
    assert not world.servers[mine].lacking


def test_with_a_fetch_at_once_the_vote_would_come_earlier(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the test above shows is the fetch, and not how long catching up takes."""

    def at_once(host: WorldHost, link: bytes) -> bytes | None:
        return host._world.providers._data.get(link, (None, 0))[0]

    monkeypatch.setattr(WorldHost, "stored", at_once)
    toy, said = left_behind(size=4 * LARGE)
    toy.play()
    toy.play()
    assert said.when(4, "vote", 2) < max(said.when(s, "vote", 2) for s in range(4)) + 0.1
    assert not any(kind == "fetch" for _, _, kind, _ in said.log)


def test_a_height_is_over_when_everyone_has_the_model() -> None:
    """Clients get it there. Under `paper` only members have computed it."""
    toy, said = world_of(servers=6, committee_size=3, protocol="paper", latency=0.02, max_step=3)
    results = []
    for _ in range(2):
        result = toy.play()
        results.append(result)
        link = result.block.header.aggregate_cid
        assert toy.world.providers.holders(link) == set(range(6))
        fetched = Counter(
            who for _, who, kind, body in said.log if kind == "fetch" and body.link == link
        )
        assert len(fetched) >= 2
        assert result.ended >= max(result.appended.values())
        last = max(at for at, _, kind, body in said.log if kind == "model" and body.link == link)
        assert result.ended >= last + SECONDS + 0.02
        assert not any(server.lacking for server in toy.world.servers)
    check_invariants(toy, results)


# -- accounts --------------------------------------------------------------------------------------


def test_totals_are_the_bytes_of_what_was_sent() -> None:
    """Of every kind, over every link, content included."""
    toy, _ = world_of(servers=6, committee_size=3, protocol="paper", latency=0.02)
    network, sent = toy.world.network, toy.world.network.send_many
    counted = Counter[str]()

    def noted(origin: int, recipients: Collection[int], message: Any, at: float) -> None:
        hops = network.overlay.tree(origin).hops
        counted[message.kind] += message.size * sum(hops[to] for to in recipients)
        sent(origin, recipients, message, at)

    network.send_many = noted  # type: ignore[method-assign]
    result = toy.play()
    assert counted["model"] == result.gossip_bytes["model"] >= 2 * LARGE
    assert counted["fetch"] == result.gossip_bytes["fetch"] > 0
    delivered = counted["model"] / len(Delivery(file_cid(b""), bytes(LARGE)).encoded)
    assert delivered == int(delivered) >= 2
    fetches = counted["fetch"] / len(Fetch(1, file_cid(b"")).encoded)
    assert fetches >= delivered


def test_models_queue_at_who_gives_and_at_who_gets_them() -> None:
    """Two askers of one server get theirs one after the other, and so does one asker of two."""
    arrived: dict[str, list[float]] = {}
    for name, ways in (("egress", ((0, 2), (0, 3))), ("ingress", ((0, 3), (1, 3)))):
        toy, _ = world_of(servers=4, latency=1.0)
        world = toy.world
        world.network._jitter = 0.0
        world.network.begin(np.random.default_rng(0))
        found = arrived.setdefault(name, [])
        world.network._receive = lambda server, message, origin, to=found, env=world.env: to.append(
            env.now
        )
        for origin, to in ways:
            world.hosts[origin].send([to], "model", Delivery(file_cid(b""), bytes(LARGE)))
        world.env.run(until=5.0)
    for first, second in arrived.values():
        assert first == pytest.approx(1.0 + SECONDS, rel=1e-4)
        assert second == pytest.approx(1.0 + 2 * SECONDS, rel=1e-4)


# -- where it comes from ---------------------------------------------------------------------------


class Withholding(Behaviour):
    """Gives nobody its content."""

    provides = False


def test_what_some_withhold_lost_or_cannot_send_comes_from_others() -> None:
    lost = {"missing_content": 1.0, "servers": [2], "until": 60.0}
    toy, said = world_of(
        servers=10,
        faults=struck(10, crash(1, from_=0.3, until=60.0), cut(3, until=60.0), lost),
        latency=0.02,
        malicious={0: Withholding(), 4: Withholding()},
        protocol="paper",
        committee_size=7,
        resend_us=1_000_000,
        size=PAYLOAD_BYTES,
    )
    results = []
    while toy.world.env.now < 72.0 or toy.world.behind():
        results.append(toy.play(600.0))
        assert len(results) < 100
    check_invariants(toy, results)
    given = {who for _, who, kind, body in said.log if kind == "model" and body.data}
    assert given <= set(range(10)) - {0, 4}
    assert any(kind == "model" and who == 2 and not body.data for _, who, kind, body in said.log)
    for server in toy.world.servers:
        assert server.behaviour is not None or not server.lacking


def test_nobody_is_left_to_first_providers_that_are_all_malicious() -> None:
    """All have decided, and one lacks the model: more servers give it as resend times pass."""
    bad = {0, 4, 7}
    toy, said = world_of(
        servers=10,
        latency=0.02,
        malicious={server: Withholding() for server in bad},
        protocol="paper",
        committee_size=7,
        resend_us=1_000_000,
        size=PAYLOAD_BYTES,
    )
    results = [toy.play(600.0) for _ in range(40)]
    check_invariants(toy, results)
    firsts = []
    for block in toy.world.servers[1].chain.blocks:
        asked = (
            who
            for _, who, kind, body in said.log
            if kind == "fetch" and body.height == block.height
        )
        for asker in set(asked) - bad:
            firsts.append(set(providers(toy.genesis, block, asker)[:FIRST_HELPERS]))
    assert any(first <= bad for first in firsts)
    assert any(result.ended - result.began > 1.0 for result in results)


def test_a_fault_takes_what_a_store_held_for_as_long_as_it_lasts() -> None:
    lost = {"missing_content": 1.0, "servers": [0], "until": 5.0}
    toy, _ = world_of(servers=4, faults=struck(4, lost))
    world, link = toy.world, file_cid(b"an aggregate")
    for server in (0, 2):
        world.hold(server, Contents(b"an aggregate", b"a state"))
    assert world.hosts[0].stored(link) is None
    assert world.hosts[2].stored(link) == b"an aggregate"
    assert world.hosts[1].stored(link) is None, "it never had it"
    world.env.run(until=6.0)
    assert world.hosts[0].stored(link) == b"an aggregate"
    assert world.hosts[0].stored(file_cid(b"a state")) == b"a state"


def test_who_only_saw_the_block_fetches_the_model_and_pays_for_it() -> None:
    toy, said = left_behind()
    results = [toy.play()]
    link = toy.world.servers[4].chain.blocks[0].header.aggregate_cid
    assert file_cid(toy.world.providers.get(4, link) or b"") == link
    results.append(toy.play())
    assert sum(result.caught_up for result in results) == 1
    size = len(Delivery(file_cid(b""), bytes(LARGE)).encoded)
    assert sum(result.gossip_bytes["model"] for result in results) == size
    assert not toy.world.servers[4].lacking
    assert [body.height for _, who, kind, body in said.log if kind == "fetch"] == [1]
