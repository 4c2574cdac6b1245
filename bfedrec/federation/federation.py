"""Algorithm 3: clients and ledger on one clock, one federated round per height.

A round: deal a cohort; its clients fetch what they lack, train, and send signed updates to their
nearest edge servers; the servers decide the block; all merge the A it names. Training runs
beside the servers (`bfedrec.federation.cohorts`), and is charged simulated time like the rest.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from math import isinf
from pathlib import Path

import numpy as np

from bfedrec.attacks.adversary import Adversary
from bfedrec.config.schema import Config
from bfedrec.data.dataset import Dataset
from bfedrec.federation.adversary import adversary_of
from bfedrec.federation.client_links import ClientLinks
from bfedrec.federation.cohorts import Cohorts
from bfedrec.federation.downlink import Downlink
from bfedrec.federation.early_training import EarlyTraining
from bfedrec.federation.global_model import GlobalModel
from bfedrec.federation.learner import Learner, Recall, check_fit, initial_model
from bfedrec.federation.masking import Masking
from bfedrec.federation.participants import Participants, unit_costs
from bfedrec.federation.protection import Protection
from bfedrec.federation.round import Round
from bfedrec.federation.round_training import (
    InThread,
    RoundTraining,
)
from bfedrec.federation.uplink import Sent, Uplink
from bfedrec.learning.task import TrainingTask
from bfedrec.learning.upload import Kept
from bfedrec.privacy.secure.masks import Lanes
from bfedrec.streams import Streams
from consensus.ledger.committee import first_beacon
from consensus.ledger.updates import SignedUpdate
from consensus.ledger.validity import Head
from consensus.network.traced import Book
from consensus.records.block import Block
from consensus.simulation.checkpoint import Standing
from consensus.simulation.overlapping import OverlappingRecorder
from consensus.simulation.results import HeightResult
from consensus.simulation.spec import WorldSpec
from consensus.simulation.world import World

#: Attempts after which a height that no committee decides is given up: with a third of the seats
#: malicious an attempt is blocked about every other time, so this many in a row mean that it can
#: never be decided (too few honest servers for any committee).
PATIENCE_ATTEMPTS = 30


class Federation:
    """All clients, the edge servers and the global model of one run."""

    def __init__(
        self,
        config: Config,
        data: Dataset,
        residuals: Recall | None = None,
        folder: Path | None = None,
        plays: bool = True,
        book: Book | None = None,
    ) -> None:
        """Build all parts from the config's seed; no round is played yet.

        ``residuals``, ``folder``: as for `Learner`. ``plays``: False where rounds are only trained
        once more, so that no process is started to help the servers. ``book``: of the deliveries
        of all messages between servers; None for none. Raises ConfigError as
        `bfedrec.federation.learner.check_fit`.
        """
        check_fit(config, data)
        self.config = config
        self._book = book
        self.data = data
        self.streams = streams = Streams(config.seed)
        self.participants = Participants(config, streams)
        model = initial_model(config, data.items, b"")
        self.initial_model = model.encode()
        protection = Protection.of(config, data)
        self.genesis = self.participants.genesis(model, protection.stated)
        model = GlobalModel.from_genesis(
            self.genesis.application, self.initial_model, first_beacon(self.genesis)
        )
        adversary = Adversary(
            config.clients.malicious, data.users, streams, self.genesis.cid, config.servers.count
        )
        self.learner = Learner(config, data, model, adversary, residuals, folder=folder)
        self.targets = self.learner.targets()
        """The items whose exposure is reported."""
        self.topology = self.participants.topology()
        self.links = ClientLinks.draw(config.clients, data.users, self.topology.regions, streams)
        self.downlink = Downlink(
            data.users,
            len(self.initial_model),
            model.snapshot_size,
            config.clients.snapshot_every,
        )
        self.uplink = Uplink(
            config, protection.charged, self.participants, self.links, self.genesis, model
        )
        self.masking: Masking | None = None
        if model.secure is not None:
            self.masking = Masking(config, streams, self.participants, self.links, self.uplink)
        self.ahead = self.participants.helper() if plays else None
        self.cohorts = Cohorts(config, self.learner, self.uplink, self.ahead)
        self.early = EarlyTraining(
            config,
            self.learner,
            self.uplink,
            self.downlink,
            self.cohorts,
            self._beacon_expected,
        )
        self._may_fork = plays and self.masking is None
        self.world = self._world()

    def close(self) -> None:
        """Wait for a training in progress, and discard its result."""
        self.cohorts.close()
        if self.ahead is not None:
            self.ahead.close()

    # -- the world --------------------------------------------------------------------------------

    def _world(
        self,
        now: float = 0.0,
        blocks: Sequence[Block] = (),
        heads: Sequence[Head] = (),
    ) -> World:
        malicious, faults = self.participants.malicious(), self.participants.faults()
        self.recorder = OverlappingRecorder(self.config.servers.count, malicious, faults)
        regions = tuple(self.participants.regions())
        self.adversary = adversary = adversary_of(
            self.config, self.streams, regions, malicious, self.recorder
        )
        spec = WorldSpec(
            self.genesis,
            self.learner.model,
            self.topology,
            self.participants.server_keys,
            malicious,
            unit_costs(self.config.costs),
            self.config.servers.bandwidth_mib_per_s,
            self.config.servers.jitter,
            lambda height: self.streams.generator("latency", height),
            lambda *label: self.streams.generator("gaussian", *label),
            faults,
            self.config.clients.retry_seconds,
            self.recorder if adversary is None else adversary,
            # What servers hear of costs more out of the loop's hands.
            compiled=adversary is None and not any(each.hears_all for each in malicious.values()),
            schedule=None if adversary is None else adversary.schedule,
            book=self._book,
            ahead=self.ahead,
            foresee=self.early.foresee if self.masking is None else None,
            mesh=self.participants.mesh(),
            meets_every=self.config.ledger.meets_every,
        )
        return World(spec, now=now, blocks=blocks, heads=heads)

    def continue_from(
        self,
        now: float,
        blocks: Sequence[Block],
        heads: Sequence[Head],
        standing: Standing,
        content: Callable[[bytes], bytes],
    ) -> None:
        """Continue after ``blocks`` at simulated second ``now``; ``standing`` is the servers'
        state, and ``content`` maps links to bytes. P, the model and the downlink's account must
        have been restored before (`bfedrec.runs.simulation`)."""
        self.world = self._world(now, blocks, heads)
        self.world.restore(standing, content)
        if self.adversary is not None:
            self.adversary.restore(self.world, standing)

    def standing(self) -> Standing:
        """The servers' state between two rounds, for `continue_from`."""
        standing = self.world.standing()
        return standing if self.adversary is None else self.adversary.standing(standing)

    # -- a round ----------------------------------------------------------------------------------

    def play_round(self) -> Round:
        """Play the round after the chain's head. Raises Diverged, and Stalled and Forked as the
        world."""
        if self.masking is not None:
            return self._play_masked(self.masking)
        if self._may_fork:  # not before: what it is forked from may be restored first
            self._may_fork = False
            self.cohorts.fork()
        config, learner, head = self.config, self.learner, self.world.head
        height = head.height + 1
        clients = learner.clients(height)
        fetched = self.downlink.fetch(clients, height)
        times = self.uplink.times(self.world.env.now, clients, fetched[config.clients.downlink])
        attacked = learner.adversary.acts(height, clients)
        feedback = learner.feedback(height, clients)
        training = self.early.taken(head)
        if training is None:
            training = self.cohorts.begin(head, clients, times, feedback, attacked)
        self.early.playing(head, clients, training)
        if attacked:
            arrivals = self.uplink.arrivals_of(training.all_sent(), clients, times)
        else:
            arrivals = self.uplink.arrivals(clients, times, training.sent)
        result = self.world.run_height(arrivals, *self._patience())
        P, loss, sent = training.finish()
        self.early.played(self.world.head, result.updates)
        learner.adversary.remember(sent)
        attacks = [(learner.adversary.attack(height, upload.client), each) for upload, each in sent]
        malicious, aggregated = _followed(attacks, result)
        learner.P[clients] = P
        self._committed(height, head.beacon, clients, result)
        return Round(
            height,
            clients,
            P,
            float(loss.mean()),
            result,
            sum(message.wire_bytes for _, message in sent),
            {account: int(sizes.sum()) for account, sizes in fetched.items()},
            malicious,
            aggregated,
            len(self.world.behind()),
            {} if feedback is None else feedback.residuals,
        )

    def _play_masked(self, masking: Masking) -> Round:
        """Play the round under secure aggregation. Raises as `play_round`."""
        config, learner, head = self.config, self.learner, self.world.head
        height, began, secure = head.height + 1, self.world.env.now, learner.model.secure
        assert secure is not None
        clients = learner.clients(height)
        fetched = self.downlink.fetch(clients, height)
        ready = self.uplink.ready(began, clients, fetched[config.clients.downlink])
        parts = 1 if learner.adversary.acts(height, clients) else self.cohorts.parts(len(clients))
        lanes = partial(self._train_lanes, height, head.beacon, learner.task(height, head.beacon))
        worker, P = InThread(self.cohorts.thread), learner.P[clients]
        training = RoundTraining(worker, lanes, clients, P, ready, parts)
        seats = masking.seats(head, learner, dict(zip(clients.tolist(), ready, strict=True)))
        waves = masking.begin(secure.scheme, head, began, training, clients)
        result = self.world.run_height(waves.arrivals(seats), *self._patience())
        P, loss, _ = training.finish()
        attacks = [(learner.adversary.attack(height, one), each) for one, each in waves.sent]
        malicious, aggregated = _followed(attacks, result)
        opening = secure.opening([update.payload for update in result.updates], head.beacon)
        learner.P[clients] = P
        self._committed(height, head.beacon, clients, result)
        return Round(
            height,
            clients,
            P,
            float(loss.mean()),
            result,
            sum(message.wire_bytes for _, message in waves.sent),
            {account: int(sizes.sum()) + waves.fetched for account, sizes in fetched.items()},
            malicious,
            aggregated,
            len(self.world.behind()),
            {},
            {"opened": len(opening.groups), **opening.dropped},
            opening.accused,
        )

    def _committed(
        self, height: int, beacon: bytes, clients: np.ndarray, result: HeightResult
    ) -> None:
        """Note the block of a round with this beacon in the account of the downlink, and what an
        adversary did."""
        if self.adversary is not None:
            result.adversary = self.adversary.account()
        header_bytes = len(result.block.header.encoded)
        self.downlink.committed(height, clients, header_bytes, len(result.contents.aggregate))
        self.cohorts.committed(height, beacon, result.contents.aggregate)

    def _train_lanes(
        self,
        height: int,
        beacon: bytes,
        task: TrainingTask,
        clients: np.ndarray,
        P: np.ndarray,
    ) -> tuple[Kept, list[Lanes]]:
        """Train ``clients`` (int64[m]) from factors ``P`` (float32[m, d]) by the task of a round;
        return what they know, and the lanes of their updates in their order. Runs in the thread of
        the training, as `_train`."""
        secure = self.learner.model.secure
        assert secure is not None
        update, uploads = self.learner.train(height, beacon, clients, P, task, None)
        exchange = self.learner.model.exchange_at(height)
        lanes = {
            upload.client: secure.lanes(exchange, upload.A, upload.touched, beacon)
            for upload in uploads
        }
        return Kept(update.P, update.loss), [lanes[client] for client in clients.tolist()]

    def recall(self, head: Head) -> None:
        """Train the round after ``head`` once more, to restore the messages that malicious clients
        keep of it; needed before a run continues after that round. P and the model must be as they
        were then."""
        if self.learner.adversary.keeps_messages:
            self.learner.adversary.remember(self.retrained(head)[0])

    def retrained(self, head: Head) -> tuple[list[Sent], Mapping[int, bytes]]:
        """Train the round after ``head`` once more; return everything that its clients sent, and
        the residuals of honest ones under error feedback. P, the model and what malicious clients
        keep of the round before must be as they were then; nothing of them is changed."""
        learner, height = self.learner, head.height + 1
        clients = learner.clients(height)
        feedback = learner.feedback(height, clients)
        sent = self.cohorts.trained(head, clients, feedback)
        return sent, {} if feedback is None else feedback.residuals

    def remasked(self, head: Head) -> list[SignedUpdate]:
        """Train the round after ``head`` under secure aggregation once more; return all messages of
        its clients as they are if none is late or lost (`Masking.undelayed`). P and the model must
        be as they were then; nothing of them is changed."""
        assert self.masking is not None
        learner, height = self.learner, head.height + 1
        clients, task = learner.clients(height), learner.task(height, head.beacon)
        _, lanes = self._train_lanes(height, head.beacon, task, clients, learner.P[clients])
        of_client = dict(zip(clients.tolist(), lanes, strict=True))
        seats = self.masking.seats(head, learner, dict.fromkeys(of_client, 0.0))
        return self.masking.undelayed(head, seats, of_client)

    def _beacon_expected(self, head: Head) -> bytes | None:
        return self.world.beacon_expected(head)

    def _patience(self) -> tuple[float, int | None]:
        """The simulated seconds and, in runs without faults, the attempts after which a height is
        given up."""
        committee, growth = self.config.committee, 1.0 + PATIENCE_ATTEMPTS / 4
        attempt = committee.max_step * committee.vote_seconds * growth + committee.recovery_seconds
        faults = self.world.faults
        until = 0.0 if faults is None or isinf(faults.healed_at) else faults.healed_at
        healed = max(0.0, until - self.world.env.now)
        seconds = healed + committee.update_seconds + PATIENCE_ATTEMPTS * attempt
        return seconds, PATIENCE_ATTEMPTS if faults is None else None


def _followed(
    sent: Sequence[tuple[str | None, SignedUpdate]], result: HeightResult
) -> tuple[dict[str, int], int]:
    """The number of updates that followed an attack, by its name, and the number of these in the
    block. ``sent``: each update with the name of its sender's attack, None for an honest one's."""
    sent_by = Counter(name for name, _ in sent if name is not None)
    digests = {message.record.digest for name, message in sent if name is not None}
    held = sum(update.record.digest in digests for update in result.updates) if digests else 0
    return dict(sent_by), held
