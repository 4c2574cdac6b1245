"""The training of the next round, begun while servers still work on the block of this one.

A client may train as soon as it has the block, but the simulated servers go to the next height
together, once the last of them has it. The other core needs not wait for that: the training begins
there from the same inputs, and so with the same results, as later.

All that it needs is known as soon as the block is proposed: the cohort, the merged Q and the
beacon. Most blocks can be guessed before, when this round begins: the aggregator whose turn is
first proposes all updates of the cohort. The next round then trains beside the servers of this one,
and is signed for the block once that is known. If the guess was wrong, or another block is decided
than was proposed, the training is discarded, and that of the right one begins.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import NamedTuple

import numpy as np

from bfedrec.config.schema import Config
from bfedrec.federation.cohorts import Cohorts
from bfedrec.federation.downlink import Downlink
from bfedrec.federation.learner import Learner
from bfedrec.federation.round_training import (
    InThread,
    Result,
    RoundTraining,
    Train,
    Trained,
    Worker,
    fits_beside,
)
from bfedrec.federation.trainee import aggregate_of_all, in_block
from bfedrec.federation.training_process import RoundThere
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
        learner.model.aggregated = self._aggregated

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
        after = _after(before, present.clients, train)
        if isinstance(worker, RoundThere):
            if isinstance(before.worker, RoundThere):
                worker.follows(before.worker)
            else:
                P = _left_by(before, present.clients, clients, P)
        return self._cohorts.start(worker, clients, P, times, after)

    # -- a block that is expected -----------------------------------------------------------------

    def _guessed(self, present: _Present) -> _Guess | None:
        """The guess of the round after ``present``, begun; None where there is none."""
        learner, height, beacon = self._learner, present.head.height + 1, present.beacon
        process, follows = self._cohorts.process, present.training.worker
        there = isinstance(follows, RoundThere)
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

        @cache
        def task() -> TrainingTask:
            Q = before.foresee(height, beacon_before, aggregate())
            return learner.task(height + 1, beacon, Q)

        def train(clients: np.ndarray, P: np.ndarray) -> Trained[Upload]:
            return self._cohorts.train(height + 1, beacon, task(), None, clients, P, True)

        worker: Worker = InThread(self._cohorts.thread)
        if process is None:
            found: Result = self._cohorts.thread.submit(aggregate)
        else:
            assert isinstance(follows, RoundThere)
            worker, found = process.guess(height + 1, beacon, follows, beacon_before, aggregate)
        return _Guess(height, beacon, found, self._start_after(present, worker, train))

    def _aggregated(
        self, height: int, payloads: Sequence[bytes], samples: Sequence[int], beacon: bytes
    ) -> bytes | None:
        """The aggregate at ``height`` of ``payloads`` in their order, if it is the one that is
        expected (`GlobalModel.aggregated`)."""
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
        learner, height, block = self._learner, head.height + 1, (present.head.beacon, aggregate)
        before = learner.model.as_it_is()

        @cache
        def task() -> TrainingTask:
            Q = before.foresee(head.height, *block)
            return learner.task(height, head.beacon, Q)

        def train(clients: np.ndarray, P: np.ndarray) -> Trained[Upload]:
            return self._cohorts.train(height, head.beacon, task(), None, clients, P, True)

        worker: Worker = InThread(self._cohorts.thread)
        if self._cohorts.process is not None:
            worker = self._cohorts.process.begin(height, head.beacon, block)
        return self._start_after(present, worker, train)


def _after(before: Training, cohort: np.ndarray, train: Train[Upload]) -> Train[Upload]:
    """``train``, from the factors that the training ``before`` leaves those of its ``cohort``
    (int64[m]) who take part again. Both run in one thread, one after the other."""

    def trained(clients: np.ndarray, P: np.ndarray) -> Trained[Upload]:
        return train(clients, _left_by(before, cohort, clients, P))

    return trained


def _left_by(
    before: Training, cohort: np.ndarray, clients: np.ndarray, P: np.ndarray
) -> np.ndarray:
    """The factors ``P`` (float32[m, d]) of ``clients``, with those that the training ``before`` of
    a ``cohort`` leaves those of them who are in it."""
    again, here, there = np.intersect1d(clients, cohort, return_indices=True)
    if len(again):
        P = P.copy()
        P[here] = before.finish()[0][there]
    return P
