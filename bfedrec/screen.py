"""Rich's console on standard output, as commands and runs print on it."""

from __future__ import annotations

from typing import Any, NoReturn

from rich.console import Console


class Screen(Console):
    """A console whose reader may leave: a BrokenPipeError tells of it, as `print` does.

    Rich would end the program with status 1, which of a check says that it failed.
    """

    def on_broken_pipe(self) -> NoReturn:
        """Tell that nobody reads on."""
        raise BrokenPipeError


def screen(width: int, **options: Any) -> Screen:
    """A console on standard output. A file or a pipe has no width to fit: in it rows have room for
    ``width`` letters, so that they stay whole. ``options``: of `rich.console.Console`."""
    console = Screen(**options)
    return console if console.is_terminal else Screen(width=width, **options)
