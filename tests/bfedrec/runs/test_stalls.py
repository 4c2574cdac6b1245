"""Heights that nobody decides: how long they are tried, and what is told of them."""

from __future__ import annotations

import numpy as np
import pytest

from consensus.adversary.behaviour import Circle
from consensus.adversary.composed import Composed
from consensus.faults.faults import Faults, fault_from_node
from consensus.simulation.results import Arrival, Stalled
from tests.helpers.toy import Toy


def attacked(behaviour: str, servers: int, malicious: int, size: int) -> Toy:
    circle = Circle()
    group = range(servers - malicious, servers)
    behaviours = {index: Composed(behaviour.split("+"), circle=circle) for index in group}
    return Toy(servers, clients=3, committee_size=size, crypto="modelled", malicious=behaviours)


def arrivals_of(toy: Toy) -> list[Arrival]:
    """One update of every client, at once."""
    return [
        Arrival(toy.world.env.now, client, lambda client=client: toy.update(client))
        for client in range(3)
    ]


def test_attempts_that_take_a_blink_each_are_counted_too() -> None:
    """Half of the weight leaves every view at once, so that attempts cost next to no time."""
    toy = attacked("gaussian+invert_votes", 4, 2, 4)
    with pytest.raises(Stalled, match="height 1: after") as stall:
        toy.world.run_height(arrivals_of(toy), 4000.0, attempts=10)
    assert stall.value.height == 1
    assert stall.value.attempts > 10
    assert stall.value.malicious_weight == ((2, 4),) * stall.value.attempts
    assert toy.world.env.now < 100.0


def test_without_a_bound_on_attempts_only_time_ends_a_height() -> None:
    toy = attacked("gaussian+invert_votes", 4, 2, 4)
    with pytest.raises(Stalled, match="after 10 simulated seconds") as stall:
        toy.world.run_height(arrivals_of(toy), 10.0)
    assert stall.value.attempts > 20


def test_attempts_below_the_bound_end_no_height() -> None:
    toy = attacked("silent", 6, 2, 4)
    result = toy.world.run_height(arrivals_of(toy), 200.0, attempts=10)
    assert 0 < result.block.certificate.attempt < 10


def test_attempts_that_all_servers_give_up_are_counted() -> None:
    """Two silent members of four block a committee, and it cannot even close its views."""
    toy = attacked("silent", 6, 2, 4)
    result = toy.play()
    assert [weight for weight, _ in result.malicious_weight] == [2, 2, 1]
    assert result.closed_by_all == result.block.certificate.attempt == 2
    assert toy.play().closed_by_all == 0  # nothing is left of the height before


def test_blocks_that_a_server_catches_up_with_are_counted() -> None:
    node = {"crash": [0], "from": 0.0, "until": 20.0}
    faults = Faults([fault_from_node(node)], 5, np.random.default_rng(0))
    toy = Toy(servers=5, clients=3, committee_size=4, faults=faults)
    results = []
    while toy.world.env.now < 20.0 or toy.world.behind():
        results.append(toy.play())
    missed = sum(result.ended < 20.0 for result in results)
    assert missed > 0
    assert sum(result.caught_up for result in results) >= missed
