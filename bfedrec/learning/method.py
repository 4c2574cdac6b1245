"""The interface of a training method (what a client computes in a round) and the registry.

A method is a class without parameters of its own: it reads fields of `TrainingSettings`, which it
names, and a config that changes any other is refused. It stands in a file of
`bfedrec.learning.methods`, which is found there, or in a plugin. Reading a config imports no
compiler: a method imports compiled arithmetic where it trains.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, TypeVar

import numpy as np

from bfedrec.learning.factorization import initial_factors
from bfedrec.learning.gradients import Unwritten
from bfedrec.learning.recency import Recency
from bfedrec.learning.settings import ModelSettings, TrainingSettings
from bfedrec.learning.task import TrainingTask
from bfedrec.learning.upload import LocalUpdates
from bfedrec.parts import Part, PartError, array_of, register
from consensus.registry import LAST, Registry

Scorer = Callable[[np.ndarray], np.ndarray]
"""Maps users int64[b] to their scores of all items, float32[b, N]; called from threads."""
Trainer = Callable[[TrainingTask, np.ndarray, np.ndarray], LocalUpdates]
"""An implementation of a method: trains clients (int64[m]) from their private numbers
(`TrainingMethod.width`, float32[m, w])."""
UnwrittenTrainer = Callable[[TrainingTask, np.ndarray, np.ndarray], Unwritten]
"""The same, of updates that are not written out."""


PASSES = frozenset(
    {
        "local_epochs",
        "batch_size",
        "negatives",
        "negatives_exclude",
        "item_step",
        "user_step",
        "l2",
        "final_step",
    }
)
"""The fields of `TrainingSettings` that methods read which train in passes over drawn samples."""


@dataclass(frozen=True)
class TrainingMethod(Part, ABC):
    """A way to train the clients of a round on the merged item factors Q."""

    kind_of_part: ClassVar[str] = "training method"
    reads: ClassVar[frozenset[str]]
    """The fields of `TrainingSettings` that it reads, besides `method`."""
    on_devices: ClassVar[bool] = False
    """True if it also trains on torch devices: `cuda`, and with `torch` the CPU."""
    orders: ClassVar[bool] = False
    """True if it has `ordered_factors`."""
    keeps_factors: ClassVar[bool] = True
    """False if `factors` reads nothing of what clients keep, but solves it with `unobserved` and
    `l2`."""
    products: ClassVar[bool] = True
    """True if users are scored by the products of `factors` with Q; False if it has a `scorer`."""
    apart: ClassVar[bool] = False
    """True if it can train updates on other items than p_u (`TrainingTask.shown`)."""
    whole_rows: ClassVar[bool] = False
    """True if it trains all of Delta Q, which needs the basis B = I."""
    remedy: ClassVar[str] = "lower training.item_step or training.user_step"
    """The advice to whoever sees its numbers diverge."""

    @abstractmethod
    def trainer(self, device: str, threads: int | None) -> Trainer:
        """The implementation for a device on which `on_devices` lets it train; ``threads``: number
        of threads on the CPU, None for all processors."""

    def checked_trainer(self, device: str, threads: int | None) -> Trainer:
        """The same, which raises PartError where its updates are not those of the given clients:
        arrays of other shapes would be broadcast, or moved to other clients."""
        return partial(_checked, self.method("trainer"), self.trainer(device, threads))

    def unwritten_trainer(self, threads: int | None) -> UnwrittenTrainer | None:
        """The implementation on the CPU that leaves updates unwritten, for honest clients, whose
        updates are encoded and nothing else; None if all of its numbers have to be computed."""
        return None

    def samples(
        self, settings: TrainingSettings, interactions: np.ndarray, items: int, dimension: int
    ) -> np.ndarray:
        """The work of a round, float64[m], for clients with so many ``interactions`` (int64[m]), in
        samples of Algorithm 1: what `clients.seconds_per_sample` is charged for. By default those
        of the passes."""
        passes = settings.local_epochs + settings.user_epochs
        samples = interactions * (1 + settings.negatives)
        virtual = interactions * settings.virtual_share * settings.local_epochs
        return np.asarray(samples * passes + virtual, np.float64)

    def width(self, dimension: int, items: int) -> int:
        """The number w of private numbers that a client keeps, for a model of this dimension d
        over so many ``items``."""
        return dimension

    def initial_factors(
        self, model: ModelSettings, users: int, items: int, generator: np.random.Generator
    ) -> np.ndarray:
        """Every client's private numbers before its first round, float32[users, w]; its factors
        where w is d."""
        return initial_factors(users, model.dimension, model.init_scale, generator)

    def shared_rows(self, dimension: int) -> int:
        """The number of rows of the global model after those of the items. They hold what else all
        clients share, d numbers a row; codecs, rules and the ledger take them for rows of items."""
        return 0

    def initial_shared(self, dimension: int, generator: np.random.Generator) -> np.ndarray:
        """These rows before the first round, float32[shared_rows, d]."""
        return np.empty((0, dimension), np.float32)

    def check(self, training: TrainingSettings, dimension: int) -> None:
        """Raise a validation error, on the config's key, for values that the method cannot use."""
        return

    def scorer(self, task: TrainingTask, P: np.ndarray) -> Scorer | None:
        """The scores of users on the Q of ``task`` by what they keep (``P``, float32[M, w]); None
        where they are the products of `factors`."""
        return None

    def factors(self, task: TrainingTask, P: np.ndarray, threads: int | None = None) -> np.ndarray:
        """The factors by which all users are scored on the Q of ``task``, float32[M, d], from those
        that they keep (``P``)."""
        return P

    def ordered_factors(
        self, task: TrainingTask, places: np.ndarray, recency: Recency, threads: int | None = None
    ) -> np.ndarray:
        """The same where clients also weigh their interactions by recency, float32[M, d].

        ``places``: int32[nnz], beside ``task.indices``: 0 for a client's latest interaction, -1
        where its place in time is not known. Raises NotImplementedError for a method that does not
        `orders`.
        """
        raise NotImplementedError(f"training method {self.name!r} knows no order")


def _checked(
    told: str, train: Trainer, task: TrainingTask, clients: np.ndarray, P: np.ndarray
) -> LocalUpdates:
    """The updates that a trainer gives; ``told`` names it in errors."""
    found = train(task, clients, P)
    if not isinstance(found, LocalUpdates):
        raise PartError(f"{told} returned {type(found).__name__}, and not LocalUpdates")
    m, rows, items = len(clients), task.B.shape[1], len(task.Q)
    array_of(f"{told}, for A,", found.A, (m, rows, items))
    array_of(f"{told}, for touched,", found.touched, (m, items), np.dtype(np.bool_))
    array_of(f"{told}, for P,", found.P, P.shape)
    array_of(f"{told}, for loss,", found.loss, (m,))
    return found


METHODS: Registry[type[TrainingMethod]] = Registry(TrainingMethod.kind_of_part)

Kind = TypeVar("Kind", bound=type[TrainingMethod])


def training_method(name: str, place: int = LAST) -> Callable[[Kind], Kind]:
    """Register a method under the name that configs use, at this place in lists.

    Raises ValueError as `bfedrec.parts.register`.
    """
    return register(METHODS, name, place=place)
