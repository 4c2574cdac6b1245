"""The display of a run's progress: live on a terminal, plain lines elsewhere, and the log.

It only observes. The wall clock is read here, for speeds and the time left, and used nowhere else.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from rich.console import Console, Group
from rich.filesize import decimal
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from bfedrec.runs.sparkline import WIDEST, Trend, lines_of, marks_for
from bfedrec.screen import Screen


@dataclass(frozen=True)
class RoundDone:
    """Event: a height has its block."""

    height: int
    clients: int
    """Number of clients that trained in this round."""
    attempts: int
    """Number of committees that this height took."""
    simulated_seconds: float
    """Simulated time in seconds."""
    traffic: int
    """Bytes of the height: up, down and between servers."""


@dataclass(frozen=True)
class RoundLearnt:
    """Event: a round without a ledger is done."""

    height: int
    clients: int
    """Number of clients that trained in this round."""
    traffic: int
    """Bytes of the round's payloads, up and down."""


@dataclass(frozen=True)
class EpochDone:
    """Event: a centralised method has finished an epoch."""

    epoch: int
    samples: int
    """Number of samples of the epoch."""


@dataclass(frozen=True)
class Evaluated:
    """Event: the model has been scored on held-out items."""

    height: int
    split: str
    """"validation" or "test"."""
    figures: Mapping[str, float]
    """The means by their printed names, as "HR@10"."""

    def told(self) -> list[str]:
        """Each figure as a person reads it: "HR@10 0.5124"."""
        return [f"{name} {value:.4f}" for name, value in self.figures.items()]


@dataclass(frozen=True)
class Note:
    """Event: a line to be shown once."""

    text: str


Event = RoundDone | RoundLearnt | EpochDone | Evaluated | Note


class Watcher(Protocol):
    """Whoever is told of a run's events."""

    def update(self, event: Event) -> None:
        """Take notice of an event."""


class Progress:
    """The display of one run; a context manager that restores the terminal at its end.

    `log` gets every printed line, and every evaluation. If the output is no terminal, a line is
    printed for each evaluation, and after `every` seconds without one. `unit` names what `rounds`
    counts: "height" with a chain, else "round" or "epoch".
    """

    def __init__(
        self,
        rounds: int,
        log: Callable[[str], None],
        console: Console | None = None,
        every: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
        unit: str = "height",
    ) -> None:
        self._rounds = rounds
        self._unit = unit
        self._log = log
        self._console = console or Screen()
        self._every = every
        self._clock = clock
        self._height = 0
        self._paced_from: tuple[float, int] | None = None
        """Time and height after the first round or epoch here, which compiles kernels and is left
        out of speeds."""
        self._learners = 0
        """Clients that trained since then, or samples of epochs."""
        self._attempts = 0
        self._simulated = 0.0
        self._score: Evaluated | None = None
        self._scores: list[float] = []
        """The first figure of every evaluation on validation items."""
        self._attempts_each: deque[int] = deque(maxlen=WIDEST)
        self._traffic_each: deque[int] = deque(maxlen=WIDEST)
        self._printed = clock()
        self._live: Live | None = None
        if self._console.is_terminal and not self._console.is_dumb_terminal:
            self._live = Live(
                get_renderable=self._display,
                console=self._console,
                refresh_per_second=4,
                transient=True,
            )

    def __enter__(self) -> Progress:
        self._printed = self._clock()
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *exception: object) -> None:
        if self._live is not None:
            self._live.stop()

    def update(self, event: Event) -> None:
        """Show an event."""
        match event:
            case RoundDone():
                self._advance(event.height, event.clients)
                self._attempts += event.attempts
                self._attempts_each.append(event.attempts)
                self._traffic_each.append(event.traffic)
                self._simulated = event.simulated_seconds
                self._line_when_due()
            case RoundLearnt():
                self._advance(event.height, event.clients)
                self._traffic_each.append(event.traffic)
                self._line_when_due()
            case EpochDone():
                self._advance(event.epoch, event.samples)
                self._line_when_due()
            case Evaluated():
                self._score = event
                if event.split == "validation":
                    self._scores.extend(list(event.figures.values())[:1])
                self._height = max(self._height, event.height)
                self._line(self.status())
            case Note():
                self._line(event.text, always=True)

    def _advance(self, height: int, learners: int) -> None:
        self._height = height
        if self._paced_from is None:
            self._paced_from = self._clock(), height
        else:
            self._learners += learners

    def status(self) -> str:
        """The progress of the run, as one line."""
        parts = [f"{self._unit} {self._height}/{self._rounds}"]
        if self._score is not None:
            score = self._score
            where = f"{score.split} ({self._unit} {score.height})"
            if score.height == self._height:
                where = score.split
            parts.append(" ".join([where, *score.told()]))
        parts += self._pace()
        return "  ".join(parts)

    def _pace(self) -> list[str]:
        began, first = self._paced_from or (self._clock(), self._height)
        seconds, done = self._clock() - began, self._height - first
        parts = []
        if seconds > 0 and self._learners:
            learners = "samples" if self._unit == "epoch" else "clients"
            parts.append(f"{self._learners / seconds:,.0f} {learners}/s")
        if self._unit == "height":
            parts += [f"simulated {duration(self._simulated)}", f"attempts {self._attempts}"]
        left = self._rounds - self._height
        if left and done:
            parts.append(f"ETA {duration(seconds / done * left)}")
        return parts

    def _line_when_due(self) -> None:
        if self._clock() - self._printed >= self._every:
            self._line(self.status())

    def _line(self, text: str, always: bool = False) -> None:
        self._printed = self._clock()
        self._log(text)
        if self._live is None or always:
            self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def _display(self) -> Group:
        bar = Table.grid(padding=(0, 1))
        bar.add_row(
            Text(f"{self._unit} {self._height}/{self._rounds}", style="bold"),
            ProgressBar(total=self._rounds, completed=self._height, width=40),
        )
        score = Text("not scored yet", style="dim")
        if self._score is not None:
            found = self._score
            score = Text.assemble(
                f"{found.split} ",
                ("  ".join(found.told()), "bold cyan"),
                f"  at {self._unit} {found.height}",
            )
        marks = marks_for(self._console.encoding)
        trends = lines_of(self._trends(), self._console.width, marks)
        return Group(bar, score, Text("  ".join(self._pace())), *map(Text, trends))

    def _trends(self) -> list[Trend]:
        """The course of validation over the run, and of attempts and bytes over the latest
        heights."""
        score = next(iter(self._score.figures), "") if self._score else ""
        scores, attempts, traffic = self._scores, self._attempts_each, self._traffic_each
        return [
            Trend(score, scores, f"{scores[-1]:.4f}" if scores else "", whole=True),
            Trend("attempts", attempts, f"{attempts[-1]}" if attempts else ""),
            Trend("bytes", traffic, decimal(traffic[-1]) if traffic else ""),
        ]


def duration(seconds: float) -> str:
    """A duration for people: 4.2 s, 3m05s, 2h05m, 3d04h."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    minutes, hours, days = whole // 60, whole // 3600, whole // 86400
    if hours == 0:
        return f"{minutes}m{whole % 60:02d}s"
    return f"{hours}h{minutes % 60:02d}m" if days == 0 else f"{days}d{hours % 24:02d}h"
