"""The interface of engines: where the units of many runs are made, in processes or on a cluster.

A unit is a run, which is a command with a folder of its own (`Engine.runs`), or a call of a
function (`Engine.workers`): a trial of a search for options, a range of a campaign's seeds. Results
do not depend on the engine.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import ClassVar, TypeVar

from bfedrec.sweeps.job import Ended, Job
from consensus.registry import LAST, Registry
from consensus.storage.closing import Closing
from consensus.workers import Workers


class Engine(Closing):
    """A means of making units several at a time, open until it is left as a context manager."""

    name: ClassVar[str]
    """The name that the command line uses; registration sets it."""
    meaning: ClassVar[str]
    """The engine in a few words, for the help."""
    addressed: ClassVar[bool] = False
    """True if it can be given an address, as NAME://ADDRESS."""

    def __init__(self, jobs: int | None = None, usual: int = 1, address: str = "") -> None:
        """`jobs`: number of units at a time; None for what is usual: `usual` in processes of this
        machine, the number of processors of a cluster. `address`: empty, or where `addressed`."""
        self.jobs = jobs
        self.usual = usual
        self.address = address

    @property
    @abstractmethod
    def at_once(self) -> int:
        """Number of units that are made at the same time."""

    @abstractmethod
    def runs(self, jobs: Sequence[Job], tell: Callable[[Job, Ended], None]) -> int:
        """Make runs in the given order; call `tell` at the end of each.

        Returns 0, or the exit status of the first run that failed; the others are made all the
        same. At KeyboardInterrupt the runs stop so that they can be resumed.
        """

    @abstractmethod
    def workers(self, threads: int | None = None) -> AbstractContextManager[Workers]:
        """Workers that call functions, with all plugins loaded, until the context is left.

        `threads`: number of threads that a function uses; None for `threads`.
        """

    @property
    @abstractmethod
    def threads(self) -> int | None:
        """Number of threads that a unit is to use; None for all processors."""


ENGINES: Registry[type[Engine]] = Registry("engine")
"""The engines by their names."""

Kind = TypeVar("Kind", bound=type[Engine])


def engine(name: str, place: int = LAST) -> Callable[[Kind], Kind]:
    """A decorator that registers an engine; arguments and errors as of `Registry.register`."""
    return ENGINES.register_named(name, place)
