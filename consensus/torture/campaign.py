"""Campaigns: many scenarios, played by several workers, and their totals."""

from __future__ import annotations

import gc
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from itertools import islice

from consensus.protocols.registry import DEFAULT
from consensus.torture.arena.adaptive import adapt
from consensus.torture.arena.drawing import draw
from consensus.torture.arena.edge import draw_half, harden
from consensus.torture.arena.scenario import Scenario
from consensus.torture.mutants.by_protocol import breaks_of
from consensus.torture.run import Outcome, run
from consensus.torture.shrinking import shrink
from consensus.workers import Lost, Unit, Workers

#: Number of seeds that a worker gets at a time.
CHUNK = 20
#: One seed in so many is run twice, to check that both traces are equal.
TWICE = 50
#: Number of heights where stake moves: evidence takes some to get into a block.
HEIGHTS = 7
#: Behaviours that attack moving stake.
STAKE_ATTACKS = ("frame", "starve")
#: Number of violations of one invariant that are kept; the others are only counted.
KEPT = 5


@dataclass(frozen=True)
class Plan:
    """The settings of all scenarios of a campaign."""

    protocol: str = DEFAULT
    servers: int | None = None
    """Number of servers in every scenario; None: drawn for each."""
    rule: str | None = None
    """The rule that is switched off, by name; None: no rule."""
    behaviours: tuple[str, ...] = ()
    """Behaviours that malicious servers of every scenario may follow besides those drawn."""
    premise: str = "third"
    """The premise of all scenarios (`consensus.torture.arena.scenario.PREMISES`)."""
    hard: bool = False
    """True to make crashes harder (`consensus.torture.arena.edge.harden`)."""
    delays: str | None = None
    """The strategy by which the adversary of the half premise chooses when messages arrive
    (`consensus.adversary.delaying`); None: that of the recorded campaigns."""
    incentives: bool = False
    """True to let stake move, over more heights, and to have it attacked."""
    gossip: str = "tree"
    """The ways of gossip (`consensus.torture.arena.scenario.GOSSIP`) in all scenarios but those
    with a bound, in which no server relays."""
    adaptive: bool = False
    """True to choose malicious servers in the course of a scenario
    (`consensus.torture.arena.adaptive.adapt`)."""

    def scenario(self, seed: int) -> Scenario:
        """The scenario of a seed under this plan."""
        bias = breaks_of(self.protocol)[self.rule].bias if self.rule else None
        asked = (*self.behaviours, *(STAKE_ATTACKS if self.incentives else ()))
        half = self.premise == "half" or (bias is not None and bias.half)
        if half:
            behaviours = (*asked, *(bias.behaviours if bias else ()))
            scenario = draw_half(seed, behaviours, self.servers)
            if self.delays is not None:
                scenario = replace(scenario, delays=self.delays)
        else:
            scenario = draw(seed, self.protocol, self.servers, bias, asked)
        if self.incentives:
            scenario = replace(scenario, incentives=True, committee="fixed", heights=HEIGHTS)
        if self.hard or (bias is not None and bias.hard):
            scenario = harden(scenario)
        if self.adaptive or (bias is not None and bias.adaptive):
            scenario = adapt(scenario)
        return scenario if scenario.bound else replace(scenario, gossip=self.gossip)

    def applied(self) -> AbstractContextManager[None]:
        """A context in which the plan's rule is switched off."""
        return breaks_of(self.protocol)[self.rule].applied() if self.rule else nullcontext()


@dataclass(frozen=True)
class Found:
    """A violation that was found, with its scenario."""

    seed: int
    invariant: str
    what: str
    scenario: Scenario


@dataclass
class Tally:
    """Totals over scenarios."""

    scenarios: int = 0
    outside: int = 0
    """Number of scenarios in which a committee formed outside of the premise."""
    repeated: int = 0
    """Number of scenarios that were run twice, with the same trace."""
    heights: int = 0
    events: int = 0
    simulated: float = 0.0
    cpu: float = 0.0
    """Processor time in seconds."""
    waited: float = 0.0
    """The largest share of the liveness bound that a scenario used."""
    attempts: int = 0
    """The largest number of attempts that a height took."""
    faults: Counter[str] = field(default_factory=Counter)
    behaviours: Counter[str] = field(default_factory=Counter)
    clients: Counter[str] = field(default_factory=Counter)
    branches: Counter[str] = field(default_factory=Counter)
    violations: Counter[str] = field(default_factory=Counter)
    """Number of violations by invariant."""
    found: list[Found] = field(default_factory=list)
    lost: list[Lost] = field(default_factory=list)
    """The ranges of seeds that were given up, as their workers died; nothing else counts them."""

    def add(self, seed: int, outcome: Outcome) -> None:
        """Add the outcome of one scenario."""
        self.scenarios += 1
        self.outside += outcome.outside
        self.heights += outcome.heights
        self.events += outcome.events
        self.simulated += outcome.simulated
        if not (outcome.outside or outcome.violated):
            self.waited = max(self.waited, outcome.waited)
            self.attempts = max(self.attempts, outcome.attempt)
        self.faults += outcome.faults
        self.behaviours += outcome.behaviours
        self.clients += outcome.clients
        self.branches += outcome.branches
        if outcome.violated:
            self._keep(Found(seed, outcome.invariant, outcome.what, outcome.scenario))
            self.violations[outcome.invariant] += 1

    def merge(self, other: Tally) -> None:
        """Add another tally."""
        self.scenarios += other.scenarios
        self.outside += other.outside
        self.repeated += other.repeated
        self.heights += other.heights
        self.events += other.events
        self.simulated += other.simulated
        self.cpu += other.cpu
        self.waited = max(self.waited, other.waited)
        self.attempts = max(self.attempts, other.attempts)
        self.faults += other.faults
        self.behaviours += other.behaviours
        self.clients += other.clients
        self.branches += other.branches
        self.violations += other.violations
        for found in other.found:
            self._keep(found)

    def _keep(self, found: Found) -> None:
        """Keep a violation if it is among the first of its kind, by seed."""
        alike = [each for each in self.found if each.invariant == found.invariant]
        if len(alike) == KEPT:
            last = max(alike, key=lambda each: each.seed)
            if found.seed > last.seed:
                return
            self.found.remove(last)
        self.found.append(found)
        self.found.sort(key=lambda each: each.seed)


def play(plan: Plan, seeds: Sequence[int], stop_at_first: bool = False) -> Tally:
    """Play the scenarios of ``seeds`` in this process, one after the other; return their totals.
    ``stop_at_first`` ends after the first violation."""
    tally = Tally()
    began = time.process_time()
    collects = gc.isenabled()
    gc.disable()  # a scenario makes hardly any garbage
    gc.freeze()  # exempts the objects that exist already
    try:
        with plan.applied():
            for seed in seeds:
                twice = seed % TWICE == 0
                outcome = _played(plan.scenario(seed), twice)
                tally.repeated += twice and not outcome.violated
                tally.add(seed, outcome)
                if stop_at_first and tally.found:
                    break
        gc.collect()
    finally:
        gc.unfreeze()
        if collects:
            gc.enable()
    tally.cpu = time.process_time() - began
    return tally


def _played(scenario: Scenario, twice: bool) -> Outcome:
    outcome = run(scenario, traced=twice)
    if twice and run(scenario, traced=True).trace != outcome.trace and not outcome.violated:
        outcome.invariant = "same seed, same trace"
        outcome.what = "two runs of one scenario differ"
    return outcome


def conduct(
    plan: Plan,
    seeds: Sequence[int],
    workers: Workers,
    tell: Callable[[Tally], None],
    stop_at_first: bool = False,
) -> Tally:
    """Have workers play the scenarios of all ``seeds``; return their totals.

    ``tell`` is called with the totals so far from time to time. The violations do not depend on the
    workers, except that with ``stop_at_first`` their number may determine which scenarios run after
    the first violation. Seeds whose worker died again and again are in `Tally.lost`.
    """
    tally = Tally()
    chunks, running = _chunks(seeds), 0
    ahead = workers.at_once if stop_at_first else 2 * workers.at_once
    while True:
        for chunk in islice(chunks, ahead - running):
            label = f"seeds {chunk[0]}-{chunk[-1]}"
            workers.submit(Unit(label, play, (plan, chunk, stop_at_first)))
            running += 1
        if not running:
            return tally
        for result in workers.ended():
            running -= 1
            if isinstance(result, Lost):
                tally.lost.append(result)
            else:
                tally.merge(result)
        tell(tally)
        if stop_at_first and tally.found:
            chunks = iter(())


def _chunks(seeds: Sequence[int]) -> Iterator[Sequence[int]]:
    return iter([seeds[start : start + CHUNK] for start in range(0, len(seeds), CHUNK)])


def shrunk(plan: Plan, found: Found) -> Found:
    """Shrink the scenario of a violation to a small one that violates the same invariant."""
    with plan.applied():
        smallest = shrink(found.scenario, lambda each: run(each).invariant == found.invariant)
        outcome = run(smallest)
    if outcome.invariant != found.invariant:  # two runs show if the traces differ
        return found
    return Found(found.seed, outcome.invariant, outcome.what, smallest)


def cores() -> int:
    """Number of processes that may run at the same time."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
