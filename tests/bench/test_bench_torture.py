"""How many scenarios a core plays in a second: four servers, three heights, every invariant."""

from __future__ import annotations

from typing import Any

import pytest

from consensus.torture.arena.scenario import Scenario
from consensus.torture.campaign import Plan, play
from consensus.torture.run import run

pytestmark = pytest.mark.benchmark(group="torture")


@pytest.mark.parametrize("servers", [4, 7, 16])
def test_twenty_drawn_scenarios(benchmark: Any, servers: int) -> None:
    """As a campaign plays them, one of them twice."""
    tally = benchmark(play, Plan(servers=servers), range(20))
    assert not tally.violations


def test_a_scenario_without_faults(benchmark: Any) -> None:
    outcome = benchmark(run, Scenario(seed=1, servers=4))
    assert not outcome.violated
