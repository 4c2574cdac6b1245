"""Training of a cohort in parts, beside servers that receive the first updates while the last ones
are trained."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from copy import copy
from typing import Any, Generic, Protocol, TypeVar

import numpy as np

from bfedrec.federation.uplink import Sent
from bfedrec.learning.upload import Kept, Upload
from consensus.ledger.validity import Head

SentT = TypeVar("SentT")
"""The message that a client sends, signed or not yet."""
Trained = tuple[Kept, list[SentT]]
"""The knowledge of some clients after their training, and their messages."""
Train = Callable[[np.ndarray, np.ndarray], Trained[SentT]]
"""Trains some clients (int64[m]) from their factors (float32[m, d]). It runs beside the servers, at
any time of the round, and must not read what they change."""
Sign = Callable[[Head, Sequence[Upload]], list[Sent]]
"""Signs uploads of the round after a head."""
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


def factors_after(
    clients: np.ndarray, P: np.ndarray, cohort: np.ndarray, left: Callable[[], np.ndarray]
) -> np.ndarray:
    """The factors ``P`` (float32[m, d]) of ``clients`` (int64[m]), but for those in a ``cohort``
    (int64[n]) that has just trained: these start from what that has ``left`` (float32[n, d])."""
    _, here, there = np.intersect1d(clients, cohort, return_indices=True)
    if len(here):
        P = P.copy()
        P[here] = left()[there]
    return P


class Result(Protocol):
    """The outcome of a worker's work, as `concurrent.futures.Future` has it."""

    def result(self) -> Any:
        """Wait for it; raise its error."""
        ...

    def cancel(self) -> object:
        """Leave it out if it has not begun: nobody wants it."""
        ...


class Worker(Protocol):
    """Does the parts of one round one after the other, beside the servers."""

    def train(self, train: Train[Any], clients: np.ndarray, P: np.ndarray) -> Result:
        """Begin ``train(clients, P)``, after all that was begun before."""
        ...

    def sign(self, sign: Sign, head: Head, part: Result) -> Result:
        """Begin to sign the uploads of a trained ``part``, after all that was begun before."""
        ...


class InThread:
    """A worker in a thread, which an executor has."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor

    def train(self, train: Train[SentT], clients: np.ndarray, P: np.ndarray) -> Result:
        """`Worker.train`."""
        return self._executor.submit(train, clients, P)

    def sign(self, sign: Sign, head: Head, part: Result) -> Result:
        """`Worker.sign`."""
        return self._executor.submit(signed_part, sign, head, part)


def signed_part(sign: Sign, head: Head, part: Result) -> Trained[Sent]:
    """A trained ``part`` with its messages, which are signed."""
    kept, uploads = part.result()
    return kept, sign(head, uploads)


class RoundTraining(Generic[SentT]):
    """A cohort that trains in parts, one after the other, in the order in which its updates arrive.

    A client's result depends on no other client (`bfedrec.learning.negative_sampling`), so no
    result depends on the parts. If malicious clients act together, the whole cohort is one part, in
    its own order.
    """

    def __init__(
        self,
        worker: Worker,
        train: Train[SentT],
        clients: np.ndarray,
        P: np.ndarray,
        times: np.ndarray,
        parts: int,
    ) -> None:
        """Begin training. ``P``: float32[m, d], the clients' factors. ``times``: float64[m],
        simulated second at which each client's update arrives."""
        self.worker = worker
        order = np.argsort(times, kind="stable") if parts > 1 else np.arange(len(clients))
        self._parts = np.array_split(order, min(parts, len(clients)))
        self._results: list[Result] = [
            worker.train(train, clients[part], P[part]) for part in self._parts
        ]
        self._place = {
            int(place): (number, index)
            for number, part in enumerate(self._parts)
            for index, place in enumerate(part)
        }

    def sent(self, place: int) -> SentT:
        """The message of the client at ``place`` in the cohort, once it has trained."""
        part, index = self._place[place]
        message: SentT = self._results[part].result()[1][index]
        return message

    def signed(self: RoundTraining[Upload], sign: Sign, head: Head) -> RoundTraining[Sent]:
        """The same training, after each part of which its uploads are signed for the round after
        ``head``; what this one has trained is not trained again."""
        after: RoundTraining[Sent] = copy(self)  # type: ignore[arg-type]
        after._results = [self.worker.sign(sign, head, part) for part in self._results]
        return after

    def cancel(self) -> None:
        """Leave out the parts that have not begun: nobody wants the result."""
        for part in self._results:
            part.cancel()

    def finish(self) -> tuple[np.ndarray, np.ndarray, list[SentT]]:
        """Wait for the cohort; return its new factors (float32[m, d]) and losses (float64[m]), in
        its order, and everything that it sent."""
        done: list[Trained[SentT]] = [part.result() for part in self._results]
        back = np.argsort(np.concatenate(self._parts), kind="stable")
        P = np.concatenate([update.P for update, _ in done])[back]
        loss = np.concatenate([update.loss for update, _ in done])[back]
        if len(done) == 1:
            return P, loss, done[0][1]
        return P, loss, [self.sent(place) for place in range(len(back))]

    def all_sent(self) -> list[SentT]:
        """Wait for the cohort; return everything that it sends, in any number of messages."""
        return self.finish()[2]
