"""Whole worlds under `tendermint` and `hotstuff`: honest and malicious servers, audit, crashes,
blocked committees."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from bfedrec.cli.main import main
from consensus.faults.faults import Faults, fault_from_node
from consensus.ledger.evidence import holds
from consensus.simulation.results import Stalled
from consensus.torture.campaign import Plan, play
from consensus.torture.mutants.by_protocol import breaks_of
from consensus.torture.run import run
from tests.helpers.standing_worlds import circle, played, toy


class Way(NamedTuple):
    """What is a protocol's own of that which both promise."""

    name: str
    deciding: str
    """The phase whose votes decide."""
    told: set[tuple[str, int]]
    """Phases and servers of the evidence of two who vote and propose twice."""
    stall: str
    """What a blocked committee is told with."""
    patience: float
    """Simulated seconds after which a blocked committee is given up."""
    clean: list[int]
    """Seeds of torture at which nothing may be found."""
    found: dict[str, int]
    """A seed at which a rule, switched off, was found, and soon; the others are found at the first
    two."""


TENDERMINT = Way(
    "tendermint",
    deciding="precommit",
    told={("precommit", 1), ("precommit", 4)},
    stall="Tendermint draws no other committee",
    patience=4_000.0,
    clean=[*range(40), 2450],
    found={
        "prevote-lock": 16,
        "newer-proof": 21,
        "same-round": 16,
        "valid-value": 9,
        "timeout-propose": 38,
        "timeout-prevote": 4,
        "timeout-precommit": 21,
        "growing-timeouts": 23,
        "durable-votes": 12,
        "durable-lock": 64,
        "durable-proposals": 4,
        "abstaining": 267,
        "written-before-promised": 9,
        "parent": 6,
        "timestamps": 7,
        "one-update-per-client": 4,
        "saying-again": 3,
        "fetching": 29,
        "models-below": 35,
    },
)
HOTSTUFF = Way(
    "hotstuff",
    deciding="commit",
    told={("proposal", 4)},
    stall="HotStuff draws no other committee",
    patience=400.0,
    clean=[*range(40)],
    found={
        "safe-node": 89,
        "newer-certificate": 383,
        "unlocking": 87,
        "justified": 549,
        "locking": 89,
        "named-certificates": 1,
        "locked-judged-anew": 33,
        "view-timer": 5,
        "durable-votes": 5,
        "durable-view": 39,
        "durable-lock": 15,
        "durable-certificate": 4,
        "abstaining": 176,
        "parent": 11,
        "timestamps": 11,
        "chain-id": 5,
        "contents": 5,
        "availability": 5,
        "pi-for-beta": 2,
        "written-before-promised": 10,
        "one-update-per-client": 4,
        "models-below": 26,
        "saying-again": 123,
        "every-ticket": 5,
        "block-time": 5,
    },
)
WAYS = (TENDERMINT, HOTSTUFF)
BOTH = pytest.mark.parametrize("way", WAYS, ids=[way.name for way in WAYS])
BREAKS = [
    pytest.param(way, rule, id=f"{way.name}-{rule}") for way in WAYS for rule in breaks_of(way.name)
]


@BOTH
@pytest.mark.parametrize("seed", range(5))
def test_honest_servers_decide_at_once(way: Way, seed: int) -> None:
    for result in played(toy(way.name, seed), 4):
        assert result.block.certificate.view == (0, 0)
        assert result.block.certificate.phase == way.deciding
        assert result.evidence == ()


@BOTH
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    "names",
    [
        ("abstain",),
        ("silent",),
        ("gaussian", "invert_votes"),
        ("equivocate_candidates", "equivocate_votes", "late_block"),
        ("late_votes",),
        ("withhold", "spam", "phantom_votes"),
    ],
)
def test_it_stays_live_with_less_than_a_third_malicious(
    way: Way, names: tuple[str, ...], seed: int
) -> None:
    world = toy(way.name, seed, malicious=circle(names, (1, 4)))
    results = played(world)
    assert len(results) == 6
    assert not any(result.captured for result in results)
    assert {each.server for result in results for each in result.evidence} <= {1, 4}


@BOTH
def test_double_votes_are_evidence_and_cost_no_block(way: Way) -> None:
    """Under HotStuff votes go to one leader, which their sender may show the same vote as everybody
    else; the two proposals of a leader go round."""
    names = ("equivocate_candidates", "equivocate_votes")
    world = toy(way.name, 1, malicious=circle(names, (1, 4)))
    found = [each for result in played(world, 8) for each in result.evidence]
    assert {(each.phase, each.server) for each in found} == way.told
    assert all(holds(world.genesis, each) for each in found)


@BOTH
def test_the_same_seed_gives_the_same_chain(way: Way) -> None:
    names = ("equivocate_candidates", "equivocate_votes")
    heads = {
        played(toy(way.name, 3, malicious=circle(names, (0, 5))))[-1].block.cid for _ in range(2)
    }
    assert len(heads) == 1


@BOTH
def test_a_crash_of_some_costs_no_block(way: Way) -> None:
    faults = Faults(
        [fault_from_node({"crash": [0, 3], "lost_tail": 1, "from": 0.3, "until": 3.0})],
        7,
        np.random.default_rng(0),
    )
    results = played(toy(way.name, faults=faults), 4)
    assert [result.block.height for result in results] == [1, 2, 3, 4]


@BOTH
def test_a_blocked_committee_is_a_stall_that_says_why(way: Way) -> None:
    world = toy(way.name, malicious=circle(("abstain",), (1, 3, 4)))
    with pytest.raises(Stalled, match=way.stall):
        world.play(patience=way.patience)


@BOTH
def test_a_captured_committee_decides_what_it_likes(way: Way) -> None:
    """Beyond the premise: five of seven seats are malicious."""
    world = toy(way.name, malicious=circle(("gaussian", "invert_votes"), (0, 1, 2, 3, 4)))
    assert any(result.captured for result in played(world, 8))


# -- torture --------------------------------------------------------------------------------------


@BOTH
def test_torture_finds_nothing_in_some_scenarios(way: Way) -> None:
    tally = play(Plan(way.name), way.clean)
    assert not tally.violations
    assert tally.branches["a locked block proposed again"]
    assert tally.branches["attempt > 0"]


@pytest.mark.parametrize(("way", "rule"), BREAKS)
def test_a_rule_that_is_switched_off_is_found_out(way: Way, rule: str) -> None:
    plan = Plan(way.name, rule=rule)
    tally = play(plan, [way.found[rule]] if rule in way.found else range(2), stop_at_first=True)
    if not tally.found:
        tally = play(plan, range(300), stop_at_first=True)
    assert tally.found, f"{rule}: not found"
    assert not run(tally.found[0].scenario).violated, "nothing is wrong with the rule on"


# -- a run ----------------------------------------------------------------------------------------


@BOTH
def test_a_run_is_audited(way: Way, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The quickstart, through the ledger and its bytes."""
    words = ["rounds=3", f"protocol={way.name}", "crypto=modelled", "clients.per_round=10"]
    out = tmp_path / "run"
    assert main(["run", "experiments/quickstart.yaml", *words, "--out", str(out)]) == 0
    capsys.readouterr()
    assert main(["audit", str(out)]) == 0
    assert "3 blocks" in capsys.readouterr().out
