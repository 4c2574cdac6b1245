"""All runs and sweeps below a folder, with their states and key figures.

A folder is a run if it has one of a run's files, and a sweep if it has a sweep's table or lines.
The walk through the folders is bounded, follows no link and opens nothing but regular files. What
was read of a folder is kept until the time, size or inode of one of its files changes: a second
look reads what changed and no more.
"""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path
from typing import Any, Final

from bfedrec.config.yaml_core import MOST_BYTES
from bfedrec.explorer import sweeps
from bfedrec.explorer.glance import Glance, glance
from bfedrec.explorer.locks import Locks
from bfedrec.explorer.places import Places
from bfedrec.explorer.reading import (
    figures_in,
    json_object,
    last_line,
    read_file,
    read_object,
    showable,
)
from bfedrec.runs.figures import LEDGER, NO_LEDGER, Figures, Stop, count
from bfedrec.runs.folder import CHAIN, MOST_JSON, RunError
from bfedrec.runs.holding import LOCK

DEEPEST: Final = 8
"""Deepest folder that is looked into, below the one that is served."""
MOST_ENTRIES: Final = 100_000
"""Most files and folders that a look passes; beyond, the list is cut, and says so."""
LAST_LINE: Final = 2**16
"""Bytes at the end of a file of lines in which the last one is sought; one has about a thousand."""

SUMMARY: Final = "summary.json"
STOPPED: Final = "stopped.json"
METRICS: Final = "metrics.jsonl"
TIMELINE: Final = "timeline.jsonl"
OF_A_RUN: Final = ("config.yaml", "manifest.json", SUMMARY, STOPPED, METRICS, CHAIN)
"""Files of which each makes a folder a run."""
OF_A_SWEEP: Final = (sweeps.TABLE, sweeps.LINES, sweeps.COMPACT)
LOOKED_AT: Final = frozenset({*OF_A_RUN, *OF_A_SWEEP, TIMELINE, LOCK})

Stats = Mapping[str, os.stat_result]
"""The status of those of a folder's files that matter, by name."""
Stamp = tuple[tuple[str, int, int, int], ...]
"""Name, time of change (ns), size and inode of each of them."""


class State(Enum):
    """The state of a run."""

    RUNNING = "running"
    """A process holds its folder."""
    STOPPED = "stopped"
    """Its servers could not agree on another block."""
    DONE = "done"
    INTERRUPTED = "interrupted"
    """Neither done nor stopped, and no process holds it."""
    IMPORTED = "imported"
    """A chain alone, which another machine's run left."""
    BROKEN = "broken"
    """Some file cannot be read."""


@dataclass(frozen=True)
class Run:
    """A run, as far as a list shows it."""

    address: str
    state: State
    told: str = ""
    """One line: why it stopped, what is broken."""
    options: Glance = field(default_factory=Glance)
    config_hash: str = ""
    """The hash in its manifest; empty without one."""
    ledger: bool = True
    """False for what was learnt without one, and for baselines."""
    done: int = 0
    """Rounds or epochs so far."""
    figures: Figures = field(default_factory=dict)
    """Of its summary; before its end those of the last line of its metrics."""
    changed: float = 0.0
    """When its files last changed, in seconds since 1970."""
    addressable: bool = True
    """False for a folder whose name cannot be shown."""

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.address.rpartition("/")[2]

    @property
    def ended(self) -> bool:
        """True if its figures are those of test items at its end."""
        return self.state is State.DONE or (self.state is State.STOPPED and bool(self.figures))

    def metric(self, name: str) -> float | None:
        """The metric ``name`` at the config's K, as "full_hr"; None if it was not computed."""
        return self.number(f"{name}@{self.options.k}")

    def number(self, *names: str) -> float | None:
        """The first of these figures that the run has as a number; None without any."""
        found = (self.figures.get(name) for name in names)
        return next((value for value in found if isinstance(value, int | float)), None)

    @property
    def client_bytes(self) -> float | None:
        """Bytes between clients and servers, up and down; payloads alone without a ledger."""
        up = self.number("uplink_bytes", "uplink_payload_bytes")
        down = self.number("downlink_bytes", "broadcast_payload_bytes")
        return None if up is None or down is None else up + down


@dataclass(frozen=True)
class SweepFolder:
    """A sweep, as far as a list shows it."""

    address: str
    told: str = ""
    """One line: what is broken; empty for a sound one."""
    settings: int = 0
    runs: int = 0
    """Runs that its table or lines tell of."""
    changed: float = 0.0
    addressable: bool = True

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.address.rpartition("/")[2]


@dataclass(frozen=True)
class Listing:
    """All that was found."""

    runs: tuple[Run, ...]
    sweeps: tuple[SweepFolder, ...]
    cut: bool
    """True if there is more than is looked through."""


@dataclass
class _Budget:
    """The files and folders that a look may still pass."""

    left: int = field(default_factory=lambda: MOST_ENTRIES)
    cut: bool = False


class Catalogue:
    """The runs and sweeps below a folder. Safe to use from several threads."""

    def __init__(self, places: Places) -> None:
        """``places``: the folder; it may itself be a run or a sweep."""
        self.places = places
        self._kept: dict[tuple[str, str], tuple[Stamp, Any]] = {}
        """All that was read, with the stamp of its folder then, by address and kind."""
        self._lock = threading.Lock()

    @property
    def _top(self) -> str:
        """The address of the folder itself: empty, or its name if it is a run or a sweep."""
        return self.places.root.name if self.places.single else ""

    def look(self) -> Listing:
        """The present state of all."""
        with self._lock:
            locks, budget = self.locks(), _Budget()
            runs: list[Run] = []
            found_sweeps: list[SweepFolder] = []
            seen: dict[tuple[str, str], tuple[Stamp, Any]] = {}
            for folder, address, stats in _folders(self.places.root, self._top, 0, budget):
                is_run = not stats.keys().isdisjoint(OF_A_RUN)
                is_sweep = not stats.keys().isdisjoint(OF_A_SWEEP)
                if is_sweep:
                    found_sweeps.append(
                        self._keeping(seen, "sweep", folder, address, stats, _sweep)
                    )
                elif is_run:
                    run = self._keeping(seen, "run", folder, address, stats, _run)
                    runs.append(_with_state(run, stats, locks))
            self._kept = seen
            return Listing(tuple(runs), tuple(found_sweeps), budget.cut)

    def locks(self) -> Locks:
        """The locks that are held now, for several runs at once."""
        return Locks.now(self.places.root)

    def run(self, address: str, locks: Locks | None = None) -> Run:
        """The run of an address; raises `RunError` if there is none."""
        folder = self.places.find(address)
        stats = _stats(folder)
        if stats.keys().isdisjoint(OF_A_RUN):
            raise RunError("no run: its folder has none of a run's files")
        with self._lock:
            run = self._keeping(self._kept, "run", folder, address, stats, _run)
        return _with_state(run, stats, locks or self.locks())

    def sweep(self, address: str) -> SweepFolder:
        """The sweep of an address; raises `RunError` if there is none."""
        folder = self.places.find(address)
        stats = _stats(folder)
        if stats.keys().isdisjoint(OF_A_SWEEP):
            raise RunError("no sweep: its folder has neither table nor lines of one")
        with self._lock:
            return self._keeping(self._kept, "sweep", folder, address, stats, _sweep)

    def _keeping(
        self,
        kept: dict[tuple[str, str], tuple[Stamp, Any]],
        kind: str,
        folder: Path,
        address: str,
        stats: Stats,
        read: Callable[[Path, str, Stats], Any],
    ) -> Any:
        """The facts of a folder, read only if it changed; entered into ``kept``."""
        stamp = _stamp(stats)
        known = self._kept.get((kind, address))
        if known is None or known[0] != stamp:
            known = stamp, read(folder, address, stats)
        kept[kind, address] = known
        return known[1]


# -- the walk --------------------------------------------------------------------------------------


def _folders(
    folder: Path, address: str, depth: int, budget: _Budget
) -> Iterator[tuple[Path, str, Stats]]:
    """Every folder below one, itself first, with the status of the files that matter, by name.

    There are no runs inside of a run: it is not looked into.
    """
    below, stats = [], {}
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                budget.left -= 1
                if budget.left < 0:
                    budget.cut = True
                    break
                if entry.name in LOOKED_AT:
                    stats[entry.name] = entry.stat(follow_symlinks=False)
                elif not entry.name.startswith(".") and entry.is_dir(follow_symlinks=False):
                    below.append(entry.name)
    except OSError:
        pass  # it went away, or is not ours to read
    yield folder, address, stats
    is_run = not stats.keys().isdisjoint(OF_A_RUN) and stats.keys().isdisjoint(OF_A_SWEEP)
    if is_run or (below and depth == DEEPEST):
        budget.cut |= not is_run
        return
    for name in sorted(below):
        if budget.left <= 0:
            return
        yield from _folders(
            folder / name, f"{address}/{name}" if address else name, depth + 1, budget
        )


def _stats(folder: Path) -> Stats:
    """The status of the files that matter in a folder."""
    found = {}
    for name in LOOKED_AT:
        try:
            found[name] = (folder / name).lstat()
        except OSError:
            continue
    return found


def _stamp(stats: Stats) -> Stamp:
    return tuple(
        sorted((name, each.st_mtime_ns, each.st_size, each.st_ino) for name, each in stats.items())
    )


# -- reading ---------------------------------------------------------------------------------------


def _run(folder: Path, address: str, stats: Stats) -> Run:
    """A run without the lock's part of its state."""
    changed = max(each.st_mtime for each in stats.values())
    if not all(map(showable, address.split("/"))):
        told = "a name with characters that cannot be shown: rename the folder"
        return Run(address, State.BROKEN, told, changed=changed, addressable=False)
    found = Run(address, State.INTERRUPTED, changed=changed)
    try:
        odd = next((name for name, each in stats.items() if not stat.S_ISREG(each.st_mode)), None)
        if odd is not None:
            raise RunError(f"{odd}: not a regular file")
        if set(stats) <= {CHAIN, LOCK}:
            return replace(found, state=State.IMPORTED)
        if "config.yaml" not in stats:
            raise RunError("no run: it has no config.yaml")
        text = read_file(folder / "config.yaml", MOST_BYTES)
        found = replace(found, options=glance(text.decode()))
        return _with_figures(_with_manifest(found, folder, stats), folder, stats)
    except (RunError, UnicodeDecodeError, FileNotFoundError) as error:
        told = "config.yaml: not a text in UTF-8" if isinstance(error, ValueError) else str(error)
        return replace(found, state=State.BROKEN, told=" ".join(told.split())[:300])


def _with_manifest(run: Run, folder: Path, stats: Stats) -> Run:
    if "manifest.json" not in stats:
        return run
    manifest = read_object(folder, "manifest.json")
    told = manifest.get("config_hash")
    ledger = manifest.get(LEDGER) != NO_LEDGER and bool(run.options.protocol)
    return replace(run, config_hash=told if isinstance(told, str) else "", ledger=ledger)


def _with_figures(run: Run, folder: Path, stats: Stats) -> Run:
    for name in (SUMMARY, STOPPED):
        if name in stats:
            figures = figures_in(read_file(folder / name, MOST_JSON), name)
            done = figures.get("rounds", figures.get("epochs", 0))
            found = replace(run, figures=figures, done=done if isinstance(done, int) else 0)
            if name == SUMMARY:
                return replace(found, state=State.DONE)
            try:
                stop = Stop.of(figures)
            except (KeyError, ValueError) as error:
                raise RunError(f"{STOPPED}: not a stopped run: {error}") from None
            told = f"{stop.outcome} at height {stop.height}: {stop.because}"
            return replace(found, state=State.STOPPED, told=told)
    heights = [0]
    for name in (METRICS, TIMELINE):
        line = last_line(folder / name, LAST_LINE) if stats.get(name) else None
        if line is not None and name == METRICS:
            run = replace(run, figures=figures_in(line, f"{name}, last line"))
            heights.append(_height(run.figures))
        elif line is not None:
            heights.append(_height(_lenient(line)))
    return replace(run, done=max(heights))


def _lenient(line: bytes) -> Mapping[str, object]:
    """The JSON object in a line, empty for anything else: only its height is wanted."""
    try:
        return json_object(line, TIMELINE)
    except RunError:
        return {}


def _height(values: Mapping[str, object]) -> int:
    try:
        return count(values, "height")
    except ValueError:
        return 0


def _with_state(run: Run, stats: Stats, locks: Locks) -> Run:
    """The run, with the state that its lock tells."""
    lock = stats.get(LOCK)
    open_end = run.state in (State.INTERRUPTED, State.STOPPED)
    if open_end and lock is not None and locks.holds(lock, run.changed):
        return replace(run, state=State.RUNNING, told="")
    return run


def _sweep(folder: Path, address: str, stats: Stats) -> SweepFolder:
    changed = max(each.st_mtime for each in stats.values())
    if not all(map(showable, address.split("/"))):
        told = "a name with characters that cannot be shown: rename the folder"
        return SweepFolder(address, told, changed=changed, addressable=False)
    try:
        settings = runs = 0
        if sweeps.COMPACT in stats:
            runs = sweeps.count_compact(folder)
        if sweeps.TABLE in stats:
            table = sweeps.read_table(folder)
            settings = len(table.settings)
            runs = max(runs, sum(len(each.runs) + len(each.stops) for each in table.settings))
        return SweepFolder(address, "", settings, runs, changed)
    except (RunError, FileNotFoundError) as error:
        return SweepFolder(address, " ".join(str(error).split())[:300], changed=changed)
