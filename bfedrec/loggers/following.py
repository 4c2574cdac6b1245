"""Loggers that follow one run: each holds the numbers of metrics.jsonl, no line twice and none
missing.

A run may be killed, cut back to its last block, and continued with other loggers. So nothing is
remembered of what was logged: when a run's first line of this process is there, or it ends, each
logger is asked for its lines. If they are the first lines of the file, the others are added; if
they are not, the logger begins anew.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec

from bfedrec.loggers.logger import Line, Logger, Subject
from bfedrec.loggers.registry import LOGGERS


def missing_library(names: Sequence[str]) -> str:
    """A line about the first of these loggers whose library is not installed; "" if there is
    none."""
    for kind in (LOGGERS[name] for name in names):
        if kind.library and find_spec(kind.library) is None:
            told = f": pip install {kind.extra}" if kind.extra else ""
            return f"{kind.name}: this needs {kind.library}{told}"
    return ""


def numbers(values: Mapping[str, object]) -> Line:
    """The numbers of a line of metrics.jsonl, as loggers hold them."""
    return {
        name: value if name == "height" else float(value)
        for name, value in values.items()
        if isinstance(value, int | float)
    }


class Following:
    """The loggers of a run that goes on."""

    def __init__(
        self,
        names: Sequence[str],
        subject: Callable[[], Subject | None],
        lines: Callable[[], Sequence[Mapping[str, object]]],
    ) -> None:
        """``subject``: the run, None before it has begun; ``lines``: what its metrics.jsonl
        holds."""
        self._names = names
        self._subject = subject
        self._lines = lines
        self._loggers: list[Logger] | None = None
        self.failures: list[str] = []
        """A line about each logger that is left out because of an error."""

    def added(self, values: Mapping[str, object]) -> None:
        """Log a line that has been appended to metrics.jsonl."""
        if self._loggers is None:
            self._open()
        else:
            self._each(lambda logger: logger.add(numbers(values)))

    def close(self, finished: bool) -> None:
        """Log what is missing, if no line came since the start, and release the loggers."""
        if self._loggers is None:
            self._open()
        self._each(lambda logger: logger.close(finished))
        self._loggers = []

    def _open(self) -> None:
        """Bring each logger to the lines of metrics.jsonl."""
        self._loggers = []
        subject = self._subject() if self._names else None
        wanted = [numbers(values) for values in self._lines()] if subject else []
        if subject is None or not wanted:
            return
        self._loggers = [LOGGERS[name](subject) for name in self._names]
        self._each(lambda logger: _bring(logger, wanted))

    def _each(self, act: Callable[[Logger], None]) -> None:
        """Do something with every logger; one that fails is left out from there."""
        for logger in list(self._loggers or ()):
            try:
                act(logger)
            except Exception as error:  # a tracker's library raises what it comes upon
                assert self._loggers is not None
                self._loggers.remove(logger)
                why = " ".join(f"{type(error).__name__}: {error}".split())[:300]
                self.failures.append(f"logger {logger.name} is left out: {why}")


def _bring(logger: Logger, wanted: list[Line]) -> None:
    """Bring a logger to the lines that are wanted."""
    try:
        held = logger.lines()
    except Exception:  # torn by a kill, or damaged
        held = None
    if held is None or held != wanted[: len(held)]:
        logger.clear()
        held = []
    for line in wanted[len(held) :]:
        logger.add(line)
