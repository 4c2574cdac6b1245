"""Algorithm 3: clients and ledger on one clock, one federated round per height.

A round: deal a cohort; its clients fetch what they lack, train, and send signed updates to their
nearest edge servers; the servers decide the block; everybody merges the A it names. Training runs
in a thread beside the servers (`bfedrec.federation.learner`), and is charged simulated time like
the rest.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from math import isinf

import numpy as np

from bfedrec.aggregation.registry import rule_of
from bfedrec.attacks.adversary import Adversary
from bfedrec.compression.error_feedback import ErrorFeedback
from bfedrec.config.schema import Config
from bfedrec.config.yaml_core import ConfigError
from bfedrec.data.dataset import Dataset
from bfedrec.federation.client_links import ClientLinks
from bfedrec.federation.client_sampling import participants
from bfedrec.federation.downlink import Downlink
from bfedrec.federation.global_model import GlobalModel
from bfedrec.federation.learner import RoundTraining, _trainer, exchange_of, shape_of
from bfedrec.federation.participants import Participants, unit_costs
from bfedrec.federation.uplink import Sent, Uplink
from bfedrec.learning.factorization import initial_factors
from bfedrec.learning.upload import CohortUpdate, Diverged, Upload
from bfedrec.streams import Streams
from consensus.ledger.committee import first_beacon
from consensus.ledger.validity import Head
from consensus.records.block import Block
from consensus.simulation.checkpoint import Standing
from consensus.simulation.results import HeightResult
from consensus.simulation.spec import WorldSpec
from consensus.simulation.world import World

#: Attempts after which a height that no committee decides is given up: with a third of the seats
#: malicious an attempt is blocked about every other time, so this many in a row mean that it can
#: never be decided (too few honest servers for any committee).
PATIENCE_ATTEMPTS = 30
#: A cohort trains on a processor in so many parts, while the servers take in those before.
TRAINING_PARTS = 4


@dataclass(frozen=True)
class Round:
    """One finished round."""

    height: int
    clients: np.ndarray
    """int64[m]: who trained."""
    factors: np.ndarray
    """float32[m, d]: their new p_u, which stay with them."""
    loss: float
    """Mean training loss over the cohort."""
    result: HeightResult
    uplink_bytes: int
    downlink_bytes: dict[str, int]
    """Bytes the cohort fetched, under each account (`bfedrec.federation.downlink`)."""
    malicious: dict[str, int]
    """How many updates followed an attack, by its name."""
    malicious_aggregated: int
    """How many of them are in the block."""
    behind: int
    """Honest servers that do not have the block."""
    residuals: Mapping[int, bytes]
    """Under error feedback: what the codec left of what honest clients sent, by client."""


Recall = Callable[[int, Sequence[int]], Mapping[int, bytes]]
"""Given a height and clients, what was left of their updates before it (`bfedrec.runs.state`)."""


class Federation:
    """All clients, the edge servers and the global model of one run."""

    def __init__(self, config: Config, data: Dataset, residuals: Recall | None = None) -> None:
        """Build everything from the config's seed; nothing has happened yet.

        ``residuals``: where error feedback finds what earlier rounds have left.
        """
        if config.clients.per_round > data.users:
            raise ConfigError(
                f"clients.per_round: {config.clients.per_round} is more than the "
                f"{data.users} users of {data.name}"
            )
        self.config = config
        self.data = data
        self._residuals = residuals
        self.streams = streams = Streams(config.seed)
        d, scale = config.model.dimension, config.model.init_scale
        self.P = initial_factors(data.users, d, scale, streams.generator("initial", 0))
        """float32[M, d]: every client's own p_u."""
        Q = initial_factors(data.items, d, scale, streams.generator("initial", 1))
        catch_up = config.clients.downlink == "catch_up"
        self.participants = Participants(config, streams)
        model = GlobalModel(
            Q,
            shape_of(config)[1],
            exchange_of(config, rule_of(config.aggregation), data.items),
            config.clients.snapshot_every if catch_up else None,
            b"",
        )
        self.initial_model = model.encode()
        self.genesis = self.participants.genesis(model, data.sample_counts)
        self.model = GlobalModel.from_genesis(
            self.genesis.application, self.initial_model, first_beacon(self.genesis)
        )
        self.adversary = Adversary(config.clients.malicious, data.users, streams, self.genesis.cid)
        self.targets = self._targets()
        """The items whose exposure is reported."""
        self.topology = self.participants.topology()
        self.links = ClientLinks.draw(config.clients, data.users, self.topology.regions, streams)
        self.downlink = Downlink(data.users, len(self.initial_model), config.clients.snapshot_every)
        self.uplink = Uplink(
            config, data.sample_counts, self.participants, self.links, self.genesis, self.model
        )
        self.world = self._world()
        self.training_seconds = 0.0
        """Wall-clock seconds that training took, for the speed that is reported."""
        self._train = _trainer(config.device)
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="cohort")

    def close(self) -> None:
        """Wait for a training in progress, and drop it."""
        self._worker.shutdown(wait=True, cancel_futures=True)

    def _targets(self) -> tuple[int, ...]:
        """Those of the config, and those of its attacks."""
        found = {*self.config.evaluation.targets, *self.adversary.targets}
        if found and max(found) >= self.data.items:
            raise ConfigError(
                f"target item {max(found)} is none of the {self.data.items} of {self.data.name}, "
                f"which are numbered from 0"
            )
        return tuple(sorted(found))

    # -- the world --------------------------------------------------------------------------------

    def _world(
        self,
        now: float = 0.0,
        blocks: Sequence[Block] = (),
        heads: Sequence[Head] = (),
    ) -> World:
        spec = WorldSpec(
            self.genesis,
            self.model,
            self.topology,
            self.participants.server_keys,
            self.participants.malicious(),
            unit_costs(self.config.costs),
            self.config.servers.bandwidth_mib_per_s,
            self.config.servers.jitter,
            lambda height: self.streams.generator("latency", height),
            lambda *label: self.streams.generator("gaussian", *label),
            self.participants.faults(),
            self.config.clients.retry_seconds,
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
        """Go on after ``blocks`` at simulated second ``now``, with servers and ``content`` as they
        stood; P, the model and the downlink's account must have been brought there
        (`bfedrec.runs.simulation`)."""
        self.world = self._world(now, blocks, heads)
        self.world.restore(standing, content)

    # -- a round ----------------------------------------------------------------------------------

    def play_round(self) -> Round:
        """Play the round after the chain's head."""
        config, head = self.config, self.world.head
        height = head.height + 1
        clients = self._clients(height)
        fetched = self.downlink.fetch(clients, height)
        times = self.uplink.times(self.world.env.now, clients, fetched[config.clients.downlink])
        attacked = self.adversary.acts(height, clients)
        feedback = self._feedback(height, clients)
        train = partial(self._train_round, height, head, feedback=feedback)
        parts = 1 if attacked or config.device != "cpu" else TRAINING_PARTS
        training = RoundTraining(self._worker, train, clients, times, parts)
        if attacked:
            arrivals = self.uplink.arrivals_of(training.all_sent(), clients, times)
        else:
            arrivals = self.uplink.arrivals(clients, times, training.sent)
        result = self.world.run_height(arrivals, *self._patience())
        P, loss, sent = training.finish()
        self.adversary.remember(sent)
        malicious, aggregated = self._followed(height, sent, result)
        self.P[clients] = P
        header_bytes = len(result.block.header.encoded)
        self.downlink.committed(height, clients, header_bytes, len(result.contents.model))
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

    def _clients(self, height: int) -> np.ndarray:
        """Those that take part in round ``height``, int64[m]."""
        return participants(self.streams, self.data.users, self.config.clients, height)

    def _feedback(self, height: int, clients: np.ndarray) -> ErrorFeedback | None:
        """Error feedback in round ``height``, with what its honest clients have kept; None if there
        is none."""
        if not self.config.compression.error_feedback:
            return None
        if self._residuals is None:
            raise ValueError("error feedback needs a place where residuals are kept")
        honest = [c for c in clients.tolist() if self.adversary.attack(height, c) is None]
        return ErrorFeedback(self.model.exchange, self._residuals(height, honest))

    def _train_round(
        self,
        height: int,
        head: Head,
        clients: np.ndarray,
        feedback: ErrorFeedback | None = None,
    ) -> tuple[CohortUpdate, list[Sent]]:
        """Algorithm 1 for the whole cohort, and what each client sends: its update, unless it is
        malicious."""
        began = time.perf_counter()
        model, B = self.model, self.model.basis(head.beacon)
        update = self._trained(height, clients, B)
        uploads = [
            Upload(int(client), update.A[place], update.touched[place], int(update.samples[place]))
            for place, client in enumerate(clients)
        ]
        if feedback is not None:
            attack = partial(self.adversary.attack, height)
            uploads = feedback.sent(uploads, head.beacon, attack)
        if self.adversary.acts(height, clients):
            uploads = self.adversary.forge(
                height,
                uploads,
                update.P,
                model.Q,
                B,
                model.exchange,
                lambda places: self._trained(height, clients[places], B, flipped=True),
            )
        self.training_seconds += time.perf_counter() - began
        return update, [(upload, self.uplink.sign(head, upload)) for upload in uploads]

    def _trained(
        self, height: int, clients: np.ndarray, B: np.ndarray, **options: bool
    ) -> CohortUpdate:
        """What these clients learn in round ``height`` from the factors that they hold now."""
        config, training = self.config, self.config.training
        try:
            return self._train(
                clients,
                self.P[clients],
                self.model.Q,
                B,
                self.data.indptr,
                self.data.indices,
                training,
                self.streams.integer("training", height),
                training.step_scale(height, config.rounds),
                predicts=training.predicts(height, config.rounds),
                **options,
            )
        except Diverged as error:
            if config.clients.malicious:
                error = Diverged(f"{error}; or malicious clients have destroyed the model")
            raise Diverged(f"round {height}: {error}") from None

    def recall(self, head: Head) -> None:
        """Train the round after ``head`` once more for what malicious clients keep of it: needed
        before a run is continued after that round. P and the model must be as they were then."""
        if self.adversary.keeps_messages:
            height = head.height + 1
            clients = self._clients(height)
            feedback = self._feedback(height, clients)
            self.adversary.remember(self._train_round(height, head, clients, feedback)[1])

    def _followed(
        self, height: int, sent: list[Sent], result: HeightResult
    ) -> tuple[dict[str, int], int]:
        """How many updates followed an attack, by its name, and how many the block holds."""
        sent_by: Counter[str] = Counter()
        digests = set()
        for upload, message in sent:
            name = self.adversary.attack(height, upload.client)
            if name is not None:
                sent_by[name] += 1
                digests.add(message.record.digest)
        held = sum(update.record.digest in digests for update in result.updates) if digests else 0
        return dict(sent_by), held

    def _patience(self) -> tuple[float, int | None]:
        """The simulated seconds and, unless faults explain many, the attempts of a hopeless
        height."""
        committee, growth = self.config.committee, 1.0 + PATIENCE_ATTEMPTS / 4
        attempt = committee.max_step * committee.vote_seconds * growth + committee.recovery_seconds
        faults = self.world.faults
        until = 0.0 if faults is None or isinf(faults.healed_at) else faults.healed_at
        healed = max(0.0, until - self.world.env.now)
        seconds = healed + committee.update_seconds + PATIENCE_ATTEMPTS * attempt
        return seconds, PATIENCE_ATTEMPTS if faults is None else None
