"""The playing of a scenario before a recorder of timelines: its trace."""

from __future__ import annotations

import re

from consensus.simulation.layout import Layout, Malice
from consensus.simulation.recorder import Recorder
from consensus.simulation.timeline import HeightTimeline
from consensus.torture.arena.rig import graph_of
from consensus.torture.arena.scenario import Scenario
from consensus.torture.run import Outcome, behaviours_of, faults_of, run
from consensus.torture.trace import COUNTED, MOST_WHAT, Trace, Violated

HEIGHT = re.compile(r"\bheight ([0-9]+)")
"""The height that the text of a violation names."""


def trace_of(scenario: Scenario, command: str, rule: str | None = None) -> tuple[Outcome, Trace]:
    """Play a scenario; return its outcome and its trace. ``command`` is the command line that
    replays it; ``rule``: the one that is switched off, which the caller has done."""
    behaviours = behaviours_of(scenario)
    recorder = Recorder(scenario.servers, behaviours, faults_of(scenario))
    outcome = run(scenario, traced=True, observer=recorder, behaviours=behaviours)
    heights = tuple(recorder.heights(outcome.simulated))
    counted = {name: dict(sorted((+getattr(outcome, name)).items())) for name in COUNTED}
    trace = Trace(
        scenario.text(),
        command,
        scenario.protocol,
        scenario.premise,
        rule or "",
        layout_of(scenario),
        heights,
        _violated(outcome, heights) if outcome.violated else None,
        outcome.outside,
        round(outcome.simulated * 1e6),
        outcome.trace,
        counted,
    )
    return outcome, trace


def layout_of(scenario: Scenario) -> Layout:
    """The layout of a scenario's servers."""
    graph = graph_of(scenario)
    malicious = {
        server: tuple(Malice(name, max(1, scenario.onset)) for name in names)
        for server, names in scenario.malicious
    }
    regions = [int(region) for region in graph.regions]
    return Layout.of(regions, scenario.stake, malicious, graph, faults_of(scenario))


def _violated(outcome: Outcome, heights: tuple[HeightTimeline, ...]) -> Violated:
    named = HEIGHT.search(outcome.what)
    height = heights[-1].height if heights else None
    return Violated(
        outcome.invariant,
        outcome.what[:MOST_WHAT],
        round(outcome.simulated * 1e6),
        height if named is None else int(named[1]),
        outcome.servers,
    )
