"""The making of one run in its folder, for the command line and for Python alike."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeAlias

from bfedrec.config.schema import Config
from bfedrec.config.yaml_core import ConfigError
from bfedrec.loggers.following import missing_library
from bfedrec.runs.figures import Figures
from bfedrec.runs.folder import (
    LEARNT,
    RUNS,
    RunError,
    RunFolder,
    default_path,
    finished,
    read_summary,
)
from bfedrec.runs.messages import LACKS_LIBRARY, has_library, is_traced
from bfedrec.runs.progress import Note, Watcher
from bfedrec.runs.same_data import SameData

Show: TypeAlias = Callable[[int, Callable[[str], None], str], AbstractContextManager[Watcher]]
"""Shows a run's progress: takes the number of its rounds, its log and what a round is called, as
`bfedrec.runs.progress.Progress` does."""


class Interrupted(KeyboardInterrupt):
    """Ctrl-C in a run, which its folder can be continued from."""

    def __init__(self, path: Path) -> None:
        super().__init__(str(path))
        self.path = path


@dataclass(frozen=True)
class Made:
    """A run that has been made."""

    path: Path
    """Its folder."""
    summary: Figures
    before: bool
    """True if it was finished already."""
    unlogged: tuple[str, ...] = ()
    """A line about each logger that failed."""


def make(
    config: Config,
    out: Path | None,
    show: Show,
    resume: bool = False,
    ledger: bool = True,
    profile: bool = False,
    trace: bool = False,
) -> Made:
    """Make a run in its folder, or what is left of it, draw its curves, and bring its loggers to
    its metrics.

    ``out``: None for the default folder. ``resume``: as of `RunFolder.open`. ``ledger``: False for
    learning without one. ``profile``: also put the real time by part into the summary. ``trace``:
    also write a message trace. Raises `Interrupted` at Ctrl-C, and what `RunFolder.open`,
    `SameData.check` and `bfedrec.runs.simulation.run` raise.
    """
    if profile and config.method != "federated":
        raise ConfigError(f"command line: --profile: method {config.method} plays no rounds")
    if trace:
        _check_traceable(config, ledger)
    lacking = missing_library(config.loggers)
    if lacking:
        raise ConfigError(f"loggers: {lacking}")
    path = default_path(config, RUNS if ledger else LEARNT) if out is None else out
    with RunFolder.open(config, path, resume, ledger) as folder:
        before = finished(path)
        if trace and before and not is_traced(path):
            raise RunError(f"{path}: finished without --trace: use another --out")
        if before:
            SameData().check(path, config)
            summary = read_summary(path)
        else:
            show = partial(_telling, config.data.unread_files, show)
            play = _profiled if profile else _play
            try:
                summary = play(config, folder, resume, ledger, show, trace)
            except KeyboardInterrupt:
                folder.log("interrupted")
                raise Interrupted(path) from None
            except Exception as error:
                folder.log(f"failed: {error}")
                raise
            folder.write_summary(summary)
        if not before or _lacks_curves(path):
            from bfedrec.report.curves import curves  # slow to load

            curves(path)
    return Made(path, summary, before, tuple(folder.unlogged))


def _lacks_curves(path: Path) -> bool:
    """True for a finished run whose process was ended just before it would have drawn them."""
    return (path / "metrics.jsonl").exists() and not (path / "curves.png").exists()


@contextmanager
def _telling(
    lines: Sequence[str], show: Show, rounds: int, log: Callable[[str], None], unit: str
) -> Iterator[Watcher]:
    """A run's progress, which begins with these lines."""
    with show(rounds, log, unit) as watcher:
        for line in lines:
            watcher.update(Note(line))
        yield watcher


def _check_traceable(config: Config, ledger: bool) -> None:
    """Raise ConfigError for a run without messages between servers, or without the library."""
    if config.method != "federated" or not ledger:
        what = f"method {config.method}" if ledger else "learning without a ledger"
        raise ConfigError(f"command line: --trace: {what} has no messages between servers")
    if not has_library():
        raise ConfigError(f"command line: --trace: {LACKS_LIBRARY}")


def _play(
    config: Config, folder: RunFolder, resume: bool, ledger: bool, show: Show, trace: bool
) -> Figures:
    """The summary of a run that is played to its end. The modules of its method are slow to load,
    and only those are needed."""
    if config.method == "federated":
        if ledger:
            from bfedrec.runs import simulation

            with show(config.rounds, folder.log, "height") as watcher:
                return simulation.run(config, folder, resume, watcher, trace)
        from bfedrec.runs import learning

        with show(config.rounds, folder.log, "round") as watcher:
            return learning.run(config, folder, resume, watcher)
    if not ledger:
        raise ConfigError(
            f"method: {config.method}: has no ledger to leave out: use bfedrec run, which trains it"
        )
    from bfedrec.baselines import centralised

    with show(centralised.epochs(config), folder.log, "epoch") as watcher:
        return centralised.run(config, folder, resume, watcher)


def _profiled(
    config: Config, folder: RunFolder, resume: bool, ledger: bool, show: Show, trace: bool
) -> Figures:
    """The summary of `_play`, with the times of its parts."""
    from bfedrec.runs.profiling import Profile

    with Profile() as profile:
        summary = _play(config, folder, resume, ledger, show, trace)
    return {**summary, **profile.figures()}
