"""A process in which cohorts train beside the servers.

The simulated servers are Python. A thread that trains beside them has to wait for the interpreter
at every update that it hashes, checks or signs, and they for it; a process of its own does not. It
is forked from the run once that has all of its parts, is told of every block, and trains the
cohorts that it is asked to (`bfedrec.federation.early_training`) by the same functions and from the
same inputs. Their payloads come back in memory that both share.

Requests are calls of methods of `ForkedTrainer`, which answers them in their order. What it has not
answered when it is gone is computed here: no result depends on it.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import signal
import sys
import warnings
from collections import deque
from collections.abc import Callable
from concurrent.futures import CancelledError
from dataclasses import dataclass
from functools import partial
from multiprocessing import Pipe
from typing import Any

import numpy as np

from bfedrec.federation.forked_trainer import (
    ACCOUNTS,
    NUMBERS,
    ROUNDS,
    USED,
    ForkedTrainer,
    Part,
    Signed,
    TrainPart,
    serve,
)
from bfedrec.federation.learner import Learner
from bfedrec.federation.round_training import Result, Sign, Train, Trained, signed_part
from bfedrec.federation.uplink import Sent
from bfedrec.learning.upload import Upload
from consensus.crypto import keys
from consensus.ledger.updates import SignedUpdate
from consensus.ledger.validity import Head


def can_fork() -> bool:
    """True where a process may be forked: libraries of other systems do not bear it."""
    return sys.platform == "linux"


@dataclass(eq=False)
class Answer:
    """A `Result` that the process computes, and that is read when it is waited for."""

    process: TrainingProcess
    number: int
    """The number of its round."""
    take: Callable[[Any], Any]
    """Makes the result of what is answered."""
    here: Callable[[], Any]
    """Computes the result without the process."""
    done: bool = False
    value: Any = None
    error: Exception | None = None

    def read(self, told: Any) -> None:
        """Note what is answered: None if it was cancelled, an error, or else a value."""
        if told is None:
            self.error = CancelledError()
        elif isinstance(told, Exception):
            self.error = told
        else:
            self.value = self.take(told)
        self._end()

    def _end(self) -> None:
        """Let go of what it was asked for with, which holds the round before, and that the one
        before it."""
        self.done, self.take, self.here = True, _as_it_is, _nothing

    def exception(self) -> Exception | None:
        """Wait for it; return the error that it is, or None."""
        while not self.done and self.process.read():
            pass
        if not self.done:
            try:
                self.value = self.here()
            except Exception as error:
                self.error = error
            self._end()
        return self.error

    def result(self) -> Any:
        """Wait for it; raise it if it is an error."""
        error = self.exception()
        if error is not None:
            raise error
        return self.value

    def cancel(self) -> None:
        """Leave out what has not begun of its round: nobody wants it."""
        self.process.cancel(self.number)


def _as_it_is(told: Any) -> Any:
    return told


def _nothing() -> None: ...


class TrainingProcess:
    """The process, as the run sees it. All is called from the thread of the servers."""

    def __init__(
        self, learner: Learner, train: TrainPart, sign: Sign, verify: bool, size: int
    ) -> None:
        """Fork it. ``sign`` talks to nobody; ``verify``: let it check the signatures, too, for
        `keys.verify`; ``size``: about the bytes of a round's payloads. Raises OSError where that
        fails."""
        self._learner = learner
        self._shared = mmap.mmap(-1, USED.size + NUMBERS + ROUNDS * size)
        self._unread: deque[Answer] = deque()
        self._number = 0
        self._pipe, theirs = Pipe()
        with warnings.catch_warnings():  # the child uses nothing of the other threads
            warnings.simplefilter("ignore", DeprecationWarning)
            self._process: int | None = os.fork()
        if not self._process:
            self._pipe.close()
            trainer = ForkedTrainer(learner, train, sign, verify, self._shared, size)
            serve(theirs, trainer, self._shared)
        theirs.close()

    def close(self) -> None:
        """End it."""
        if ACCOUNTS and self._process is not None:
            told = self.ask(0, "accounts", (), here=list).result()
            for account, each in zip(ACCOUNTS, told, strict=False):
                account.add(each)
        self._end()

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            self._pipe.close()
            with contextlib.suppress(OSError):
                os.kill(process, signal.SIGKILL)
            with contextlib.suppress(OSError):
                os.waitpid(process, 0)

    def processor_seconds(self) -> float:
        """The processor seconds that it has used so far."""
        used: float = USED.unpack_from(self._shared)[0]
        return used

    # -- requests ---------------------------------------------------------------------------------

    def committed(self, height: int, beacon: bytes, aggregate: bytes) -> None:
        """Tell it of the block of a height, by which the model is moved."""
        self.ask(0, "committed", (height, beacon, aggregate))

    def begin(
        self,
        height: int,
        beacon: bytes,
        block: tuple[bytes, bytes] | None = None,
        before: RemoteRound | None = None,
    ) -> RemoteRound:
        """Begin the round of ``height``, with this beacon, whose ``block`` before has this beacon
        and aggregate; None: that is committed already, and the servers have to wait. Clients who
        took part in the round ``before`` start where that leaves them."""
        found = self._next_round()
        number = None if before is None else before.number
        self.ask(found.number, "begin", (found.number, height, beacon, block, number))
        return found

    def guess(
        self,
        height: int,
        beacon: bytes,
        before: RemoteRound,
        beacon_before: bytes,
        here: Callable[[], bytes],
    ) -> tuple[RemoteRound, Answer]:
        """Begin the round of ``height`` with this beacon, after the round ``before`` (`begin`), if
        the block of that, with its beacon, aggregates all of its updates, which are signed; returns
        it and that aggregate, which ``here`` computes as well."""
        found = self._next_round()
        asked = found.number, height, beacon, before.number, beacon_before
        return found, self.ask(found.number, "guess", asked, here=here)

    def cancel(self, number: int) -> None:
        """Leave out what has not begun of a round."""
        self._shared[USED.size + number % NUMBERS] = 1

    def _next_round(self) -> RemoteRound:
        self._number += 1
        while len({each.number for each in self._unread if each.number}) >= ROUNDS and self.read():
            pass
        self._shared[USED.size + self._number % NUMBERS] = 0
        return RemoteRound(self, self._number)

    def ask(
        self,
        number: int,
        method: str,
        arguments: tuple[Any, ...],
        take: Callable[[Any], Any] = _as_it_is,
        here: Callable[[], Any] = _nothing,
    ) -> Answer:
        """Ask for what a ``method`` of `ForkedTrainer` answers, for a round of this ``number``."""
        answer = Answer(self, number, take, here)
        if self._process is not None:
            try:
                self._pipe.send((method, arguments))
                self._unread.append(answer)
            except OSError:
                self._lose()
        return answer

    def read(self) -> bool:
        """Read an answer, which has to be waited for; False if no more will come."""
        if self._process is None or not self._unread:
            return False
        try:
            told = self._pipe.recv()
        except Exception:  # it is gone, or has told what cannot be read, like some errors
            self._lose()
            return False
        self._unread.popleft().read(told)
        return True

    def _lose(self) -> None:
        """Go on without it: nothing more is expected of it."""
        self._end()
        self._unread.clear()

    # -- results ----------------------------------------------------------------------------------

    def uploads_of(self, told: Part) -> Trained[Upload]:
        """The part of a round that has been trained, its payloads found fit or not."""
        height, kept, written, seconds = told
        nothing, nowhere = np.empty((0, 0), np.float32), np.empty(0, np.bool_)
        uploads = []
        for client, samples, link, flaw, payload in written:
            if not isinstance(payload, bytes):
                payload = self._shared[slice(*payload)]
            self._learner.model.note_flaw(height, payload, flaw)
            uploads.append(Upload(client, nothing, nowhere, samples, payload, link))
        self._learner.training_seconds += seconds
        return kept, uploads


class RemoteRound:
    """A round that trains in the process; a `Worker`."""

    def __init__(self, process: TrainingProcess, number: int) -> None:
        self.number = number
        self._process = process
        self._parts: list[Result] = []

    def train(self, train: Train[Any], clients: np.ndarray, P: np.ndarray) -> Result:
        """`Worker.train`; ``train`` is what the process does as well."""
        process, asked = self._process, (self.number, clients, P)
        here = partial(train, clients, P)
        self._parts.append(process.ask(self.number, "train", asked, process.uploads_of, here))
        return self._parts[-1]

    def sign(self, sign: Sign, head: Head, part: Result) -> Result:
        """`Worker.sign`; so is ``sign``."""

        def signed(told: list[Signed]) -> Trained[Sent]:
            kept, uploads = part.result()
            sent = []
            for upload, (record, right) in zip(uploads, told, strict=True):
                if right is not None:
                    keys.remember(record.client, record.signed, record.signature, right)
                sent.append((upload, SignedUpdate.by_signer(record, upload.payload)))
            return kept, sent

        asked = self.number, self._parts.index(part), head
        here = partial(signed_part, sign, head, part)
        return self._process.ask(self.number, "sign", asked, signed, here)
