"""The simulated clock: SimPy's environment on a queue of ours, for tens of millions of small calls.

What SimPy keeps under private names is read nowhere. Three things are relied on that SimPy does not
promise; the clock's tests fail if a later SimPy does otherwise:

- Events and processes reach an environment's queue through `schedule` alone, and its time through
  `now`.
- `Environment.run` calls `step` until that raises `EmptySchedule` or `StopSimulation`; a number it
  runs until is an urgent event, scheduled ``until - now`` ahead.
- An event is processed by calling its ``callbacks``; it counts as processed once they are None.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count
from math import inf
from typing import Any

import simpy
from simpy.core import EmptySchedule, StopSimulation
from simpy.events import NORMAL, Event, EventPriority

Entry = tuple[float, int, int, Callable[[Any], None], Any]
"""A call to come: (time in seconds, priority, number, function, argument). The smallest is next."""


class Clock(simpy.Environment):
    """SimPy's environment, in which functions are called at a time without an event for each.

    For an event of SimPy's, ``queue`` holds a call of the function that processes it. Whoever has
    many calls to make may push entries of priority `NORMAL` itself, numbered by ``numbers``.
    """

    __slots__ = ("now",)  # a slot hides SimPy's property of this name, and is faster to read

    now: float
    """The simulated time, in seconds."""

    def __init__(self, now: float = 0.0) -> None:
        super().__init__(now)
        self.now = now
        self.queue: list[Entry] = []
        """The calls to come, as a heap."""
        self.numbers = count()
        """The numbers of entries, in the order in which they are made: calls of one time and
        priority are made in this order, and the next number is how many entries there were."""

    def call_at(self, time: float, function: Callable[[Any], None], argument: Any) -> None:
        """Call ``function(argument)`` at ``time``, which is not before now: to the bit, and not at
        now + (time - now), which a resumed run may miss."""
        heappush(self.queue, (time, NORMAL, next(self.numbers), function, argument))

    def schedule(self, event: Event, priority: EventPriority = NORMAL, delay: float = 0) -> None:
        """Process ``event`` ``delay`` seconds from now, as SimPy's does."""
        entry = (self.now + delay, priority, next(self.numbers), self._process, event)
        heappush(self.queue, entry)

    def peek(self) -> float:
        """The time of the next call or event; infinity if there is none."""
        return self.queue[0][0] if self.queue else inf

    def step(self) -> None:
        """Make call after call, until one stops the simulation: ``run``, which calls this again
        and again, need not do so for each of them."""
        queue = self.queue
        while queue:
            self.now, _, _, function, argument = heappop(queue)
            function(argument)
        raise EmptySchedule

    def _process(self, event: Any) -> None:
        """Process an event as SimPy's ``step`` does, but raise the very exception of one that
        failed: SimPy raises a copy made of its arguments, which not every exception allows.

        If a callback stops the simulation, the others are called first when it goes on.
        """
        callbacks, event.callbacks = event.callbacks, None
        try:
            for callback in callbacks:
                callback(event)
        except StopSimulation:
            event.callbacks = callbacks[callbacks.index(callback) + 1 :]
            self.schedule(event, EventPriority(-1))
            raise
        if not event.ok and not event.defused:
            raise event.value
