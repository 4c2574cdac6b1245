"""Toy worlds in which stake moves."""

from __future__ import annotations

from consensus.adversary.behaviour import Circle
from consensus.records.genesis import Incentives
from consensus.torture.arena.attackers import Adversary
from tests.helpers.toy import Toy

RULE = Incentives(
    treasury=1_000_000,
    slash=500_000,
    report=50_000,
    reward=10_000,
    propose=125_000,
    leak=10_000,
    patience=8,
    window=50,
)
SERVERS, STAKE = 7, 1_000_000
BAD = (0, 3)


def staked(*behaviours: str, rule: Incentives = RULE, **changes: object) -> Toy:
    """Seven servers with five seats, of which `BAD` follow ``behaviours`` (none: all are
    honest)."""
    circle = Circle(frozenset(BAD), (0,) * SERVERS)
    told: dict[str, object] = {
        "servers": SERVERS,
        "clients": 3,
        "stakes": [STAKE] * SERVERS,
        "incentives": rule,
        "malicious": {bad: Adversary(behaviours, 1, circle=circle) for bad in BAD},
        "committee_size": 5,
        "crypto": "modelled",
    }
    if not behaviours:
        told["malicious"] = {}
    return Toy(**(told | changes))  # type: ignore[arg-type]
