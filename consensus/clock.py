"""Calls at a time of the simulated clock."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappush
from typing import Any, ClassVar

import simpy
from simpy.events import NORMAL


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
    queue: list[Any] = env._queue
    heappush(queue, (time, NORMAL, next(env._eid), _Call(call)))
