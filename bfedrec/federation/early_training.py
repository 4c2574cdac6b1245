"""The training of the next round, begun while servers still work on the block of this one.

A client may train as soon as it has the block, but the simulated servers go to the next height
together, once the last of them has it. The other core needs not wait for that: the training begins
there from the same inputs, and so with the same results, as later.

All that it needs is known as soon as the block is proposed: the cohort, the merged Q and the
beacon. Most blocks can be guessed before, when this round begins: the first honest aggregator whose
committee can decide proposes all updates of the cohort. The next round then trains beside the
servers of this one, and is signed for the block once that is known. If the guess was wrong, or
another block is decided than was proposed, the training is discarded, and that of the right one
begins.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import NamedTuple

import numpy as np

from bfedrec.config.schema import Config
from bfedrec.federation.cohorts import Cohorts
from bfedrec.federation.downlink import Downlink
from bfedrec.federation.forked_trainer import aggregate_of_all, in_block
from bfedrec.federation.learner import Learner
from bfedrec.federation.round_training import (
    InThread,
    Result,
    RoundTraining,
    Train,
    Trained,
    Worker,
    factors_after,
    fits_beside,
)
from bfedrec.federation.training_process import RemoteRound
from bfedrec.federation.uplink import Sent, Uplink
from bfedrec.learning.task import TrainingTask
from bfedrec.learning.upload import Upload
from consensus.ledger.updates import SignedUpdate
from consensus.ledger.validity import Head
from consensus.simulation.foresight import Trust

Training = RoundTraining[Sent]


class _Present(NamedTuple):
    """The round that is being played."""

    head: Head
    """The head that it builds on."""
    clients: np.ndarray
    training: Training
    beacon: bytes | None
    """The beacon that the next round has if the block is as expected; None where none is."""


class _Guess(NamedTuple):
    """The training of the next round, if the block is as expected."""

    height: int
    """The height of that block."""
    beacon: bytes
    """The beacon after it."""
    aggregate: Result
    """Its aggregate."""
    training: RoundTraining[Upload]

    def is_of(self, head: Head, aggregate: bytes) -> bool:
        """True if the block of ``head``, which has this ``aggregate``, is as expected."""
        return self.beacon == head.beacon and self.aggregated() == aggregate

    def aggregated(self) -> bytes | None:
        """The aggregate that is expected; None where these updates have none."""
        try:
            found: bytes = self.aggregate.result()
        except Exception:  # an aggregator that proposes them will be told of it
            return None
        return found


class EarlyTraining:
    """Begins the training of the round after the present one, where nothing is in its way.

    It is left to the round itself where clients act on what they have seen of the one before
    (attacks, error feedback), and where two rounds' messages might not fit into memory.
    """

    def __init__(
        self,
        config: Config,
        learner: Learner,
        uplink: Uplink,
        downlink: Downlink,
        cohorts: Cohorts,
        expected: Callable[[Head], bytes | None],
    ) -> None:
        """``expected``: the beacon of the round after the next one if the block after a head is as
        expected; None where none is."""
        self._config = config
        self._learner = learner
        self._uplink = uplink
        self._downlink = downlink
        self._cohorts = cohorts
        self._expected = expected
        self._present: _Present | None = None
        self._trust = Trust()
        self._guess: _Guess | None = None
        self._next: tuple[bytes, Training] | None = None
        """The head that the next round builds on, and its training."""
        learner.model.known_aggregate = self._known_aggregate

    # -- the round that is played -----------------------------------------------------------------

    def playing(self, head: Head, clients: np.ndarray, training: Training) -> None:
        """Note the round that is played after ``head``, with the training of its ``clients``
        (int64[m]); begin that of the next round, where it may be guessed."""
        self._discard_guess()
        self._present = _Present(head, clients, training, self._expected(head))
        self._guess = self._guessed(self._present)

    def played(self, head: Head, updates: Sequence[SignedUpdate]) -> None:
        """Note the ``head`` that the round has led to, and the ``updates`` in its block."""
        present = self._present
        if present is not None and present.beacon is not None:
            sent = {id(message) for _, message in present.training.all_sent()}
            right = present.beacon == head.beacon and sent == {id(each) for each in updates}
            self._trust.told(right, not right)

    def taken(self, head: Head) -> Training | None:
        """The training of the round after ``head``, if it has begun."""
        found, self._next = self._next, None
        if found is None:
            return None
        cid, training = found
        if cid == head.cid:
            self._guess = None  # if it was right, it is what is taken
            return training
        training.cancel()
        return None

    def _may_begin(self, height: int) -> bool:
        """True if the round of ``height`` may begin before its time."""
        learner, config = self._learner, self._config
        if (
            height > config.rounds
            or config.compression.error_feedback
            or learner.adversary.keeps_messages  # what it does depends on all of the round before
        ):
            return False
        clients = learner.clients(height)
        return not learner.adversary.acts(height, clients) and fits_beside(
            len(clients) * self._uplink.message_bytes
        )

    def _start_after(
        self, present: _Present, worker: Worker, train: Train[Upload]
    ) -> RoundTraining[Upload]:
        """Start the training of the round after ``present`` by a worker."""
        clients = self._learner.clients(present.head.height + 2)
        # The bytes of this block are not in the account yet; they delay all clients alike.
        fetched = self._downlink.fetch(clients, present.head.height + 1)
        times = self._uplink.times(0.0, clients, fetched[self._config.clients.downlink])
        P, before = self._learner.P[clients], present.training

        def started_from(clients: np.ndarray, P: np.ndarray) -> np.ndarray:
            return factors_after(clients, P, present.clients, lambda: before.finish()[0])

        if isinstance(worker, RemoteRound) and not isinstance(before.worker, RemoteRound):
            P = started_from(clients, P)  # the process does not know what was trained here

        def after(clients: np.ndarray, P: np.ndarray) -> Trained[Upload]:
            return train(clients, started_from(clients, P))  # later, in the thread of both

        return self._cohorts.start(worker, clients, P, times, after)

    def _trains(self, height: int, beacon: bytes, Q: Callable[[], np.ndarray]) -> Train[Upload]:
        """The training of the round of ``height``, with this beacon, on a Q that is computed when
        the first part trains."""

        @cache
        def task() -> TrainingTask:
            return self._learner.task(height, beacon, Q())

        def train(clients: np.ndarray, P: np.ndarray) -> Trained[Upload]:
            return self._cohorts.train(height, beacon, task(), None, clients, P, True)

        return train

    # -- a block that is expected -----------------------------------------------------------------

    def _guessed(self, present: _Present) -> _Guess | None:
        """The guess of the round after ``present``, begun; None where there is none."""
        learner, height, beacon = self._learner, present.head.height + 1, present.beacon
        process, follows = self._cohorts.process, present.training.worker
        there = isinstance(follows, RemoteRound)
        if (
            beacon is None
            or not self._trust.holds
            or there == (process is None)
            or not self._may_begin(height + 1)
        ):
            return None
        beacon_before, before = present.head.beacon, learner.model.as_it_is()

        @cache
        def aggregate() -> bytes:
            sent = [message for _, message in present.training.all_sent()]
            return aggregate_of_all(before, sent, beacon_before)

        def Q() -> np.ndarray:
            return before.foresee(height, beacon_before, aggregate())

        train = self._trains(height + 1, beacon, Q)
        worker: Worker = InThread(self._cohorts.thread)
        if process is None:
            found: Result = self._cohorts.thread.submit(aggregate)
        else:
            assert isinstance(follows, RemoteRound)
            worker, found = process.guess(height + 1, beacon, follows, beacon_before, aggregate)
        return _Guess(height, beacon, found, self._start_after(present, worker, train))

    def _known_aggregate(
        self, height: int, payloads: Sequence[bytes], samples: Sequence[int], beacon: bytes
    ) -> bytes | None:
        """The aggregate at ``height`` of ``payloads`` in their order, if it is the one that is
        expected (`GlobalModel.known_aggregate`)."""
        guess, present = self._guess, self._present
        if guess is None or present is None or guess.height != height:
            return None
        expected = in_block([message for _, message in present.training.all_sent()])
        if (list(payloads), list(samples)) != expected or beacon != present.head.beacon:
            return None
        return guess.aggregated()

    def _discard_guess(self) -> None:
        if self._guess is not None:
            self._guess.training.cancel()
            self._guess = None

    # -- a block that is proposed or decided ------------------------------------------------------

    def foresee(self, head: Head, aggregate: bytes) -> None:
        """Begin the training of the round after ``head``, whose block has this ``aggregate``
        (`consensus.simulation.spec.WorldSpec.foresee`)."""
        present, guess = self._present, self._guess
        if (
            present is None
            or present.head.height + 1 != head.height
            or not self._may_begin(head.height + 1)
            or (self._next is not None and self._next[0] == head.cid)
        ):
            return
        if guess is not None and guess.is_of(head, aggregate):
            training = guess.training
        else:
            if self._next is not None:
                self._next[1].cancel()
            self._discard_guess()
            training = self._begun(present, head, aggregate)
        self._next = head.cid, training.signed(self._cohorts.sign, head)

    def _begun(self, present: _Present, head: Head, aggregate: bytes) -> RoundTraining[Upload]:
        block, model = (present.head.beacon, aggregate), self._learner.model.as_it_is()
        train = self._trains(
            head.height + 1, head.beacon, lambda: model.foresee(head.height, *block)
        )
        worker: Worker = InThread(self._cohorts.thread)
        if self._cohorts.process is not None:
            before = present.training.worker
            known = before if isinstance(before, RemoteRound) else None
            worker = self._cohorts.process.begin(head.height + 1, head.beacon, block, known)
        return self._start_after(present, worker, train)
