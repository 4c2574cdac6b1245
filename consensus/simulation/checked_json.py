"""Checked values of JSON that somebody else may have written: of timelines and traces."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, NoReturn, TypeVar

MOST_TEXT: Final = 200
"""Longest text in a timeline, in characters."""
MOST_NAMES: Final = 200
"""Most entries of a map of counts."""
GREATEST: Final = 2**63 - 1
DEEPEST: Final = 32
"""Most lists and maps within each other, brackets in texts counted too: the parser recurses, and
others may have raised Python's limit beyond what the stack holds."""
_BRACKETS: Final = re.compile(r"[\[\]{}]")


class BadTimeline(ValueError):
    """Error: a value that is not of a timeline; one line that names the place."""


T = TypeVar("T")


def parsed(source: str) -> object:
    """The value of a JSON text; raises `BadTimeline`, also for numbers that are not finite."""
    depth = 0
    for found in _BRACKETS.finditer(source):
        depth += 1 if found[0] in "[{" else -1
        if depth > DEEPEST:
            raise BadTimeline(f"more than {DEEPEST} lists and maps within each other")
    try:
        return json.loads(source, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise BadTimeline(f"not JSON: {error}"[:MOST_TEXT]) from None


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")


def shown(value: object) -> str:
    """A value as an error shows it, cut short."""
    return repr(value)[:60]


def members(node: object, where: str, names: Iterable[str]) -> Mapping[str, object]:
    """A map with exactly these names; raises `BadTimeline`."""
    if not isinstance(node, dict) or set(node) != set(names):
        raise BadTimeline(f"{where}: expected a map of {', '.join(names)}")
    return node


def items(node: object, where: str, most: int) -> list[Any]:
    """A list of at most ``most`` entries; raises `BadTimeline`."""
    if not isinstance(node, list) or len(node) > most:
        raise BadTimeline(f"{where}: expected a list of {most} at most")
    return list(node)


def count(value: object, where: str, least: int = 0) -> int:
    """An integer from ``least`` to 2**63 - 1; raises `BadTimeline`."""
    if type(value) is not int or not least <= value <= GREATEST:
        raise BadTimeline(f"{where}: expected an integer from {least}, got {shown(value)}")
    return value


def later(began: int, value: object, where: str) -> int:
    """The time that comes ``value`` microseconds after ``began``; raises `BadTimeline`."""
    return count(began + count(value, where), where)


def text(value: object, where: str, most: int = MOST_TEXT) -> str:
    """A text of at most ``most`` characters; raises `BadTimeline`."""
    if not isinstance(value, str) or len(value) > most:
        raise BadTimeline(f"{where}: expected a text of {most} characters at most")
    return value


def one_of(value: object, where: str, known: tuple[str, ...]) -> str:
    """One of the known words; raises `BadTimeline`."""
    if not isinstance(value, str) or value not in known:
        raise BadTimeline(f"{where}: expected one of {', '.join(known)}, got {shown(value)}")
    return value


def counts(node: object, where: str) -> dict[str, int]:
    """A map of at most `MOST_NAMES` counts by name; raises `BadTimeline`."""
    if not isinstance(node, dict) or len(node) > MOST_NAMES:
        raise BadTimeline(f"{where}: expected a map of {MOST_NAMES} counts at most")
    return {text(name, where): count(value, where) for name, value in node.items()}


def maybe(check: Callable[[object, str], T], value: object, where: str) -> T | None:
    """A checked value, or None where that stands."""
    return None if value is None else check(value, where)
