"""One scenario, from start to verdict.

First a safety phase, with faults; the last height is left for after all of them have healed. Then
every honest server must reach it within `patience`, and what has to hold at the end is checked.
"""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np

from consensus.byzantine import Behaviour, Composed
from consensus.faults import Faults, fault_from_node
from consensus.torture.monitor import Monitor, Violation
from consensus.torture.rig import genesis_of
from consensus.torture.scenario import Scenario
from consensus.torture.world import TortureWorld

#: Attempts, beyond the furthest before healing, that the bound of liveness allows for: with fewer
#: than a third of the leaders malicious, the chance that none of so many attempts has an honest
#: one is below 1e-9.
ATTEMPTS = 20
#: Seconds of anything that takes a while whatever the timers are.
SLACK = 10.0


@dataclass
class Outcome:
    """What a scenario came to."""

    scenario: Scenario
    invariant: str = ""
    """The invariant that was violated, if one was."""
    what: str = ""
    outside: bool = False
    """Whether a committee formed that is outside the premise; nothing is judged then."""
    faults: Counter[str] = field(default_factory=Counter)
    behaviours: Counter[str] = field(default_factory=Counter)
    branches: Counter[str] = field(default_factory=Counter)
    heights: int = 0
    events: int = 0
    simulated: float = 0.0
    patience: float = 0.0
    """The share of the bound of liveness that was used."""

    @property
    def violated(self) -> bool:
        return bool(self.invariant)


def healing_time(scenario: Scenario) -> float:
    """Seconds at which no fault is active any more, and what they delayed has arrived."""
    until = straggle = 0.0
    for fault in scenario.faults:
        until = max(until, float(fault["until"]))
        if "delay" in fault:
            straggle = max(straggle, 10.0 * float(fault["delay"]))
        if "reorder" in fault:
            straggle = max(straggle, float(fault.get("seconds", 1.0)))
    return until + straggle


def patience(scenario: Scenario, attempt: int, behind: int) -> float:
    """The bound of liveness: seconds after healing within which the last height is decided.

    A height takes its updates and tickets; then, in the worst case, all steps of as many attempts
    as are likely to be without one honest leader, each as long as its timer, closed by timeouts
    that were lost once and said again; a whole attempt may have to wait for the recovery timer.
    """
    resend = scenario.resend / 1e3
    attempts = attempt + ATTEMPTS
    step = scenario.vote / 1e3 * (2 + attempts) / 2 + 3 * resend
    whole = scenario.max_step * step + scenario.recovery / 1e3
    start = (scenario.update + scenario.ticket) / 1e3 + 3 * resend
    return SLACK + behind * (start + ATTEMPTS * whole)


def run(scenario: Scenario) -> Outcome:
    """Play a scenario to its end; never raises for what the servers do."""
    outcome = Outcome(scenario)
    try:
        with _no_collection():
            _play(scenario, outcome)
    except Violation as violation:
        outcome.invariant, outcome.what = violation.invariant, violation.what
    if outcome.outside:
        outcome.invariant = outcome.what = ""
    return outcome


@contextmanager
def _no_collection() -> Iterator[None]:
    """Without the garbage collector, which finds nothing during a scenario."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def _play(scenario: Scenario, outcome: Outcome) -> None:
    genesis = genesis_of(scenario)
    monitor = Monitor(genesis, scenario.bad)
    faults = Faults(
        [fault_from_node(node) for node in scenario.faults],
        scenario.servers,
        np.random.default_rng((scenario.seed, 4)),
    )
    behaviours: dict[int, Behaviour] = {
        server: Composed(names) for server, names in scenario.malicious
    }
    world = TortureWorld(scenario, genesis, behaviours, faults, monitor)
    monitor.world = world
    try:
        _phases(scenario, outcome, world, monitor)
    except Violation:
        raise
    except Exception as error:  # a handler that raises would have stopped its server
        where = _where(error)
        raise Violation("no crash", f"{type(error).__name__}: {error} ({where})") from error
    finally:
        outcome.outside = monitor.outside
        outcome.heights = len(monitor.decided)
        outcome.events = next(world.env._eid)
        outcome.simulated = world.env.now
        outcome.faults = faults.fired
        _tell_branches(outcome, world, monitor)


def _where(error: BaseException) -> str:
    trace = error.__traceback__
    name = "?"
    while trace is not None:
        code = trace.tb_frame.f_code
        if "torture" not in code.co_filename:
            name = f"{code.co_filename.rpartition('/')[2]}:{trace.tb_lineno}"
        trace = trace.tb_next
    return name


def _phases(scenario: Scenario, outcome: Outcome, world: TortureWorld, monitor: Monitor) -> None:
    env = world.env
    last = scenario.heights
    world.open = last - 1
    world.start()
    healed = healing_time(scenario)
    if healed > 0.0:
        env.run(until=healed)
    if monitor.outside:
        return
    honest = [server for server in world.servers if server.behaviour is None]
    behind = last - min(server.chain.height for server in honest)
    bound = patience(scenario, monitor.attempt, behind)
    began = env.now
    world.open_height(last)
    reached = world.when_all_at(last, [server.index for server in honest])
    env.run(until=reached | env.timeout(bound))
    outcome.patience = (env.now - began) / bound
    if monitor.outside:
        return
    if not reached.triggered:
        heights = sorted(server.chain.height for server in honest)
        stages = sorted(server.stage() for server in honest)
        raise Violation(
            "a block within the bound",
            f"{bound:.0f} s after healing honest servers are at heights {heights[0]}-"
            f"{heights[-1]} of {last}, views {stages[0]}-{stages[-1]}",
        )


def _tell_branches(outcome: Outcome, world: TortureWorld, monitor: Monitor) -> None:
    branches = outcome.branches
    branches["attempts > 0"] += monitor.attempt > 0
