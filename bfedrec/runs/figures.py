"""The figures of a run: the flat map of RUN/summary.json, of RUN/stopped.json, and of each line of
RUN/metrics.jsonl.

Metrics have the names that a config gives them ("hr@10"), so the keys are open; the values are
scalars. Readers take them by `number`, `count` and `text`, which check the type.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

Scalar = str | int | float

#: Values by name. Counts are int; means, shares and seconds are float; the rest is text.
Figures = Mapping[str, Scalar]


def figures_from(node: object) -> dict[str, Scalar]:
    """The figures in a JSON value. Raises ValueError if it is not a flat map of scalars."""
    if not isinstance(node, dict):
        raise ValueError("expected a JSON object")
    for name, value in node.items():
        if type(value) not in (str, int, float):
            raise ValueError(f"{name}: expected a number or a text")
    return node


def number(figures: Mapping[str, object], name: str) -> float:
    """The number ``name``. Raises KeyError if there is none, ValueError for another type."""
    value = figures[name]
    if not isinstance(value, int | float):
        raise ValueError(f"{name}: expected a number, got {value!r}")
    return value


def count(figures: Mapping[str, object], name: str) -> int:
    """The integer ``name``. Raises KeyError if there is none, ValueError for another type."""
    value = figures[name]
    if not isinstance(value, int):
        raise ValueError(f"{name}: expected an integer, got {value!r}")
    return value


def text(figures: Mapping[str, object], name: str) -> str:
    """The text ``name``. Raises KeyError if there is none, ValueError for another type."""
    value = figures[name]
    if not isinstance(value, str):
        raise ValueError(f"{name}: expected a text, got {value!r}")
    return value


@dataclass(frozen=True)
class Stop:
    """The end of a run whose servers could not agree on another block."""

    outcome: str
    """"stalled" or "forked"."""
    rounds: int
    """Number of rounds with a block."""
    height: int
    """The height that was not decided, or at which the chain forked."""
    because: str
    """The reason, one line."""

    @classmethod
    def of(cls, figures: Figures) -> Stop:
        """The stop that a RUN/stopped.json tells of. Raises KeyError or ValueError if it tells of
        none."""
        return cls(
            text(figures, "stopped"),
            count(figures, "rounds"),
            count(figures, "stopped_at_height"),
            text(figures, "stopped_because"),
        )
