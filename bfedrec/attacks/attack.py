"""The interface of an attack by malicious clients, and the registry of attacks.

An attack is a class with one method, which is given what the colluders would honestly upload in a
round and returns the uploads that they send instead. Its fields are its options in a config, its
docstring is its help. docs/extending.md shows a whole one.

`bfedrec.attacks.kinds.poisoning` has the attacks on what is learnt,
`bfedrec.attacks.kinds.protocol_violations` those that break the protocol's rules;
`bfedrec.attacks.adversary` chooses the clients and the rounds. An attack stands in a file of
`bfedrec.attacks.kinds`, which is found there, or in a plugin.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, TypeVar

import numpy as np

from bfedrec.learning.upload import Upload
from bfedrec.section import Section
from consensus.registry import Registry

if TYPE_CHECKING:
    from bfedrec.compression.exchange import Exchange
    from bfedrec.learning.upload import LocalUpdates
    from consensus.ledger.updates import SignedUpdate


@dataclass(frozen=True)
class Scene:
    """The knowledge of one attack's malicious clients, who collude, in a round."""

    height: int
    honest: Sequence[Upload]
    """The uploads of the round's other clients: for attacks whose paper assumes that much only."""
    clients: int
    """The number of clients of the round, M."""
    P: np.ndarray
    """float32[m, d]: the colluders' own factors after training, in the order of their uploads."""
    Q: np.ndarray
    """float32[N, d]: the global item factors, which everybody has."""
    B: np.ndarray
    """float32[d, r]: the round's basis."""
    exchange: Exchange
    """The encoding and aggregation of updates."""
    generator: np.random.Generator
    """The attack's own randomness in this round."""
    train_flipped: Callable[[], LocalUpdates]
    """Trains the colluders' updates anew, each label turned around."""
    earlier: Sequence[tuple[int, SignedUpdate]]
    """Client and message of what the colluders signed at the height before, where they keep it."""
    genesis: bytes
    """The CID of the genesis."""


class Attack(Section, ABC):
    """An attack, followed by a share of the clients; its fields are its options."""

    needs_products: ClassVar[bool] = False
    """True if it takes the scores of users for products of `Scene.P` and `Scene.Q`."""

    under_masks: ClassVar[bool] = False
    """True if it changes the numbers of updates alone, one each, so that they can be masked."""

    def violation(self) -> str:
        """The way in which it breaks the protocol of masks
        (`bfedrec.privacy.secure.violations.VIOLATIONS`); empty for none."""
        return ""

    def targets(self) -> tuple[int, ...]:
        """The items that the attack wants recommended, which ER@K then looks at."""
        return ()

    def keeps_messages(self) -> bool:
        """True if the colluders need the messages that they signed at the height before
        (`Scene.earlier`); they are then asked also in rounds in which none of them trains."""
        return False

    @abstractmethod
    def forge(self, uploads: Sequence[Upload], scene: Scene) -> Sequence[Upload]:
        """The uploads that the colluders send where honest clients would send ``uploads``.

        In any number and order, none at all included; a client's second upload goes to another
        server than its first.
        """


ATTACKS: Registry[type[Attack]] = Registry("attack")

COMMON = ("attack", "share", "homes", "from", "until")
"""Keys of every entry of `clients.malicious`; an attack's own options stand beside them."""

Kind = TypeVar("Kind", bound=type[Attack])


def attack(name: str) -> Callable[[Kind], Kind]:
    """Register an attack under the name that configs use.

    Raises ValueError for a name that is taken or malformed, and for an option with the name of one
    that every attack has.
    """
    add = ATTACKS.register(name)

    def decorate(kind: Kind) -> Kind:
        checked: type[Attack] = kind
        for key in COMMON:
            if key in checked.model_fields:
                raise ValueError(f"attack {name!r}: an option cannot be named {key!r}")
        return add(kind)

    return decorate


def catalogue() -> str:
    """List every attack with its options and its docstring's first sentence, as one paragraph."""
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
