"""The interface of a data set, from its files to interactions, and the registry of data sets.

A data set that others published is a class with a record of its files and counts (`Catalogued`) and
a reader; docs/extending.md shows a whole one. It stands in a file of `bfedrec.data.sets`, which is
found there, or in a plugin.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar, Literal, TypeVar

from pydantic import ConfigDict

from bfedrec.data.entry import CatalogueEntry
from bfedrec.data.files import Files
from bfedrec.data.interactions import Interactions
from bfedrec.data.split import Split
from bfedrec.section import Section
from consensus.registry import LAST, Registry


class DataSource(Section, ABC):
    """A source of interactions."""

    # Callers in Python give paths as text.
    model_config = ConfigDict(strict=False)

    name: ClassVar[str]
    """The name that configs use; registration sets it."""
    meaning: ClassVar[str] = ""
    """The source in a few words, for the help and `bfedrec data list`."""
    by_content: ClassVar[tuple[str, ...]] = ()
    """Options of its own that name a file: the file counts by its content, not by its name."""

    @classmethod
    def summary(cls) -> str:
        """The source in a few words, for the help."""
        return cls.meaning

    @classmethod
    def variants(cls) -> tuple[str, ...]:
        """The values of `data.variant` that make a difference to it."""
        return ()

    def minimum(self) -> int:
        """The number of interactions below which a user is dropped."""
        return 1

    def files(self, source: Path | None) -> Files:
        """The files to read, for a source that is not looked for by a record; ``source`` is the
        place that a command names. Raises `DataError` for a missing one."""
        return Files("generated", {})

    @abstractmethod
    def read(self, files: Files, seed: int) -> Interactions:
        """Read the interactions. ``seed`` is `data.seed`, for a source that draws them.

        Raises `DataError`, in one line, for files that are not what they should be.
        """

    def merged(self, interactions: Interactions, earliest: bool) -> Interactions:
        """The rows that `read` gave with repeated pairs merged, for a source that leaves this to
        the split: ``earliest`` says which row of a pair stays. Raises `DataError`."""
        return interactions

    def split(self, seed: int, validation: Literal["hold_out", "train"]) -> Split | None:
        """The split, of a source that makes it without all rows at once in memory; None for one
        whose rows `read` gives. ``seed`` and ``validation`` are those of the section `data`."""
        return None


class Catalogued(DataSource):
    """A data set that others published: its files are found, or downloaded, by its record."""

    entry: ClassVar[CatalogueEntry]
    """The record of its files and counts."""
    needs_tests: ClassVar[bool] = False
    """True if the interactions are incomplete without the published test items."""

    @classmethod
    def summary(cls) -> str:
        return cls.entry.title

    @classmethod
    def variants(cls) -> tuple[str, ...]:
        return tuple(cls.entry.variants)

    def minimum(self) -> int:
        return self.entry.min_interactions


DATA_SETS: Registry[type[DataSource]] = Registry("data set")

TAKEN = ("dataset", "variant", "split", "temporal", "test", "validation", "seed")
"""Options of the data section, beside which stand the sections of data sets by their names."""

Kind = TypeVar("Kind", bound=type[DataSource])


def data_set(name: str, place: int = LAST) -> Callable[[Kind], Kind]:
    """Register a data set under the name that configs, commands and prepared files use, at this
    place in lists.

    Raises ValueError for a name that is taken or malformed, and for a published data set whose
    record has no official layout with interactions.
    """
    if name in TAKEN:
        raise ValueError(f"data set {name!r}: data.{name} is an option of every data set")
    add = DATA_SETS.register_named(name, place)

    def decorate(kind: Kind) -> Kind:
        if issubclass(kind, Catalogued):
            for layout in ("official", *kind.entry.layouts):
                if layout not in kind.entry.layouts:
                    raise ValueError(f"data set {name!r}: its record has no layout {layout!r}")
                if "interactions" not in kind.entry.layouts[layout].files:
                    raise ValueError(f"data set {name!r}: layout {layout!r} has no interactions")
        return add(kind)

    return decorate
