"""What scenario a seed stands for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from consensus.byzantine import BEHAVIOURS
from consensus.faults import FAULTS
from consensus.torture.scenario import Scenario

#: Faults begin within this many seconds ...
BEGIN = 4.0
#: ... and last at most so long.
LAST = 5.0


def draw(seed: int, protocol: str = "bft", servers: int | None = None) -> Scenario:
    """The scenario of a seed: 4 to 16 servers, or as many as given.

    Of the servers fewer than a third of the seats of a committee are malicious, so that for
    committees of fixed size the premise of safety always holds.
    """
    generator = np.random.default_rng((seed, 0))
    some = generator.random
    whole = servers or int(_pick(generator, (4, 4, 4, 5, 6, 7, 7, 8, 10, 13, 16)))
    size = whole
    if whole > 4 and some() < 0.5:
        size = int(generator.integers(max(4, whole // 2), whole + 1))
    most = min((size - 1) // 3, (whole - 1) // 3)
    bad = int(generator.integers(0, most + 1)) if some() < 0.3 else most
    stakes: tuple[int, ...] = ()
    if some() < 0.3:
        stakes = tuple(generator.integers(1, 6, whole).tolist())
    chosen = sorted(generator.choice(whole, bad, replace=False).tolist())
    if stakes:
        while chosen and 3 * sum(stakes[server] for server in chosen) >= sum(stakes):
            chosen.pop()
    malicious = _behaviours(generator, chosen)
    faults = _faults(generator, whole)
    until = max((fault["until"] for fault in faults), default=0.0)
    resend = int(_pick(generator, (500, 1000, 2000)))
    late = 0
    kind = "weighted" if some() < 0.15 else "fixed"
    if some() < 0.5 or kind == "weighted":
        straggle = max((10 * fault.get("delay", 0.0) for fault in faults), default=0.0)
        late = int(1000 * (until + straggle)) + 6 * resend
    clients = int(generator.integers(1, 5))
    return Scenario(
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
        quota=0 if some() < 0.5 else int(generator.integers(1, clients + 1)),
        vote=int(_pick(generator, (500, 1000, 2000, 4000))),
        ticket=int(_pick(generator, (150, 300, 600))),
        update=int(_pick(generator, (1000, 2000, 4000))),
        settle=int(_pick(generator, (0, 200, 500))),
        recovery=late,
        resend=resend,
        malicious=malicious,
        faults=faults,
    )


def _pick(generator: np.random.Generator, values: Sequence[Any]) -> Any:
    return values[int(generator.integers(len(values)))]


def _behaviours(
    generator: np.random.Generator, servers: Sequence[int]
) -> tuple[tuple[int, tuple[str, ...]], ...]:
    """What each malicious server does: all the same, or each its own."""
    known = sorted(BEHAVIOURS)

    def mixture() -> tuple[str, ...]:
        count = int(_pick(generator, (1, 1, 2, 3)))
        return tuple(sorted(generator.choice(known, min(count, len(known)), replace=False)))

    if not servers:
        return ()
    together = mixture() if generator.random() < 0.5 else None
    return tuple((server, tuple(map(str, together or mixture()))) for server in servers)


def _faults(generator: np.random.Generator, servers: int) -> tuple[dict[str, Any], ...]:
    """Up to six faults of any kinds at once."""
    count = int(_pick(generator, (0, 1, 1, 2, 2, 3, 4, 6)))
    return tuple(_fault(generator, servers) for _ in range(count))


def _fault(generator: np.random.Generator, servers: int) -> dict[str, Any]:
    kind = str(_pick(generator, sorted(FAULTS)))
    begins = round(BEGIN * generator.random(), 2)
    until = round(begins + 0.1 + LAST * generator.random() ** 2, 2)
    rate = round(0.02 + 0.6 * generator.random() ** 2, 2)
    some = sorted(
        generator.choice(servers, int(generator.integers(1, servers + 1)), replace=False).tolist()
    )
    fault: dict[str, Any] = {kind: rate}
    if kind in ("delay", "skew", "slow", "bandwidth"):
        values = {
            "delay": (0.05, 0.2, 0.5, 1.0),
            "skew": (-30.0, -3.0, -0.5, 0.5, 3.0, 30.0),
            "slow": (3.0, 20.0, 200.0),
            "bandwidth": (0.1, 0.01, 0.001),
        }
        fault[kind] = float(_pick(generator, values[kind]))
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
