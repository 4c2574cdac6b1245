"""A world with faults: servers that are down or behind, and contents that they lack."""

from __future__ import annotations

import pytest

from consensus.simulation.height_end import GRACE
from consensus.simulation.results import Arrival
from tests.helpers.toy import Toy
from tests.helpers.worlds import NOTHING, check_invariants, crash, cut, struck

PAPER = ("gaussian", "invert_votes")


# -- down and up again -----------------------------------------------------------------------------


def test_a_height_does_not_wait_for_who_is_down() -> None:
    toy = Toy(servers=7, clients=3, crypto="modelled", faults=struck(7, crash(2, 5, from_=0.05)))
    results = [toy.play() for _ in range(3)]
    check_invariants(toy, results)
    for result in results:
        assert sorted(result.appended) == [0, 1, 3, 4, 6]
    assert toy.world.behind() == {2: 0, 5: 0}
    assert toy.world.faults is not None
    assert toy.world.faults.fired["crash"] == 2


def test_a_server_that_was_down_catches_up_and_takes_part_again() -> None:
    down = crash(2, from_=1.0, until=6.0)
    toy = Toy(servers=5, clients=3, crypto="modelled", faults=struck(5, down))
    results = [toy.play() for _ in range(14)]
    check_invariants(toy, results)
    behind = [result for result in results if 2 not in result.appended]
    assert behind, "it missed some"
    assert toy.world.behind() == {}
    assert sorted(results[-1].appended) == [0, 1, 2, 3, 4]
    signers = {server for server, _ in results[-1].block.certificate.signatures}
    aggregators = {result.block.header.aggregator for result in results}
    assert 2 in signers | aggregators
    assert 2 in {ticket.server for ticket in results[-1].block.tickets}
    assert sum(result.caught_up for result in results) >= len(behind) - 1


def test_a_crash_may_take_blocks_and_they_are_fetched_again() -> None:
    down = crash(2, from_=3.0, until=6.0, lost_tail=3)
    toy = Toy(servers=5, clients=3, crypto="modelled", faults=struck(5, down))
    results = [toy.play() for _ in range(14)]
    check_invariants(toy, results)
    assert toy.world.behind() == {}


def test_all_may_crash_at_once_and_go_on() -> None:
    """Nobody is left that remembers the height in progress but by its promises."""
    down = [crash(server, from_=0.53, until=0.7 + server / 10) for server in range(5)]
    toy = Toy(servers=5, clients=3, crypto="modelled", faults=struck(5, *down))
    updates = [
        Arrival(at, client, lambda client=client: toy.update(client))
        for client in range(3)
        for at in (0.1, 5.0)
    ]
    first = toy.world.run_height(updates, 200.0)
    assert first.ended > 0.7
    results = [first]
    while toy.world.behind() or len(results) < 4:
        results.append(toy.play())
        assert len(results) < 30
    check_invariants(toy, results)


def test_whoever_is_behind_is_told_and_catches_up() -> None:
    toy = Toy(servers=5, clients=3, crypto="modelled", faults=struck(5, NOTHING))
    results = [toy.play() for _ in range(3)]
    toy.world.servers[3].chain.cut(1)
    assert toy.world.behind() == {3: 1}
    results += [toy.play() for _ in range(4)]
    check_invariants(toy, results)
    assert toy.world.behind() == {}
    assert sum(result.caught_up for result in results) >= 2
    assert 3 in results[-1].appended


def test_a_height_ends_some_time_after_two_thirds_have_its_block() -> None:
    """Who is cut off does not hold up the others for ever."""
    toy = Toy(servers=7, clients=3, crypto="modelled", faults=struck(7, cut(0)))
    arrivals = [
        Arrival(0.1, 1 + client, lambda client=client: toy.update(client)) for client in range(3)
    ]
    result = toy.world.run_height(arrivals, 200.0)
    assert sorted(result.appended) == [1, 2, 3, 4, 5, 6]
    wait = result.ended - sorted(result.appended.values())[4]
    assert wait == pytest.approx(GRACE * 2.0, abs=0.3)
    assert toy.world.behind() == {0: 0}


def test_what_is_lost_is_said_again() -> None:
    loss = {"loss": 0.3, "until": 1000.0}
    toy = Toy(servers=5, clients=3, crypto="modelled", faults=struck(5, loss))
    results = [toy.play(600.0) for _ in range(5)]
    check_invariants(toy, results)
    assert toy.world.faults is not None
    assert toy.world.faults.fired["loss"] > 50
    kinds = set().union(*(result.gossip_bytes for result in results))
    assert "status" in kinds, "and asked for"


def test_a_partition_stops_the_smaller_part_and_heals() -> None:
    apart = cut(0, 1, until=12.0)
    toy = Toy(servers=7, clients=1, crypto="modelled", faults=struck(7, apart))
    results = [toy.world.run_height([Arrival(0.1, 4, lambda: toy.update(0))], 200.0)]
    assert set(results[0].appended) == {2, 3, 4, 5, 6}
    while toy.world.env.now < 25.0 or toy.world.behind():
        results.append(toy.play())
        assert len(results) < 100
    results.append(toy.play())
    check_invariants(toy, results)
    assert set(results[-1].appended) == set(range(7))
