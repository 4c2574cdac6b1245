"""Training of a cohort in parts, beside servers that receive the first updates while the last ones
are trained."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor
from typing import Generic, TypeVar

import numpy as np

from bfedrec.learning.upload import Kept

SentT = TypeVar("SentT")
"""The message that a client sends, signed or not yet."""
Train = Callable[[np.ndarray, np.ndarray], tuple[Kept, list[SentT]]]
"""Trains some clients (int64[m]) from their factors (float32[m, d]); returns what they know
afterwards and what they send. It runs beside the servers, at any time of the round, and must not
read what they change."""
PART_BYTES = 2**28
"""Bytes of updates that are written out at once, where a cohort may train in parts; and of the
messages of a round that may train beside another."""


def parts_for(clients: int, rows: int, items: int) -> int:
    """The number of parts in which the updates (float32[rows, items] each, and the items that were
    touched) of so many clients take at most `PART_BYTES` at once, if that is a client's."""
    return max(1, -(-clients // max(1, PART_BYTES // (items * (4 * rows + 1)))))


def fits_beside(size: int) -> bool:
    """True if messages of so many bytes may be kept beside those of another round."""
    return size <= PART_BYTES


class RoundTraining(Generic[SentT]):
    """A cohort that trains in parts, one after the other, in the order in which its updates arrive.

    A client's result depends on no other client (`bfedrec.learning.negative_sampling`), so no
    result depends on the parts. If malicious clients act together, the whole cohort is one part, in
    its own order.
    """

    def __init__(
        self,
        worker: Executor,
        train: Train[SentT],
        clients: np.ndarray,
        P: np.ndarray,
        times: np.ndarray,
        parts: int,
    ) -> None:
        """Begin training. ``P``: float32[m, d], the clients' factors. ``times``: float64[m],
        simulated second at which each client's update arrives."""
        order = np.argsort(times, kind="stable") if parts > 1 else np.arange(len(clients))
        self._parts = np.array_split(order, min(parts, len(clients)))
        self._futures = [worker.submit(train, clients[part], P[part]) for part in self._parts]
        self._place = {
            int(place): (number, index)
            for number, part in enumerate(self._parts)
            for index, place in enumerate(part)
        }

    def sent(self, place: int) -> SentT:
        """The message of the client at ``place`` in the cohort, once it has trained."""
        part, index = self._place[place]
        return self._futures[part].result()[1][index]

    def cancel(self) -> None:
        """Leave out the parts that have not begun: nobody wants the result."""
        for future in self._futures:
            future.cancel()

    def finish(self) -> tuple[np.ndarray, np.ndarray, list[SentT]]:
        """Wait for the cohort; return its new factors (float32[m, d]) and losses (float64[m]), in
        its order, and everything that it sent."""
        done = [future.result() for future in self._futures]
        back = np.argsort(np.concatenate(self._parts), kind="stable")
        P = np.concatenate([update.P for update, _ in done])[back]
        loss = np.concatenate([update.loss for update, _ in done])[back]
        if len(done) == 1:
            return P, loss, done[0][1]
        return P, loss, [self.sent(place) for place in range(len(back))]

    def all_sent(self) -> list[SentT]:
        """Wait for the cohort; return everything that it sends, in any number of messages."""
        return self.finish()[2]
