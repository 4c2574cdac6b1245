"""Torture of servers that gossip over a mesh."""

from __future__ import annotations

from dataclasses import replace

import pytest

from consensus.torture.arena.scenario import BadScenario, Scenario
from consensus.torture.campaign import Plan, play
from consensus.torture.run import run


@pytest.mark.parametrize("protocol", ["bft", "tendermint"])
def test_no_scenario_over_a_mesh_breaks_an_invariant(protocol: str) -> None:
    tally = play(Plan(protocol, gossip="mesh"), range(25))
    assert (tally.scenarios, tally.violations) == (25, {})
    assert tally.faults["partition"] > 20


@pytest.mark.slow
@pytest.mark.parametrize("protocol", ["bft", "tendermint"])
@pytest.mark.parametrize("first", range(0, 600, 100))
def test_hundreds_of_scenarios_over_a_mesh_break_no_invariant(protocol: str, first: int) -> None:
    tally = play(Plan(protocol, gossip="mesh"), range(first, first + 100))
    assert (tally.scenarios, tally.violations) == (100, {})
    tally = play(Plan(protocol, gossip="mesh", hard=True), range(first, first + 50))
    assert not tally.violations


@pytest.mark.parametrize("rule", ["contents", "parent", "quorum"])
def test_a_rule_that_is_switched_off_is_found_out_over_a_mesh_too(rule: str) -> None:
    assert play(Plan(rule=rule, gossip="mesh"), range(60), stop_at_first=True).found


def test_a_scenario_names_its_mesh_and_no_trees() -> None:
    tree, mesh = (Plan(gossip=gossip).scenario(3) for gossip in ("tree", "mesh"))
    assert tree.text() == replace(mesh, gossip="tree").text()
    assert '"gossip":"mesh"' in mesh.text()
    assert "gossip" not in tree.text()
    assert Scenario.from_text(mesh.text()) == mesh
    outcomes = [run(scenario, traced=True) for scenario in (tree, mesh, mesh)]
    assert outcomes[0].trace != outcomes[1].trace == outcomes[2].trace
    assert outcomes[1].events > outcomes[0].events


def test_an_adversary_that_schedules_messages_leaves_no_mesh() -> None:
    assert Plan(premise="half", gossip="mesh").scenario(0).gossip == "tree"
    with pytest.raises(BadScenario, match="gossip: expected tree, as with a bound no server"):
        Scenario.from_text('{"seed":1,"servers":4,"bound":50,"gossip":"mesh"}')
    with pytest.raises(BadScenario, match="gossip: expected one of tree, mesh, got 'star'"):
        Scenario.from_text('{"seed":1,"servers":4,"gossip":"star"}')
