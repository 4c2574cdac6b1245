"""A round's training beside the servers, which take in first updates while the last are learnt."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor
from functools import partial

import numpy as np

from bfedrec.aggregation.rule import Rule
from bfedrec.compression.codec import CODECS
from bfedrec.compression.exchange import Exchange
from bfedrec.config.schema import Config
from bfedrec.config.yaml_core import ConfigError
from bfedrec.federation.uplink import Sent
from bfedrec.learning.cohort import train_cohort
from bfedrec.learning.upload import CohortUpdate
from bfedrec.threads import thread_count

Train = Callable[[np.ndarray], tuple[CohortUpdate, list[Sent]]]
"""What some clients (int64[m]) learn, and what they send."""


class RoundTraining:
    """A cohort that trains in parts, one after the other, in the order in which its updates arrive.

    What a client learns depends on nobody else (`bfedrec.learning.negative_sampling`), so no result
    depends on the parts. Where some conspire all train together, as the cohort stands.
    """

    def __init__(
        self, worker: Executor, train: Train, clients: np.ndarray, times: np.ndarray, parts: int
    ) -> None:
        """Begin. ``times``: float64[m], when each client's update arrives."""
        order = np.argsort(times, kind="stable") if parts > 1 else np.arange(len(clients))
        self._parts = np.array_split(order, min(parts, len(clients)))
        self._futures = [worker.submit(train, clients[part]) for part in self._parts]
        self._place = {
            int(place): (number, index)
            for number, part in enumerate(self._parts)
            for index, place in enumerate(part)
        }

    def sent(self, place: int) -> Sent:
        """What the client at this place of the cohort sends, once it has trained."""
        part, index = self._place[place]
        return self._futures[part].result()[1][index]

    def finish(self) -> tuple[np.ndarray, np.ndarray, list[Sent]]:
        """The cohort's new factors (float32[m, d]) and losses (float64[m]), in its order, and all
        that it sent."""
        done = [future.result() for future in self._futures]
        back = np.argsort(np.concatenate(self._parts), kind="stable")
        P = np.concatenate([update.P for update, _ in done])[back]
        loss = np.concatenate([update.loss for update, _ in done])[back]
        if len(done) == 1:
            return P, loss, done[0][1]
        return P, loss, [self.sent(place) for place in range(len(back))]

    def all_sent(self) -> list[Sent]:
        """All that the cohort sends, in any number of messages, once it has trained."""
        return self.finish()[2]


def shape_of(config: Config) -> tuple[int, str]:
    """Rows r of an update, and the kind of its basis: unless the codec is of updates under
    a basis, the whole Delta Q is trained, which is B = I at r = d."""
    if CODECS[config.compression.kind].under_basis:
        return config.model.rank, config.model.basis
    return config.model.dimension, "identity"


def exchange_of(config: Config, rule: Rule, items: int) -> Exchange:
    """The exchange that a config asks for."""
    compression, model = config.compression, config.model
    size = compression.size_for(model.dimension, model.rank)
    rows = shape_of(config)[0]
    downlink, parameters = compression.downlink, compression.parameters
    return Exchange.named(rule, compression.kind, rows, items, size, downlink, parameters)


Trainer = Callable[..., CohortUpdate]


def _trainer(device: str) -> Trainer:
    """The cohort's implementation for a device: compiled on the CPU, torch elsewhere."""
    if device == "cpu":
        # One core is left to the servers, which draw the committee in the meantime.
        return partial(train_cohort, threads=max(1, thread_count() - 1))
    from bfedrec.learning import cohort_torch  # torch takes seconds to import

    if not cohort_torch.is_usable(device):
        raise ConfigError(f"device: {device!r}: torch finds no such device here; use cpu")
    return partial(cohort_torch.train_cohort_on, device)
