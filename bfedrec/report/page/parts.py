"""The parts of a page: sections of tables, drawings, words and code, as plain records."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True)
class Grid:
    """A table of texts."""

    kind: ClassVar[str] = "grid"
    caption: str
    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    words: int = 1
    """Number of columns from the left that hold words; the others hold numbers."""
    folded: bool = False


@dataclass(frozen=True)
class Drawing:
    """A drawing."""

    kind: ClassVar[str] = "drawing"
    name: str
    caption: str
    svg: str
    """An ``svg`` element, put into the page as it is."""


@dataclass(frozen=True)
class Words:
    """A paragraph."""

    kind: ClassVar[str] = "words"
    text: str
    tone: str = ""
    """"good", "bad" or "note" for a box that stands out; empty for plain text."""


@dataclass(frozen=True)
class Code:
    """Lines to be copied, or a file's content."""

    kind: ClassVar[str] = "code"
    caption: str
    text: str
    folded: bool = False
    file: str = ""
    """The name under which it can be saved; empty where it is no file."""


Block = Grid | Drawing | Words | Code


@dataclass(frozen=True)
class Section:
    """A heading and what is below it."""

    name: str
    """The anchor."""
    title: str
    blocks: Sequence[Block]


@dataclass(frozen=True)
class Page:
    """A whole page."""

    title: str
    state: str
    """In a word or two: "finished", "stopped", "not finished", "sweep"."""
    tone: str
    """"good", "bad" or "note"."""
    lead: str
    """The run in a line."""
    key: Sequence[tuple[str, str]]
    """The figures to look at first: name and value."""
    notices: Sequence[Words]
    """The warnings, which stand before all else."""
    sections: Sequence[Section]


def grouped(number: int) -> str:
    """A whole number with its thousands apart."""
    return f"{number:,}"


def figure(value: object) -> str:
    """A figure as a person reads it: whole numbers in full, others with up to six digits."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if isinstance(value, int):
        return grouped(value)
    return f"{value:.4f}" if abs(value) < 10 else f"{value:,.1f}"
