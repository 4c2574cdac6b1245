"""Torture at the edge of the premises: half of a committee, chosen delays, hard crashes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consensus.adversary.behaviour import BEHAVIOURS, Behaviour, behaviour
from consensus.adversary.delays import DELAYS
from consensus.faults.faults import fault_from_node
from consensus.protocols.bft.durable import Durable
from consensus.server.edge_server import EdgeServer
from consensus.simulation.paces import OnTheirOwn
from consensus.torture.arena.drawing import draw
from consensus.torture.arena.edge import EDGE, TIMELY, draw_half, harden
from consensus.torture.arena.scenario import Scenario
from consensus.torture.arena.world import TortureWorld
from consensus.torture.campaign import Plan, play
from consensus.torture.mutants.breaks import BREAKS
from consensus.torture.run import run

# -- what is drawn ---------------------------------------------------------------------------------


@given(st.integers(0, 10**6))
def test_a_seed_is_one_scenario_within_the_premise_of_half(seed: int) -> None:
    scenario = draw_half(seed)
    assert scenario == draw_half(seed) == Scenario.from_text(scenario.text())
    scenario.check()
    assert scenario.premise == "half"
    assert 2 * scenario.bound < scenario.settle
    assert 1 <= len(scenario.bad) <= scenario.servers // 2
    assert scenario.recovery > 0, "else a blocked committee ends the height"
    for fault in scenario.faults:
        fault_from_node(fault)
        assert fault.keys() & set(TIMELY), "it keeps no message from an honest server"


def test_scenarios_of_half_contain_everything_there_is() -> None:
    scenarios = [draw_half(seed) for seed in range(1500)]
    assert {fault for s in scenarios for f in s.faults for fault in f} >= set(TIMELY)
    names = {name for s in scenarios for _, those in s.malicious for name in those}
    assert names >= {name for plan in EDGE for name in plan}
    for trait in ("barrier", "lives"):
        assert {getattr(s, trait) for s in scenarios} == {True, False}
    exactly = [s for s in scenarios if not s.size and 2 * len(s.bad) == s.servers]
    assert len(exactly) > 100, "half of every committee, neither more nor less"


def test_no_new_behaviour_changes_a_seed_of_half() -> None:
    before = [draw_half(seed) for seed in range(200)]
    with BEHAVIOURS.restored():

        @behaviour("echo")
        class Echo(Behaviour):
            """Does nothing."""

        assert [draw_half(seed) for seed in range(200)] == before


def test_hard_crashes_leave_less_than_a_third_without_a_vote() -> None:
    torn = promising = 0
    for seed in range(300):
        plain = draw(seed)
        hard = harden(plain)
        assert hard == harden(plain)
        crashes = [fault for fault in hard.faults if "crash" in fault]
        assert crashes
        lost = sum(len(fault["crash"]) for fault in crashes if fault.get("torn"))
        if lost:
            assert 3 * (lost + len(hard.bad)) < hard.committee_size
        torn += lost > 0
        promising += any(fault["promising"] for fault in crashes)
    assert min(torn, promising) > 20


# -- who chooses the delays ------------------------------------------------------------------------


def test_the_adversary_uses_the_whole_bound_and_no_more() -> None:
    shares = []
    for seed in range(20):
        scenario = draw_half(seed)
        seen: list[float] = []
        end = TortureWorld.end

        def noted(world: TortureWorld, end: Any = end, seen: list[float] = seen) -> None:
            seen.append(world.greatest_delay)
            end(world)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(TortureWorld, "end", noted)
            run(scenario)
        shares.append(seen[0] / (scenario.bound / 1e3))
    assert max(shares) <= 1.0 + 1e-9
    assert sum(share > 0.99 for share in shares) > 15


# -- what is judged --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "plan", [Plan(premise="half"), Plan(hard=True)], ids=["half", "hard crashes"]
)
def test_no_invariant_is_violated(plan: Plan) -> None:
    tally = play(plan, range(80))
    assert tally.found == []
    assert tally.outside < 20
    if plan.hard:
        assert min(tally.faults["crash: promising"], tally.faults["crash: torn"]) >= 5
    else:
        assert tally.behaviours["hide_quorum: plot"] + tally.behaviours["split_closures: plot"] >= 3


def test_a_crash_counts_also_outside_of_the_premise(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of the committee lies; a fork would be excused there, an exception is not."""
    scenario = Scenario(
        seed=3, servers=4, clients=1, malicious=((0, ("silent",)), (1, ("silent",)))
    )
    outcome = run(scenario)
    assert (outcome.outside, outcome.invariant) == (True, "")

    def broken(server: EdgeServer, update: Any) -> bool:
        raise IndexError("as a bug would")

    monkeypatch.setattr(EdgeServer, "on_update", broken)
    outcome = run(scenario)
    assert outcome.invariant == "no crash"
    assert "as a bug would" in outcome.what


def test_no_server_passes_the_barrier_before_the_others_are_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scenario = Scenario(
        seed=5,
        servers=5,
        clients=2,
        barrier=True,
        faults=({"slow": 100.0, "servers": [2], "from": 0.0, "until": 4.0},),
    )
    behind = []
    enter = OnTheirOwn.enter

    def entered(pace: OnTheirOwn, server: EdgeServer) -> None:
        heights = [other.chain.height for other in pace._world.servers]
        behind.append(max(heights) - min(heights))
        enter(pace, server)

    monkeypatch.setattr(OnTheirOwn, "enter", entered)
    for barrier in (True, False):
        behind.clear()
        outcome = run(Scenario.from_text(scenario.text().replace("true", str(barrier).lower())))
        assert outcome.invariant == ""
        assert (max(behind) == 0) == barrier


SAME_COMMITTEE = Scenario.from_text(
    '{"seed":219,"servers":4,"topology":"ring","committee":"weighted","vote":500,"recovery":63960,'
    '"resend":500,"malicious":[[2,["abstain"]]],"onset":2,"faults":[{"bandwidth":0.001,"servers":'
    '[0,1,3],"from":0.0,"until":0.81},{"bandwidth":0.01,"from":0.0,"until":0.54},{"partition":'
    '[[1,3]],"from":0.0,"until":0.18}]}'
)
"""Block 2 records three tickets, one of them of a malicious server."""


WITHHELD = Scenario.from_text(
    '{"seed":8784,"servers":4,"topology":"random","max_step":2,"clients":1,"heights":2,"settle":0,'
    '"resend":2000,"malicious":[[3,["abstain","beg","preempt"]]],"faults":[{"crash":[0,2,3],'
    '"lost_tail":0,"from":1.51,"until":2.52,"promising":false},{"loss":0.47,"servers":[2,3],'
    '"from":0.02,"until":1.97}]}'
)
"""Servers 0 and 2 go down after their soft votes, before they see the lock that server 3 then has:
it shows the lock, and keeps the block to itself."""


def test_a_block_that_became_locked_during_a_crash_can_be_had(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert not run(WITHHELD).violated
    write = Durable.write
    monkeypatch.setattr(
        Durable, "write", lambda self, promises, voted, *rest: write(self, promises, None, *rest)
    )
    assert run(WITHHELD).violated, "those that voted for it have forgotten it"


def test_a_height_whose_tickets_make_one_committee_alone_is_decided() -> None:
    assert not run(SAME_COMMITTEE).violated
    with BREAKS["tickets-first"].applied():
        assert run(SAME_COMMITTEE).violated, "its committees are those of the tickets"


@pytest.mark.parametrize("strategy", sorted(DELAYS))
def test_no_strategy_of_delays_violates_an_invariant(strategy: str) -> None:
    """The strategies that configs know, where half of a committee may be malicious."""
    plan = Plan(premise="half", delays=strategy)
    assert plan.scenario(3) == replace(draw_half(3), delays=strategy)
    assert play(plan, range(12)).found == []
    text = plan.scenario(3).text()
    assert Scenario.from_text(text) == plan.scenario(3)
    assert ("delays" in text) == (strategy != "sides")
