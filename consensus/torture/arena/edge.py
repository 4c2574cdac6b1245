"""Drawing of scenarios at the edge of what PROTOCOL.md claims.

`draw_half` draws worlds in which up to half of every committee may be malicious while an adversary
chooses, within D, when messages of honest servers arrive. `harden` makes the crashes of any
scenario worse. Both have streams of their own: recorded seeds keep their meaning.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from consensus.encoding.node import Node
from consensus.server.catching_up import draw_distinct
from consensus.torture.arena.attackers import recorded_behaviours
from consensus.torture.arena.scenario import Scenario

#: Servers of a scenario: enough that circles of a third have half of some committees.
SIZES = (4, 4, 5, 6, 7, 7, 8, 9, 10, 10, 13)
#: Behaviours that attack what claims (5) to (7) are about, alone or together.
EDGE = (
    ("hide_quorum",),
    ("hide_quorum",),
    ("split_closures",),
    ("split_closures",),
    ("hide_quorum", "split_closures"),
    ("equivocate_candidates", "equivocate_votes"),
    ("equivocate_candidates", "equivocate_votes", "late_block"),
    ("hide_quorum", "late_block", "two_timeouts"),
    ("late_block", "late_votes"),
    ("late_votes", "stale_locks", "two_timeouts"),
    ("late_locks", "late_votes"),
    ("omit_tickets",),
    ("future_times",),
)
#: Faults that keep no message of an honest server from another for longer than D.
TIMELY = ("duplicate", "replay", "skew", "missing_content")


def _pick(generator: np.random.Generator, values: Sequence[Any]) -> Any:
    return values[int(generator.integers(len(values)))]


def draw_half(seed: int, behaviours: Sequence[str] = (), servers: int | None = None) -> Scenario:
    """The scenario of a seed in which up to half of a committee may be malicious.

    In three of five, less than a third of the servers are, so that liveness is judged too; else up
    to half of them. ``behaviours`` are those that all malicious servers follow at least.
    """
    generator = np.random.default_rng((seed, 8))
    some = generator.random
    whole = servers or int(_pick(generator, SIZES))
    succeeds = "split_closures" in behaviours  # in worlds of the first kind alone
    kind = 0.0 if succeeds else some() * (0.6 if behaviours else 1.0)
    if kind < 0.3:  # an even committee of which half may be malicious, and others left outside
        bad = max(1, (whole - 1) // 3)
        size = min(2 * bad, whole) if bad > 1 else 3
    elif kind < 0.6:
        bad = max(1, (whole - 1) // 3)
        size = int(generator.integers(3, min(whole, 2 * bad + 2) + 1))
    else:
        bad = whole // 2 if some() < 0.8 else max(1, whole // 3)
        size = whole if some() < 0.5 else int(generator.integers(max(3, whole // 2), whole + 1))
    chosen = sorted(draw_distinct(generator, whole, bad))
    settle = int(_pick(generator, (200, 500, 1000)))
    clients = int(generator.integers(1, 4))
    resend = int(_pick(generator, (500, 1000, 2000)))
    return Scenario(
        seed=seed,
        servers=whole,
        topology="complete",
        size=0 if size == whole else size,
        max_step=int(_pick(generator, (1, 1, 2, 2, 3, 4))),
        clients=clients,
        heights=2,
        vote=int(_pick(generator, (1000, 2000, 4000))) + 2 * settle,
        ticket=int(_pick(generator, (150, 300, 600))),
        update=int(_pick(generator, (1000, 2000))),
        settle=settle,
        recovery=int(_pick(generator, (2000, 6 * resend))),
        resend=resend,
        malicious=_malicious(generator, chosen, behaviours),
        faults=_timely_faults(generator),
        premise="half",
        bound=settle // 2 - 1,
        barrier=bool(some() < 0.25),
    )


def _malicious(
    generator: np.random.Generator, servers: Sequence[int], behaviours: Sequence[str]
) -> tuple[tuple[int, tuple[str, ...]], ...]:
    """The behaviours of the malicious servers: mostly one plan that all of them follow."""
    if generator.random() < 0.7:
        plan = set(_pick(generator, EDGE))
    else:
        known, count = recorded_behaviours(), int(generator.integers(1, 4))
        plan = {known[which] for which in draw_distinct(generator, len(known), count)}
    names = tuple(sorted(plan | set(behaviours)))
    return tuple((server, names) for server in servers)


def _timely_faults(generator: np.random.Generator) -> tuple[Mapping[str, Any], ...]:
    faults: list[Mapping[str, Any]] = []
    for kind in TIMELY:
        if generator.random() < 0.1:
            until = round(0.5 + 5.0 * float(generator.random()), 2)
            rate = {"skew": float(_pick(generator, (-3.0, -0.5, 0.5, 3.0)))}.get(kind, 0.3)
            fault: Node = {kind: rate, "from": 0.0, "until": until}
            if kind == "replay":
                fault["after"] = 1.0
            faults.append(fault)
    return tuple(faults)


def harden(scenario: Scenario) -> Scenario:
    """The scenario with harder crashes: servers go down when they have made a promise and not said
    a word yet, and find their promises unreadable afterwards. One that crashes nobody gets a
    crash; some get a malicious server less, in whose place one may lose its promises."""
    generator = np.random.default_rng((scenario.seed, 9))
    faults = [dict(fault) for fault in scenario.faults]
    if not any("crash" in fault for fault in faults):
        begins = round(3.0 * float(generator.random()), 2)
        who = int(generator.integers(scenario.servers))
        faults.append({"crash": [who], "from": begins, "until": round(begins + 2.0, 2)})
    # Who has lost its promises abstains: with the malicious servers still less than a third of
    # every committee, and of all stake. (In a weighted committee one server may have any weight.)
    malicious = scenario.malicious
    most = (scenario.committee_size - 1) // 3
    if scenario.committee != "fixed" or scenario.stakes:
        most = 0
    elif len(malicious) == most and generator.random() < 0.7:
        malicious = malicious[: most - 1]
    spare = most - len(malicious)
    for fault in faults:
        if "crash" in fault:
            fault["promising"] = bool(generator.random() < 0.6)
            wants = generator.random() < 0.8
            if wants and 0 < len(fault["crash"]) <= spare:
                fault["torn"] = True
                spare -= len(fault["crash"])
    return replace(scenario, faults=tuple(faults), malicious=malicious)
