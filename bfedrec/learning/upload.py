"""The results of training: a cohort's updates, one client's upload, and the error of divergence."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

import numpy as np

from consensus.ledger.updates import SignedUpdate


@dataclass(frozen=True)
class Upload:
    """One client's message of a round, before it is encoded and signed."""

    client: int
    A: np.ndarray
    """float32[r, N]: the update A_u; [0, 0] where it was encoded without being written out."""
    touched: np.ndarray
    """bool[N]: the items that it trained on; [0] where A is [0, 0]."""
    samples: int
    """The N_u that it states."""
    payload: bytes | None = None
    """A payload that is sent unchanged; None: A_u is encoded when it is signed."""
    link: bytes | None = None
    """The payload's address, if it is known."""
    age: int = 0
    """Number of heights since the update was due; it is signed for that height."""
    parent: bytes | None = None
    """The link that it is signed for as its parent block, instead of the chain's head."""
    message: SignedUpdate | None = None
    """A signed message that is sent unchanged."""

    def without_update(self) -> Upload:
        """The same upload without A_u and its items, for after it was encoded."""
        return replace(self, A=np.empty((0, 0), np.float32), touched=np.empty(0, np.bool_))


class Diverged(ArithmeticError):
    """Numbers that are no longer finite in training: the steps are too large for the data."""


class Trained(Protocol):
    """The results of training that are read whatever form a cohort's updates have."""

    @property
    def P(self) -> np.ndarray:
        """float32[M, d]: the new user factors, as `LocalUpdates` has them."""

    @property
    def loss(self) -> np.ndarray:
        """float64[M]: the training loss of each client, as `LocalUpdates` has it."""


class Kept(NamedTuple):
    """The results of training that stay with the clients, in the order of their cohort."""

    P: np.ndarray
    """float32[M, d]: the new user factors, as `LocalUpdates` has them."""
    loss: np.ndarray
    """float64[M]: the training loss of each client."""


@dataclass(frozen=True)
class LocalUpdates:
    """The updates that a cohort of M clients has trained in a round, in the order it was given.

    A: float32[M, r, N], the updates A_u; rows of untouched items are exactly 0.
    touched: bool[M, N], the items that a client trained on (its mask under `per_item`).
    P: float32[M, d], the new user factors; they never leave the clients.
    samples: int64[M], the sample counts N_u (training interactions).
    loss: float64[M], mean cross-entropy over the last pass, of its samples (softmax: its
        positives); 0 without data.
    """

    A: np.ndarray
    touched: np.ndarray
    P: np.ndarray
    samples: np.ndarray
    loss: np.ndarray
