"""Twins: every small scenario with one malicious server that runs twice, on the protocol's code."""

from __future__ import annotations

from collections import Counter

import pytest

from consensus.torture.mutants.breaks import BREAKS
from consensus.torture.twins.play import ROUND, TwinsWorld
from consensus.torture.twins.scenarios import SERVERS, Scenario, every, renamed

#: Scenarios by number of rounds.
COUNTS = {1: 15, 2: 510, 3: 25_740}


@pytest.mark.parametrize("rounds", [1, 2])
def test_the_enumeration_is_complete(rounds: int) -> None:
    """The scenarios under all their names are as many as leaders and partitions allow."""
    scenarios = list(every(rounds))
    names = [set(renamed(scenario)) for scenario in scenarios]
    assert len(scenarios) == COUNTS[rounds]
    assert sum(map(len, names)) == len(set().union(*names)) == (4 * 16) ** rounds


def test_groups_keep_messages_apart_until_all_is_healed() -> None:
    world = TwinsWorld(Scenario((1,), (0b11000,)))
    assert world.together(0, 1)
    assert not world.together(0, 3)
    assert world.together(3, 4)
    world.now = ROUND
    assert world.together(0, 3)


def test_a_broken_quorum_is_found() -> None:
    with BREAKS["quorum-less-one"].applied():
        found = {TwinsWorld(scenario).play() for scenario in list(every(2))[:40]}
    assert "two blocks are decided" in found


def test_no_two_blocks_are_decided_and_every_server_decides() -> None:
    """A tenth of all scenarios of two rounds."""
    worlds = [TwinsWorld(scenario) for scenario in list(every(2))[::10]]
    assert Counter(world.play() for world in worlds) == {"": 51}
    assert any(server.evidence for world in worlds for server in world.servers[1:SERVERS])


@pytest.mark.slow
@pytest.mark.parametrize("rounds", [2, 3])
def test_no_two_blocks_are_decided_in_any_scenario(rounds: int) -> None:
    found = Counter(TwinsWorld(scenario).play() for scenario in every(rounds))
    assert found == {"": COUNTS[rounds]}
