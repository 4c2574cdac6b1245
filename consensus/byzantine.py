"""What malicious servers do differently.

A behaviour overrides the two places where a server's honesty matters: what it proposes, and how
it votes. To add one, subclass `Behaviour`, override what it changes and register it:

    @behaviour("lazy")
    class Lazy(Behaviour):
        def verdict(self, honest, generator):
            return True
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from consensus.application import Contents


class Behaviour:
    """An honest server; the base of every other."""

    def contents(self, honest: Contents, generator: np.random.Generator) -> Contents:
        """What to propose where an honest aggregator would propose ``honest``."""
        return honest

    def verdict(self, honest: bool, generator: np.random.Generator) -> bool:
        """Whether to approve a candidate that an honest member would (or would not) approve."""
        return honest


BEHAVIOURS: dict[str, type[Behaviour]] = {}


def behaviour(name: str) -> Callable[[type[Behaviour]], type[Behaviour]]:
    """Register a behaviour under the name that configs use."""

    def register(cls: type[Behaviour]) -> type[Behaviour]:
        if name in BEHAVIOURS:
            raise ValueError(f"behaviour {name!r} is registered twice")
        BEHAVIOURS[name] = cls
        return cls

    return register


@behaviour("gaussian")
class Gaussian(Behaviour):
    """Proposes random values as the global model (paper, IV.D): float32 standard normals."""

    def contents(self, honest: Contents, generator: np.random.Generator) -> Contents:
        values = generator.standard_normal(len(honest.model) // 4, dtype=np.float32)
        return replace(honest, model=values.astype("<f4").tobytes())


@behaviour("invert_votes")
class InvertVotes(Behaviour):
    """Approves incorrect candidates and rejects correct ones (paper, IV.D): with `gaussian`, the
    malicious servers collude, each approving every other's random model."""

    def verdict(self, honest: bool, generator: np.random.Generator) -> bool:
        return not honest


class Composed(Behaviour):
    """Several behaviours at once, applied in order."""

    def __init__(self, names: Sequence[str]) -> None:
        unknown = [name for name in names if name not in BEHAVIOURS]
        if unknown:
            known = ", ".join(sorted(BEHAVIOURS))
            raise ValueError(f"unknown behaviour {unknown[0]!r} (known: {known})")
        self._parts = [BEHAVIOURS[name]() for name in names]

    def contents(self, honest: Contents, generator: np.random.Generator) -> Contents:
        for part in self._parts:
            honest = part.contents(honest, generator)
        return honest

    def verdict(self, honest: bool, generator: np.random.Generator) -> bool:
        for part in self._parts:
            honest = part.verdict(honest, generator)
        return honest
