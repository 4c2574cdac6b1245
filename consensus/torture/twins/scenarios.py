"""Every scenario of four servers, one of them malicious, and a few rounds.

As in Twins (Bano et al., 2020) the malicious server runs the honest code twice, with the same keys:
its two instances say different things wherever they are told different ones. In each round the
instances are parted into one or two groups, and each turn has a leader. Scenarios that differ in
the names of the honest servers, or of the two instances, are one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import permutations, product

SERVERS = 4
TWIN = 0
"""The malicious server; its instances are nodes 0 and 4, those of the others their own index."""
NODES = SERVERS + 1


@dataclass(frozen=True, order=True)
class Scenario:
    """Leaders and partitions of the first rounds; afterwards everything is healed."""

    leaders: tuple[int, ...]
    """By turn of the first attempt: a server."""
    groups: tuple[int, ...]
    """By round: the nodes that are apart from node 0, a bit each; 0 for none."""


def every(rounds: int) -> Iterator[Scenario]:
    """Every scenario of so many rounds, but one of those that are the same but for names."""
    for leaders in product(range(SERVERS), repeat=rounds):
        for groups in product(range(0, 1 << NODES, 2), repeat=rounds):
            scenario = Scenario(leaders, groups)
            if scenario == min(renamed(scenario)):
                yield scenario


def renamed(scenario: Scenario) -> Iterator[Scenario]:
    """A scenario under all names of the honest servers and of the twins."""
    for names in permutations(range(1, SERVERS)):
        for twins in ((0, SERVERS), (SERVERS, 0)):
            new = (twins[0], *names, twins[1])
            leaders = tuple(TWIN if who == TWIN else new[who] for who in scenario.leaders)
            yield Scenario(leaders, tuple(_apart(group, new) for group in scenario.groups))


def _apart(group: int, new: tuple[int, ...]) -> int:
    renamed = sum(1 << new[node] for node in range(NODES) if group >> node & 1)
    return renamed if not renamed & 1 else (1 << NODES) - 1 - renamed
