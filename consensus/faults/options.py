"""Checks of the options of faults.

Every check returns the value in its final form if it is allowed. Otherwise it raises ValueError
that names the option, what is allowed and what was given.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf, isfinite
from typing import Any


def number(value: Any, what: str, allowed: str, fits: Callable[[float], bool]) -> float:
    """A number, or a text such as "1/3", for which ``fits`` returns true."""
    found = None
    try:
        if isinstance(value, str):
            above, _, below = value.partition("/")
            found = float(above) / float(below or 1)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            found = float(value)
    except (ValueError, ArithmeticError):
        found = None
    if found is None or not fits(found):
        raise ValueError(f"{what}: expected {allowed}, got {value!r}")
    return found


def share(value: Any, what: str) -> float:
    """A share of messages, contents or bandwidth."""
    return number(value, what, "a share, above 0 and at most 1", lambda x: 0.0 < x <= 1.0)


def duration(value: Any, what: str) -> float:
    """A length of time in seconds."""
    return number(value, what, "seconds, above 0", lambda x: 0.0 < x < inf)


def offset(value: Any, what: str) -> float:
    """A difference of clocks in seconds, positive or negative."""
    return number(value, what, "seconds", isfinite)


def per_second(value: Any, what: str) -> float:
    """A rate of events per second."""
    return number(value, what, "a number per second, above 0", lambda x: 0.0 < x < inf)


def factor(value: Any, what: str) -> float:
    """A factor by which something takes longer."""
    return number(value, what, "a factor, at least 1", lambda x: 1.0 <= x < inf)


def time(value: Any, what: str) -> float:
    """A time of the simulation in seconds; infinite for never."""
    return number(value, what, "a time in seconds, from 0", lambda x: x >= 0.0)


def blocks(value: Any, what: str) -> int:
    """A number of blocks."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(f"{what}: expected a number of blocks, from 0, got {value!r}")
    return value


def yes_or_no(value: Any, what: str) -> bool:
    """A switch."""
    if not isinstance(value, bool):
        raise ValueError(f"{what}: expected true or false, got {value!r}")
    return value


def indices(value: Any, what: str) -> tuple[int, ...]:
    """Servers by index, ascending."""
    for index in value:
        if not isinstance(index, int) or isinstance(index, bool) or index < 0:
            raise ValueError(f"{what}: expected indices of servers, got {index!r}")
    if len(set(value)) != len(value):
        raise ValueError(f"{what}: a server stands twice in {list(value)}")
    return tuple(sorted(value))


def servers(value: Any, what: str) -> tuple[int, ...] | float:
    """Servers by index, ascending, or a share of all."""
    if isinstance(value, list | tuple) and not value:
        raise ValueError(f"{what}: expected servers, got none")
    return servers_or_none(value, what)


def servers_or_none(value: Any, what: str) -> tuple[int, ...] | float:
    """Servers by index, ascending, or a share of all; an empty list is allowed."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = (value,)
    if isinstance(value, list | tuple):
        return indices(value, what)
    allowed = "a server, a list of servers, or a share of them, above 0 and at most 1"
    return number(value, what, allowed, lambda x: 0.0 < x <= 1.0)


def groups(value: Any, what: str) -> tuple[tuple[int, ...], ...] | float:
    """Groups of servers, or the share of servers that is split off."""
    if not isinstance(value, list | tuple):
        allowed = "lists of servers, or the share that is split off, between 0 and 1"
        return number(value, what, allowed, lambda x: 0.0 < x < 1.0)
    if not value or not all(isinstance(group, list | tuple) and group for group in value):
        raise ValueError(f"{what}: expected lists of servers, none of them empty, got {value!r}")
    indices([index for group in value for index in group], what)
    return tuple(tuple(sorted(group)) for group in value)
