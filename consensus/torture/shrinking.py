"""From a scenario that violates an invariant to a smaller one that violates the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from consensus.torture.run import Outcome
from consensus.torture.scenario import Scenario

#: So many scenarios are tried at most.
TRIES = 300


def shrink(outcome: Outcome, play: Callable[[Scenario], Outcome]) -> Outcome:
    """The outcome of a scenario from which no part can be taken away without losing the violation
    of ``outcome`` (or from which so much was taken as `TRIES` allow)."""
    tries = 0
    while tries < TRIES:
        for smaller in _smaller(outcome.scenario):
            tries += 1
            found = play(smaller)
            if found.invariant == outcome.invariant:
                outcome = found
                break
            if tries == TRIES:
                return outcome
        else:
            return outcome
    return outcome


def _smaller(scenario: Scenario) -> Iterator[Scenario]:
    """Scenarios with one thing less, the largest things first."""
    faults, malicious = scenario.faults, scenario.malicious
    if len(faults) > 1:
        yield replace(scenario, faults=())
    for place in range(len(faults)):
        yield replace(scenario, faults=faults[:place] + faults[place + 1 :])
    if len(malicious) > 1:
        yield replace(scenario, malicious=())
    for place, (server, names) in enumerate(malicious):
        rest = malicious[:place], malicious[place + 1 :]
        yield replace(scenario, malicious=(*rest[0], *rest[1]))
        if len(names) > 1:
            for name in names:
                kept = tuple(other for other in names if other != name)
                yield replace(scenario, malicious=(*rest[0], (server, kept), *rest[1]))
    default = Scenario(seed=0, servers=1)
    for name in ("hostile", "stakes", "size", "topology", "committee", "quota", "recovery"):
        value = getattr(default, name)
        if getattr(scenario, name) != value:
            yield replace(scenario, **{name: value})
    for name in ("heights", "clients", "max_step"):
        value = getattr(scenario, name)
        if value > 1 and (name != "clients" or value - 1 > scenario.hostile):
            yield replace(scenario, **{name: value - 1})
