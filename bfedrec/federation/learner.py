"""The learning of a round: sampling of clients, training, uploads, acceptance of updates, and the
merging of their aggregate into Q (Algorithm 1, equation 5).

In a run edge servers accept and aggregate the updates (`bfedrec.federation.federation`). Tuning
plays the same rounds without servers (`Learner.play`).
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from bfedrec.aggregation.registry import aggregator_of
from bfedrec.attacks.adversary import Adversary
from bfedrec.compression.codec import CODECS
from bfedrec.compression.error_feedback import ErrorFeedback
from bfedrec.compression.exchange import Exchange
from bfedrec.config.schema import Config
from bfedrec.config.yaml_core import ConfigError
from bfedrec.data.dataset import Dataset
from bfedrec.federation.client_sampling import participants
from bfedrec.federation.global_model import GlobalModel
from bfedrec.learning.cohort import train_cohort
from bfedrec.learning.factorization import initial_factors
from bfedrec.learning.task import TrainingTask
from bfedrec.learning.upload import Diverged, LocalUpdates, Upload
from bfedrec.streams import Streams

Trainer = Callable[[TrainingTask, np.ndarray, np.ndarray], LocalUpdates]
"""An implementation of Algorithm 1 for a cohort: `bfedrec.learning.cohort.train_cohort`."""

Recall = Callable[[int, Sequence[int]], Mapping[int, bytes]]
"""Maps a height and clients to the clients' residuals before that height (`bfedrec.runs.state`)."""


class Learner:
    """All clients and the global model, round by round.

    ``P``: float32[M, d], every client's own p_u, which the caller updates after a round.
    ``training_seconds``: wall-clock seconds of training so far, for the reported speed.
    """

    def __init__(
        self,
        config: Config,
        data: Dataset,
        model: GlobalModel,
        adversary: Adversary,
        residuals: Recall | None = None,
        threads: int | None = None,
    ) -> None:
        """``residuals``: loads the residuals of earlier rounds, for error feedback. ``threads``:
        number of threads of a training on the CPU; None: all processors.

        Raises ConfigError for a device that is not there.
        """
        self.config = config
        self.data = data
        self.model = model
        self.adversary = adversary
        self.streams = Streams(config.seed)
        generator = self.streams.generator("initial", 0)
        self.P = initial_factors(
            data.users, config.model.dimension, config.model.init_scale, generator
        )
        self.training_seconds = 0.0
        self._residuals = residuals
        self._train = trainer(config.device, threads)

    @property
    def Q(self) -> np.ndarray:
        """The global item factors, float32[N, d]."""
        return self.model.Q

    def clients(self, height: int) -> np.ndarray:
        """The clients that take part in round ``height``, int64[m]."""
        return participants(self.streams, self.data.users, self.config.clients, height)

    def targets(self) -> tuple[int, ...]:
        """The items whose exposure is reported: those of the config, and those of its attacks.

        Raises ConfigError for an item that does not exist.
        """
        found = {*self.config.evaluation.targets, *self.adversary.targets}
        if found and max(found) >= self.data.items:
            raise ConfigError(
                f"target item {max(found)} is none of the {self.data.items} of {self.data.name}, "
                f"which are numbered from 0"
            )
        return tuple(sorted(found))

    # -- training ---------------------------------------------------------------------------------

    def feedback(self, height: int, clients: np.ndarray) -> ErrorFeedback | None:
        """Error feedback for round ``height``, with the residuals of its honest clients, or None if
        the config has none. Raises ValueError for a learner without ``residuals``."""
        if not self.config.compression.error_feedback:
            return None
        if self._residuals is None:
            raise ValueError("error feedback needs a place where residuals are kept")
        honest = [c for c in clients.tolist() if self.adversary.attack(height, c) is None]
        return ErrorFeedback(self.model.exchange, self._residuals(height, honest))

    def task(self, height: int, beacon: bytes) -> TrainingTask:
        """The training of round ``height``, with this beacon, from the present Q and its B.

        Built once, when the round begins: a part of the cohort that trains late, beside servers
        that have decided the block, must not read the Q of the next round.
        """
        config, training = self.config, self.config.training
        return TrainingTask(
            self.model.Q,
            self.model.basis(beacon),
            self.data.indptr,
            self.data.indices,
            training,
            self.streams.integer("training", height),
            training.step_scale(height, config.rounds),
            predicts=training.predicts(height, config.rounds),
        )

    def train(
        self,
        height: int,
        beacon: bytes,
        clients: np.ndarray,
        P: np.ndarray,
        task: TrainingTask,
        feedback: ErrorFeedback | None,
    ) -> tuple[LocalUpdates, list[Upload]]:
        """Train ``clients`` (int64[m]) with factors ``P`` (float32[m, d]) by the task of the round
        with this beacon (Algorithm 1); return their updates and what each sends, which an attack
        may change. Reads neither the model nor ``self.P``. Raises Diverged, naming round and
        client."""
        began = time.perf_counter()
        update = self.trained(height, clients, P, task)
        uploads = [
            Upload(int(client), update.A[place], update.touched[place], int(update.samples[place]))
            for place, client in enumerate(clients)
        ]
        if feedback is not None:
            uploads = feedback.sent(uploads, beacon, partial(self.adversary.attack, height))
        if self.adversary.acts(height, clients):
            flipped = replace(task, flipped=True)
            uploads = self.adversary.forge(
                height,
                uploads,
                update.P,
                task.Q,
                task.B,
                self.model.exchange,
                lambda places: self.trained(height, clients[places], P[places], flipped),
            )
        self.training_seconds += time.perf_counter() - began
        return update, uploads

    def trained(
        self, height: int, clients: np.ndarray, P: np.ndarray, task: TrainingTask
    ) -> LocalUpdates:
        """Train ``clients`` from factors ``P`` by the task of round ``height``. Raises Diverged,
        naming round and client."""
        try:
            return self._train(task, clients, P)
        except Diverged as error:
            if self.config.clients.malicious:
                error = Diverged(f"{error}; or malicious clients have destroyed the model")
            raise Diverged(f"round {height}: {error}") from None

    # -- without servers --------------------------------------------------------------------------

    def accepted(self, uploads: Sequence[Upload], beacon: bytes) -> tuple[list[bytes], list[int]]:
        """Payloads and sample counts of the uploads that honest servers would aggregate
        (`consensus.ledger.updates`), in their order."""
        exchange, registered = self.model.exchange, self.data.sample_counts
        fit: list[tuple[int, bytes, int]] = []
        for upload in uploads:
            if upload.message is not None or upload.age or upload.parent:
                continue  # signed for another height, or on another block
            payload = upload.payload
            if payload is None:
                payload = exchange.encode(upload.A, upload.touched, beacon)
            if 0 < upload.samples <= registered[upload.client] and exchange.check(payload) is None:
                fit.append((upload.client, payload, upload.samples))
        count = Counter(client for client, _, _ in fit)
        once = [(payload, samples) for client, payload, samples in fit if count[client] == 1]
        return [payload for payload, _ in once], [samples for _, samples in once]

    def play(self, height: int, beacon: bytes) -> Mapping[int, bytes]:
        """Play one whole round as honest servers without delay would decide it; return the clients'
        residuals under error feedback. Raises Diverged, naming round and client."""
        clients = self.clients(height)
        feedback = self.feedback(height, clients)
        task, P = self.task(height, beacon), self.P[clients]
        update, uploads = self.train(height, beacon, clients, P, task, feedback)
        self.P[clients] = update.P
        payloads, samples = self.accepted(uploads, beacon)
        if payloads:
            aggregate = self.model.aggregate(payloads, samples, beacon)
            self.model.commit(height, beacon, aggregate)
        return {} if feedback is None else feedback.residuals


def initial_model(config: Config, items: int, first_beacon: bytes) -> GlobalModel:
    """The global model of a config over ``items`` items, before the first round."""
    model, compression = config.model, config.compression
    generator = Streams(config.seed).generator("initial", 1)
    Q = initial_factors(items, model.dimension, model.init_scale, generator)
    rows, kind = _shape(config)
    size = compression.size_for(model.dimension, model.rank)
    rule = aggregator_of(config.aggregation)
    downlink, parameters = compression.downlink, compression.parameters
    exchange = Exchange.named(rule, compression.kind, rows, items, size, downlink, parameters)
    catch_up = config.clients.downlink == "catch_up"
    every = config.clients.snapshot_every if catch_up else None
    return GlobalModel(Q, kind, exchange, every, first_beacon)


def _shape(config: Config) -> tuple[int, str]:
    """Rows r of an update, and the name of its basis. Codecs without a basis train the whole Delta
    Q, which is B = I at r = d."""
    if CODECS[config.compression.kind].under_basis:
        return config.model.rank, config.model.basis
    return config.model.dimension, "identity"


def trainer(device: str, threads: int | None) -> Trainer:
    """The implementation of cohort training for a device: compiled for cpu, torch for all others,
    of which torch:cpu is the CPU. Raises ConfigError for a device that torch does not find."""
    if device == "cpu":
        return partial(train_cohort, threads=threads)
    from bfedrec.learning import cohort_torch  # torch takes seconds to import

    name = device.removeprefix("torch:")
    if not cohort_torch.is_usable(name):
        raise ConfigError(f"device: {device!r}: torch finds no such device here; use cpu")
    return partial(cohort_torch.train_cohort_on, name)
