"""The network of a run as its config draws it: the very servers, links and faults of the run."""

from __future__ import annotations

import pytest

from bfedrec.config.load import load
from bfedrec.data.prepare import prepare
from bfedrec.explorer import network as module
from bfedrec.explorer.network import Moment, Network
from bfedrec.federation.federation import Federation
from consensus.simulation.timeline import Named
from tests.bfedrec.runs.test_simulation import SMALL

WORDS = (
    *SMALL,
    "seed=3",
    "servers.stake=pareto",
    "servers.malicious=[{behaviour: [silent, spam], share: 2/7, placement: region, from: 3, "
    "until: 9}, {behaviour: gaussian, servers: [6]}]",
    "faults=[{crash: 0.3, from: 2, until: 5}, {partition: 0.3, from: 4, until: 6}, "
    "{eclipse: [1], from: 5, until: 7}, {loss: 0.1, from: 1}]",
)


def test_the_network_is_that_of_the_run() -> None:
    config = load(None, WORDS)
    federation = Federation(config, prepare(config.data))
    layout = Network(config).layout
    world, topology = federation.world, federation.topology
    assert [server.stake for server in layout.servers] == list(federation.genesis.stakes)
    assert [server.region for server in layout.servers] == topology.regions.tolist()
    assert {server.index for server in layout.servers if server.malicious} == set(world.behaviours)
    for server in layout.servers:
        behaviour = world.behaviours.get(server.index)
        names = () if behaviour is None else behaviour.names  # type: ignore[attr-defined]
        assert tuple(malice.name for malice in server.malicious) == names
    assert layout.servers[6].malicious_at(1) == ("gaussian",)
    (silent, _) = [server for server in layout.servers if len(server.malicious) == 2]
    assert [silent.malicious_at(height) for height in (2, 3, 10)] == [(), ("silent", "spam"), ()]
    assert layout.links is not None
    assert {(link.one, link.other) for link in layout.links} == {
        (one, other) for one in range(7) for other in topology.neighbours[one] if one < other
    }
    assert world.faults is not None
    assert [fault.name for fault in layout.faults] == ["crash", "partition", "eclipse", "loss"]
    assert layout.faults[0].servers == Named.of(world.faults.faults[0].members)  # type: ignore[attr-defined]
    federation.close()


def test_who_is_down_or_cut_off_at_a_time() -> None:
    network = Network(load(None, WORDS))
    crash, partition, _, _ = network.layout.faults
    group = set(partition.groups[0].servers)

    def told(at: int) -> tuple[list[str], Named, Named | None]:
        moment = network.at(at)
        return [fault.name for fault in moment.faults], moment.down, moment.cut_off

    assert told(999_999) == ([], Named(), Named())
    assert told(2_000_000) == (["crash", "loss"], crash.servers, Named())
    assert told(4_500_000) == (["crash", "partition", "loss"], crash.servers, Named.of(group))
    assert told(5_500_000) == (["partition", "eclipse", "loss"], Named(), Named.of(group | {1}))
    assert told(6_500_000) == (["eclipse", "loss"], Named(), Named.of([1]))
    assert told(7_000_000) == (["loss"], Named(), Named())


def test_a_network_without_faults_is_whole() -> None:
    assert Network(load(None, SMALL)).at(5) == Moment(5, (), Named(), Named())


def test_of_many_servers_no_links_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object) -> None:
        raise AssertionError("80 GB for 100,000 servers")

    monkeypatch.setattr(module.Participants, "topology", never)
    words = [
        *(*SMALL, "servers.count=5000", "servers.malicious=silent:0.1"),
        "faults=[{partition: 0.3, from: 4, until: 6}]",
    ]
    network = Network(load(None, words))
    assert network.layout.links is None
    assert len(network.layout.servers) == 5000
    assert sum(bool(server.malicious) for server in network.layout.servers) == 500
    assert network.at(5_000_000).cut_off is None
    assert network.at(7_000_000).cut_off == Named()
