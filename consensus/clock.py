"""The simulated clock: SimPy's, made for worlds with tens of millions of small events."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any

import simpy
from simpy.core import EmptySchedule, StopSimulation
from simpy.events import NORMAL, Event, EventPriority


class Clock(simpy.Environment):
    """SimPy's environment, in which functions are called at a time without an event for each.

    Its queue holds (time, priority, number, function, argument); for an event of SimPy's the
    function is the one that processes it. Whoever has many calls to make may push them itself.
    """

    _queue: list[Any]

    def call_at(self, time: float, function: Callable[[Any], None], argument: Any) -> None:
        """Call ``function(argument)`` at ``time``, which is not before now: to the bit, and not at
        now + (time - now), which a resumed run may miss."""
        heappush(self._queue, (time, NORMAL, next(self._eid), function, argument))

    def schedule(self, event: Event, priority: EventPriority = NORMAL, delay: float = 0) -> None:
        """As SimPy's."""
        entry = (self._now + delay, priority, next(self._eid), self._process, event)
        heappush(self._queue, entry)

    def step(self) -> None:
        """Make call after call, until one stops the simulation: ``run``, which calls this again
        and again, need not do so for each of them."""
        queue = self._queue
        while queue:
            self._now, _, _, function, argument = heappop(queue)
            function(argument)
        raise EmptySchedule

    def _process(self, event: Any) -> None:
        """Process an event of SimPy's, as its own ``step`` does."""
        callbacks, event.callbacks = event.callbacks, None
        try:
            for callback in callbacks:
                callback(event)
        except StopSimulation:
            event.callbacks = callbacks[callbacks.index(callback) + 1 :]
            self.schedule(event, EventPriority(-1))
            raise
        if not event._ok and not hasattr(event, "_defused"):
            raise event._value
