"""The torture harness: scenarios, what they cover, and that it is the harness that judges."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consensus.adversary.behaviour import BEHAVIOURS, Behaviour, behaviour
from consensus.faults.faults import FAULTS, fault_from_node
from consensus.server.hooks import Outgoing
from consensus.torture.arena.attacker import ATTACKERS
from consensus.torture.arena.attackers import known_behaviours, recorded_behaviours
from consensus.torture.arena.drawing import draw
from consensus.torture.arena.scenario import BadScenario, Scenario
from consensus.torture.campaign import Found, Plan, Tally, conduct, play, shrunk
from consensus.torture.oracle.ending import check_ending
from consensus.torture.run import Outcome, healing_time, patience, run
from consensus.torture.shrinking import shrink
from consensus.workers import InTurn, Lost, Unit

HONEST = Scenario(seed=1, servers=4)


# -- scenarios -------------------------------------------------------------------------------------


@given(st.integers(0, 10**6), st.sampled_from(["bft", "hotstuff", "paper", "tendermint"]))
def test_a_seed_is_one_scenario_within_the_premise(seed: int, protocol: str) -> None:
    scenario = draw(seed, protocol)
    assert scenario == draw(seed, protocol)
    scenario.check()
    assert 4 <= scenario.servers <= 16
    assert scenario.hostile < scenario.clients
    for fault in scenario.faults:
        fault_from_node(fault)
    stake = scenario.stake
    assert 3 * sum(stake[server] for server in scenario.bad) < sum(stake) or not scenario.bad
    if protocol == "bft":
        assert 3 * len(scenario.bad) < scenario.committee_size
        # An attempt is closed by everyone only when all faults have long healed.
        recovery = scenario.recovery / 1e3
        assert recovery == 0 or recovery > healing_time(scenario) + 3 * scenario.resend / 1e3


@given(st.integers(0, 10**6))
def test_a_scenario_is_its_text(seed: int) -> None:
    scenario = draw(seed)
    text = scenario.text()
    assert "\n" not in text
    assert Scenario.from_text(text) == scenario


def test_scenarios_contain_everything_there_is() -> None:
    scenarios = [draw(seed) for seed in range(1500)]
    faults = {key for s in scenarios for fault in s.faults for key in fault} & FAULTS.keys()
    assert faults == FAULTS.keys()
    behaviours = {name for s in scenarios for _, names in s.malicious for name in names}
    assert behaviours == set(recorded_behaviours())
    assert set(known_behaviours()) == BEHAVIOURS.keys() | ATTACKERS.keys()
    assert {s.topology for s in scenarios} == {"complete", "ring", "random"}
    assert {s.committee for s in scenarios} == {"fixed", "weighted"}
    assert {bool(s.stakes) for s in scenarios} == {bool(s.size) for s in scenarios} == {True, False}
    assert {s.servers for s in scenarios} >= {4, 16}
    assert {draw(seed, servers=5).servers for seed in range(50)} == {5}


@pytest.fixture
def echo() -> Iterator[str]:
    """The name of a behaviour that is registered for as long as a test runs, as a plugin's is."""
    with BEHAVIOURS.restored():

        @behaviour("echo")
        class Echo(Behaviour):
            """Says everything twice."""

            def outgoing(self, server: Any, message: Outgoing) -> Iterable[Outgoing]:
                return (message, message)

        yield "echo"


@pytest.mark.parametrize("protocol", ["bft", "hotstuff", "paper", "tendermint"])
def test_a_new_behaviour_changes_no_seed(protocol: str, request: pytest.FixtureRequest) -> None:
    before = [draw(seed, protocol) for seed in range(300)]
    assert request.getfixturevalue("echo") in BEHAVIOURS
    assert [draw(seed, protocol) for seed in range(300)] == before


def test_a_new_behaviour_is_drawn_where_it_is_asked_for(echo: str) -> None:
    follow = 0
    for seed in range(300):
        plain, asked = draw(seed), draw(seed, behaviours=[echo])
        assert replace(asked, malicious=plain.malicious) == plain
        for (server, drawn), (same, names) in zip(plain.malicious, asked.malicious, strict=True):
            assert server == same
            assert names in (drawn, tuple(sorted({*drawn, echo})))
        follow += sum(echo in names for _, names in asked.malicious)
        assert bool(plain.malicious) == any(echo in names for _, names in asked.malicious)
        both = draw(seed, behaviours=["silent", echo])
        assert both == draw(seed, behaviours=[echo, "silent"])
        assert [echo in names for _, names in both.malicious] == [
            echo in names for _, names in asked.malicious
        ]
    malicious = sum(len(draw(seed).malicious) for seed in range(300))
    assert 0.5 * malicious < follow < malicious
    tally = play(Plan(behaviours=(echo,)), range(10))
    assert tally.behaviours[echo] > 0
    assert not tally.violations


def test_the_behaviours_of_recorded_seeds_are_a_closed_set(echo: str) -> None:
    assert {echo, "beg"} <= set(known_behaviours()) - set(recorded_behaviours())
    behaviour("late_echo", recorded=True)(type("LateEcho", (Behaviour,), {}))
    with pytest.raises(ValueError, match="not those of the recorded campaigns"):
        draw(1)


def test_a_behaviour_may_not_have_an_attackers_name(echo: str) -> None:
    behaviour("flood")(type("Flood", (Behaviour,), {}))
    with pytest.raises(ValueError, match="'flood' has the name of one of torture's attackers"):
        known_behaviours()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "a scenario is a JSON map"),
        ("[]", "a scenario is a JSON map"),
        ('{"seed":1,"servers":4,"colour":3}', "'colour'"),
        ('{"servers":4}', "seed"),
        ('{"seed":1,"servers":"four"}', "servers: expected an integer"),
        ('{"seed":1,"servers":0}', "expected an integer from 1"),
        ('{"seed":1,"servers":4,"topology":"star"}', "topology"),
        ('{"seed":1,"servers":4,"stakes":[1,2]}', "stakes"),
        ('{"seed":1,"servers":4,"malicious":[[7,["silent"]]]}', "no such server"),
        ('{"seed":1,"servers":4,"clients":2,"hostile":2}', "honest"),
    ],
)
def test_what_is_no_scenario_is_told_why(text: str, said: str) -> None:
    with pytest.raises(BadScenario, match=said):
        Scenario.from_text(text)


# -- a run -----------------------------------------------------------------------------------------


def test_honest_servers_without_faults_need_one_attempt() -> None:
    outcome = run(HONEST)
    assert not outcome.violated, outcome.what
    assert (outcome.heights, outcome.attempt, outcome.outside) == (3, 0, False)
    assert outcome.faults == outcome.behaviours == Counter()
    assert outcome.simulated < 5.0


def test_a_seed_gives_the_same_trace_in_any_process() -> None:
    scenario = draw(3)
    mine = run(scenario, traced=True).trace
    assert mine == run(scenario, traced=True).trace
    assert mine != run(replace(scenario, seed=4), traced=True).trace
    code = (
        "from consensus.torture.arena.drawing import draw; from consensus.torture.run import run; "
        "print(run(draw(3), traced=True).trace)"
    )
    for salt in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            env={"PYTHONHASHSEED": salt, "PATH": "/usr/bin"},
        )
        assert done.stdout.strip() == mine


def test_a_campaign_of_ordinary_scenarios_is_clean_and_covers() -> None:
    seeds = [*range(299), 751]  # in which somebody asks a server that has lost a model
    tally = play(Plan(), seeds)
    assert tally.violations == Counter(), tally.found
    assert tally.scenarios == 300
    assert tally.outside < 15
    assert tally.repeated == 6
    assert {name for name in FAULTS if tally.faults[name]} == FAULTS.keys()
    acted = {name for name in recorded_behaviours() if tally.behaviours[name]}
    assert len(acted) > 0.9 * len(recorded_behaviours())
    for branch in (
        "attempt > 0",
        "step > 0",
        "a locked block proposed again",
        "a view closed with a lock",
        "an attempt closed by everyone",
        "decided in a later attempt",
        "decided in a later view than proposed",
        "a server back from a crash",
        "a block sent to one behind",
        "blocks lost in a crash",
        "updates asked for",
        "evidence found",
        "settle timer",
    ):
        assert tally.branches[branch], branch


def test_the_bound_of_liveness_grows_with_the_timers() -> None:
    plain = patience(HONEST, 0, 1)
    assert patience(HONEST, 0, 2) > plain
    assert patience(HONEST, 5, 1) > plain
    for slower in (
        replace(HONEST, vote=4000),
        replace(HONEST, recovery=20_000),
        replace(HONEST, max_step=4),
        replace(HONEST, resend=2000),
    ):
        assert patience(slower, 0, 1) > plain


def test_a_committee_beyond_the_premise_is_not_judged() -> None:
    names = ("gaussian", "invert_votes")
    captured = replace(HONEST, malicious=((0, names), (1, names), (2, names)))
    outcome = run(captured)
    assert outcome.outside
    assert not outcome.violated


def test_what_the_monitor_reads_itself_is_what_the_ledger_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Committees, turns and beacons come out alike, also where tickets were lost."""
    from consensus.torture import run as module

    compared: Counter[bool] = Counter()

    def compare(scenario: Any, world: Any, monitor: Any, healed: float) -> None:
        check_ending(scenario, world, monitor, healed)
        server = next(server for server in world.servers if server.behaviour is None)
        for height in range(1, scenario.heights + 1):
            head = server.chain.heads[height - 1]
            for attempt in range(7):
                ours = monitor.ledger.form(height, attempt)
                theirs = world.checks.sortition(world.genesis, head, attempt)
                assert ours.weights == theirs.committee.weights
                assert ours.total == theirs.committee.total
                assert ours.order == theirs.order
                compared[len(head.draws) < scenario.servers] += 1

    monkeypatch.setattr(module, "check_ending", compare)
    for seed in range(120):
        outcome = run(draw(seed))
        assert not outcome.violated, outcome.what
    assert compared[True] > 10
    assert compared[False] > 500


# -- campaigns -------------------------------------------------------------------------------------


class Backwards:
    """Workers of which the last begun ends first, and that lose the seeds that they are told to."""

    at_once = 2

    def __init__(self, lose: str = "") -> None:
        self.lose = lose
        self.units: list[Unit] = []

    def submit(self, unit: Unit) -> None:
        self.units.append(unit)
        assert len(self.units) <= 2 * self.at_once

    def ended(self) -> list[Any]:
        unit = self.units.pop()
        return [Lost(unit.label, "gone") if unit.label == self.lose else unit.call()]


def test_a_campaign_does_not_depend_on_the_order_in_which_workers_end() -> None:
    told: list[int] = []
    plan = Plan(servers=4)
    one = conduct(plan, range(60), InTurn(), lambda tally: told.append(tally.scenarios))
    two = conduct(plan, range(60), Backwards(), lambda tally: None)
    assert told == [20, 40, 60]
    for name in ("scenarios", "heights", "events", "faults", "behaviours", "branches"):
        assert getattr(one, name) == getattr(two, name), name


def test_seeds_that_workers_lose_are_named_and_the_others_count() -> None:
    tally = conduct(Plan(servers=4), range(50), Backwards("seeds 20-39"), lambda tally: None)
    assert tally.scenarios == 30
    assert [str(lost) for lost in tally.lost] == ["seeds 20-39: gone"]


def test_of_violations_the_first_of_a_kind_are_kept() -> None:
    tally, other = Tally(), Tally()
    for seed in (9, 3, 7, 1, 5):
        tally.add(seed, Outcome(HONEST, "a"))
    for seed in (2, 8, 4):
        other.add(seed, Outcome(HONEST, "a"))
    other.add(11, Outcome(HONEST, "b"))
    tally.merge(other)
    assert tally.violations == {"a": 8, "b": 1}
    assert [found.seed for found in tally.found] == [1, 2, 3, 4, 5, 11]


# -- shrinking -------------------------------------------------------------------------------------


def test_shrinking_keeps_only_what_it_takes() -> None:
    big = draw(10)
    faults = (
        {"loss": 0.1, "from": 0.0, "until": 1.0},
        {"crash": [2, 9], "from": 1.0, "until": 2.0},
    )
    big = replace(
        big,
        servers=10,
        stakes=(2,) * 10,
        malicious=((1, ("silent", "grind")), (5, ("spam",)), (9, ("rush",))),
        faults=faults,
        clients=4,
        heights=3,
    )

    def violates(scenario: Scenario) -> bool:
        crash = any(2 in fault.get("crash", ()) for fault in scenario.faults)
        return crash and any("grind" in names for _, names in scenario.malicious)

    small = shrink(big, violates)
    assert small.servers == 4
    assert small.malicious == ((1, ("grind",)),)
    assert small.faults == ({"crash": [2], "from": 1.0, "until": 2.0},)
    assert (small.heights, small.clients, small.stakes, small.topology) == (1, 1, (), "complete")


def test_shrinking_ends_after_so_many_runs() -> None:
    runs: list[Scenario] = []

    def never(scenario: Scenario) -> bool:
        runs.append(scenario)
        return False

    scenario = draw(10)
    assert shrink(scenario, never, runs=5) == scenario
    assert len(runs) == 5


def test_a_shrunk_violation_replays() -> None:
    plan = Plan(rule="contents")
    tally = play(plan, range(20), stop_at_first=True)
    small = shrunk(plan, tally.found[0])
    assert isinstance(small, Found)
    assert len(small.scenario.text()) <= len(tally.found[0].scenario.text())
    with plan.applied():
        outcome = run(Scenario.from_text(small.scenario.text()))
    assert (outcome.invariant, outcome.what) == (small.invariant, small.what)
    assert not run(small.scenario).violated, "with the rule on it holds"
