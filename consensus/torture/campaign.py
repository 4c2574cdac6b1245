"""Many scenarios in several processes, and what they came to together."""

from __future__ import annotations

import gc
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import nullcontext
from dataclasses import dataclass, field
from multiprocessing import get_context

from consensus.torture.breaks import BREAKS
from consensus.torture.drawing import draw
from consensus.torture.run import Outcome, run
from consensus.torture.scenario import Scenario

#: Seeds that a process plays at a time.
AT_ONCE = 20
#: One seed of so many is played twice, and has to leave the same trace.
TWICE = 50


@dataclass(frozen=True)
class Plan:
    """Which scenarios to play, and with which rule switched off."""

    protocol: str = "bft"
    servers: int | None = None
    rule: str | None = None
    """A name in `BREAKS`."""

    def scenario(self, seed: int) -> Scenario:
        """The scenario of a seed."""
        bias = None if self.rule is None else BREAKS[self.rule].bias
        return draw(seed, self.protocol, self.servers, bias)

    def play(self, scenario: Scenario) -> Outcome:
        """Run a scenario, the rule off."""
        with nullcontext() if self.rule is None else BREAKS[self.rule].applied():
            return run(scenario)


@dataclass
class Tally:
    """What scenarios came to."""

    scenarios: int = 0
    outside: int = 0
    """Scenarios in which a committee formed that is outside the premise; not judged."""
    repeated: int = 0
    """Scenarios that were played twice, with the same trace."""
    violations: list[Outcome] = field(default_factory=list)
    faults: Counter[str] = field(default_factory=Counter)
    """How often each fault struck."""
    behaviours: Counter[str] = field(default_factory=Counter)
    """How often each behaviour did what an honest server would not."""
    clients: Counter[str] = field(default_factory=Counter)
    """How often hostile clients did each thing."""
    branches: Counter[str] = field(default_factory=Counter)
    """How often rare parts of the protocol were reached."""
    heights: int = 0
    events: int = 0
    simulated: float = 0.0
    processor: float = 0.0
    """Seconds of processor time."""
    waited: float = 0.0
    """The largest share of the bound of liveness that a scenario used."""

    def add(self, outcome: Outcome) -> None:
        """Count one scenario."""
        self.scenarios += 1
        self.outside += outcome.outside
        if outcome.violated:
            self.violations.append(outcome)
        self.faults += outcome.faults
        self.behaviours += outcome.behaviours
        self.clients += outcome.clients
        self.branches += outcome.branches
        self.heights += outcome.heights
        self.events += outcome.events
        self.simulated += outcome.simulated
        self.waited = max(self.waited, outcome.waited)

    def merge(self, other: Tally) -> None:
        """Count what another process counted."""
        for name in ("scenarios", "outside", "repeated", "heights", "events"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for name in ("faults", "behaviours", "clients", "branches"):
            getattr(self, name).update(getattr(other, name))
        self.violations += other.violations
        self.simulated += other.simulated
        self.processor += other.processor
        self.waited = max(self.waited, other.waited)


def play(plan: Plan, seeds: Sequence[int], until_found: bool = False) -> Tally:
    """Play the scenarios of ``seeds`` in this process, up to the first violation if so asked."""
    tally, began = Tally(), time.process_time()
    for seed in seeds:
        outcome = plan.play(plan.scenario(seed))
        if seed % TWICE == 0 and plan.rule is None and not outcome.violated:
            again = plan.play(plan.scenario(seed))
            if again.trace == outcome.trace:
                tally.repeated += 1
            else:
                outcome.invariant = "same seed, same trace"
                outcome.what = "the second time it went otherwise"
        tally.add(outcome)
        if until_found and outcome.violated:
            break
    gc.collect()
    tally.processor = time.process_time() - began
    return tally


def campaign(
    plan: Plan,
    seeds: range,
    jobs: int,
    until_found: bool = False,
    progress: Callable[[Tally], None] = lambda tally: None,
) -> Tally:
    """Play the scenarios of ``seeds`` in ``jobs`` processes; ``progress`` hears of every chunk.

    Which scenarios are played, and what each comes to, does not depend on ``jobs`` (but for
    ``until_found``, which ends at the first violation that is heard of).
    """
    total = Tally()
    chunks = [seeds[start : start + AT_ONCE] for start in range(0, len(seeds), AT_ONCE)]
    for tally in _played(plan, chunks, jobs, until_found):
        total.merge(tally)
        progress(total)
        if until_found and total.violations:
            break
    total.violations.sort(key=lambda outcome: outcome.scenario.seed)
    return total


def _played(plan: Plan, chunks: Sequence[range], jobs: int, until_found: bool) -> Iterator[Tally]:
    if jobs == 1:
        for chunk in chunks:
            yield play(plan, chunk, until_found)
        return
    with ProcessPoolExecutor(jobs, get_context("forkserver")) as pool:
        waiting = iter(chunks)
        running: set[Future[Tally]] = set()
        try:
            while True:
                for chunk in waiting:
                    running.add(pool.submit(play, plan, chunk, until_found))
                    if len(running) == 2 * jobs:
                        break
                if not running:
                    return
                done, running = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    yield future.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
