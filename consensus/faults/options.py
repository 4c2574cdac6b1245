"""Checks of the options of faults.

Every check returns the value in its final form if it is allowed. Otherwise it raises ValueError
that names the option, what is allowed and what was given.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from math import inf
from typing import Any, Final

LONGEST: Final = 1e9
"""Greatest length of time and difference of clocks, in seconds: 32 years. Its microseconds are
exact in float64 and fit the ledger's integers."""
MOST_OFTEN: Final = 1e6
"""Greatest rate of events, per second."""
SMALLEST: Final = 1e-9
"""Smallest share, rate and length of time (in seconds) but none."""
MOST_BLOCKS: Final = 2**31
"""Greatest number of blocks; a chain has fewer."""
SHOWN: Final = 80
"""Characters that are shown of a value that is not allowed."""
_NUMBER: Final = re.compile(r"\s*[-+]?[0-9.]{1,20}([eE][-+]?[0-9]{1,2})?\s*")


def shown(value: Any) -> str:
    """The value in one line of an error, shortened."""
    try:
        text = repr(value)
    except ValueError:  # an integer of thousands of digits
        text = "an integer without end"
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 3]}..."


def number(value: Any, what: str, allowed: str, fits: Callable[[float], bool]) -> float:
    """A number, or a text such as "1/3", for which ``fits`` returns true."""
    found = None
    try:
        if isinstance(value, str):
            above, slash, below = value.partition("/")
            if not _NUMBER.fullmatch(above) or (slash and not _NUMBER.fullmatch(below)):
                raise ValueError("no number, or one whose exact value would fill the memory")
            found = float(above) / float(below or 1)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            found = float(value)
    except (ValueError, ArithmeticError):
        found = None
    if found is None or not fits(found):
        raise ValueError(f"{what}: expected {allowed}, got {shown(value)}")
    return found


def share(value: Any, what: str) -> float:
    """A share of messages, contents or bandwidth."""
    allowed = "a share, above 0 and at most 1"
    return number(value, what, allowed, lambda x: SMALLEST <= x <= 1.0)


def duration(value: Any, what: str) -> float:
    """A length of time in seconds."""
    allowed = f"seconds, above 0, at least {SMALLEST:g} and at most {LONGEST:g}"
    return number(value, what, allowed, lambda x: SMALLEST <= x <= LONGEST)


def offset(value: Any, what: str) -> float:
    """A difference of clocks in seconds, positive or negative."""
    allowed = f"seconds, at most {LONGEST:g} either way"
    return number(value, what, allowed, lambda x: -LONGEST <= x <= LONGEST)


def per_second(value: Any, what: str) -> float:
    """A rate of events per second."""
    allowed = f"a number per second, above 0, at least {SMALLEST:g} and at most {MOST_OFTEN:g}"
    return number(value, what, allowed, lambda x: SMALLEST <= x <= MOST_OFTEN)


def factor(value: Any, what: str) -> float:
    """A factor by which something takes longer."""
    allowed = f"a factor, at least 1 and at most {LONGEST:g}"
    return number(value, what, allowed, lambda x: 1.0 <= x <= LONGEST)


def time(value: Any, what: str) -> float:
    """A time of the simulation in seconds; infinite for never."""
    allowed = f"a time in seconds, from 0 to {LONGEST:g}, or infinite"
    return number(value, what, allowed, lambda x: 0.0 <= x <= LONGEST or x == inf)


def blocks(value: Any, what: str) -> int:
    """A number of blocks."""
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MOST_BLOCKS:
        allowed = f"a number of blocks, from 0 to {MOST_BLOCKS}"
        raise ValueError(f"{what}: expected {allowed}, got {shown(value)}")
    return value


def yes_or_no(value: Any, what: str) -> bool:
    """A switch."""
    if not isinstance(value, bool):
        raise ValueError(f"{what}: expected true or false, got {shown(value)}")
    return value


def indices(value: Any, what: str) -> tuple[int, ...]:
    """Servers by index, ascending."""
    for index in value:
        if not isinstance(index, int) or isinstance(index, bool) or index < 0:
            raise ValueError(f"{what}: expected indices of servers, got {shown(index)}")
    if len(set(value)) != len(value):
        raise ValueError(f"{what}: a server stands twice in {shown(list(value))}")
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
        raise ValueError(
            f"{what}: expected lists of servers, none of them empty, got {shown(value)}"
        )
    indices([index for group in value for index in group], what)
    return tuple(tuple(sorted(group)) for group in value)
