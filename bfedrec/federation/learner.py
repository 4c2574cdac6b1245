"""The learning of a round: sampling of clients, training, uploads, acceptance of updates, and the
merging of their aggregate into Q (Algorithm 1, equation 5).

In a run edge servers accept and aggregate the updates (`bfedrec.federation.federation`).
`bfedrec.federation.unledgered` plays the same rounds without servers (`Learner.play`).
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

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
from bfedrec.federation.global_model import GlobalModel, basis_in_proportion
from bfedrec.federation.private_factors import placed
from bfedrec.federation.protection import Protection
from bfedrec.federation.round_training import parts_for
from bfedrec.federation.scoring import Scoring, excluded_items, scored, scoring_of
from bfedrec.federation.trainers import trainers
from bfedrec.learning.factorization import initial_factors
from bfedrec.learning.gradients import Unwritten
from bfedrec.learning.task import TrainingTask
from bfedrec.learning.upload import Diverged, LocalUpdates, Trained, Upload
from bfedrec.privacy.dp.accountant import NoAccountant, need_accountant
from bfedrec.privacy.secure.exchange import SecureExchange
from bfedrec.streams import Streams
from bfedrec.threads import thread_count

Recall = Callable[[int, Sequence[int]], Mapping[int, bytes]]
"""Maps a height and clients to the clients' residuals before that height (`bfedrec.runs.state`)."""

Hear = Callable[[Sequence[Upload], Sequence[bytes]], None]
"""Is told uploads and the payload of each."""


@dataclass(frozen=True)
class Played:
    """Result of a round without servers."""

    height: int
    clients: np.ndarray
    """int64[m]: the clients that trained."""
    factors: np.ndarray
    """float32[m, d]: their new p_u, which stay with them."""
    loss: float
    """Mean training loss over the cohort."""
    uplink_bytes: int
    """Bytes of all payloads that were sent, without the records that sign them on a ledger."""
    aggregate_bytes: int
    """Bytes of the encoded aggregate; 0 where no payload could be aggregated."""
    residuals: Mapping[int, bytes]
    """Residuals of honest clients under error feedback, by client."""


class Learner:
    """All clients and the global model, round by round.

    ``P``: float32[M, d], the factors that each client keeps, which the caller updates after a
    round; users are scored by `scoring`.
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
        folder: Path | None = None,
    ) -> None:
        """``residuals``: loads the residuals of earlier rounds, for error feedback. ``threads``:
        number of threads of a training on the CPU; None: all processors. ``folder``: a place for
        files of a P that is not to lie in memory (`bfedrec.federation.private_factors`).

        Raises ConfigError for a device that is not there, and for levels that lose the noise of
        differential privacy.
        """
        self.config = config
        self.data = data
        self.model = model
        self.scored = scored(config, data)
        """The data with the held-out items that are scored."""
        self.adversary = adversary
        self.streams = Streams(config.seed)
        self.protection = Protection.of(config, data)
        self.protection.check_sums(model)
        self.P = placed(initial_private(config, data.users, data.items), folder)
        self.training_seconds = 0.0
        self._residuals = residuals
        as_terms = self.protection.account is None
        self._alone = trainers(config, threads, as_terms)
        self._beside = trainers(config, max(1, thread_count(threads) - 1), as_terms)
        """The same, but for a processor that is left to the servers."""

    @property
    def Q(self) -> np.ndarray:
        """The global item factors, float32[N, d], and the rows that the method appends."""
        return self.model.Q

    def clients(self, height: int) -> np.ndarray:
        """The clients that take part in round ``height``, int64[m]."""
        return participants(self.streams, self.data.users, self.config.clients, height)

    def scoring(self, threads: int | None = None, config: Config | None = None) -> Scoring:
        """Every user's factors on the present Q, by which the model is scored on the held-out items
        of `scored`; ``config``: one that scores otherwise and trains alike."""
        whole = scoring_of(config or self.config, self.data, self.model.Q, self.P, threads)
        return replace(whole, data=self.scored)

    @property
    def asked(self) -> np.ndarray:
        """bool[M]: the honest users, or those of them who are in the sample that is scored."""
        honest = self.adversary.honest
        return honest if self.scored is self.data else honest & (self.scored.test >= 0)

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

    def task(self, height: int, beacon: bytes, Q: np.ndarray | None = None) -> TrainingTask:
        """The training of round ``height``, with this beacon, from the present Q and its B, or from
        the ``Q`` that the block before will make of it.

        Built once, when the round begins: a part of the cohort that trains late, beside servers
        that have decided the block, must not read the Q of the next round.
        """
        config, training = self.config, self.config.training
        return TrainingTask(
            self.model.Q if Q is None else Q,
            self.model.basis(beacon) if Q is None else self.model.basis_on(Q, beacon),
            self.data.indptr,
            self.data.indices,
            training,
            self.streams.integer("training", height),
            training.step_scale(height, config.rounds),
            predicts=training.predicts(height, config.rounds),
            progress=height / config.rounds,
            excluded=excluded_items(config, self.data),
            shown=self.protection.shown(self.clients(height)),
        )

    def train(
        self,
        height: int,
        beacon: bytes,
        clients: np.ndarray,
        P: np.ndarray,
        task: TrainingTask,
        feedback: ErrorFeedback | None,
        beside: bool = False,
    ) -> tuple[Trained, list[Upload]]:
        """Train ``clients`` (int64[m]) with factors ``P`` (float32[m, d]) by the task of the round
        with this beacon (Algorithm 1); return what they know afterwards and what each sends, which
        an attack may change. Reads neither the model nor ``self.P``. ``beside``: leave a
        processor to whatever runs meanwhile. Raises Diverged, naming round and client."""
        trainers = self._beside if beside else self._alone
        began = time.perf_counter()
        attacked = self.adversary.acts(height, clients)
        written = self.model.secure is not None
        terms = trainers.unwritten
        if terms is not None and feedback is None and not attacked and not written:
            with self._naming(height):
                updates = terms(task, clients, P)
            self.training_seconds += time.perf_counter() - began
            return updates, self._encoded(height, updates, beacon, clients, trainers.threads)
        update = self.trained(height, clients, P, task, beside)
        uploads = [
            Upload(int(client), update.A[place], update.touched[place], stated)
            for place, (client, stated) in enumerate(
                zip(clients, self.protection.stated[clients].tolist(), strict=True)
            )
        ]
        with self._naming(height):
            uploads = self.protection.sent(height, uploads)
        if feedback is not None:
            uploads = feedback.sent(uploads, beacon, partial(self.adversary.attack, height))
        if attacked:
            flipped = replace(task, flipped=True)
            uploads = self.adversary.forge(
                height,
                uploads,
                update.P,
                task.Q,
                task.B,
                self.model.exchange_at(height),
                lambda places: self.trained(height, clients[places], P[places], flipped),
            )
        self.training_seconds += time.perf_counter() - began
        return update, uploads

    def trained(
        self,
        height: int,
        clients: np.ndarray,
        P: np.ndarray,
        task: TrainingTask,
        beside: bool = False,
    ) -> LocalUpdates:
        """Train ``clients`` from factors ``P`` by the task of round ``height``; ``beside``: as for
        `train`. Raises Diverged, naming round and client."""
        with self._naming(height):
            return (self._beside if beside else self._alone).written(task, clients, P)

    @contextmanager
    def _naming(self, height: int) -> Iterator[None]:
        """Name the round in what its training raises."""
        try:
            yield
        except Diverged as error:
            if self.config.clients.malicious:
                error = Diverged(f"{error}; or malicious clients have destroyed the model")
            raise Diverged(f"round {height}: {error}") from None

    def _encoded(
        self,
        height: int,
        updates: Unwritten,
        beacon: bytes,
        clients: np.ndarray,
        threads: int | None,
    ) -> list[Upload]:
        """The uploads of honest ``clients`` (int64[m]), without their updates being written out."""
        exchange = self.model.exchange_at(height)
        payloads = exchange.encode_unwritten(updates, beacon, threads)
        A, touched = np.empty((0, 0), np.float32), np.empty(0, np.bool_)
        return [
            Upload(int(client), A, touched, int(samples), payload)
            for client, samples, payload in zip(clients, updates.samples, payloads, strict=True)
        ]

    # -- without servers --------------------------------------------------------------------------

    def payload(self, height: int, upload: Upload, beacon: bytes) -> bytes:
        """The encoded update that a client sends in round ``height``, with this beacon."""
        if upload.message is not None:
            return upload.message.payload
        if upload.payload is not None:
            return upload.payload
        return self.model.exchange_at(height).encode(upload.A, upload.touched, beacon)

    def accepted(
        self, uploads: Sequence[Upload], payloads: Sequence[bytes]
    ) -> tuple[list[bytes], list[int]]:
        """Payloads and sample counts of the uploads that honest servers would aggregate
        (`consensus.ledger.updates`), in their order. ``payloads``: those of ``uploads``."""
        check, registered = self.model.exchange.check, self.protection.stated
        fit = [
            (upload.client, payload, upload.samples)
            for upload, payload in zip(uploads, payloads, strict=True)
            # Others were signed for another height, or on another block.
            if upload.message is None and not upload.age and not upload.parent
            if 0 < upload.samples <= registered[upload.client] and check(payload) is None
        ]
        count = Counter(client for client, _, _ in fit)
        once = [(payload, samples) for client, payload, samples in fit if count[client] == 1]
        return [payload for payload, _ in once], [samples for _, samples in once]

    def play(self, height: int, beacon: bytes, hear: Hear | None = None) -> Played:
        """Play one whole round as honest servers without delay would decide it. ``hear`` is told
        each part's uploads, without their updates, and the payloads of these. Raises Diverged,
        naming round and client."""
        clients = self.clients(height)
        feedback = self.feedback(height, clients)
        task, parts = self.task(height, beacon), 1
        if not self.adversary.acts(height, clients):
            parts = parts_for(len(clients), self.model.rank, self.model.items)
        factors, losses = [], []
        uploads: list[Upload] = []
        sent: list[bytes] = []
        for part in np.array_split(clients, parts):
            update, made = self.train(height, beacon, part, self.P[part], task, feedback)
            factors.append(update.P)
            losses.append(update.loss)
            payloads = [self.payload(height, upload, beacon) for upload in made]
            made = [upload.without_update() for upload in made]
            if hear is not None:
                hear(made, payloads)
            uploads, sent = uploads + made, sent + payloads
            del update  # before the next part's are written out
        P, loss, aggregate = np.concatenate(factors), np.concatenate(losses), b""
        self.P[clients] = P
        payloads, samples = self.accepted(uploads, sent)
        if payloads:
            aggregate = self.model.exchange_at(height).aggregate(payloads, samples, beacon)
            self.model.commit(height, beacon, aggregate)
        return Played(
            height,
            clients,
            P,
            float(loss.mean()),
            sum(map(len, sent)),
            len(aggregate),
            {} if feedback is None else feedback.residuals,
        )


def initial_private(config: Config, users: int, items: int) -> np.ndarray:
    """The private numbers that each client keeps before its first round, float32[users, w]."""
    generator = Streams(config.seed).generator("initial", 0)
    return config.training.chosen.initial_factors(config.model, users, items, generator)


def check_fit(config: Config, data: Dataset) -> None:
    """Raise ConfigError for more clients a round than the data has users, for a huge basis of few
    items, and for differential privacy without its accountant."""
    if config.clients.per_round > data.users:
        raise ConfigError(
            f"clients.per_round: {config.clients.per_round} is more than the "
            f"{data.users} users of {data.name}"
        )
    if config.privacy.dp.on:
        try:
            need_accountant()
        except NoAccountant as error:
            raise ConfigError(str(error)) from None
    d, r = config.model.dimension, config.model.rank
    if not basis_in_proportion(data.items, d, r):
        raise ConfigError(
            f"model.rank: {r} is more than the {data.items} items of {data.name}, with B of "
            f"{d} x {r}"
        )


def initial_model(config: Config, items: int, first_beacon: bytes) -> GlobalModel:
    """The global model of a config over ``items`` items, before the first round: their factors,
    and the rows of whatever else the training method shares. Raises ConfigError for a rule whose
    library is not installed."""
    model, compression = config.model, config.compression
    generator = Streams(config.seed).generator("initial", 1)
    Q = initial_factors(items, model.dimension, model.init_scale, generator)
    shared = config.training.chosen.initial_shared(model.dimension, generator)
    Q = np.concatenate([Q, shared])
    rows, kind = _shape(config)
    size = compression.size_for(model.dimension, model.rank)
    rule = aggregator_of(config.aggregation)
    if rule.missing():
        raise ConfigError(f"aggregation.rule: {rule.missing()}")
    downlink, parameters = compression.downlink, compression.parameters
    exchange = Exchange.named(rule, compression.kind, rows, len(Q), size, downlink, parameters)
    catch_up = config.clients.downlink == "catch_up"
    every = config.clients.snapshot_every if catch_up else None
    optimizer, aggregation, secure = config.optimizer.chosen, config.aggregation, None
    if aggregation.secure:
        told = aggregation.group, aggregation.neighbours, aggregation.lane_bits
        secure = SecureExchange.of(exchange, *told)
    return GlobalModel(Q, kind, exchange, every, first_beacon, optimizer, config.rounds, secure)


def _shape(config: Config) -> tuple[int, str]:
    """Rows r of an update, and the name of its basis. Codecs without a basis train the whole Delta
    Q, which is B = I at r = d."""
    if CODECS[config.compression.kind].under_basis:
        return config.model.rank, config.model.basis
    return config.model.dimension, "identity"
