"""The process in which cohorts train beside the servers, from its own side
(`bfedrec.federation.training_process`)."""

from __future__ import annotations

import contextlib
import gc
import mmap
import os
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from queue import SimpleQueue
from struct import Struct
from threading import Thread
from typing import Any, Final, NamedTuple, NoReturn, Protocol

import numpy as np

from bfedrec.federation.global_model import GlobalModel
from bfedrec.federation.learner import Learner
from bfedrec.federation.round_training import Sign, Trained, factors_after
from bfedrec.learning.task import TrainingTask
from bfedrec.learning.upload import Kept, Upload
from consensus.crypto import keys
from consensus.ledger.updates import SignedUpdate
from consensus.ledger.validity import Head
from consensus.records.update import UpdateRecord

TrainPart = Callable[
    [int, bytes, TrainingTask, None, np.ndarray, np.ndarray, bool], Trained[Upload]
]
"""Trains some clients (int64[m]) of the round of a height, with this beacon, from their factors
(float32[m, d]), without error feedback; True leaves a processor to the servers."""

ROUNDS: Final = 3
"""Rounds whose payloads the shared memory holds: two that are not read yet, and a third."""
NUMBERS: Final = 256
"""Rounds whose numbers can be told apart."""
USED: Final = Struct("d")
"""The processor seconds that the process has used: the shared memory begins with them. A byte for
each number follows, which is 1 if nobody wants the round any more, and then the payloads."""
OF_ROUNDS: Final = ("begin", "guess", "train", "sign")
"""Requests of a round, which they name first."""
LOOK_SECONDS: Final = 10.0
"""Seconds after which an idle process looks if the run is still there."""


class Written(NamedTuple):
    """An upload whose payload lies in the shared memory, or comes with it where that is full."""

    client: int
    samples: int
    link: bytes
    flaw: str | None
    payload: bytes | tuple[int, int]
    """The payload, or where it begins and ends."""


Part = tuple[int, Kept, list[Written], float]
"""A trained part of the round of a height, and the seconds that it took."""
Signed = tuple[UpdateRecord, bool | None]
"""A signed record, and whether its signature was found right; None: it was not looked at."""


@dataclass
class _Round:
    """A round of the process."""

    height: int
    beacon: bytes
    task: TrainingTask
    beside: bool
    """True if servers work meanwhile."""
    place: int
    """The place of its next payload in the shared memory ..."""
    end: int
    """... and the end of its room there."""
    before: _Round | None = None
    """The round in which its clients may have trained just before."""
    clients: list[np.ndarray] = field(default_factory=list)
    """By part: the clients, ..."""
    P: list[np.ndarray] = field(default_factory=list)
    """... their factors after it, ..."""
    uploads: list[list[Upload] | Exception] = field(default_factory=list)
    """... their uploads, or the error that has ended their training, ..."""
    sent: dict[int, list[SignedUpdate]] = field(default_factory=dict)
    """... and their messages, once they are signed."""

    def factors(self, clients: np.ndarray, P: np.ndarray) -> np.ndarray:
        """``P`` (float32[m, d]), with those that the round before has left some of the ``clients``
        (int64[m])."""
        before = self.before
        if before is None or not before.clients:
            return P
        return factors_after(
            clients, P, np.concatenate(before.clients), lambda: np.concatenate(before.P)
        )


class ForkedTrainer:
    """The work of the process. Each method is a request, and returns an answer that is not None."""

    def __init__(
        self,
        learner: Learner,
        train: TrainPart,
        sign: Sign,
        verify: bool,
        shared: mmap.mmap,
        size: int,
    ) -> None:
        """``shared``: the memory of both processes; the rest is that of `TrainingProcess`."""
        learner.P = np.empty((0, 0), np.float32)  # those of a round come with it
        self._learner = learner
        self._train, self._sign, self._verify = train, sign, verify
        self._shared, self._size = shared, size
        self._rounds: dict[int, _Round] = {}

    def is_cancelled(self, number: int) -> bool:
        """True if nobody wants a round any more."""
        return bool(self._shared[USED.size + number % NUMBERS])

    def committed(self, height: int, beacon: bytes, aggregate: bytes) -> bool:
        """`TrainingProcess.committed`."""
        self._learner.model.commit(height, beacon, aggregate)
        past = [number for number, each in self._rounds.items() if each.height <= height]
        for number in past:
            del self._rounds[number]
        for each in self._rounds.values():
            each.before = None
        return True

    def accounts(self) -> list[Any]:
        """Tell of the process's `ACCOUNTS`."""
        return [each.told() for each in ACCOUNTS]

    def begin(
        self,
        number: int,
        height: int,
        beacon: bytes,
        block: tuple[bytes, bytes] | None,
        before: int | None,
    ) -> bool:
        """`TrainingProcess.begin`."""
        Q = None if block is None else self._learner.model.foresee(height - 1, *block)
        self._begin(number, height, beacon, Q, before)
        return True

    def guess(
        self,
        number: int,
        height: int,
        beacon: bytes,
        before: int,
        beacon_before: bytes,
    ) -> bytes:
        """`TrainingProcess.guess`."""
        model = self._learner.model
        sent = [each for part in self._rounds[before].sent.values() for each in part]
        aggregate = aggregate_of_all(model, sent, beacon_before)
        Q = model.foresee(height - 1, beacon_before, aggregate)
        self._begin(number, height, beacon, Q, before)
        return aggregate

    def _begin(
        self, number: int, height: int, beacon: bytes, Q: np.ndarray | None, before: int | None
    ) -> None:
        """Begin a round on a ``Q`` that is still to come, after the round ``before``; None where
        the servers wait for it."""
        task, beside = self._learner.task(height, beacon, Q), Q is not None
        place = USED.size + NUMBERS + number % ROUNDS * self._size
        found = _Round(height, beacon, task, beside, place, place + self._size)
        found.before = None if before is None else self._rounds[before]
        self._rounds[number] = found

    def train(self, number: int, clients: np.ndarray, P: np.ndarray) -> Part:
        """`RemoteRound.train`: what a part has trained, with the seconds that it took."""
        found, learner = self._rounds[number], self._learner
        took, height = learner.training_seconds, found.height
        P = found.factors(clients, P)
        try:
            kept, uploads = self._train(
                height, found.beacon, found.task, None, clients, P, found.beside
            )
        except Exception as error:
            found.uploads.append(error)
            raise
        found.clients.append(clients)
        found.P.append(kept.P)
        found.uploads.append(uploads)
        written = [self._written(found, upload) for upload in uploads]
        return height, kept, written, learner.training_seconds - took

    def _written(self, found: _Round, upload: Upload) -> Written:
        """Write the payload of an upload, if there is room."""
        payload, link = upload.payload, upload.link
        assert payload is not None
        assert link is not None
        flaw = self._learner.model.check_payload(payload)
        end = found.place + len(payload)
        if end > found.end:
            return Written(upload.client, upload.samples, link, flaw, payload)
        self._shared[found.place : end] = payload
        at, found.place = (found.place, end), end
        return Written(upload.client, upload.samples, link, flaw, at)

    def sign(self, number: int, part: int, head: Head) -> list[Signed]:
        """`RemoteRound.sign`: the records of a part."""
        found = self._rounds[number]
        uploads = found.uploads[part]
        if isinstance(uploads, Exception):
            raise uploads
        messages = [message for _, message in self._sign(head, uploads)]
        found.sent[part] = messages
        signed = []
        for record in (message.record for message in messages):
            record.digest  # noqa: B018  # kept with the record, so that nobody computes it again
            right = None
            if self._verify:
                right = keys.verify(record.client, record.signed, record.signature)
            signed.append((record, right))
        return signed


def aggregate_of_all(model: GlobalModel, sent: Sequence[SignedUpdate], beacon: bytes) -> bytes:
    """The aggregate of a block of all messages of its round, with this beacon."""
    return model.aggregate(*in_block(sent), beacon)


def in_block(sent: Sequence[SignedUpdate]) -> tuple[list[bytes], list[int]]:
    """Payloads and sample counts of messages in the order in which a block aggregates them
    (`consensus.ledger.updates.UpdatePool.ordered`)."""
    ordered = sorted(sent, key=lambda each: each.record.digest)
    return [each.payload for each in ordered], [each.record.samples for each in ordered]


class Account(Protocol):
    """An account of what is done, that a run keeps in its own process and in the one it forks."""

    def forked(self) -> None:
        """Begin anew, in the forked process."""
        ...

    def told(self) -> Any:
        """Tell of the account, in the forked process."""
        ...

    def add(self, told: Any) -> None:
        """Add what the forked process has told."""
        ...


ACCOUNTS: Final[list[Account]] = []
"""The accounts that are kept (`bfedrec.runs.profiling`)."""

_Request = tuple[str, tuple[Any, ...]]


def serve(pipe: Connection, trainer: ForkedTrainer, shared: mmap.mmap) -> NoReturn:
    """Answer requests until nobody asks any more, and end the process. They are answered in a
    thread of their own, so that who asks never waits for an answer to be read. Once the run is gone
    the process ends in the midst of a request: it holds the lock of the run's folder as well."""
    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the run, which ends it
        gc.freeze()  # or collections would copy the pages of all that it shares with the run
        gc.enable()
        for each in ACCOUNTS:
            each.forked()
        waiting: SimpleQueue[_Request] = SimpleQueue()
        run, answering = os.getppid(), Thread(target=_answer, args=(pipe, trainer, shared, waiting))
        answering.start()
        with contextlib.suppress(OSError, EOFError):
            while os.getppid() == run:
                if pipe.poll(LOOK_SECONDS):
                    waiting.put(pipe.recv())
    finally:
        os._exit(0)


def _answer(
    pipe: Connection,
    trainer: ForkedTrainer,
    shared: mmap.mmap,
    waiting: SimpleQueue[_Request],
) -> NoReturn:
    try:
        while True:
            pipe.send(_answer_to(trainer, *waiting.get()))
            USED.pack_into(shared, 0, time.process_time())
    finally:  # nobody reads answers, or this one cannot be sent, and the run has to find it itself
        os._exit(0)


def _answer_to(trainer: ForkedTrainer, method: str, arguments: tuple[Any, ...]) -> Any:
    if method in OF_ROUNDS and trainer.is_cancelled(arguments[0]):
        return None
    try:
        return getattr(trainer, method)(*arguments)
    except Exception as error:
        return error
