"""The training of one round, as every implementation of Algorithm 1 gets it, and the checks they
share."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, TypeVar

import numpy as np

from bfedrec.learning.settings import TrainingSettings
from bfedrec.learning.upload import Diverged, LocalUpdates

Kept = TypeVar("Kept")


class Shown(NamedTuple):
    """The items that clients show as their positives, of their own and of others."""

    indptr: np.ndarray
    indices: np.ndarray
    """Items by client, in the layout of the training items of `TrainingTask`."""
    kept: float
    """t, the chance of a client's own item to be shown."""
    share: float
    """f, the chance of any other item, below t."""
    factors: bool
    """True if the p_u of an update is trained on them as well, and the client's own p_u apart."""


@dataclass(frozen=True)
class TrainingTask:
    """The training of one round, the same for all of its clients. No implementation changes an
    array."""

    Q: np.ndarray
    """float32[N, d]: the merged item factors."""
    B: np.ndarray
    """float32[d, r]: this round's basis."""
    indptr: np.ndarray
    """int64[clients + 1]: client u's training items are indices[indptr[u]:indptr[u + 1]] (CSR)."""
    indices: np.ndarray
    """int32: the training items of all clients, repeats allowed."""
    settings: TrainingSettings
    seed: int
    """Seed of the round's draws, a signed 64-bit integer."""
    step_scale: float = 1.0
    """Factor on both steps (`TrainingSettings.step_scale`)."""
    flipped: bool = False
    """True to train on inverted labels (`bfedrec.attacks.kinds.poisoning.LabelFlip`)."""
    predicts: bool = False
    """True if virtual items are labelled by predictions, not by the mean
    (`TrainingSettings.predicts`)."""
    progress: float = 1.0
    """The share of the run's rounds that are done with this one."""
    excluded: tuple[np.ndarray, np.ndarray] | None = None
    """The items that are never drawn as negatives, as ``indptr`` and ``indices`` have the training
    items, which are among them (`TrainingSettings.negatives_exclude`); None: the training items."""

    shown: Shown | None = None
    """The items on which updates are trained as positives, while p_u is trained on the training
    items; None: these. Only methods that train the two apart read it
    (`bfedrec.learning.method.TrainingMethod.apart`)."""

    @property
    def item_step(self) -> float:
        """The step on A_u (`TrainingSettings.item_step`)."""
        d, r = self.B.shape
        return self.settings.item_step * self.step_scale * math.sqrt(r / d)

    @property
    def user_step(self) -> float:
        """The step on p_u (`TrainingSettings.user_step`)."""
        return self.settings.user_step * self.step_scale

    def for_updates(self) -> TrainingTask:
        """The training of updates alone on the items that are ``shown``, with p_u as it is."""
        assert self.shown is not None
        frozen = self.settings.model_copy(update={"user_step": 0.0, "user_epochs": 0})
        return replace(
            self,
            indptr=self.shown.indptr,
            indices=self.shown.indices,
            settings=frozen,
            excluded=None,
            shown=None,
        )

    def once(self, make: Callable[[], Kept]) -> Kept:
        """Return what ``make`` returned when this was first called, for what all clients of the
        round share; a method asks for one thing alone."""
        if "_kept" not in self.__dict__:
            self.__dict__["_kept"] = make()
        kept: Kept = self.__dict__["_kept"]
        return kept

    def positives(self, client: int) -> np.ndarray:
        """The training items of a client, int32."""
        return self.indices[self.indptr[client] : self.indptr[client + 1]]

    def known(self, client: int) -> np.ndarray:
        """The items that are never drawn as negatives of a client, int32."""
        indptr, indices = self.excluded or (self.indptr, self.indices)
        return indices[indptr[client] : indptr[client + 1]]

    def samples(self, clients: np.ndarray) -> np.ndarray:
        """The sample counts N_u of ``clients`` (int64[M]), int64[M]."""
        return np.asarray(self.indptr[clients + 1] - self.indptr[clients], np.int64)

    def cohort(
        self, clients: Sequence[int] | np.ndarray, P: np.ndarray, width: int | None = None
    ) -> np.ndarray:
        """The clients as int64[M]. ``width``: the number of private numbers of each, d if None.
        Raises ValueError if they, P, Q and B do not fit together."""
        clients, Q, B = np.asarray(clients, np.int64), self.Q, self.B
        w = Q.shape[1] if width is None else width
        if P.shape != (len(clients), w) or B.shape[0] != Q.shape[1]:
            raise ValueError(
                f"{len(clients)} clients, P {P.shape}, Q {Q.shape} and B {B.shape} do not fit "
                f"together: P must be (M, {w}), Q (N, d) and B (d, r)"
            )
        if len(clients) and not 0 <= clients.min() <= clients.max() < len(self.indptr) - 1:
            raise ValueError(f"client ids must lie between 0 and {len(self.indptr) - 2}")
        return clients


def check_finite(update: LocalUpdates, clients: np.ndarray) -> None:
    """Raise Diverged, naming the first client whose new factors are not finite numbers."""
    finite = np.isfinite(update.P).all(axis=1) & np.isfinite(update.A).all(axis=(1, 2))
    if not finite.all():
        raise Diverged(
            f"client {clients[np.argmin(finite)]}'s factors are no longer finite numbers; "
            "lower training.item_step or training.user_step"
        )
