"""The display of a run's progress where the program runs: a terminal, a file, or a notebook."""

from __future__ import annotations

import time
from collections.abc import Callable
from html import escape
from typing import Any

from rich.console import Console

from bfedrec.runs.progress import Event, Progress

EVERY = 0.5
"""Seconds between two pictures in a notebook."""
WIDTH = 40
"""Characters of the bar."""


def display_of(rounds: int, log: Callable[[str], None], unit: str, shown: bool) -> Progress:
    """The display for this program; not ``shown``, it only writes the log. Other arguments as of
    `Progress`."""
    if not shown:
        return Progress(rounds, log, console=_silent(), unit=unit)
    notebook = _notebook()
    if notebook is None:
        return Progress(rounds, log, unit=unit)
    return NotebookProgress(notebook, rounds, log, unit)


def _silent() -> Console:
    return Console(quiet=True, force_terminal=False, force_jupyter=False)


def _notebook() -> Any:
    """IPython's function that shows something in a cell; None outside of a notebook."""
    console = Console()
    if not console.is_jupyter:
        return None
    from IPython.display import display

    return display


class NotebookProgress(Progress):
    """One output of a cell that is replaced while the run goes on; it needs no widgets."""

    def __init__(
        self,
        show: Callable[..., Any],
        rounds: int,
        log: Callable[[str], None],
        unit: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``show``: IPython's `display`."""
        super().__init__(rounds, log, console=_silent(), clock=clock, unit=unit)
        self._handle = show(self._picture(), display_id=True)
        self._seconds = clock
        self._shown = clock()

    def update(self, event: Event) -> None:
        """Show an event."""
        super().update(event)
        if self._seconds() - self._shown >= EVERY:
            self._show()

    def __exit__(self, *exception: object) -> None:
        super().__exit__(*exception)
        self._show()

    def _show(self) -> None:
        self._shown = self._seconds()
        self._handle.update(self._picture())

    def _picture(self) -> Picture:
        done = round(WIDTH * self._height / self._rounds)
        return Picture(f"{'█' * done}{'░' * (WIDTH - done)}\n{self.status()}")


class Picture:
    """A text as notebooks show it, and elsewhere."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text

    def _repr_html_(self) -> str:
        return f"<pre style='white-space:pre-wrap'>{escape(self.text)}</pre>"
