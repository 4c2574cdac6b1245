"""The interface of a logger, and the registry of loggers.

A logger is a class that writes the lines of a run's metrics.jsonl into the store of an experiment
tracker, and reads back what it has there. It stands in a file of `bfedrec.loggers.kinds`, which is
found there, or in a plugin; docs/extending.md shows a whole one. `bfedrec.loggers.following` keeps
a logger equal to the file.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, TypeVar

from consensus.registry import LAST, Registry

Line = Mapping[str, float]
"""The numbers of a line of metrics.jsonl by name; "height" is an integer, all others are floats.
The line's one text, "split", always says "validation" and is not logged."""


@dataclass(frozen=True)
class Subject:
    """The run that is logged."""

    folder: Path
    """Its folder."""
    name: str
    """The folder's name."""
    identity: str
    """32 hex digits that no other run has, and that stay when the run is resumed or its folder is
    moved."""
    options: Mapping[str, str]
    """The options off their defaults, and the seed, by dotted key; values as JSON."""


class Logger(ABC):
    """The record of one run in an experiment tracker.

    Nothing is created before the first `add`. Methods may raise what their library raises: the
    logger is then left out, and the run goes on.
    """

    name: ClassVar[str]
    """The name that configs use; registration sets it."""
    meaning: ClassVar[str]
    """The logger and its place in a few words, for the help."""
    library: ClassVar[str]
    """The module that it imports when it is used; "" for none."""
    extra: ClassVar[str] = ""
    """The words after ``pip install`` that bring this module."""

    def __init__(self, subject: Subject) -> None:
        self.subject = subject

    @abstractmethod
    def lines(self) -> list[Line]:
        """The lines that the tracker has of this run, by height; empty if it has none."""

    @abstractmethod
    def clear(self) -> None:
        """Remove what the tracker has of this run, readable or not."""

    @abstractmethod
    def add(self, line: Line) -> None:
        """Write a line; it is stored when this returns."""

    @abstractmethod
    def close(self, finished: bool) -> None:
        """Release the tracker. ``finished``: True if the run has come to its end."""


Kind = TypeVar("Kind", bound=type[Logger])

LOGGERS: Registry[type[Logger]] = Registry("logger")


def logger(name: str, place: int = LAST) -> Callable[[Kind], Kind]:
    """A decorator that registers a logger under the name that configs use; ``place`` as in
    `Registry.register`. Raises ValueError for a name that is taken or malformed."""
    return LOGGERS.register_named(name, place)
