"""Torture by an adversary that corrupts servers once it has seen something: within the premise no
invariant is violated, beyond it little is judged, and what trusts earlier honesty is found."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from consensus.protocols.registry import PROTOCOLS
from consensus.simulation.adversary import Corruption
from consensus.torture.arena.adaptive import AIMS, RECANT, adapt
from consensus.torture.arena.attackers import known_behaviours
from consensus.torture.arena.drawing import draw
from consensus.torture.arena.edge import draw_half, harden
from consensus.torture.arena.rig import genesis_of
from consensus.torture.arena.scenario import BadScenario, Scenario
from consensus.torture.arena.world import TortureWorld
from consensus.torture.campaign import Found, Plan, play, shrunk
from consensus.torture.mutants import breaks
from consensus.torture.mutants.breaks import BREAKS
from consensus.torture.oracle.monitor import Monitor
from consensus.torture.oracle.reference import Ledger
from consensus.torture.run import Outcome, run
from consensus.torture.tracing import trace_of

PLAN = Plan(adaptive=True)
LOCKING = ["bft", "hotstuff", "tendermint"]
PLAIN = Scenario(seed=4, servers=4, clients=1, vote=2000, update=1000)
TURNED, TURNED_LATE = "a server corrupted", "a server corrupted after a vote"


def corrupting(corrupts: int = 1, **changes: Any) -> Scenario:
    """A plain scenario in which so many servers are corrupted."""
    asked = {"corruption": "members", "turncoats": ("silent",), **changes}
    return replace(PLAIN, corrupts=corrupts, **asked)


def turned(outcome: Outcome) -> int:
    return outcome.branches[TURNED] + outcome.branches[TURNED_LATE]


# -- what is drawn ---------------------------------------------------------------------------------


@settings(max_examples=200)
@example(80, "bft", True)  # whose crash takes promises that would be one more who is silent
@given(st.integers(0, 10**6), st.sampled_from(sorted(PROTOCOLS)), st.booleans())
def test_less_than_a_third_is_ever_malicious(seed: int, protocol: str, hard: bool) -> None:
    plain = harden(draw(seed, protocol)) if hard else draw(seed, protocol)
    scenario = adapt(plain)
    scenario.check()
    assert scenario == adapt(plain) == Scenario.from_text(scenario.text())
    assert scenario == Plan(protocol, adaptive=True, hard=hard).scenario(seed)
    if not scenario.corruption:
        assert scenario == plain
        return
    assert scenario.lives, "whoever is corrupted"
    assert scenario.malicious == plain.malicious[: len(scenario.malicious)]
    assert 3 * scenario.most_bad < scenario.servers
    if scenario.most_bad > len(plain.malicious):
        assert scenario.size, "only of committees of some servers"
        assert not any(fault.get("torn") for fault in scenario.faults)


def test_all_ways_of_corruption_are_drawn() -> None:
    scenarios = [PLAN.scenario(seed) for seed in range(400)]
    adaptive = [each for each in scenarios if each.corruption]
    assert len(adaptive) > 200
    assert {each.corruption for each in adaptive} == set(AIMS)
    assert {RECANT in each.turncoats for each in adaptive} == {True, False}
    assert {bool(each.malicious) for each in adaptive} == {True, False}
    assert {bool(each.turning) for each in adaptive} == {True, False}
    assert {each.onset > 1 for each in adaptive} == {True, False}
    names = {name for each in adaptive for name in each.turncoats}
    assert names <= set(known_behaviours())
    beyond = [s for s in adaptive if s.size and s.most_bad > (s.size - 1) // 3]
    assert len(beyond) > 2


def test_other_plans_draw_what_they_drew() -> None:
    for seed in range(60):
        assert Plan().scenario(seed) == draw(seed)
        assert Plan(premise="half").scenario(seed) == draw_half(seed)
        adaptive = PLAN.scenario(seed)
        assert replace(
            adaptive, malicious=draw(seed).malicious, **_nobody(Scenario(seed=0, servers=4))
        ) == draw(seed)
        assert "corrupt" not in draw(seed).text()


def _nobody(plain: Scenario) -> dict[str, Any]:
    names = ("corruption", "corrupts", "turning", "turncoats")
    return {name: getattr(plain, name) for name in names}


def test_unequal_stakes_allow_fewer_corruptions() -> None:
    names = ("silent",)
    rich = replace(PLAIN, servers=7, malicious=((0, names), (1, names)))
    assert adapt(rich).most_bad == 2
    unequal = replace(rich, stakes=(1, 1, 5, 5, 5, 1, 1))
    assert unequal.lives
    assert adapt(unequal).most_bad <= 1, "two of five each of nineteen are too many"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"corruption": "mebers"}, "corruption: expected one of stake, random, members"),
        ({"corruption": "members"}, "corrupts: expected an integer from 1 to 4"),
        ({"corruption": "members", "corrupts": 5}, "corrupts: expected an integer from 1 to 4"),
        ({"corruption": "members", "corrupts": 64}, "corrupts: expected an integer from 0 to 63"),
        ({"corrupts": 1}, "corrupts: only with a corruption, one of stake, random, members"),
        ({"turning": 5}, "turning: only with a corruption"),
        ({"turncoats": ("silent",)}, "turncoats: only with a corruption"),
        ({"corruption": "members", "corrupts": 1, "turncoats": (3,)}, "expected names"),
        ({"corruption": "members", "corrupts": 1, "turning": -1}, "turning: expected an integer"),
        ({"corruption": "members", "corrupts": 1, "turncoats": ("spam",) * 101}, "at most"),
        ({"corruption": ["members"], "corrupts": 1}, "corruption: expected one of"),
    ],
)
def test_a_corruption_that_there_cannot_be_is_refused(change: dict[str, Any], reason: str) -> None:
    with pytest.raises(BadScenario, match=reason) as caught:
        Scenario.from_text(replace(PLAIN, **change).text())
    assert "\n" not in str(caught.value)


# -- what happens ----------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", LOCKING)
def test_no_invariant_is_violated(protocol: str) -> None:
    tally = play(replace(PLAN, protocol=protocol), range(51))
    assert tally.found == []
    assert tally.outside < 8
    assert tally.repeated == 2, "seeds 0 and 50, twice alike"
    assert min(tally.branches[TURNED], tally.branches[TURNED_LATE]) > 10
    assert tally.behaviours["recant"] > 10
    assert tally.branches["evidence found"] > 50


def test_no_invariant_is_violated_at_the_edge() -> None:
    plans = [replace(PLAN, premise="half"), replace(PLAN, hard=True), replace(PLAN, gossip="mesh")]
    for plan in (*plans, replace(PLAN, incentives=True)):
        tally = play(plan, range(20))
        assert tally.found == [], plan
        assert tally.branches[TURNED] + tally.branches[TURNED_LATE] > 3


def test_paper_falls_to_its_known_weaknesses_alone() -> None:
    tally = play(replace(PLAN, protocol="paper"), range(25))
    known = ("fork", "capture by", "deadlock", "spam takes", "a crash", "content can")
    assert tally.violations
    assert all(name.startswith(known) for name in tally.violations), tally.violations
    assert tally.outside == 0, "nobody knows its committees beforehand: all of it counts"


@pytest.mark.parametrize("protocol", LOCKING)
def test_a_server_signs_against_what_it_signed_while_it_was_honest(protocol: str) -> None:
    scenario = corrupting(corruption="voters", turncoats=(RECANT,), protocol=protocol)
    outcome = run(scenario)
    assert not outcome.violated
    assert (outcome.heights, outcome.outside) == (3, False)
    assert outcome.branches[TURNED_LATE] == turned(outcome) == 1
    assert outcome.behaviours["recant"] > 0
    # Under hotstuff the leader alone gets votes, a vote for another block among them.
    assert outcome.branches["evidence found"] > 0


def test_who_is_not_known_to_be_corrupted_is_found_to_sign_twice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The oracle judges a server until it turns, and no longer."""
    init = Monitor.__init__

    def blind(self: Monitor, genesis: Any, bad: Any, *more: Any) -> None:
        init(self, genesis, frozenset(bad), *more)

    monkeypatch.setattr(Monitor, "__init__", blind)
    outcome = run(corrupting(corruption="voters", turncoats=(RECANT,)))
    assert outcome.invariant in ("one signature per slot", "evidence")


def test_a_third_of_a_committee_corrupted_in_the_end_is_beyond_the_premise() -> None:
    """Of seven servers two are corrupted, less than a third, who sit on a committee of four."""
    small = corrupting(servers=7, size=4, recovery=4000, turncoats=("gaussian",))
    for corrupts, size, outside in ((1, 4, False), (2, 4, True), (2, 0, False)):
        outcome = run(replace(small, corrupts=corrupts, size=size))
        assert (outcome.outside, outcome.violated) == (outside, False)
        assert turned(outcome) == corrupts


@pytest.mark.parametrize("half", [False, True])
def test_whoever_is_corrupted_later_counts_in_committees_that_there_were(half: bool) -> None:
    bad: set[int] = set()
    ledger = Ledger(genesis_of(corrupting(servers=7, size=4)), bad, "cert", half)
    seats, others = list(ledger.form(1, 0).weights), {0, 1, 2, 3, 4, 5, 6}
    assert not ledger.outside
    bad |= others - set(seats)
    assert not ledger.outside, "they have no seat"
    found = []
    for member in seats[:3]:
        bad.add(member)
        found.append(ledger.outside)
    assert found == ([False, False, True] if half else [False, True, True])


@pytest.mark.parametrize("onset", [1, 2, 3])
def test_nobody_is_corrupted_before_the_onset(onset: int, monkeypatch: pytest.MonkeyPatch) -> None:
    heights: list[int] = []
    turn = Corruption.turn

    def noted(corruption: Corruption, index: int) -> None:
        heights.append(corruption._height)
        turn(corruption, index)

    monkeypatch.setattr(Corruption, "turn", noted)
    assert not run(corrupting(onset=onset)).violated
    assert heights == [onset]


def test_a_corrupted_server_lets_the_barrier_open() -> None:
    for barrier in (True, False):
        outcome = run(corrupting(barrier=barrier, corruption="voters", turncoats=("late_votes",)))
        assert (outcome.invariant, outcome.heights, turned(outcome)) == ("", 3, 1)
        assert outcome.behaviours["late_votes"] > 1, "at later heights, too"


def test_a_server_that_is_corrupted_at_the_barrier_goes_on_with_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Three servers wait there for the fourth, which is cut off."""
    cut = {"partition": [[2]], "from": 0.0, "until": 5.0}
    waits: list[bool] = []
    heights: list[int] = []
    turn, end = Corruption.turn, TortureWorld.end

    def noted(corruption: Corruption, index: int) -> None:
        world: Any = corruption._world
        waits.append(index in world._held)
        turn(corruption, index)

    def ended(world: TortureWorld) -> None:
        heights.extend(server.chain.height for server in world.servers)
        end(world)

    monkeypatch.setattr(Corruption, "turn", noted)
    monkeypatch.setattr(TortureWorld, "end", ended)
    late = corrupting(barrier=True, corruption="voters", turning=2000, faults=(cut,))
    assert not run(late).violated
    assert waits == [True]
    assert heights == [3, 3, 3, 3]


def test_a_server_that_is_corrupted_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[tuple[bool, bool]] = []
    turn = Corruption.turn

    def noted(corruption: Corruption, index: int) -> None:
        world: Any = corruption._world
        before = index in world._waiting
        turn(corruption, index)
        waited.append((before, index in world._waiting))

    monkeypatch.setattr(Corruption, "turn", noted)
    outcome = run(corrupting(corruption="voters", onset=3))
    assert (outcome.invariant, outcome.heights) == ("", 3)
    assert waited == [(True, False)]


def test_a_trace_tells_who_was_corrupted_and_looking_changes_nothing() -> None:
    for seed in (0, 1, 3):
        scenario = PLAN.scenario(seed)
        outcome, trace = trace_of(scenario, "")
        assert outcome == run(scenario, traced=True)
        events = [event for height in trace.heights for event in height.events]
        told = Counter(event.kind for event in events)["corrupted"]
        assert told == turned(outcome)


def test_the_compiled_network_plays_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    scenarios = [PLAN.scenario(seed) for seed in range(6)]
    traces = [run(scenario, traced=True).trace for scenario in scenarios]
    monkeypatch.setattr(TortureWorld, "compiled", True)
    assert [run(scenario, traced=True).trace for scenario in scenarios] == traces


# -- what is found ---------------------------------------------------------------------------------


def test_trust_in_earlier_honesty_is_found_by_corruption_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A leader that proposes a right model, and another one later at the same height, has been
    corrupted in between: servers that are malicious from a height on never do."""
    plan = Plan(rule="every-proposal")
    tally = play(plan, range(20), stop_at_first=True)
    (found,) = tally.found
    assert found.invariant == "exact aggregate"
    rule = BREAKS["every-proposal"]
    static = replace(rule, bias=replace(rule.bias, adaptive=False))
    monkeypatch.setitem(breaks.BREAKS, rule.name, static)
    tally = play(plan, range(40))
    assert (tally.found, tally.scenarios) == ([], 40)


def test_a_violation_by_corruption_is_shrunk_and_replayed() -> None:
    plan = Plan(rule="every-proposal")
    with plan.applied():
        outcome = run(plan.scenario(12))
    found = Found(12, outcome.invariant, outcome.what, outcome.scenario)
    small = shrunk(plan, found).scenario
    assert small.corruption
    assert (small.corrupts, small.turncoats, small.turning) == (1, ("gaussian",), 0)
    assert Scenario.from_text(small.text()) == small
    assert not run(small).violated, "with the rule on"
    with plan.applied():
        assert run(small).invariant == "exact aggregate"
