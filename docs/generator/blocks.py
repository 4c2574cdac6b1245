"""The code blocks of a Markdown text: where they stand, what they are, and what is said of them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from markdown_it import MarkdownIt

SHELL = "sh"
"""The language of a block that names none: one that is indented is a shell's."""
NOT_RUN = re.compile(r"\*Not run: (.+?)\.?\*$", re.DOTALL)
"""The paragraph below a block that no test can run: a sentence with the reason, in italics."""


@dataclass(frozen=True)
class Block:
    """A code block of a page."""

    line: int
    """Its first line, the fence included, from 1."""
    end: int
    """The line after its last."""
    language: str
    text: str
    above: str = ""
    """The paragraph before it; empty if something else stands there."""
    not_run: str = ""
    """The reason that it is not run for, as the page has it; empty where it is to be run."""
    indented: bool = False
    """True for a block without a fence."""


def blocks(text: str) -> Iterator[Block]:
    """The code blocks of a Markdown text in order, those within lists included."""
    tokens = [
        token
        for token in MarkdownIt("commonmark").parse(text)
        if token.type in ("fence", "code_block", "inline", "heading_open")
    ]
    for place, token in enumerate(tokens):
        if token.type not in ("fence", "code_block"):
            continue
        assert token.map is not None
        before = tokens[place - 1] if place else None
        after = tokens[place + 1] if place + 1 < len(tokens) else None
        said = NOT_RUN.match(after.content) if after and after.type == "inline" else None
        yield Block(
            token.map[0] + 1,
            token.map[1] + 1,
            token.info.strip() if token.type == "fence" else SHELL,
            token.content,
            before.content if before and before.type == "inline" else "",
            " ".join(said[1].split()) if said else "",
            token.type == "code_block",
        )


def code_lines(text: str) -> set[int]:
    """The numbers, from 1, of the lines of a Markdown text that belong to code blocks."""
    return {line for block in blocks(text) for line in range(block.line, block.end)}


def fenced(text: str) -> str:
    """The same text with fences around its indented blocks, so that they are highlighted."""
    lines = text.splitlines()
    for block in reversed(list(blocks(text))):
        if block.indented:
            first, last = block.line - 1, block.end - 1
            while last > first and not lines[last - 1].strip():
                last -= 1
            indent = min(
                len(line) - len(line.lstrip()) for line in lines[first:last] if line.strip()
            )
            margin = " " * (indent - 4)
            body = [margin + line[indent:] if line.strip() else "" for line in lines[first:last]]
            lines[first:last] = [f"{margin}```{SHELL}", *body, f"{margin}```"]
    return "\n".join(lines) + "\n"
