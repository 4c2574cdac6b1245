"""What malicious clients do: the vocabulary in which an attack is written, and their register.

An attack is a class with one method, which is given what the colluders would honestly upload in a
round and says what they send instead. Its fields are its options in a config, its docstring is its
help. A whole attack:

    @attack("lazy")
    class Lazy(Attack):
        \"""Uploads a share of what it learnt.\"""

        factor: float = Field(default=0.5, description="the share")

        def forge(self, uploads, scene):
            return [replace(upload, A=self.factor * upload.A) for upload in uploads]

`bfedrec.attacks.poisoning` has the attacks on what is learnt, `bfedrec.attacks.protocol_violations`
those that break the protocol's rules; `bfedrec.attacks.adversary` says who attacks and when.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from pydantic import BaseModel, ConfigDict

from bfedrec.learning.upload import Upload

if TYPE_CHECKING:
    from bfedrec.compression.exchange import Exchange
    from bfedrec.learning.upload import LocalUpdates
    from consensus.ledger.updates import SignedUpdate


@dataclass(frozen=True)
class Scene:
    """What the malicious clients of one attack know in a round. They collude."""

    height: int
    honest: Sequence[Upload]
    """What the round's other clients upload: only for attacks whose paper assumes that much."""
    clients: int
    """How many clients the round has, M."""
    P: np.ndarray
    """float32[m, d]: the colluders' own factors after training, in the order of their uploads."""
    Q: np.ndarray
    """float32[N, d]: the global item factors, which everybody has."""
    B: np.ndarray
    """float32[d, r]: the round's basis."""
    exchange: Exchange
    """How updates are encoded and aggregated."""
    generator: np.random.Generator
    """The attack's own randomness in this round."""
    train_flipped: Callable[[], LocalUpdates]
    """Trains the colluders' updates anew, each label turned around."""
    earlier: Sequence[tuple[int, SignedUpdate]]
    """Client and message of what the colluders signed at the height before, where they keep it."""
    genesis: bytes
    """The CID of the genesis."""


class Attack(BaseModel, ABC):
    """What the malicious clients of one kind do; its fields are its options."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, validate_default=True
    )

    def targets(self) -> tuple[int, ...]:
        """The items that the attack wants recommended, which ER@K then looks at."""
        return ()

    def keeps_messages(self) -> bool:
        """Whether the colluders need what they signed at the height before (`Scene.earlier`);
        they are then asked also in rounds in which none of them trains."""
        return False

    @abstractmethod
    def forge(self, uploads: Sequence[Upload], scene: Scene) -> Sequence[Upload]:
        """What the colluders send where honest clients would send ``uploads``.

        In any number and order, none at all included; a client's second upload goes to another
        server than its first.
        """


ATTACKS: dict[str, type[Attack]] = {}


def attack(name: str) -> Callable[[type[Attack]], type[Attack]]:
    """Register an attack under the name that configs use."""

    def register(cls: type[Attack]) -> type[Attack]:
        if name in ATTACKS:
            raise ValueError(f"attack {name!r} is registered twice")
        ATTACKS[name] = cls
        return cls

    return register


def catalogue() -> str:
    """Every attack with its options and its docstring's first sentence, as one paragraph."""
    entries = []
    for name, kind in ATTACKS.items():
        fields = kind.model_fields.items()
        options = ", ".join(f"{key}={field.default}" for key, field in fields)
        sentence = " ".join((kind.__doc__ or "").split()).split(". ")[0].rstrip(".")
        entries.append(f"{name}{f' ({options})' if options else ''}: {sentence}")
    return "; ".join(entries)


def mean_and_deviation(uploads: Sequence[Upload]) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation (float64[r, N]) of each number over the uploads that touched its
    item; 0 where none did."""
    shape = uploads[0].A.shape
    total, square = np.zeros(shape), np.zeros(shape)
    counts = np.zeros(shape[1], np.int64)
    for upload in uploads:
        total += upload.A
        counts += upload.touched
    mean = total / np.maximum(counts, 1)
    for upload in uploads:
        square += np.where(upload.touched, upload.A - mean, 0.0) ** 2
    return mean, np.sqrt(square / np.maximum(counts, 1))
