"""`run` and `learn`: an experiment from Python, to a `Run`."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bfedrec.api.finished import Run
from bfedrec.api.making import Interrupted, make
from bfedrec.api.notebook import display_of
from bfedrec.api.options import Source, read_config
from bfedrec.api.watching import Callback, StopRun, Watch
from bfedrec.runs.folder import LEARNT, RUNS, default_path
from bfedrec.runs.progress import Watcher


def run(
    config: Source,
    *overrides: str,
    out: str | Path | None = None,
    progress: bool = True,
    callbacks: Sequence[Callback] = (),
    profile: bool = False,
    trace: bool = False,
    **options: Any,
) -> Run:
    """Make a run on the simulated ledger, and return it.

    A run that is in its folder already is returned as it is, and an unfinished one is continued, so
    a notebook may be executed again. ``config``, ``overrides``, ``options``: as of `read_config`.
    ``out``: the run's folder, by default results/runs/NAME-HASH-sSEED. ``progress``: False shows
    nothing. ``callbacks``: called between rounds; one that raises `StopRun` ends the run there.
    ``profile``: also put the real time by part into the summary. ``trace``: also write a message
    trace (`Run.trace`).

    Raises `bfedrec.config.yaml_core.ConfigError` for an option that is wrong,
    `bfedrec.data.interactions.DataError` for data that cannot be read, and what
    `bfedrec.api.making.make` raises, all with one line that says what to do.
    """
    found = read_config(config, *overrides, **options)
    return _made(found, out, progress, callbacks, profile=profile, trace=trace)


def learn(
    config: Source,
    *overrides: str,
    out: str | Path | None = None,
    progress: bool = True,
    callbacks: Sequence[Callback] = (),
    **options: Any,
) -> Run:
    """Play a run's rounds without its ledger, which is faster, and return the result.

    As `run`, in a folder of results/learnt. It has no chain, no simulated time and no bytes but
    the payloads'.
    """
    found = read_config(config, *overrides, **options)
    return _made(found, out, progress, callbacks, ledger=False)


def _made(
    config: Any,
    out: str | Path | None,
    progress: bool,
    callbacks: Sequence[Callback],
    *,
    ledger: bool = True,
    **more: bool,
) -> Run:
    """The run of a config. ``more``: ``profile`` and ``trace``, as of `make`."""
    path = default_path(config, RUNS if ledger else LEARNT) if out is None else Path(out)

    @contextmanager
    def show(rounds: int, log: Callable[[str], None], unit: str) -> Iterator[Watcher]:
        with display_of(rounds, log, unit, progress) as display:
            yield Watch(display, callbacks)

    try:
        made = make(config, path, show, resume=True, ledger=ledger, **more)
        for line in made.unlogged:
            warnings.warn(f"{line}; the same call tries again", stacklevel=3)
    except StopRun:
        pass
    except Interrupted as stopped:
        raise KeyboardInterrupt(f"interrupted; the same call continues {stopped.path}") from None
    return Run(path)
