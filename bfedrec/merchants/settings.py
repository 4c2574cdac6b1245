"""Settings of a merchant's training; read without loading what trains."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class StepSettings:
    """Settings of stochastic gradient descent. Raises ValueError for values that make no sense."""

    epochs: int = 100
    step: float = 0.05
    l2: float = 0.02
    """lambda."""
    negatives: int = 4
    """Products without interaction for each pair."""

    def __post_init__(self) -> None:
        for name, low, high in (
            ("epochs", 1, 100_000),
            ("step", 1e-6, 10.0),
            ("l2", 0.0, 10.0),
            ("negatives", 0, 1_000),
        ):
            if not low <= getattr(self, name) <= high:
                raise ValueError(f"{name} must be {low:g} to {high:g}, not {getattr(self, name)}")
