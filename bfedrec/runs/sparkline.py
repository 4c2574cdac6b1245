"""Sparklines: the course of a figure in a few columns of a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

BLOCKS: Final = "▁▂▃▄▅▆▇█"
ASCII: Final = "_.-~=*%#"
"""The marks in place of the blocks where a terminal's encoding has none."""
WIDEST, NARROWEST = 24, 6
"""Columns of a sparkline: the most, and the fewest that are worth showing."""
GAP: Final = "   "


@dataclass(frozen=True)
class Trend:
    """A figure's course, and what to write before and after it."""

    label: str
    values: Sequence[float]
    """The latest value comes last."""
    told: str
    """The latest value for people, with its unit."""
    whole: bool = False
    """True to show all values, thinned out to the columns; else the latest alone."""

    def text(self, columns: int, marks: str) -> str:
        """The trend with a sparkline of at most so many columns."""
        values = list(self.values)
        shown = thinned(values, columns) if self.whole else values[-columns:]
        return f"{self.label} {sparkline(shown, marks)} {self.told}"


def marks_for(encoding: str) -> str:
    """The marks that a terminal of this encoding can show, from the lowest to the highest."""
    try:
        BLOCKS.encode(encoding)
    except (LookupError, UnicodeEncodeError):
        return ASCII
    return BLOCKS


def sparkline(values: Sequence[float], marks: str = BLOCKS) -> str:
    """A mark for each value: the lowest mark is the smallest of them, the highest the greatest.
    Equal values are all lowest marks."""
    low, high = min(values, default=0.0), max(values, default=0.0)
    scale = (len(marks) - 1) / (high - low) if high > low else 0.0
    return "".join(marks[round((value - low) * scale)] for value in values)


def thinned(values: Sequence[float], most: int) -> list[float]:
    """At most so many of the values, evenly apart, the latest among them."""
    n = len(values)
    if n <= most:
        return list(values)
    return [values[n * (place + 1) // most - 1] for place in range(most)]


def lines_of(trends: Sequence[Trend], width: int, marks: str) -> list[str]:
    """Trends in lines of at most ``width`` columns, as many beside each other as fit.

    Those without values are left out, and so is one that does not fit a line of its own.
    """
    there = [trend for trend in trends if trend.values]
    if not there:
        return []
    words = sum(len(f"{trend.label}  {trend.told}") for trend in there) + len(GAP) * (
        len(there) - 1
    )
    columns = max(NARROWEST, min(WIDEST, (width - words) // len(there)))
    lines: list[str] = []
    for trend in there:
        text = trend.text(columns, marks)
        if len(text) > width:
            continue
        if lines and len(lines[-1]) + len(GAP) + len(text) <= width:
            lines[-1] += GAP + text
        else:
            lines.append(text)
    return lines
