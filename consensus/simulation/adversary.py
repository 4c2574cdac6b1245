"""The adversary of a world that looks on: it corrupts servers once it has seen something
(`consensus.adversary.corruption`), and chooses when messages are received
(`consensus.adversary.delays`).

It sees what an observer of the network sees, and passes it on to the world's own observer. A server
turns at a moment of simulated time; it is released only as a height begins. Between two heights the
state of the adversary is therefore the servers that are corrupted or chosen, and what is spent of
its budget.

Where each server goes on by itself, a height begins with the first honest server that has the block
before: from then on its committee is known, and heights are counted by it. Others, who turn or are
released then, may stand at an earlier height.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from consensus.adversary.behaviour import Circle
from consensus.adversary.composed import Composed
from consensus.adversary.corruption import Budget, Known, Target
from consensus.adversary.delays import Schedule
from consensus.adversary.when import HEIGHTS
from consensus.ledger.evidence import Evidence
from consensus.ledger.validity import Head
from consensus.records.block import Block
from consensus.simulation.checkpoint import Corrupted, Standing
from consensus.simulation.observer import UNSEEN, Observed, Observer
from consensus.simulation.results import AdversaryAccount

if TYPE_CHECKING:
    from consensus.simulation.world import World


class Corruption:
    """The corruption of a world's servers, by one strategy within one budget."""

    composed_class: ClassVar[type[Composed]] = Composed
    """Class of corrupted servers' behaviours."""

    def __init__(
        self, strategy: type[Target], behaviours: tuple[str, ...], budget: Budget, circle: Circle
    ) -> None:
        """``behaviours``: those that corrupted servers follow, by name; ``circle``: the malicious
        servers that there are anyway, whom the corrupted ones join."""
        self._strategy = strategy
        self._names = behaviours
        self.budget = budget
        self._circle = circle
        self._since: dict[int, int] = {}
        """By corrupted server: the height at which it turned."""
        self._chosen: dict[int, float] = {}
        """By server that was chosen: when it turns, in the budget's unit."""
        self._turned = 0
        """Number of corruptions so far."""
        self._target: Target | None = None
        self._begins = False
        """True while all servers are about to begin a height together."""
        self.spent = AdversaryAccount()
        """The acts at the height in progress."""

    # -- a height ---------------------------------------------------------------------------------

    def begin(self, world: World, generator: np.random.Generator, observer: Observer) -> None:
        """Begin the height after the world's head, which no honest server has entered yet."""
        self._begins = world.begins_together
        if self._begins:
            self._circle.servers.clear()  # refilled in order as servers enter, as after a resume
        for each in world.servers:  # others of them will be honest when the height ends
            each.refused.clear()
            each.pool.rejected.clear()
        self.look(world, world.head, generator, observer)
        self._begins = False

    def look(
        self, world: World, head: Head, generator: np.random.Generator, observer: Observer
    ) -> None:
        """Look at the height after ``head`` from now on."""
        self._world, self._head, self._observer = world, head, observer
        self.spent = AdversaryAccount()
        for server, since in sorted(self._since.items()):
            if self._height >= since + self.budget.hold:
                self._release(server)
        for server, due in list(self._chosen.items()):
            self._arm(server, due)
        foreseen = partial(world.checks.sortition, world.genesis, head)
        known = Known(world.genesis, world.protocol, head, foreseen)
        self._target = self._strategy(known, generator)
        self._choose(self._target.at_first(), world.env.now)

    @property
    def _height(self) -> int:
        """The height that it looks at."""
        return self._head.height + 1

    def see(self, server: int, kind: str, body: Any, at: float) -> None:
        """Look at a message that ``server`` sends, leaving at ``at`` (seconds)."""
        if self._target is not None and server not in self._world.behaviours:
            self._choose(self._target.on_message(server, kind, body), at)

    def _choose(self, wanted: Any, at: float) -> None:
        """Choose of the servers that are wanted, since ``at``, as many as the budget allows."""
        budget, malicious = self.budget, self._world.behaviours
        for server in wanted:
            using = len(self._since) + len(self._chosen)
            if using >= budget.at_once or self._turned + len(self._chosen) >= budget.in_all:
                return
            if server in malicious or server in self._chosen:
                continue
            due = at + budget.delay
            if budget.unit == HEIGHTS:
                due = self._height + budget.delay
            self._chosen[server] = float(due)
            self._arm(server, due, at)

    def _arm(self, server: int, due: float, at: float = 0.0) -> None:
        """Let a server that was chosen turn when it is due, if that is at this height."""
        world, height = self._world, self._height
        if self.budget.unit == HEIGHTS:
            if due > height:
                return
            due = at
        if self._begins and due <= world.env.now:
            self.turn(server)
        else:
            world.at(due, partial(self._turn_at, server, height))

    def _turn_at(self, server: int, height: int) -> None:
        if self._height == height and server in self._chosen:
            self.turn(server)

    # -- turning ----------------------------------------------------------------------------------

    def turn(self, index: int) -> None:
        """Corrupt a server, which from here on follows the behaviours."""
        world, begins = self._world, self._begins
        world.network.heard(index)
        del self._chosen[index]
        self._turned += 1
        self.spent.turned += 1
        composed = self._corrupt(world, index, self._height)
        self._observer.corrupted(index, self._height, world.env.now)
        if not begins:  # else it begins with all others
            server = world.servers[index]
            composed.begins(server)
            world.network.set_relaying(index, world.is_up(index) and composed.relays)
            if server.active:
                composed.entered(server)
            world.go_on_without(index)

    def _corrupt(self, world: World, index: int, since: int) -> Composed:
        composed = self.composed_class(self._names, circle=self._circle)
        self._since[index] = since
        self._malicious(world, {**world.behaviours, index: composed})
        return composed

    def _release(self, index: int) -> None:
        """Give up a corrupted server, which is honest again."""
        world = self._world
        del self._since[index]
        self._circle.servers.pop(index, None)
        self.spent.released += 1
        left = {other: each for other, each in world.behaviours.items() if other != index}
        self._malicious(world, left)
        world.servers[index].behaviour = None
        world.network.set_relaying(index, world.is_up(index))
        self._observer.released(index, self._height, world.env.now)

    def _malicious(self, world: World, behaviours: dict[int, Any]) -> None:
        """Let these servers, and no others, be malicious, as one circle."""
        found = dict(sorted(behaviours.items()))
        world.behaviours.clear()  # in place: others look at it
        world.behaviours.update(found)
        self._circle = replace(self._circle, members=frozenset(found))
        for index, behaviour in found.items():
            world.servers[index].behaviour = behaviour
            behaviour.join(self._circle)

    # -- accounts and state -----------------------------------------------------------------------

    def close_accounts(self) -> None:
        """Note who is corrupted as the height ends."""
        stakes = self._world.head.held(self._world.genesis)
        self.spent.corrupted = len(self._since)
        self.spent.stake = sum(stakes[server] for server in self._since) / sum(stakes)

    def standing(self) -> Corrupted:
        """The state between two heights, for `restore`."""
        return Corrupted(
            tuple(sorted(self._since.items())), tuple(self._chosen.items()), self._turned
        )

    def restore(self, world: World, corrupted: Corrupted) -> None:
        """Restore the state of an earlier world."""
        for server, since in corrupted.since:
            self._corrupt(world, server, since)
        self._chosen, self._turned = dict(corrupted.chosen), corrupted.turned


class Adversary(Observer):
    """The observer of a world with an adversary that looks on."""

    def __init__(
        self,
        observer: Observer = UNSEEN,
        corruption: Corruption | None = None,
        corruption_stream: Callable[[int], np.random.Generator] | None = None,
        schedule: Schedule | None = None,
        delay_stream: Callable[[int], np.random.Generator] | None = None,
    ) -> None:
        """``observer``: who else looks; each part of the adversary with the generators of its
        draws, by height."""
        self._observer = observer
        self.corruption = corruption
        self._corruption_stream = corruption_stream
        self.schedule = schedule
        self._delay_stream = delay_stream

    def standing(self, standing: Standing) -> Standing:
        """The state of a world between two heights, with that of the adversary."""
        if self.corruption is None:
            return standing
        return replace(standing, corrupted=self.corruption.standing())

    def restore(self, world: World, standing: Standing) -> None:
        """Restore the state of an earlier world's adversary; the rest has been restored."""
        if self.corruption is not None and standing.corrupted is not None:
            self.corruption.restore(world, standing.corrupted)

    def account(self) -> AdversaryAccount:
        """The acts at the height that has ended."""
        spent = AdversaryAccount()
        if self.corruption is not None:
            self.corruption.close_accounts()
            spent = self.corruption.spent
        if self.schedule is not None:
            spent.held = self.schedule.held
        return spent

    def begin(self, world: Observed) -> None:
        height = world.head.height + 1
        self._observer.begin(world)
        if self.schedule is not None:
            assert self._delay_stream is not None
            self.schedule.begin(self._delay_stream(height))
        if self.corruption is not None:
            assert self._corruption_stream is not None
            generator = self._corruption_stream(height)
            self.corruption.begin(world, generator, self._observer)  # type: ignore[arg-type]

    def sent(self, server: int, kind: str, body: Any, at: float) -> None:
        self._observer.sent(server, kind, body, at)
        if self.corruption is not None:
            self.corruption.see(server, kind, body, at)

    def took(self, server: int, kind: str, body: Any, at: float) -> None:
        self._observer.took(server, kind, body, at)

    def appended(self, server: int, block: Block, at: float) -> None:
        self._observer.appended(server, block, at)

    def accused(self, server: int, found: Evidence, at: float) -> None:
        self._observer.accused(server, found, at)

    def crashed(self, server: int, height: int, fault: str, at: float) -> None:
        self._observer.crashed(server, height, fault, at)

    def restarted(self, server: int, height: int, fault: str, at: float) -> None:
        self._observer.restarted(server, height, fault, at)
