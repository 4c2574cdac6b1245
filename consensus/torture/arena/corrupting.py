"""The adversary of a scenario that corrupts servers once it has seen something: that of ordinary
runs (`consensus.simulation.adversary.Corruption`), where each server is at a height of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from consensus.adversary.behaviour import Behaviour, Circle
from consensus.adversary.corruption import TARGETS, Budget
from consensus.ledger.validity import Head
from consensus.simulation.adversary import Corruption
from consensus.simulation.observer import Observer
from consensus.torture.arena import rig
from consensus.torture.arena.attackers import Adversary
from consensus.torture.arena.scenario import Scenario
from consensus.torture.arena.witness import Witness

if TYPE_CHECKING:
    from consensus.simulation.world import World


class Corrupting(Corruption):
    """The corruption of a scenario's servers.

    It looks at the height of the first server to be there; whom it has corrupted stays so.
    """

    composed_class = Adversary

    def __init__(self, scenario: Scenario, circle: Circle, witness: Witness) -> None:
        """``circle``: the servers that are malicious from the start; ``witness``: is told whom it
        corrupts."""
        budget = Budget(scenario.corrupts, scenario.corrupts, scenario.turning / 1e3)
        strategy = TARGETS.named(scenario.corruption)
        super().__init__(strategy, scenario.turncoats, budget, circle)
        self._scenario = scenario
        self._witness = witness
        self._furthest = -1
        """The height after which it looks."""

    def follow(self, world: World, head: Head, observer: Observer) -> None:
        """Look at the height after the ``head`` that a server has got to, if it is the first there,
        and once malicious servers may misbehave."""
        if head.height > self._furthest and head.height + 1 >= self._scenario.onset:
            self._furthest = head.height
            generator = rig.stream(self._scenario.seed, 11, head.height + 1)
            self.look(world, head, generator, observer)

    def turn(self, index: int) -> None:
        self._witness.corrupted(self._world.servers[index])
        super().turn(index)


def corrupting_of(
    scenario: Scenario, behaviours: Mapping[int, Behaviour], witness: Witness
) -> Corrupting | None:
    """The corruption of a scenario with these malicious servers; None if it has none."""
    if not scenario.corruption:
        return None
    regions = tuple(map(int, rig.graph_of(scenario).regions))
    circles = (behaviour.circle for behaviour in behaviours.values())
    return Corrupting(scenario, next(circles, Circle(regions=regions)), witness)
