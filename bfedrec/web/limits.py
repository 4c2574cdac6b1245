"""Limits on how often something may be tried."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable
from typing import Final

KEYS: Final = 20_000
"""Keys that a limit remembers; of more, the one that was longest untouched is forgotten."""


class Limit:
    """At most so many tries of a key within so many seconds; for several threads."""

    def __init__(
        self, most: int, seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.most, self.seconds, self._clock = most, seconds, clock
        self._turn = threading.Lock()
        self._tries: OrderedDict[Hashable, deque[float]] = OrderedDict()

    def wait(self, key: Hashable) -> float:
        """Seconds until the key may be tried again; 0 for now."""
        with self._turn:
            tries = self._tries.get(key)
            if tries is None:
                return 0.0
            now = self._clock()
            while tries and tries[0] + self.seconds <= now:
                tries.popleft()
            return tries[0] + self.seconds - now if len(tries) >= self.most else 0.0

    def note(self, key: Hashable) -> None:
        """Count a try."""
        with self._turn:
            tries = self._tries.setdefault(key, deque(maxlen=self.most))
            tries.append(self._clock())
            self._tries.move_to_end(key)
            while len(self._tries) > KEYS:
                self._tries.popitem(last=False)

    def forget(self, key: Hashable) -> None:
        """Forget the tries of a key."""
        with self._turn:
            self._tries.pop(key, None)
