"""Callbacks: what a program has called while a run goes on, and how it can stop it."""

from __future__ import annotations

from collections.abc import Sequence

from bfedrec.runs.progress import (
    EpochDone,
    Evaluated,
    Event,
    RoundDone,
    RoundLearnt,
    Watcher,
)


class StopRun(Exception):
    """Raised by a callback: the run ends where it is, and can be continued from there.

    A run that is to end by its own scores, the same way every time, has `evaluation.patience`.
    """


class Callback:
    """The events of a run, each a method that does nothing unless it is overridden.

    The methods are called between rounds, in the thread that plays them. They only observe: what
    they do changes no result.
    """

    def on_round(self, event: RoundDone | RoundLearnt | EpochDone) -> None:
        """Called when a round has its block, or without a ledger its aggregate; of a centralised
        method, after an epoch."""

    def on_evaluation(self, event: Evaluated) -> None:
        """Called when the model has been scored; ``event.figures`` has the means by printed name,
        as "HR@10"."""


class Watch:
    """A display of progress that also calls callbacks."""

    def __init__(self, display: Watcher, callbacks: Sequence[Callback]) -> None:
        self._display = display
        self._callbacks = callbacks

    def update(self, event: Event) -> None:
        """Show an event, and call the callbacks with it."""
        self._display.update(event)
        for callback in self._callbacks:
            match event:
                case RoundDone() | RoundLearnt() | EpochDone():
                    callback.on_round(event)
                case Evaluated():
                    callback.on_evaluation(event)
