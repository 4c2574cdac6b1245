"""The world of edge servers: whole heights on one clock, honest and with a third malicious."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest

from consensus.byzantine import Behaviour, Composed
from consensus.chain import Chain
from consensus.committee import form_committee
from consensus.encoding import file_cid
from consensus.outcome import Arrival, HeightResult, Stalled
from consensus.records import Vote
from consensus.updates import SignedUpdate
from tests.forge import Forge
from tests.toy import COSTS, Toy

PAPER = ("gaussian", "invert_votes")


def colluding(count: int) -> dict[int, Behaviour]:
    """The paper's malicious servers, as the first ``count``."""
    return {server: Composed(PAPER) for server in range(count)}


def check_invariants(toy: Toy, results: list[HeightResult]) -> None:
    """Safety, of what the servers hold and of what was reported."""
    replay = Chain(toy.genesis)
    seen: set[tuple[int, bytes]] = set()
    for result in results:
        before = replay.head
        replay.append(result.block)  # every proof, checked afresh
        header = result.block.header
        assert header.parent == before.cid
        assert header.height == before.height + 1
        assert header.timestamp > before.timestamp
        assert file_cid(result.contents.model) == header.model
        digests = [update.record.digest for update in result.updates]
        assert digests == sorted(set(digests))
        assert header.count == len(digests)
        assert header.samples == sum(update.record.samples for update in result.updates)
        for update in result.updates:
            assert update.record.height == header.height
            assert (header.height, update.record.client) not in seen
            seen.add((header.height, update.record.client))
        exact = toy.application.aggregate(
            [update.payload for update in result.updates],
            [update.record.samples for update in result.updates],
        )
        assert result.captured == (exact != result.contents.model)
        assert result.began < min(result.appended) <= max(result.appended) <= result.ended
    for server in toy.world.servers:
        assert [block.cid for block in server.chain.blocks] == [r.block.cid for r in results]
        assert server.chain.head == replay.head
        again = Chain(toy.genesis)  # certificates may differ, and each must stand
        for block in server.chain.blocks:
            again.append(block)
    assert toy.application.committed == [result.contents.model for result in results]
    for one, other in pairwise(results):
        assert one.ended == other.began


def test_honest_servers_decide_each_height_at_the_first_attempt() -> None:
    toy = Toy(servers=7, clients=5)
    results = [toy.play() for _ in range(6)]
    check_invariants(toy, results)
    for result in results:
        assert (result.block.header.attempt, result.block.header.step) == (0, 0)
        assert len(result.updates) == 5
        assert not result.captured
        assert result.refused == {}
        assert 0.5 < result.ended - result.began < 2.0


def test_one_server_is_a_world_too() -> None:
    toy = Toy(servers=1, clients=2)
    check_invariants(toy, [toy.play() for _ in range(3)])


def chain_of(seed: int, heights: int = 3, servers: int = 9) -> list[bytes]:
    toy = Toy(servers=servers, clients=4, seed=seed, committee_size=6, malicious=colluding(2))
    return [toy.play().block.encoded for _ in range(heights)]


def test_the_same_seed_gives_the_same_chain_byte_for_byte() -> None:
    assert chain_of(3) == chain_of(3)


def test_another_seed_gives_another_chain() -> None:
    assert len({chain[-1] for chain in map(chain_of, range(4))}) == 4


def test_a_world_continues_from_a_head_and_a_clock_reading() -> None:
    """What a resumed run relies on: nothing else of the past matters."""

    def make(**more: object) -> Toy:
        return Toy(servers=9, clients=4, committee_size=6, malicious=colluding(3), **more)  # type: ignore[arg-type]

    toy = make()
    whole = [toy.play() for _ in range(6)]
    for stop in range(1, 6):
        first = make()
        for _ in range(stop):
            first.play()
        second = make(head=first.world.head, now=first.world.env.now)
        rest = [second.play() for _ in range(6 - stop)]
        assert [r.block.encoded for r in rest] == [r.block.encoded for r in whole[stop:]]
        assert [r.appended for r in rest] == [r.appended for r in whole[stop:]]
        assert [r.gossip_bytes for r in rest] == [r.gossip_bytes for r in whole[stop:]]


def test_gossip_is_counted_by_the_encoded_bytes_of_every_hop() -> None:
    toy = Toy(servers=7, clients=5)
    forge = Forge(toy)
    tickets = [forge.draw(server).ticket for server in range(7)]
    result = toy.play()
    assert result.gossip_bytes["ticket"] == 6 * sum(len(ticket.encoded) for ticket in tickets)
    assert result.gossip_bytes["update"] == 6 * sum(u.wire_bytes for u in result.updates)
    votes = [
        len(Vote(toy.genesis.chain_id, 1, 0, 0, result.block.cid, True, s, bytes(64)).encoded)
        for s in range(7)
    ]
    assert result.gossip_bytes["vote"] <= 6 * sum(votes)
    assert set(result.gossip_bytes) <= {"ticket", "update", "candidate", "vote", "block", "model"}
    assert result.gossip_messages == 7 + 5 + 1 + 7 + 1


def test_charged_work_takes_simulated_time(monkeypatch: pytest.MonkeyPatch) -> None:
    def duration(operation: str, seconds: float) -> float:
        with monkeypatch.context() as patch:
            patch.setitem(COSTS.seconds, operation, seconds)
            return Toy(servers=7, clients=5).play().ended

    quick = Toy(servers=7, clients=5).play().ended
    # The aggregator signs its header, then a member its vote; the model is put once.
    assert duration("sign", 0.1) > quick + 0.19
    assert duration("store_put", 0.3) > quick + 0.29
    assert duration("store_get", 0.3) == quick, "everyone has a seat, and computed the model"


# -- updates ---------------------------------------------------------------------------------------


def arrivals(toy: Toy, at: dict[int, float]) -> list[Arrival]:
    """An update of every client in ``at``, at its time, to a server of its own."""

    def make(client: int) -> Callable[[], SignedUpdate]:
        return lambda: toy.update(client)

    return [
        Arrival(time, client % len(toy.keys), make(client)) for client, time in sorted(at.items())
    ]


def test_the_quota_is_sufficient_at_once() -> None:
    toy = Toy(servers=5, clients=5, quota=3)
    result = toy.world.run_height(arrivals(toy, {0: 0.1, 1: 0.2, 2: 0.3, 3: 9.0, 4: 9.5}), 60.0)
    assert len(result.updates) == 3
    assert result.ended < 2.0


def test_below_the_quota_the_deadline_decides() -> None:
    toy = Toy(servers=5, clients=5, quota=5, update_us=3_000_000)
    result = toy.world.run_height(arrivals(toy, {0: 0.1, 1: 0.2}), 60.0)
    assert len(result.updates) == 2
    assert 3.0 < result.ended < 5.0
    check_invariants(toy, [result])


def test_without_updates_the_world_waits_for_the_first() -> None:
    toy = Toy(servers=5, clients=5, quota=5, update_us=1_000_000)
    result = toy.world.run_height(arrivals(toy, {3: 20.0}), 60.0)
    assert len(result.updates) == 1
    assert result.ended > 20.0
    with pytest.raises(Stalled, match=r"height 2: after 5 simulated seconds 0 of 5 servers"):
        toy.world.run_height([], 5.0)


def test_an_update_that_comes_after_its_height_is_not_asked_for() -> None:
    toy = Toy(servers=5, clients=3, quota=2)

    def never() -> SignedUpdate:
        raise AssertionError("the height was decided long ago")

    late = [*arrivals(toy, {0: 0.1, 1: 0.1}), Arrival(5.0, 2, never)]
    first = toy.world.run_height(late, 60.0)
    second = toy.world.run_height(arrivals(toy, {0: 10.0, 1: 10.0}), 60.0)
    check_invariants(toy, [first, second])


def test_unfit_updates_are_turned_away_where_they_arrive() -> None:
    toy = Toy(servers=5, clients=4, quota=3)
    bad = Arrival(0.05, 4, lambda: toy.update(3, samples=10**6))
    result = toy.world.run_height([bad, *arrivals(toy, {0: 0.1, 1: 0.1, 2: 0.1})], 60.0)
    assert result.refused == {"sample count": 1}
    assert len(result.updates) == 3
    assert toy.clients[3].public not in {update.record.client for update in result.updates}


@pytest.mark.parametrize("variants", [2, 3, 5])
def test_a_client_that_tells_every_server_something_else_stops_nobody(variants: int) -> None:
    """Half the pools would hold what the other half lacks, and no candidate be verifiable."""
    toy = Toy(servers=10, clients=4, quota=4, update_us=3_000_000)

    def make(value: float) -> Callable[[], SignedUpdate]:
        return lambda: toy.update(0, value=value)

    for _ in range(3):
        now = toy.world.env.now
        honest = arrivals(toy, dict.fromkeys((1, 2, 3), now + 0.1))
        two_faced = [Arrival(now + 0.1, 2 * v, make(float(v))) for v in range(variants)]
        result = toy.world.run_height([*honest, *two_faced], 100.0)
        clients = [update.record.client for update in result.updates]
        assert len(set(clients)) == len(clients) >= 3
        assert result.refused["second update"] >= 9
        assert result.ended - result.began < 6.0


# -- malicious servers -----------------------------------------------------------------------------


def test_ten_malicious_of_thirty_delay_but_never_capture_twenty_seats() -> None:
    """The paper's setting: 14 of 20 seats are out of reach of ten; blocked committees are formed
    anew until one decides, and every height commits the honest aggregate."""
    toy = Toy(servers=30, clients=3, committee_size=20, malicious=colluding(10))
    results = [toy.play(400.0) for _ in range(6)]
    check_invariants(toy, results)
    assert not any(result.captured for result in results)
    assert any(result.block.header.attempt > 0 for result in results), "no committee was blocked"
    assert all(result.block.header.aggregator >= 10 for result in results)
    committees = [
        frozenset(ticket.server for ticket in result.block.committee) for result in results
    ]
    assert len(set(committees)) == len(committees)


def test_malicious_proposals_are_voted_down() -> None:
    """Of six heights of a committee that cannot be blocked, some aggregators were malicious:
    their step is lost, not the height."""
    toy = Toy(servers=10, clients=3, committee_size=10, malicious=colluding(3))
    results = [toy.play() for _ in range(8)]
    check_invariants(toy, results)
    assert all(result.block.header.attempt == 0 for result in results)
    assert any(result.block.header.step > 0 for result in results)
    assert all(result.block.header.aggregator >= 3 for result in results)


def test_exactly_a_third_on_a_committee_of_all_stalls() -> None:
    """Twenty approvals of thirty are not more than two thirds, however often it is tried."""
    toy = Toy(servers=30, clients=2, committee_size=30, malicious=colluding(10))
    with pytest.raises(Stalled, match=r"0 of 30 servers have a block \(attempt \d+, 2-2 updates"):
        toy.play(patience=8.0)
    assert min(server.attempt for server in toy.world.servers) >= 5
    assert all(server.chain.height == 0 for server in toy.world.servers)


def test_one_less_than_a_third_is_live() -> None:
    toy = Toy(servers=30, clients=2, committee_size=30, malicious=colluding(9))
    check_invariants(toy, [toy.play() for _ in range(3)])


def first_capture() -> tuple[Toy, list[HeightResult]]:
    """The first of many small committees that three malicious servers of nine captured."""
    for seed in range(60):
        toy = Toy(servers=9, clients=2, seed=seed, committee_size=4, malicious=colluding(3))
        results = []
        for _ in range(4):
            results.append(toy.play(400.0))
            if results[-1].captured:
                return toy, results
    raise AssertionError("no committee of four was captured in 240 heights")


def test_a_small_committee_is_captured_now_and_then_and_that_is_told() -> None:
    toy, results = first_capture()
    check_invariants(toy, results)
    block = results[-1].block
    assert block.header.aggregator < 3
    assert {server for server, _ in block.certificate} <= {0, 1, 2}
    forge = Forge(toy)
    forge.head = Chain(toy.genesis).head
    for earlier in results[:-1]:
        chain = Chain(toy.genesis, forge.head)
        chain.append(earlier.block)
        forge.head = chain.head
    committee = form_committee(toy.genesis, forge.draws(block.header.attempt))
    assert committee.approves(committee.weight_of([0, 1, 2]))


# -- many worlds -----------------------------------------------------------------------------------

TICKET, VOTE, UPDATE, STEPS = 0.5, 2.0, 20.0, 3


def bound(result: HeightResult) -> float:
    """How long a height may take: updates, then whole attempts of tickets and timed-out steps."""
    attempts = result.block.header.attempt + 1
    return UPDATE + attempts * (TICKET + STEPS * VOTE) + 1.0


@pytest.mark.parametrize("seed", range(40))
def test_safety_and_liveness_over_many_worlds(seed: int) -> None:
    generator = np.random.default_rng(seed)
    servers = int(generator.integers(4, 13))
    bad = int(generator.integers(0, (servers - 1) // 3 + 1))
    kind = str(generator.choice(["fixed", "weighted"]))
    stakes = [int(stake) for stake in generator.integers(1, 6, servers)]
    if kind == "fixed":
        size = int(generator.integers(max(3, servers // 2), servers + 1))
    else:
        size = max(4, 3 * sum(stakes) // 4)
    behaviours: list[tuple[str, ...]] = [("gaussian",), ("invert_votes",), PAPER]
    names = behaviours[int(generator.integers(3))]
    toy = Toy(
        servers=servers,
        clients=int(generator.integers(1, 5)),
        seed=seed,
        malicious={server: Composed(names) for server in range(bad)},
        stakes=stakes,
        committee=kind,
        committee_size=size,
    )
    results = [toy.play(2000.0) for _ in range(4)]
    check_invariants(toy, results)
    for result in results:
        assert result.ended - result.began < bound(result)


def test_a_fork_would_be_noticed() -> None:
    """The harness' own eye: two blocks at one height end the run."""
    toy = Toy(servers=4, clients=1)
    forge = Forge(toy)
    toy.world._on_appended(0, forge.block(), 1.0)
    with pytest.raises(AssertionError, match="height 1: servers appended different blocks"):
        toy.world._on_appended(1, forge.block(forge.candidate(step=1)), 1.0)
