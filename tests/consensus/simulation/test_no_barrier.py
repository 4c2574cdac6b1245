"""Worlds whose servers go on by themselves: always, or between heights after which they meet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consensus.adversary.behaviour import Circle
from consensus.adversary.composed import Composed
from consensus.faults.faults import Faults
from consensus.simulation.apart import Apart, Distances
from consensus.simulation.decisions import Decisions
from consensus.simulation.overlapping import OverlappingRecorder
from consensus.simulation.paces import FAR_BEHIND
from consensus.simulation.results import Arrival, Forked, HeightResult
from tests.consensus.simulation.test_unheard import PROTOCOLS, same
from tests.helpers.toy import Toy, ToyApplication
from tests.helpers.worlds import check_invariants, crash, cut, struck

FAST = {"crypto": "modelled", "servers": 7, "clients": 5}


def played(heights: int, **more: Any) -> tuple[Toy, list[HeightResult]]:
    toy = Toy(**{**FAST, "meets_every": 0, **more})
    return toy, [toy.play() for _ in range(heights)]


@pytest.mark.parametrize("every", [0, 4])
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_chain_is_right_and_the_same_every_time(protocol: str, every: int) -> None:
    toy, results = played(9, protocol=protocol, meets_every=every)
    check_invariants(toy, results, apart=1)
    again, _ = played(9, protocol=protocol, meets_every=every)
    assert again.world.head == toy.world.head
    assert again.world.env.now == toy.world.env.now


def test_meeting_after_every_height_is_the_barrier() -> None:
    (barrier, _), (free, _) = played(5, meets_every=1), played(5)
    assert barrier.world.behind() == free.world.behind() == {}
    assert {server.chain.height for server in barrier.world.servers} == {5}
    assert {server.chain.height for server in free.world.servers} == {4, 5}
    assert free.world.env.now < barrier.world.env.now


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"malicious": ("equivocate_votes", "withhold")},
        {"malicious": ("stale", "tamper"), "meets_every": 2},
        {"faults": [crash(3, from_=0.5, until=2.0), cut(5, until=3.0)], "meets_every": 3},
        {"faults": [{"slow": 200.0, "servers": [1, 2], "until": 9.0}], "protocol": "tendermint"},
    ],
)
def test_the_compiled_network_makes_no_difference(more: dict[str, Any]) -> None:
    same(**{"heights": 4, "servers": 7, "meets_every": 0, **more})


def test_a_result_is_there_as_soon_as_an_honest_server_has_the_block() -> None:
    _, results = played(6, malicious={2: Composed(("withhold",))})
    for result in results:
        first = min(at for server, at in result.appended.items() if server != 2)
        assert result.ended == first
    assert len(results[-1].appended) < 7


def test_servers_meet_where_they_are_to() -> None:
    toy = Toy(**FAST, meets_every=3)
    for height in range(1, 8):
        toy.play()
        heights = {server.chain.height for server in toy.world.servers}
        assert (heights == {height}) == (height % 3 == 0)


def test_a_network_lets_go_of_what_has_arrived() -> None:
    toy, _ = played(3)
    intake = toy.world.network._intake  # type: ignore[attr-defined]
    few = len(intake._slots)
    for _ in range(20):
        toy.play()
    assert len(intake._slots) < few + 40
    assert len(intake.messages) > 10 * few
    kept = sum(body is not None for body, _ in intake._bodies)
    assert kept == len(intake._slots)


# -- clients --------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", ["bft", "paper"])
def test_clients_start_where_their_servers_are(protocol: str) -> None:
    toy, _ = played(3, protocol=protocol, committee_size=4)
    world, began, height = toy.world, toy.world.env.now, toy.world.head.height + 1
    times = []

    def send(client: int, update: Any) -> Any:
        server = world.servers[client]
        assert (server.height, list(server.lacking)) == (height, [])
        times.append(world.env.now - began - 0.001)
        return update

    updates = [toy.update(client) for client in range(len(toy.clients))]
    arrivals = [
        Arrival(began + 0.001, client, lambda c=client, u=update: send(c, u))
        for client, update in enumerate(updates)
    ]
    world.run_height(arrivals, 100.0)
    assert protocol != "paper" or world.network.bytes["model"], "all have computed the model"
    assert min(times) >= -1e-9
    assert max(times) > 0.005, "all servers had the block at once"


def test_clients_of_a_server_that_is_down_go_to_the_nearest_that_is_not() -> None:
    faults = struck(7, crash(2, from_=0.01, until=500.0))
    toy, _ = played(2, faults=faults, quota=4)
    assert 2 not in toy.world._pace._starts._ready  # type: ignore[attr-defined]
    began = toy.world.env.now
    update = toy.update(2)
    updates = [update, *(toy.update(client) for client in (0, 1, 3, 4))]
    times = []

    def send() -> Any:
        times.append(toy.world.env.now)
        return update

    others = [
        Arrival(began + 30.0, client, lambda u=each: u)
        for client, each in zip((0, 1, 3, 4), updates[1:], strict=True)
    ]
    result = toy.world.run_height([Arrival(began + 0.1, 2, send), *others], 100.0)
    assert times[0] == pytest.approx(began + 2.0 + 0.1)
    assert update in result.updates


# -- servers that are slow, or far behind ----------------------------------------------------------


class Staged(ToyApplication):
    """An application whose aggregates depend on the heights that are committed."""

    stage = 0

    def aggregate(
        self, payloads: Sequence[bytes], samples: Sequence[int], beacon: bytes = b""
    ) -> bytes:
        return super().aggregate(payloads, samples) + bytes([self.stage])

    def commit(self, height: int, beacon: bytes, aggregate: bytes) -> None:
        super().commit(height, beacon, aggregate)
        self.stage = height


@pytest.mark.parametrize("every", [0, 5])
def test_a_slow_server_judges_a_height_by_the_application_as_it_was(
    monkeypatch: pytest.MonkeyPatch, every: int
) -> None:
    monkeypatch.setattr("tests.helpers.toy.ToyApplication", Staged)
    slow = struck(7, {"slow": 4000.0, "servers": [0, 1], "until": 400.0})
    toy, results = played(8, faults=slow, quota=4, meets_every=every)
    lowest = min(server.chain.height for server in toy.world.servers)
    assert lowest < 7, "nobody was late"
    checks, heads = toy.world.checks, max((s.chain.heads for s in toy.world.servers), key=len)
    for height, result in enumerate(results, 1):
        assert not result.captured
        assert result.contents.aggregate[-1] == height - 1
        if height > max(every, lowest):
            checks.begin_height()  # what was computed then is forgotten
            digests = tuple(update.record.digest for update in result.updates)
            (again, _) = checks.aggregate(heads[height - 1], result.updates, digests)
            assert again.aggregate == result.contents.aggregate


def test_who_is_far_behind_follows_until_it_is_nearer() -> None:
    far = FAR_BEHIND + 5
    faults = struck(7, cut(6, until=20.0))
    toy = Toy(**FAST, meets_every=0, faults=faults, resend_us=500_000, quota=3)
    server, following, most = toy.world.servers[6], set(), 0
    results = []
    while toy.world.head.height < 60:
        results.append(toy.play())
        most = max(most, toy.world.head.height - server.chain.height)
        following.add(server.catching_up)
        assert len(toy.world.checks._before) <= FAR_BEHIND + 3
    assert most > far
    assert following == {True, False}
    assert server.chain.height >= 59
    assert not server.catching_up
    assert sum(result.caught_up for result in results) >= far
    check_invariants(toy, results, apart=1)


@pytest.mark.parametrize("every", [3, 10])
def test_a_server_that_comes_back_is_with_the_others_again(every: int) -> None:
    faults = struck(7, crash(1, 4, from_=1.0, until=4.0, lost_tail=2))
    toy, results = played(30, faults=faults, resend_us=500_000, quota=3, meets_every=every)
    check_invariants(toy, results, apart=1)
    assert {server.chain.height for server in toy.world.servers} == {30}


def test_a_fork_is_told() -> None:
    (toy, _), (other, _) = played(3), played(3, seed=1)
    theirs = other.world.servers[0].chain.blocks
    with pytest.raises(Forked, match="height 1"):
        toy.world.on_appended(0, theirs[0], toy.world.env.now)
    decisions = Decisions(toy.world.checks, toy.world.servers)
    assert decisions.first(0, toy.world.servers[0].chain.blocks[1], at_once=False)
    assert not decisions.first(1, toy.world.servers[1].chain.blocks[1], at_once=False)
    with pytest.raises(Forked, match="height 2"):
        decisions.first(2, theirs[1], at_once=False)


def test_the_updates_of_a_block_outlast_the_pools() -> None:
    toy = Toy(**FAST)
    result = toy.play()
    decisions = Decisions(toy.world.checks, toy.world.servers)
    digests = tuple(update.record.digest for update in result.updates)
    decisions._listed[result.block.cid] = (1, digests)
    decisions.first(0, result.block, at_once=True)
    for server in toy.world.servers:
        server.pool.clear()
    assert decisions.updates(result.block) == result.updates
    decisions.forget(1)
    assert decisions.get(1) is None


# -- what is told of it ----------------------------------------------------------------------------


def test_evidence_is_told_once() -> None:
    circle = Circle(frozenset((0, 3)))
    malicious = {index: Composed(("equivocate_candidates",), circle=circle) for index in (0, 3)}
    _, results = played(12, malicious=malicious, meets_every=5)
    told = [found.key for result in results for found in result.evidence]
    assert told
    assert len(told) == len(set(told))


def test_a_height_is_told_with_what_comes_after_its_result() -> None:
    recorder = OverlappingRecorder(7)
    toy = Toy(**FAST, meets_every=4, observer=recorder)
    told = []
    for height in range(1, 8):
        told += recorder.completed(toy.play(), meets=height % 4 == 0)
        assert len(told) == (height if height % 4 == 0 else height - 1)
    told += recorder.rest()
    assert [each.height for each in told] == list(range(1, 8))
    assert recorder.rest() == []
    for each in told[:-1]:
        servers = [event.server for event in each.events if event.kind == "appended"]
        assert sorted(servers) == list(range(7))
        assert each.ended_us == max(event.at_us for event in each.events)


@settings(max_examples=20, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 4), st.floats(0, 9), st.booleans()), min_size=1, max_size=20)
)
def test_distances_are_from_the_first(notes: list[tuple[int, float, bool]]) -> None:
    distances = Distances()
    first: dict[int, float] = {}
    expected = []
    for height, at, honest in notes:
        distances.note(height, at, honest)
        first.setdefault(height, at)
        if honest:
            expected.append(max(0.0, at - first[height]))
    found = distances.told(4, [], [])
    assert found.appended == len(expected)
    assert found.seconds == sum(expected)
    assert found.most_seconds == max(expected, default=0.0)
    assert distances.told(4, [], []).appended == 0
    distances.note(7, 1.0, honest=True)
    distances.begin()
    distances.note(7, 5.0, honest=True)
    assert distances.told(7, [], []) == Apart(appended=1)


def test_servers_apart_in_a_world() -> None:
    toy, results = played(6)
    apart = [result.apart for result in results]
    assert all(each is not None and each.heights == 1 for each in apart)
    assert sum(each.appended for each in apart if each) >= 5 * 7
    slow: Faults = struck(7, {"slow": 4000.0, "servers": [0], "until": 400.0})
    _, slower = played(6, faults=slow, quota=4)
    assert max(each.apart.heights for each in slower if each.apart) > 1
    assert toy.play().apart is not None
    assert Toy(**FAST).play().apart is None


def test_distances_are_those_since_servers_met() -> None:
    """A server that was left behind there appends old blocks later: who is resumed from there does
    not know when the first one had them."""

    def make(**more: Any) -> Toy:
        faults = struck(7, cut(6, until=6.0))
        return Toy(**FAST, meets_every=3, faults=faults, resend_us=500_000, quota=3, **more)

    toy, results, left_behind = make(), [], 0
    for height in range(1, 13):
        results.append(toy.play())
        left_behind += height % 3 == 0 and 6 in toy.world.behind()
    assert left_behind
    for stop in (3, 6, 9):
        first = make()
        for _ in range(stop):
            first.play()
        second = make(continues=first.world)
        assert [second.play().apart for _ in range(3)] == [
            result.apart for result in results[stop : stop + 3]
        ]
