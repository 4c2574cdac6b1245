"""Drawing of corruption: scenarios whose malicious servers are chosen in the course of them, by
what an observer of the network has seen. The draws have a stream of their own: recorded seeds keep
their meaning."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np

from consensus.torture.arena.scenario import Scenario

#: Strategies that go by what servers say, and by the committees and turns that follow from it.
#: The list is closed, as a seed's draws are indices into it.
AIMS: Final = ("members", "proposer", "voters")
#: The behaviour of servers that go back on what they said while they were honest.
RECANT: Final = "recant"
#: Milliseconds from choosing a server to its turning.
TURNING: Final = (0, 0, 0, 20, 100, 500, 2000)


def adapt(scenario: Scenario) -> Scenario:
    """The scenario with some of its malicious servers, or all, honest at first: an adversary
    chooses as many in the course of it, by a strategy that the seed draws.

    They are as many as before, so that less than a third of every committee is ever malicious. Of
    scenarios with committees of some servers one in four has an adversary that may corrupt so many
    as are less than a third of all servers: a third of a committee, or more, if it aims well. With
    unequal stakes they are so few that less than a third of all stake is malicious, whoever they
    are. A scenario that has no malicious server, or none to spare, stays as it is.
    """
    generator = np.random.default_rng((scenario.seed, 11))
    some, malicious = generator.random, scenario.malicious
    aim = AIMS[int(generator.integers(len(AIMS)))]
    turning = TURNING[int(generator.integers(len(TURNING)))]
    recants, beyond = some() < 0.6, some() < 0.5
    kept = int(generator.integers(len(malicious))) if malicious and some() < 0.5 else 0
    count = len(malicious) - kept
    if beyond and scenario.size and not any(fault.get("torn") for fault in scenario.faults):
        count = max(count, (scenario.servers - 1) // 3 - kept)
    names = set(malicious[-1][1]) if malicious else set()
    while malicious and count:
        found = replace(
            scenario,
            malicious=malicious[:kept],
            corruption=aim,
            corrupts=count,
            turning=turning,
            turncoats=tuple(sorted(names | ({RECANT} if recants else set()))),
        )
        if found.lives or not scenario.lives:
            return found
        count -= 1
    return scenario
