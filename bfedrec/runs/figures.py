"""The figures of a run: the flat map of RUN/summary.json, of RUN/stopped.json, and of each line of
RUN/metrics.jsonl.

Metrics have the names that a config gives them ("hr@10"), so the keys are open; the values are
scalars. Readers take them by `number`, `count` and `text`, which check the type.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

Scalar = str | int | float

#: No figure is as great; all are seconds, counts, bytes or shares.
GREATEST = 2**63

LEDGER = "ledger"
"""The key that tells that there was no ledger (`NO_LEDGER`); a run on one does not have it."""
NO_LEDGER = "none"
"""Its only value, in the summary and the manifest of what was learnt without."""
PROFILE = "profile_"
"""The beginning of a profile's names (`bfedrec.runs.profiling`), which only a profiled run has."""

MEASURED = (
    "wall_seconds",
    "clients_per_second",
    "training_clients_per_second",
    "round_seconds",
    "round_processor_seconds",
    "round_memory_mib",
)
"""The figures that are of the machine and its load: two runs of one seed differ in no others."""

#: Values by name. Counts are int; means, shares and seconds are float; the rest is text.
Figures = Mapping[str, Scalar]


class BadFigure(ValueError, KeyError):
    """Error: a figure that is missing, or of another type than it has to be."""

    __str__ = Exception.__str__  # a KeyError shows its text as code


def figures_from(node: object) -> dict[str, Scalar]:
    """The figures in a JSON value. Raises ValueError if it is not a flat map of scalars, or holds a
    number that is not finite."""
    if not isinstance(node, dict):
        raise ValueError("expected a JSON object")
    for name, value in node.items():
        kind = type(value)
        if kind is float or kind is int:
            if not -GREATEST < value < GREATEST:
                raise ValueError(f"{name[:80]!r}: expected a finite number below 2**63")
        elif kind is not str:
            raise ValueError(f"{name[:80]!r}: expected a number or a text")
    return node


def number(figures: Mapping[str, object], name: str) -> float:
    """The number ``name``. Raises BadFigure if there is none, or for another type."""
    value = _value(figures, name)
    if type(value) not in (int, float):
        raise BadFigure(f"{name}: expected a number, got {repr(value)[:80]}")
    assert isinstance(value, int | float)
    return value


def count(figures: Mapping[str, object], name: str) -> int:
    """The integer ``name``. Raises BadFigure if there is none, or for another type."""
    value = _value(figures, name)
    if type(value) is not int:
        raise BadFigure(f"{name}: expected an integer, got {repr(value)[:80]}")
    return value


def text(figures: Mapping[str, object], name: str) -> str:
    """The text ``name``. Raises BadFigure if there is none, or for another type."""
    value = _value(figures, name)
    if not isinstance(value, str):
        raise BadFigure(f"{name}: expected a text, got {repr(value)[:80]}")
    return value


def _value(figures: Mapping[str, object], name: str) -> object:
    try:
        return figures[name]
    except KeyError:
        raise BadFigure(f"{name}: missing") from None


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
