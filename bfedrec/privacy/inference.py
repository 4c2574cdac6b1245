"""The interface of an inference attack, and the registry of them.

An attack is a class that is given a run's rounds in their order, as a holder sees them
(`bfedrec.privacy.observation`), and the public setting, and nothing else. One that tells the items
of a client's interactions from the others (membership) gives a score to every item; one on people's
attributes gives its figures at the end. The class stands in a file of `bfedrec.privacy.inferences`,
which is found there, or in a plugin.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar, TypeVar

import numpy as np

from bfedrec.privacy.observation import Observation, PublicSetting
from consensus.registry import LAST, Registry


@dataclass(frozen=True)
class Attribute:
    """An attribute of people that an attack may guess."""

    values: tuple[str, ...]
    """The values in ascending order."""
    of: np.ndarray
    """int64[M]: the place of each user's value among ``values``; -1 where it is not known."""


class InferenceAttack(ABC):
    """An attack on a run's clients, told the run's rounds one by one."""

    name: ClassVar[str]
    """The name that commands and records use; registration sets it."""
    meaning: ClassVar[str]
    """The attack in a few words."""
    needs_updates: ClassVar[bool] = True
    """False if what is public is enough for it."""
    under_masks: ClassVar[bool] = False
    """True if it attacks masked updates, which there are under secure aggregation alone."""
    guess: ClassVar[bool] = False
    """True for a yardstick: a guess that uses nothing of the attacked client."""

    def __init__(self, public: PublicSetting) -> None:
        self.public = public

    @classmethod
    def able(cls, seen: Observation) -> bool:
        """True if the round shows what the attack reads."""
        updates = seen.A is not None or not cls.needs_updates
        return updates and (seen.masked is not None or not cls.under_masks)


class MembershipAttack(InferenceAttack):
    """An attack that tells which items a client has interacted with."""

    accumulates: ClassVar[bool] = False
    """True if it uses a client's earlier participations, so that its last result counts."""
    per_round: ClassVar[int | None] = None
    """Most clients of a round that are attacked, the first of the cohort; None for all."""

    @abstractmethod
    def scores(self, seen: Observation) -> np.ndarray:
        """float32[m, N]: how likely each item is one of each client's; above 0 where the attack
        says so. Called once for each round, in their order."""


class AttributeAttack(InferenceAttack):
    """An attack on attributes of people, learnt from the users of whom they are known."""

    @abstractmethod
    def observe(self, seen: Observation) -> None:
        """Learn from a round; called once for each, in their order."""

    @abstractmethod
    def conclude(self, attributes: Mapping[str, Attribute]) -> dict[str, dict[str, float]]:
        """The figures of each attribute, by its name, over users whose value was kept from it."""


INFERENCES: Registry[type[InferenceAttack]] = Registry("inference attack")

Kind = TypeVar("Kind", bound=type[InferenceAttack])


def inference(name: str, place: int = LAST) -> Callable[[Kind], Kind]:
    """Register an attack under the name that commands and records use, at this place in lists.

    Raises ValueError for a name that is taken or malformed.
    """
    return INFERENCES.register_named(name, place)
