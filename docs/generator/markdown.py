"""Pieces of MyST Markdown that are written from the code's own words."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~$])")


def escaped(text: str) -> str:
    """Plain text as Markdown that shows it as it is."""
    return SPECIAL.sub(r"\\\1", " ".join(text.split()))


def with_options(text: str, options: Collection[str]) -> str:
    """Help of the program as Markdown: what it puts into backticks is code, and the dotted name of
    an option is a link to the option."""
    parts = []
    for place, part in enumerate(" ".join(text.split()).split("`")):
        if place % 2:
            parts.append(f"`{part}`")
            continue
        last = 0
        for found in re.finditer(r"\b[a-z_]+(\.[a-z_]+)+\b", part):
            if found[0] in options:
                parts += [escaped_in(part[last : found.start()]), f"{{confval}}`{found[0]}`"]
                last = found.end()
        parts.append(escaped_in(part[last:]))
    return "".join(parts)


def escaped_in(text: str) -> str:
    """`escaped`, with the spaces at both ends kept."""
    return SPECIAL.sub(r"\\\1", text)


def directive(name: str, argument: str, options: Iterable[tuple[str, str]], body: str) -> str:
    """A directive of Sphinx with its options and its text."""
    head = [f":{key}: {value}" for key, value in options]
    return "\n".join([f"````{{{name}}} {argument}", *head, "", body, "````", ""])


def rst(*lines: str) -> str:
    """Lines that Sphinx reads as reStructuredText, as its autodoc directives need."""
    return "\n".join(["```{eval-rst}", *lines, "```", ""])


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table of cells in Markdown."""
    head = list(head)
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"
