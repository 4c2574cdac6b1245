"""Drawing of the scenario of a seed.

A seed must always give the same scenario, since recorded campaigns and tests cite seeds. All draws
come from one stream; behaviours are drawn by their index in a closed, sorted list
(`recorded_behaviours`). A behaviour that is registered later, or by another package, is not in that
list: it is drawn only if asked for, from a stream named after it, and moves no other draw.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from zlib import crc32

import numpy as np

from consensus.encoding.node import Node
from consensus.faults.faults import FAULTS
from consensus.ledger.protocol import Invitation, Protocol
from consensus.protocols.registry import DEFAULT, protocol_named
from consensus.server.catching_up import draw_distinct
from consensus.torture.arena.attackers import recorded_behaviours
from consensus.torture.arena.scenario import Scenario

#: Faults begin within this many seconds ...
BEGIN = 4.0
#: ... and last at most so long.
LAST = 5.0

#: Seconds in which messages queued at the slowest links leave once the links are fast again.
QUEUED = 60.0

#: Number of the seed's stream for behaviours that are asked for.
ASKED = 6

#: Servers of a scenario, the smaller ones more often: most of what can go wrong does so among few,
#: in a fraction of the time.
SIZES = (*[4] * 30, *[5] * 5, 6, 6, 7, 7, 8, 10, 13, 16)

Malicious = tuple[tuple[int, tuple[str, ...]], ...]


@dataclass(frozen=True)
class Bias:
    """Properties that scenarios are made to have, so that a broken rule is put to the test."""

    behaviours: tuple[str, ...] = ()
    """Behaviours that all malicious servers follow at least; as many servers as allowed are
    malicious."""
    faults: tuple[str, ...] = ()
    """Kinds of faults of which one each strikes, besides others."""
    begin: float = BEGIN
    last: float = LAST
    hostile: bool = False
    """True if one client is hostile."""
    sizes: tuple[int, ...] = ()
    """Numbers of servers to draw from; empty: `SIZES`."""
    changes: tuple[tuple[str, Any], ...] = ()
    """Fields of the scenario that are set, by name."""
    half: bool = False
    """True to draw worlds in which up to half of a committee may be malicious
    (`consensus.torture.arena.edge.draw_half`); only ``behaviours`` apply to these."""
    hard: bool = False
    """True to make crashes harder (`consensus.torture.arena.edge.harden`)."""
    adaptive: bool = False
    """True to choose malicious servers in the course of a scenario
    (`consensus.torture.arena.adaptive.adapt`)."""


#: Behaviours that are more harmful together.
POTENT = (
    ("equivocate_candidates", "equivocate_votes"),
    ("equivocate_candidates", "equivocate_votes", "late_block", "late_votes"),
    ("equivocate_candidates", "false_locks", "late_block"),
    ("equivocate_candidates", "equivocate_votes", "withhold"),
    ("gaussian", "invert_votes"),
    ("gaussian", "invert_votes", "rush"),
    ("false_locks", "forge_closures", "late_block"),
    ("late_block", "late_votes"),
    ("abstain", "grind"),
)


def draw(
    seed: int,
    protocol: str = DEFAULT,
    servers: int | None = None,
    bias: Bias | None = None,
    behaviours: Collection[str] = (),
) -> Scenario:
    """The scenario of a seed: 4 to 16 servers, or as many as given.

    Malicious servers may follow ``behaviours`` as well as those drawn; all else stays as drawn.
    Fewer than a third of the seats of a committee are malicious, so that the premise of safety
    always holds for committees of fixed size; under a protocol whose committees are not known
    beforehand, fewer than a third of the servers.
    """
    rules = protocol_named(protocol)
    if bias is None:
        bias = _invited(seed, rules.invitations)
    generator = np.random.default_rng((seed, 0))
    some = generator.random
    whole = servers or int(_pick(generator, bias.sizes or SIZES))
    size = whole
    if whole > 4 and some() < 0.5:
        least = max(4, whole // 2) if rules.committees_foreseen else 4
        size = int(generator.integers(least, whole + 1))
    most = ((size if rules.committees_foreseen else whole) - 1) // 3
    bad = most if some() < 0.7 or bias.behaviours else int(generator.integers(0, most + 1))
    stakes = tuple(generator.integers(1, 6, whole).tolist()) if some() < 0.3 else ()
    chosen = sorted(draw_distinct(generator, whole, bad))
    while stakes and 3 * sum(stakes[server] for server in chosen) >= sum(stakes):
        chosen.pop()
    malicious = _with(behaviours, seed, _behaviours(generator, chosen, bias))
    faults = _faults(generator, whole, bias)
    resend = int(_pick(generator, (500, 1000, 2000)))
    kind = _kind(rules, "weighted" if some() < 0.15 else "fixed")
    recovery = 0
    if some() < 0.5 or kind == "weighted":
        until = max((fault["until"] for fault in faults), default=0.0)
        straggle = max((10 * fault.get("delay", 0.0) for fault in faults), default=0.0)
        if any(fault.get("bandwidth", 1.0) < 0.01 for fault in faults):
            straggle = max(straggle, QUEUED)
        recovery = int(1000 * (until + straggle)) + 6 * resend
    clients = int(generator.integers(1, 5))
    hostile = 1 if clients > 1 and some() < 0.25 else 0
    if bias.hostile:
        clients, hostile = max(2, clients), 1
    found = Scenario(
        seed=seed,
        protocol=protocol,
        servers=whole,
        topology=str(_pick(generator, ("complete", "ring", "random"))),
        latency=float(_pick(generator, (5.0, 20.0, 60.0))),
        stakes=stakes,
        committee=kind,
        size=0 if size == whole else size,
        max_step=int(generator.integers(1, 5)),
        clients=clients,
        hostile=hostile,
        quota=0 if some() < 0.5 else int(generator.integers(1, clients + 1)),
        vote=int(_pick(generator, (500, 1000, 2000, 4000))),
        ticket=int(_pick(generator, (150, 300, 600))),
        update=int(_pick(generator, (1000, 2000, 4000))),
        settle=int(_pick(generator, (0, 200, 500))),
        recovery=recovery,
        resend=resend,
        malicious=malicious,
        onset=1 if some() < 0.75 else int(generator.integers(2, 4)),
        faults=faults,
    )
    return replace(found, **dict(bias.changes))


def _kind(rules: Protocol, drawn: str) -> str:
    """The kind of committee that was drawn, if the protocol forms committees of that kind (others
    have members named by blocks, whatever the kind)."""
    return "fixed" if rules.committees_foreseen and drawn not in rules.committees else drawn


def _invited(seed: int, invitations: Sequence[Invitation]) -> Bias:
    """The bias towards a protocol's known weaknesses: every other scenario is made to show one."""
    if not invitations:
        return Bias()
    which = int(np.random.default_rng((seed, 5)).integers(2 * len(invitations)))
    if which >= len(invitations):
        return Bias()
    chosen = invitations[which]
    size = chosen.committee_size
    return Bias(chosen.behaviours, sizes=chosen.servers, changes=(("size", size),) if size else ())


def _pick(generator: np.random.Generator, values: Sequence[Any]) -> Any:
    return values[int(generator.integers(len(values)))]


def _behaviours(generator: np.random.Generator, servers: Sequence[int], bias: Bias) -> Malicious:
    """The behaviours of each malicious server: the same for all, or drawn for each."""

    def mixture() -> tuple[str, ...]:
        if bias.behaviours:
            return bias.behaviours
        if generator.random() < 0.3:
            return POTENT[int(generator.integers(len(POTENT)))]
        known, count = recorded_behaviours(), int(_pick(generator, (1, 1, 2, 3)))
        return tuple(sorted(known[which] for which in draw_distinct(generator, len(known), count)))

    together = mixture() if generator.random() < 0.5 else None
    return tuple((server, together or mixture()) for server in servers)


def _with(names: Collection[str], seed: int, malicious: Malicious) -> Malicious:
    """The malicious servers, each of which also follows each of ``names`` with probability 1/2, and
    at least one of them does. Each name has a stream of its own, so it moves no other draw."""
    found = [set(theirs) for _, theirs in malicious]
    for name in names if malicious else ():
        generator = np.random.default_rng((seed, ASKED, crc32(name.encode())))
        follows = generator.random(len(malicious)) < 0.5
        follows[int(generator.integers(len(malicious)))] = True
        for theirs, too in zip(found, follows, strict=True):
            theirs.update({name} if too else ())
    return tuple(
        (server, drawn if theirs == set(drawn) else tuple(sorted(theirs)))
        for (server, drawn), theirs in zip(malicious, found, strict=True)
    )


# -- faults ---------------------------------------------------------------------------------------


def _faults(
    generator: np.random.Generator, servers: int, bias: Bias
) -> tuple[Mapping[str, Any], ...]:
    """Up to six faults of any kinds at once."""
    count = int(_pick(generator, (0, 1, 1, 2, 2, 3, 4, 6)))
    kinds = [str(_pick(generator, sorted(FAULTS))) for _ in range(count)]
    return tuple(_fault(generator, servers, kind, bias) for kind in (*kinds, *bias.faults))


def _fault(
    generator: np.random.Generator, servers: int, kind: str, bias: Bias
) -> Mapping[str, Any]:
    begins = round(bias.begin * generator.random() ** 2, 2)
    until = round(begins + 0.1 + bias.last * generator.random() ** 2, 2)
    rate = round(0.02 + 0.6 * generator.random() ** 2, 2)
    some = sorted(draw_distinct(generator, servers, int(generator.integers(1, servers + 1))))
    fault: Node = {kind: rate}
    if kind in _STRENGTHS:
        fault[kind] = float(_pick(generator, _STRENGTHS[kind]))
    elif kind == "partition":
        fault = {kind: [some[: max(1, min(len(some), servers - 1))]]}
        if generator.random() < 0.3:
            fault["one_way"] = True
    elif kind == "eclipse":
        others = [server for server in range(servers) if server not in some]
        fault = {kind: some, "sees": others[: int(generator.integers(0, 3))]}
    elif kind == "crash":
        fault = {kind: some, "lost_tail": int(_pick(generator, (0, 0, 1, 2, 5)))}
    elif kind == "churn":
        fault = {kind: 0.3, "down": 0.7, "lost_tail": int(_pick(generator, (0, 1, 3)))}
    elif kind == "replay":
        fault["after"] = 1.0
    if kind not in ("partition", "eclipse", "crash") and len(some) < servers:
        fault["servers"] = some
    fault["from"] = begins
    fault["until"] = until
    return fault


_STRENGTHS = {
    "delay": (0.05, 0.2, 0.5, 1.0),
    "skew": (-30.0, -3.0, -0.5, 0.5, 3.0, 30.0),
    "slow": (3.0, 20.0, 100.0),
    "bandwidth": (0.1, 0.01, 0.001),
    "missing_content": (0.3, 0.7, 1.0),
}
