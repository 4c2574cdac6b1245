"""The simulated clock: SimPy's, made for worlds with tens of millions of small events."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any, ClassVar

import simpy
from simpy.core import EmptySchedule, StopSimulation
from simpy.events import NORMAL, EventPriority


class Clock(simpy.Environment):
    """SimPy's environment with another loop."""

    def step(self) -> None:
        """Process event after event, until one stops the simulation: ``run``, which calls this
        again and again, need not do so for each of them. As SimPy's otherwise."""
        queue: list[Any] = self._queue
        while queue:
            self._now, _, _, event = heappop(queue)
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
        raise EmptySchedule


class _Call:
    """A function to be called: of SimPy's events, what its loop looks at. It never fails."""

    __slots__ = ("call", "callbacks")

    _ok: ClassVar[bool] = True

    def __init__(self, call: Callable[[], None]) -> None:
        self.call = call
        self.callbacks = _MADE


def _make(event: _Call) -> None:
    event.call()


_MADE = (_make,)


def call_at(env: simpy.Environment, time: float, call: Callable[[], None]) -> None:
    """Call at ``time``, which is not before now: to the bit, and not at now + (time - now), which a
    resumed run may miss."""
    event: Any = _Call(call)
    heappush(env._queue, (time, NORMAL, next(env._eid), event))
