from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from pydantic import Field

import bfedrec.extending as ext


@ext.aggregator("shrunk")
@dataclass(frozen=True)
class Shrunk(ext.Aggregator):
    """The plain mean, but that few clients move the model less."""

    meaning = "the sum of the updates over their number, or over at_least if that is more"
    goes_by_item = False
    at_least: int = ext.parameter(20, 1, 1000, "the clients below which a round counts for less")

    def mean(
        self, updates: Iterable[ext.DecodedUpdate], sample_counts: Sequence[int], r: int, N: int
    ) -> np.ndarray:
        total = np.zeros((r, N))
        for update in updates:
            total += update.A
        return total / max(self.at_least, len(sample_counts))


@ext.attack("echo")
class Echo(ext.Attack):
    """Every colluder sends what the first of them learnt, times a factor."""

    factor: float = Field(default=2.0, ge=0.0, description="the factor")

    def forge(self, uploads: Sequence[ext.Upload], scene: ext.Scene) -> Sequence[ext.Upload]:
        A = np.float32(self.factor) * uploads[0].A
        return [replace(each, A=A, touched=uploads[0].touched) for each in uploads]


@ext.behaviour("stammer")
class Stammer(ext.Behaviour):
    """Says everything twice, the second time later."""

    def outgoing(self, server: ext.EdgeServer, message: ext.Outgoing) -> Iterable[ext.Outgoing]:
        self.act()
        return (message, replace(message, delay=message.delay + 0.5))
