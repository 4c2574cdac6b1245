"""Gossip over a mesh: who hears what and when, what it costs, and how it repairs itself."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consensus.network import mesh as module
from consensus.network.clock import Clock
from consensus.network.mesh import CONTROL_BYTES, NAME_BYTES, Mesh, MeshNetwork
from consensus.network.network import MIB
from consensus.network.peers import PATIENCE, Degrees
from consensus.network.topology import Topology
from consensus.server.message import Message
from tests.helpers.mesh_scene import BANDWIDTH, MeshScene, anywhere

LATENCY = 0.010


def near(servers: int) -> Topology:
    """Everyone linked with everyone, 10 ms away."""
    return anywhere(servers, least=LATENCY, most=LATENCY)


def meshed(scene: MeshScene) -> MeshNetwork:
    """The network of a scene with a mesh."""
    assert isinstance(scene.network, MeshNetwork)
    return scene.network


def chained(*links: tuple[int, int], servers: int, lazy: int = 6) -> MeshScene:
    """A scene whose mesh is these links, and stays so: all others were pruned."""
    scene = MeshScene(near(servers), degrees=Degrees(1, lazy))
    for peers in meshed(scene).peers:
        ends = [set(link) - {peers.server} for link in links if peers.server in link]
        peers.mesh = {other: 0 for end in ends for other in end}
        peers.pruned = dict.fromkeys(set(range(servers)) - {peers.server}, 10**6)
    return scene


def beats(scene: MeshScene, server: int) -> float:
    """The second of a server's first heartbeat; they are a second apart."""
    return meshed(scene)._first_beats[server]


# -- delivery --------------------------------------------------------------------------------------


@pytest.mark.parametrize("servers", [1, 2, 3, 30, 100])
def test_every_server_is_handed_every_message_once(servers: int) -> None:
    scene = MeshScene(anywhere(servers))
    for number in range(20):
        scene.speak(number % servers, 1.0 + number / 10, number)
    scene.play(10.0)
    others = {(n, s): 1 for n in range(20) for s in range(servers) if s != n % servers}
    assert scene.told == others


def test_a_push_takes_a_transmission_and_a_latency_per_hop() -> None:
    scene = chained((0, 1), (1, 2), servers=3)
    size = MIB // 10
    scene.speak(0, 0.0, "a", size)
    scene.play(0.9)
    hop = (size + NAME_BYTES) / (BANDWIDTH * MIB)
    assert scene.heard["a"][1] == pytest.approx(hop + LATENCY)
    assert scene.heard["a"][2] == pytest.approx(2 * (hop + LATENCY))
    assert scene.network.bytes["note"] == 2 * (size + NAME_BYTES)
    assert not scene.network.duplicates


def test_a_message_is_not_pushed_to_its_origin() -> None:
    """0 is in the mesh of 2, which has the message from 1."""
    scene = chained((0, 1), (1, 2), servers=3)
    meshed(scene).peers[2].mesh[0] = 0
    scene.speak(0, 0.0, "a")
    scene.play(0.9)
    assert scene.network.bytes["note"] == 2 * (1000 + NAME_BYTES)


def test_copies_that_come_again_take_their_time_in_the_queues() -> None:
    """0 sends to 1 and 2, and 1 to 2, where a small message to 2 alone then has to wait."""
    scene = chained((0, 1), (0, 2), (1, 2), servers=3)
    network, size = scene.network, 12 * MIB
    hop = (size + NAME_BYTES) / (BANDWIDTH * MIB)
    scene.speak(0, 0.0, "a", size)
    scene.speak(0, 9.0, "small")
    at = 2 * hop + 1.5 * LATENCY
    small = Message("note", "small", 0)
    scene.env.call_at(at, lambda _: network.send(0, 2, small, at), None)
    when: list[float] = []
    usual = network._receive

    def receive(server: int, message: Message, origin: int) -> float | None:
        if message.body == "small":
            when.append(scene.env.now)
        return usual(server, message, origin)

    network._receive = receive
    scene.play(0.9)
    assert scene.heard["a"] == pytest.approx({1: hop + LATENCY, 2: 2 * hop + LATENCY})
    assert network.bytes["note"] == 4 * (size + NAME_BYTES)
    assert network.duplicates == {"messages": 2, "bytes": 2 * (size + NAME_BYTES)}
    assert when == pytest.approx([3 * hop + LATENCY])


@given(st.integers(2, 40), st.integers(1, 8), st.integers(0, 6), st.integers(0, 2**16))
@settings(max_examples=25, deadline=None)
def test_bytes_are_those_of_what_was_sent(servers: int, degree: int, lazy: int, seed: int) -> None:
    """Whatever was sent arrives or is under way; pushes that arrive are new or duplicates."""
    scene = MeshScene(anywhere(servers, seed), degrees=Degrees(degree, lazy), seed=seed, jitter=0.1)
    network = scene.network
    found, arrive, pushes = Counter[str](), network._arrive, 0

    def note(delivery: Any) -> None:
        nonlocal pushes
        found[delivery[2].kind] += delivery[2].size
        pushes += delivery[2].kind == "note"
        arrive(delivery)

    network._arrive = note  # type: ignore[method-assign]
    for number in range(10):
        scene.speak(number % servers, number / 4, number, size=100 + number)
    scene.play(20.0)
    for _, _, _, call, argument in scene.env.queue:
        if call is note:
            found[argument[2].kind] += argument[2].size
    assert found == +network.bytes
    assert pushes == scene.told.total() + network.duplicates["messages"]


# -- repair ----------------------------------------------------------------------------------------


def test_who_is_outside_of_the_mesh_hears_at_a_heartbeat_and_asks() -> None:
    scene = chained((0, 1), servers=3)
    scene.speak(0, 1.5, "a")
    scene.play(10.0)
    told = min(
        beats(scene, server) + n
        for server, since in ((0, 1.5), (1, 1.5 + LATENCY))
        for n in range(5)
        if beats(scene, server) + n > since
    )
    assert scene.heard["a"][2] == pytest.approx(told + 3 * LATENCY - 1.5, abs=1e-4)
    bytes_ = scene.network.bytes
    assert bytes_["iwant"] == CONTROL_BYTES + NAME_BYTES
    told_to = 1 + 1 + 2  # by 0 and 1 to 2, and by 2, once it has it, to both
    assert bytes_["ihave"] == module.TOLD * told_to * (CONTROL_BYTES + NAME_BYTES)
    assert bytes_["note"] == 2 * (1000 + NAME_BYTES)


def test_nobody_is_told_without_lazy_peers() -> None:
    scene = chained((0, 1), servers=3, lazy=0)
    scene.speak(0, 1.5, "a")
    scene.play(10.0)
    assert 2 not in scene.heard["a"]
    assert "ihave" not in scene.network.bytes


@pytest.mark.parametrize("missed", range(6))
def test_a_message_is_told_for_three_heartbeats(missed: int) -> None:
    """Server 1 is down while 0 tells others ``missed`` times."""
    scene = chained(servers=2)
    network = meshed(scene)
    first = beats(scene, 0)
    scene.set_up(1, 0.5, False)
    scene.speak(0, first + 0.9, "a")
    scene.set_up(1, first + 0.95 + missed, True)
    scene.play(first + 0.96 + missed)
    network.peers[1].pruned = {0: 10**6}  # it has forgotten
    scene.play(20.0)
    assert (1 in scene.heard["a"]) == (missed < module.TOLD)


def test_a_message_can_be_asked_for_longer_than_it_is_told() -> None:
    """A request for it within five heartbeats is granted, and a later one is not."""
    for after, granted in ((4.5, True), (5.5, False)):
        scene = chained(servers=2, lazy=0)
        network = meshed(scene)
        first = beats(scene, 0)
        scene.up[1] = False
        scene.speak(0, first + 0.1, "a")
        scene.play(first + 0.2)
        scene.up[1] = True
        (post,) = network._kept[0][-1]
        scene.play(first + after)
        network._tell(1, (0,), "iwant", [post])
        scene.play(20.0)
        assert (1 in scene.heard["a"]) == granted


@pytest.mark.parametrize("rate", [0.1, 0.3])
def test_losses_are_made_up_for(rate: float) -> None:
    scene = MeshScene(anywhere(40), {"loss": rate}, degrees=Degrees(3, 6))
    for number in range(50):
        scene.speak(number % 40, 1.0 + number / 10, number)
    scene.play(30.0)
    assert scene.delivered(range(50), range(40)) == 1.0
    assert scene.network.bytes["iwant"] > 0


def test_a_damaged_push_does_not_keep_a_whole_one_away() -> None:
    scene = MeshScene(anywhere(20), {"bit_flip": 0.4})
    for number in range(20):
        scene.speak(number, 1.0 + number / 10, number)
    scene.play(20.0)
    assert scene.damaged > 100
    assert scene.delivered(range(20), range(20)) == 1.0
    assert set(scene.told.values()) == {1}


def test_replays_and_duplicates_are_dropped() -> None:
    scene = MeshScene(anywhere(20), {"duplicate": 0.5}, {"replay": 0.5, "after": 3.0})
    for number in range(20):
        scene.speak(number, 1.0 + number / 10, number)
    scene.play(40.0)
    assert set(scene.told.values()) == {1}
    assert scene.delivered(range(20), range(20)) == 1.0


# -- servers that fail -----------------------------------------------------------------------------


def test_a_fifth_may_go_down_and_999_of_1000_deliveries_take_place() -> None:
    """The bar: while nobody has noticed yet, and after."""
    for seed in range(5):
        scene = MeshScene(anywhere(50, seed), seed=seed)
        for server in range(10):
            scene.set_up(server, 5.0, False)
        for number in range(100):
            scene.speak(10 + number % 40, 5.0 + number / 10, number)
        scene.play(25.0)
        assert scene.delivered(range(100), range(10, 50)) >= 0.999


def test_that_a_peer_is_down_is_noticed_in_time_and_not_at_once() -> None:
    scene = MeshScene(anywhere(30))
    network = meshed(scene)
    scene.play(4.0)
    peers = list(network.peers[0].mesh)
    scene.set_up(0, 5.0, False)
    scene.play(5.0 + PATIENCE - 0.2)
    assert all(0 in network.peers[peer].mesh for peer in peers), "nobody knows"
    scene.play(5.0 + PATIENCE + 1.2)
    assert not any(0 in each.mesh for each in network.peers), "everybody does"
    assert all(0 in network.peers[peer].silent for peer in peers)
    assert not network.peers[0].mesh
    scene.set_up(0, 20.0, True)
    scene.play(21.5)
    mesh = network.peers[0].mesh
    assert network.peers[0].degrees.low <= len(mesh)
    assert all(0 in network.peers[peer].mesh for peer in mesh)


def test_a_server_that_passes_nothing_on_stays_in_the_mesh() -> None:
    silent = range(6)
    scene = MeshScene(anywhere(20), silent=silent)
    before = [set(peers.mesh) for peers in meshed(scene).peers]
    for number in range(40):
        scene.speak(6 + number % 14, 1.0 + number / 10, number)
    scene.speak(0, 6.0, "own")
    scene.play(15.0)
    assert [set(peers.mesh) for peers in meshed(scene).peers] == before
    assert scene.delivered([*range(40), "own"], range(20)) == 1.0


@pytest.mark.parametrize("silent", [True, False])
def test_a_server_that_passes_nothing_on_names_only_its_own_messages(silent: bool) -> None:
    """0 is down before it can tell 2, which is outside of the mesh."""
    scene = chained((0, 1), servers=3)
    if silent:
        scene.network.set_relaying(1, False)
    at = beats(scene, 0) + 0.1
    scene.speak(0, at, "of 0")
    scene.speak(1, at, "of 1")
    scene.set_up(0, at + 0.5, False)
    scene.play(10.0)
    assert scene.heard["of 0"].keys() == ({1} if silent else {1, 2})
    assert scene.heard["of 1"].keys() == {0, 2}


@pytest.mark.parametrize("taken_for_dead", [False, True])
def test_a_server_that_has_no_peers_is_heard_all_the_same(taken_for_dead: bool) -> None:
    """Also if all others are taken for dead; who has D peers pushes to them alone."""
    scene = MeshScene(near(8), degrees=Degrees(3, 0))
    peers = meshed(scene).peers[0]
    for peer in peers.mesh:
        del meshed(scene).peers[peer].mesh[0]
    peers.mesh = {}
    if taken_for_dead:
        peers.silent = dict.fromkeys(range(1, 8), 99)
    scene.speak(0, 0.0, "a")
    scene.play(0.005)
    assert scene.network.bytes["note"] == 3 * (1000 + NAME_BYTES)
    scene.play(0.015)
    assert len(scene.heard["a"]) == 3
    scene.play(0.9)
    assert len(scene.heard["a"]) == 7


def test_what_a_server_saw_before_a_crash_it_can_be_handed_again() -> None:
    scene = chained(servers=2)
    first = beats(scene, 0)
    network = meshed(scene)
    network.peers[0].mesh[1] = 0
    scene.speak(0, first + 0.5, "a")
    scene.set_up(1, first + 0.6, False)
    scene.set_up(1, first + 0.7, True)
    scene.play(first + 0.75)
    network.peers[0].mesh.clear()
    network.peers[1].pruned = {0: 10**6}
    scene.play(10.0)
    assert scene.told["a", 1] == 2


def test_two_halves_that_were_cut_hear_each_other_again() -> None:
    halves = [list(range(10)), list(range(10, 20))]
    scene = MeshScene(anywhere(20), {"partition": halves, "from": 5.0, "until": 15.0})
    for number, at in enumerate((4.0, 10.0, 40.0, 41.0)):
        scene.speak(number, at, number)
    scene.play(60.0)
    heard = [len(scene.heard[number]) for number in range(4)]
    assert heard == [19, 9, 19, 19]


# -- in place of another ---------------------------------------------------------------------------


@pytest.mark.parametrize("before", [(), (3,)])
def test_a_server_passes_its_own_copy_on_once(before: tuple[int, ...]) -> None:
    """1 knows what 0 says as b, and passes that on to 2, unless it went to its mesh before."""
    scene = chained((0, 1), (1, 2), servers=3, lazy=0)
    scene.speak(1, 99.0, "b")
    network = scene.network
    usual = network._receive

    def receive(server: int, message: Message, origin: int) -> float | None:
        if server == 1 and message.body == "a":
            network.pass_on(1, origin, Message("note", "b", 700), scene.env.now, before)
            return None
        return usual(server, message, origin)

    network._receive = receive
    scene.speak(0, 0.0, "a")
    scene.play(0.9)
    assert scene.heard["a"] == {}
    assert scene.heard["b"].keys() == (set() if before else {2})


# -- randomness and time ---------------------------------------------------------------------------


def history(draws: int) -> tuple[dict[Any, dict[int, float]], Counter[str]]:
    scene = MeshScene(anywhere(20), {"loss": 0.2}, jitter=0.1, seed=draws)
    for number in range(20):
        scene.speak(number, 1.0 + number / 10, number)
    scene.play(10.0)
    return scene.heard, scene.network.bytes


def test_the_same_streams_give_the_same_history() -> None:
    assert history(1) == history(1)
    assert history(1) != history(2)


def test_every_heartbeat_draws_from_a_stream_of_its_own() -> None:
    """Else the same servers would be told each time, or a resumed run would tell others."""
    labels = Counter[tuple[int, ...]]()

    def draws(*label: int) -> np.random.Generator:
        labels[label] += 1
        return np.random.default_rng(label)

    scene = MeshScene(anywhere(30))
    mesh = Mesh(draws)
    network = MeshNetwork(scene.env, anywhere(30), 1.0, 0.0, lambda *_: None, None, mesh=mesh)
    network.begin(np.random.default_rng(0))
    for at in range(8):
        message = Message("note", at, 10)
        scene.env.call_at(float(at), lambda m: network.gossip(0, m, m.body), message)
    scene.play(10.0)
    assert set(labels.values()) == {1}
    assert {(), (0, 0), (29, 0)} < labels.keys()
    beats_of_0 = {beat for server, beat in filter(None, labels) if server == 0}
    assert beats_of_0 == set(range(len(beats_of_0)))
    assert len(beats_of_0) in (10, 11), "one when heartbeats fall, and one each second"


def test_a_network_that_begins_late_beats_on_time() -> None:
    """Heartbeats fall at the same times wherever a world begins."""

    def times(now: float) -> set[float]:
        env = Clock(now)
        mesh = Mesh(lambda *label: np.random.default_rng((0, *label)), heartbeat=0.7)
        network = MeshNetwork(env, near(5), 1.0, 0.0, lambda *_: None, None, mesh=mesh)
        network.begin(np.random.default_rng(0))
        found, beat = set(), network._beat
        network._beat = lambda server: (found.add(env.now), beat(server))  # type: ignore
        for server in range(5):
            network._schedule_beat(server)
        env.run(until=30.0)
        assert min(found) > now
        return {at for at in found if at > 22.0}

    assert times(0.0) == times(21.0)
