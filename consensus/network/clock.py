"""The simulated clock: a SimPy environment on its own queue, for tens of millions of small calls.

No private name of SimPy's is read. The clock relies on three properties that SimPy does not
promise; the clock's tests fail if a later SimPy changes one of them:

- Events and processes reach an environment's queue through `schedule` alone, and its time through
  `now`.
- `Environment.run` calls `step` until that raises `EmptySchedule` or `StopSimulation`. If it is
  given a time to run until, it schedules an urgent event ``until - now`` ahead.
- An event is processed by calling its ``callbacks``; it counts as processed once they are None.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from heapq import heapify, heappop, heappush
from itertools import count
from math import inf
from typing import Any, Protocol

import simpy
from simpy.core import EmptySchedule, StopSimulation
from simpy.events import NORMAL, Event, EventPriority

FAR = 2**62
"""A number beyond those of all entries."""

Entry = tuple[float, int, int, Callable[[Any], None], Any]
"""A scheduled call: (time in seconds, priority, number, function, argument); the smallest is
next."""


class Feed(Protocol):
    """A source of calls beside the clock's own queue."""

    due: Sequence[float]
    """due[0]: the time of its next call in seconds; infinity if there is none."""

    def advance(self, until: float, number: int) -> bool:
        """Make the calls that are due before the entry of the queue at ``until`` (seconds) with
        this number, none of which may change the queue, or up to the first that may; returns True
        for that one. Takes the numbers of its calls from the clock."""
        ...


class Clock(simpy.Environment):
    """A SimPy environment that calls functions at given times without creating events.

    ``queue`` also holds SimPy's events, each as a call of the function that processes it. Code that
    schedules many calls may push entries of priority `NORMAL` itself, numbered by ``numbers``.
    """

    # A slot hides SimPy's property of the name `now`, and is faster to read.
    __slots__ = ("feed", "now", "numbers", "queue")

    now: float
    """The simulated time, in seconds."""

    def __init__(self, now: float = 0.0) -> None:
        super().__init__(now)
        self.now = now
        self.queue: list[Entry] = []
        """The scheduled calls, as a heap."""
        self.numbers = count()
        """Counter of entries. Calls of equal time and priority are made in the order of their
        numbers."""
        self.feed: Feed | None = None
        """Another source of calls."""

    def call_at(self, time: float, function: Callable[[Any], None], argument: Any) -> None:
        """Call ``function(argument)`` at ``time`` (seconds, not before now).

        The call is made at exactly ``time``; now + (time - now) may differ from it in the last bit,
        and a resumed run then differs from an uninterrupted one.
        """
        heappush(self.queue, (time, NORMAL, next(self.numbers), function, argument))

    def schedule(self, event: Event, priority: EventPriority = NORMAL, delay: float = 0) -> None:
        """Process ``event`` in ``delay`` seconds, as SimPy's method does."""
        entry = (self.now + delay, priority, next(self.numbers), self._process, event)
        heappush(self.queue, entry)

    def drop(self, is_void: Callable[[Entry], bool]) -> None:
        """Take calls out of the queue that would do nothing."""
        kept = [entry for entry in self.queue if not is_void(entry)]
        self.queue[:] = kept  # in place: others may hold it
        heapify(self.queue)

    def peek(self) -> float:
        """The time of the next call or event; infinity if there is none."""
        due = inf if self.feed is None else self.feed.due[0]
        return min(self.queue[0][0], due) if self.queue else due

    def step(self) -> None:
        """Make scheduled calls until one stops the simulation or none is left.

        SimPy's ``run`` calls this in a loop; a loop here spares it one call for each entry.
        """
        queue = self.queue
        if self.feed is not None:
            self._step_with(self.feed)
        while queue:
            self.now, _, _, function, argument = heappop(queue)
            function(argument)
        raise EmptySchedule

    def _step_with(self, feed: Feed) -> None:
        """Make scheduled calls, and those of a feed, until one stops the simulation or none is
        left."""
        queue, due = self.queue, feed.due
        while True:
            if queue:
                first = queue[0]
                if due[0] <= first[0]:
                    number = first[2] if first[1] == NORMAL else (first[1] - NORMAL) * FAR
                    if feed.advance(first[0], number):
                        continue
                self.now, _, _, function, argument = heappop(queue)
                function(argument)
            elif due[0] < inf:
                feed.advance(inf, FAR)
            else:
                return

    def _process(self, event: Any) -> None:
        """Process an event as SimPy's ``step`` does, but raise a failed event's own exception.

        SimPy raises a copy that it makes of the exception's arguments, which fails for some
        classes. If a callback stops the simulation, the remaining callbacks run when it continues.
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
