"""Traces of scenarios: what happened up to the violation, and that looking changes nothing."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import pytest

from consensus.simulation.checked_json import BadTimeline
from consensus.simulation.timeline import Named
from consensus.torture.arena.scenario import Scenario
from consensus.torture.campaign import Plan
from consensus.torture.run import run
from consensus.torture.trace import FORMAT, Trace
from consensus.torture.tracing import trace_of

CONTENTS = Scenario(
    seed=0,
    servers=6,
    size=5,
    clients=2,
    heights=1,
    vote=1000,
    update=2000,
    malicious=((5, ("gaussian",)),),
)
WILD = Scenario(
    seed=5,
    servers=7,
    heights=3,
    stakes=(1, 2, 3, 4, 5, 6, 7),
    topology="random",
    malicious=((2, ("equivocate_votes", "equivocate_candidates")),),
    onset=2,
    faults=(
        {"crash": [1], "from": 0.3, "until": 2.5, "lost_tail": 1},
        {"partition": [[4]], "from": 1.0, "until": 4.0},
    ),
)


def broken(scenario: Scenario, rule: str) -> Trace:
    with Plan(rule=rule).applied():
        return trace_of(scenario, "bfedrec torture", rule)[1]


@pytest.mark.parametrize("protocol", ["bft", "hotstuff", "paper", "tendermint"])
def test_looking_changes_nothing(protocol: str) -> None:
    for seed in range(6):
        scenario = Plan(protocol).scenario(seed)
        outcome, trace = trace_of(scenario, "")
        unseen = run(scenario, traced=True)
        assert outcome == unseen
        assert trace.digest == unseen.trace
        assert trace.simulated_us == round(unseen.simulated * 1e6)
        assert (trace.violation is None) is not unseen.violated
        assert Trace.decode(trace.encode()) == trace


def test_the_trace_tells_the_servers_faults_and_heights_of_its_scenario() -> None:
    outcome, trace = trace_of(WILD, "the command")
    assert not outcome.violated
    assert Scenario.from_text(trace.scenario) == WILD
    assert (trace.command, trace.protocol, trace.rule) == ("the command", "bft", "")
    servers = trace.layout.servers
    assert [server.stake for server in servers] == [1, 2, 3, 4, 5, 6, 7]
    assert {server.region for server in servers} == {0, 1}
    assert servers[2].malicious_at(1) == ()
    assert servers[2].malicious_at(2) == ("equivocate_votes", "equivocate_candidates")
    assert [fault.name for fault in trace.layout.faults] == ["crash", "partition"]
    assert [height.height for height in trace.heights] == [1, 2, 3]
    assert all(height.outcome == "decided" for height in trace.heights)
    events = [event for height in trace.heights for event in height.events]
    times = {kind: [e.at_us for e in events if e.kind == kind] for kind in ("crashed", "restarted")}
    assert times == {"crashed": [300_000], "restarted": [2_500_000]}
    (cut,) = [event for event in events if event.kind == "cut"]
    (joined,) = [event for event in events if event.kind == "joined"]
    assert (cut.at_us, joined.at_us) == (1_000_000, 4_000_000)
    for height in trace.heights:
        appended = [event.server for event in height.events if event.kind == "appended"]
        assert set(appended) == set(range(7)), "the last one catches up after its crash"
        assert height.figures is None
    assert trace.heights[0].down == Named(1, (1,))
    assert any(height.cut_off == Named(1, (4,)) for height in trace.heights)


def test_a_violation_is_told_with_its_time_height_and_servers() -> None:
    trace = broken(CONTENTS, "contents")
    violation = trace.violation
    assert violation is not None
    assert (violation.invariant, violation.height) == ("exact aggregate", 1)
    assert trace.rule == "contents"
    (height,) = trace.heights
    last = height.events[-1]
    assert last.kind == "appended", "the block that violates is the last event"
    assert violation.servers == (last.server,)
    assert violation.at_us == trace.simulated_us <= last.at_us
    assert trace_of(CONTENTS, "")[1].violation is None, "with the rule on it holds"


def test_the_message_that_violates_is_seen() -> None:
    """A vote after a timeout: the vote is there, and its server is named."""
    for seed in range(300):
        plan = Plan(rule="vote-after-timeout")
        scenario = plan.scenario(seed)
        with plan.applied():
            outcome = run(scenario)
            if outcome.invariant != "no vote after a timeout":
                continue
            trace = trace_of(scenario, "", plan.rule)[1]
        violation = trace.violation
        assert violation is not None
        (server,) = violation.servers
        (height,) = [each for each in trace.heights if each.height == violation.height]
        own = [event for event in height.events if event.server == server]
        cast = re.search(r"cast a (\w+) vote in \((\d+), (\d+)\)", violation.what)
        assert cast is not None
        vote = (cast[1], int(cast[2]), int(cast[3]))
        votes = {(e.what, e.attempt, e.step) for e in own if e.kind == "voted"}
        assert vote in votes
        assert "timed_out" in {event.kind for event in own}
        return
    pytest.fail("the rule was not found out")


# -- what others may write -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def node() -> Any:
    return json.loads(broken(CONTENTS, "contents").encode())


@pytest.mark.parametrize(
    ("place", "value", "told"),
    [
        (["format"], "bfedrec-trace-2", f"not a trace: expected the format {FORMAT}"),
        (["format"], [FORMAT], "not a trace: "),
        (["more"], 1, "trace: expected a map of format, "),
        (["scenario"], "x" * (2**16 + 1), "scenario: "),
        (["scenario"], {"seed": 0}, "scenario: "),
        (["command"], None, "command: "),
        (["protocol"], "x" * 201, "protocol: "),
        (["rule"], None, "rule: "),
        (["layout"], {}, "layout: expected a map of "),
        (["outside"], 0, "outside: "),
        (["simulated"], -1, "simulated: "),
        (["simulated"], float("inf"), "simulated: "),
        (["counted"], {}, "counted: "),
        (["counted", "faults"], {"loss": -1}, "counted.faults: "),
        (["heights"], [{}] * 65, "heights: expected a list of 64 at most"),
        (["heights", 0], {}, "timeline: expected a map of "),
        (["violation"], [], "violation: expected a map of "),
        (["violation", "what"], "x" * 2001, "violation.what: "),
        (["violation", "at_us"], "1", "violation.at_us: "),
        (["violation", "height"], -1, "violation.height: "),
        (["violation", "servers"], [1.5], "violation.servers: "),
        (["violation", "servers"], [1] * 1001, "servers: "),
    ],
)
def test_what_is_no_trace_is_told_in_a_line(
    node: Any, place: list[Any], value: Any, told: str
) -> None:
    changed = json.loads(json.dumps(node))
    there = changed
    for key in place[:-1]:
        there = there[key]
    there[place[-1]] = value
    with pytest.raises(BadTimeline) as error:
        Trace.from_node(changed)
    assert str(error.value).startswith(told)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 250


def test_heights_ascend(node: Any) -> None:
    changed = {**node, "heights": [node["heights"][0]] * 2}
    with pytest.raises(BadTimeline, match="expected ascending heights"):
        Trace.from_node(changed)


@pytest.mark.parametrize("source", ["", "[]", "null", "{", "[" * 100_000, '{"format":NaN}'])
def test_what_is_no_json_is_told_in_a_line(source: str) -> None:
    with pytest.raises(BadTimeline) as error:
        Trace.decode(source)
    assert "\n" not in str(error.value)


def test_a_text_with_brackets_is_not_deep() -> None:
    many = tuple({"loss": 0.01, "from": 0.0, "until": 1.0, "servers": [0]} for _ in range(90))
    scenario = replace(WILD, faults=many, heights=1, malicious=())
    trace = trace_of(scenario, f"bfedrec torture --replay '{scenario.text()}'")[1]
    assert Trace.decode(trace.encode()) == trace
