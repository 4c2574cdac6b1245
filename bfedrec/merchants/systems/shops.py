"""The merchants of the comparison: their data, and what each trains in a round, computed once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bfedrec.merchants.averaging import Contribution, aggregate
from bfedrec.merchants.comparison import histories_of
from bfedrec.merchants.interactions import Catalogue
from bfedrec.merchants.market import MarketSettings
from bfedrec.merchants.model import LARGEST, Shared, decode, digest_of, encode
from bfedrec.merchants.rounds.agreement import Agreement
from bfedrec.merchants.rounds.founding import NOWHERE
from bfedrec.merchants.rounds.learning import Events, Learner
from bfedrec.merchants.rounds.workspace import Kept
from bfedrec.merchants.settings import StepSettings
from bfedrec.merchants.systems.record import Caught, Played
from bfedrec.streams import Streams


@dataclass(frozen=True)
class Trained:
    """A merchant's model and its own part after a round's training."""

    payload: bytes
    samples: int
    kept: Kept


@dataclass(frozen=True)
class Result:
    """The outcome of some rounds of one system."""

    rounds: tuple[Played, ...]
    """Rounds that ended."""
    stopped: str
    """The reason why another did not; empty if all did."""
    models: tuple[bytes, ...]
    """Payloads: the initial model, and the aggregate of each round that ended."""
    caught: tuple[Caught, ...] = ()
    """Observations in the round that did not end."""


class Shops:
    """Merchants with generated events. The same start in the same round is trained from once, so
    that both systems get the same models, and neither is charged for training."""

    def __init__(
        self, market: MarketSettings, events: int, settings: StepSettings, seed: int
    ) -> None:
        streams = Streams(seed)
        self.seed, self.settings, self.streams = seed, settings, streams
        self.names = tuple(f"shop-{shop}" for shop in range(market.shops))
        self._histories = histories_of(market, events, streams)
        self.catalogue = Catalogue.of(*(history.products for history in self._histories))
        places = {name: f"0x{shop + 1:040x}" for shop, name in enumerate(self.names)}
        agreement = Agreement(seed, places, NOWHERE, 0, self.catalogue, settings=settings)
        self.initial = agreement.initial_payload()
        self._learners = {
            name: Learner(Events(history, 0, 0), agreement, name)
            for name, history in zip(self.names, self._histories, strict=True)
        }
        self.samples = {name: learner.samples for name, learner in self._learners.items()}
        self._known: dict[tuple[str, tuple[bytes, ...]], Trained] = {}

    @property
    def liar(self) -> str:
        """The merchant that lies, if one does: the last."""
        return self.names[-1]

    def train(self, name: str, starts: tuple[bytes, ...]) -> Trained:
        """The outcome of a merchant's training from each of these models (payloads), one after the
        other."""
        key = name, tuple(digest_of(start) for start in starts)
        if key not in self._known:
            kept = self.train(name, starts[:-1]).kept if len(starts) > 1 else None
            learner = self._learners[name]
            found = learner.train(self.model(starts[-1]), len(starts), kept)
            payload = encode(found.shared, self.catalogue)
            self._known[key] = Trained(payload, learner.samples, Kept(found.home, learner.users))
        return self._known[key]

    def model(self, payload: bytes) -> Shared:
        """The model in a payload. Raises PayloadError for what is none."""
        return decode(payload, self.catalogue)

    def average(self, parent: bytes, models: list[tuple[bytes, int]], rule: str) -> bytes:
        """The aggregate of models (payload and sample count), whoever they are of."""
        named = [
            Contribution(f"{digest_of(payload).hex()}-{place}", self.model(payload), samples)
            for place, (payload, samples) in enumerate(sorted(models))
        ]
        return encode(aggregate(self.model(parent), named, rule), self.catalogue)

    # -- lies --------------------------------------------------------------------------------------

    def garbage(self, number: int) -> bytes:
        """A model of random numbers, each as large as is let pass."""
        draws = self.streams.generator("attacks", number)
        N, d = self.model(self.initial).factors.shape
        signs = np.where(draws.random((N, d + 1)) < 0.5, -LARGEST, LARGEST).astype(np.float32)
        factors = np.ascontiguousarray(signs[:, :d])
        return encode(Shared(factors, np.ascontiguousarray(signs[:, d])), self.catalogue)

    def malformed(self, payload: bytes) -> bytes:
        """A model whose last number is NaN."""
        return payload[:-4] + np.float32(np.nan).astype("<f4").tobytes()

    def distance(self, one: bytes, other: bytes) -> float:
        """Root mean square of the differences of two models."""
        difference = self.model(one).stacked() - self.model(other).stacked()
        return float(np.sqrt(np.mean(np.square(difference, dtype=np.float64))))
