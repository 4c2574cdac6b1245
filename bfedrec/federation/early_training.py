"""The training of the next round, begun while servers still vote on the block of this one.

A client may train as soon as it has the block, but the simulated servers go to the next height
together, once the last of them has it. All that the training needs is known as soon as the block is
proposed: the cohort, the merged Q and the beacon. It then begins on the other core, from the same
inputs and so with the same results as later. If another block is decided, the training is
discarded, and that of the other one begins.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from bfedrec.config.schema import Config
from bfedrec.federation.downlink import Downlink
from bfedrec.federation.learner import Learner
from bfedrec.federation.round_training import RoundTraining, Train, fits_beside
from bfedrec.federation.uplink import Sent, Uplink
from bfedrec.learning.task import TrainingTask
from bfedrec.learning.upload import Kept
from consensus.ledger.validity import Head

Training = RoundTraining[Sent]
Start = Callable[[Head, np.ndarray, np.ndarray, np.ndarray, Train[Sent]], Training]
"""Starts the training of the round after a head: of a cohort of honest clients (int64[m]) from
factors (float32[m, d]), about in the order of these times (float64[m])."""


class _Present(NamedTuple):
    """The round that is being played."""

    head: Head
    """The head that it builds on."""
    clients: np.ndarray
    training: Training


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
        train: Callable[[Head, TrainingTask], Train[Sent]],
        start: Start,
    ) -> None:
        """``train``: the training of honest clients in the round after a head, by its task."""
        self._config = config
        self._learner = learner
        self._uplink = uplink
        self._downlink = downlink
        self._train, self._start = train, start
        self._present: _Present | None = None
        self._next: tuple[bytes, Training] | None = None
        """The head that the next round builds on, and its training."""

    def playing(self, head: Head, clients: np.ndarray, training: Training) -> None:
        """Note the round that is played after ``head``, with the training of its ``clients``
        (int64[m])."""
        self._present = _Present(head, clients, training)

    def taken(self, head: Head) -> Training | None:
        """The training of the round after ``head``, if it has begun."""
        found, self._next = self._next, None
        if found is None:
            return None
        cid, training = found
        if cid == head.cid:
            return training
        training.cancel()
        return None

    def foresee(self, head: Head, aggregate: bytes) -> None:
        """Begin the training of the round after ``head``, whose block has this ``aggregate``
        (`consensus.simulation.spec.WorldSpec.foresee`)."""
        present, learner, height = self._present, self._learner, head.height + 1
        if (
            present is None
            or present.head.height + 1 != head.height
            or height > self._config.rounds
            or self._config.compression.error_feedback
            or learner.adversary.keeps_messages  # what it does depends on all of this round
            or (self._next is not None and self._next[0] == head.cid)
        ):
            return
        clients = learner.clients(height)
        if learner.adversary.acts(height, clients):
            return
        if not fits_beside(len(clients) * self._uplink.message_bytes):
            return
        Q = learner.model.foresee(head.height, present.head.beacon, aggregate)
        train = self._train(head, learner.task(height, head.beacon, Q))
        # The bytes of this block are not in the account yet; they delay all clients alike.
        fetched = self._downlink.fetch(clients, head.height)[self._config.clients.downlink]
        times = self._uplink.times(0.0, clients, fetched)
        if self._next is not None:
            self._next[1].cancel()
        after = _after(present.training, present.clients, train)
        started = self._start(head, clients, learner.P[clients], times, after)
        self._next = head.cid, started


def _after(before: Training, cohort: np.ndarray, train: Train[Sent]) -> Train[Sent]:
    """``train``, from the factors that the training ``before`` leaves those of its ``cohort``
    (int64[m]) who take part again. Both run in one thread, one after the other."""

    def trained(clients: np.ndarray, P: np.ndarray) -> tuple[Kept, list[Sent]]:
        again, here, there = np.intersect1d(clients, cohort, return_indices=True)
        if len(again):
            P = P.copy()
            P[here] = before.finish()[0][there]
        return train(clients, P)

    return trained
