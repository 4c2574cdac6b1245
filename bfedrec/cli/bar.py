"""Progress bars on standard error, so that standard output holds results alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)


def progress(what: str, *more: ProgressColumn) -> Progress:
    """A bar with its counts, ``more`` columns and the time left; hidden where standard error is no
    terminal."""
    console = Console(stderr=True)
    console.quiet = not console.is_terminal  # rich before 14.3 ends a hidden bar with a line's end
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), *more, TimeRemainingColumn())
    return Progress(*columns, console=console, transient=True, disable=console.quiet)


@contextmanager
def counted(what: str) -> Iterator[Callable[[int, int], None]]:
    """A bar that is shown within the context; yields the function (done, total) that moves it."""
    with progress(what) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
