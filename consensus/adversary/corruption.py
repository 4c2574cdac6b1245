"""Adaptive corruption: the rules of an adversary that turns servers once it has seen something, by
a strategy that configs name.

A strategy is a subclass of `Target` in a file of `consensus.adversary.targets`, registered by
`target`. It knows what an observer of the network knows (`Known`, and the messages that honest
servers send), and names the servers that it wants. `consensus.simulation.corruption` turns them, as
far as the budget goes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import inf
from typing import Any, ClassVar, TypeVar

import numpy as np

from consensus.adversary.when import SECONDS
from consensus.ledger.protocol import Protocol
from consensus.ledger.validity import Head, Sortition
from consensus.records.genesis import Genesis
from consensus.registry import Registry


@dataclass(frozen=True)
class Known:
    """The knowledge of everybody as the height after ``head`` begins."""

    genesis: Genesis
    protocol: Protocol
    head: Head
    sortition: Callable[[int], Sortition]
    """Committee and turns of an attempt, as far as they follow from the head
    (`consensus.ledger.protocol.Protocol.sortition`)."""

    @property
    def height(self) -> int:
        """The height that begins."""
        return self.head.height + 1

    @property
    def stakes(self) -> tuple[int, ...]:
        """Each server's stake as the height begins, by index."""
        return self.head.held(self.genesis)


class Target(ABC):
    """One strategy of corruption, made anew for every height."""

    name: ClassVar[str]
    """The name that configs use; `target` sets it."""
    meaning: ClassVar[str]
    """The strategy in a few words, for the help."""

    def __init__(self, known: Known, generator: np.random.Generator) -> None:
        """``generator``: of its draws at this height."""
        self.known = known
        self.generator = generator

    @abstractmethod
    def at_first(self) -> Iterable[int]:
        """The servers that it wants as the height begins, the most wanted first."""

    def on_message(self, server: int, kind: str, body: Any) -> Iterable[int]:
        """The servers that it wants on seeing a message of the honest ``server``, the most
        wanted first."""
        return ()


TARGETS: Registry[type[Target]] = Registry("target")
"""Every registered strategy of corruption by its name in a config."""

T = TypeVar("T", bound=Target)


def target(name: str) -> Callable[[type[T]], type[T]]:
    """A decorator that registers a strategy under the name that configs use. Raises ValueError for
    a name that is taken or malformed."""
    return TARGETS.register_named(name)


@dataclass(frozen=True)
class Budget:
    """The limits of an adversary that corrupts servers."""

    at_once: int = 1
    """Most servers that are corrupted at the same time; those that are chosen count."""
    in_all: float = inf
    """Most corruptions; a server that is corrupted again counts again."""
    delay: float = 0.0
    """Time from choosing a server to its turning."""
    unit: str = SECONDS
    """One of `consensus.adversary.when.UNITS`, in which the delay is: simulated seconds, or heights
    with whose beginning it turns."""
    hold: float = inf
    """Number of heights for which a server stays corrupted, the one in which it turned included;
    infinite: for ever. It is released as a height begins."""
