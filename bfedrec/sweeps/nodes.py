"""The side of a node: what an engine on other machines has them do, without the engine's library.

A node makes a run in its own process by the same command line as a process of this machine would.
Where it sees the run's folder it works there; else in a folder of its own, at a place that depends
on the run alone, so that another try on the same node resumes; the files are then fetched in parts.
"""

from __future__ import annotations

import hashlib
import importlib
import io
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO, Any

from bfedrec.config.load import parse
from bfedrec.data.interactions import DataError
from bfedrec.data.prepare import at_hand
from bfedrec.files import write_text
from bfedrec.plugins import load_plugins
from bfedrec.runs.folder import RunError
from bfedrec.runs.holding import held
from consensus.workers import Unit

ROOT = Path(__file__).resolve().parents[2]
PART_BYTES = 8 * 2**20
"""Most bytes of a file that are fetched at a time."""
MOST_ERRORS = 2**16
"""Most bytes of a run's standard error that are kept: its end."""
PATIENCE = 60.0
"""Seconds to wait for a run's folder to be free: on a node that was lost, a process that works in
it may live on for a moment."""
DATA = "BFEDREC_DATA"


@dataclass(frozen=True)
class Order:
    """A run as a node is to make it."""

    config: str
    """The text of its config, whole."""
    words: tuple[str, ...]
    """The words of the command that makes it where it was ordered; the manifest tells them."""
    path: Path
    """Its folder, absolute, where it was ordered."""
    mark: str
    """Name of a file beside that folder, by which a node knows that it sees it."""
    here: Path
    """The folder in which it was ordered, to which paths of data are relative."""
    data: str
    """The folder of data sets where it was ordered, for nodes without their own; may be empty."""
    client: str
    """The machine on which it was ordered."""
    source: str
    """`source_digest` where it was ordered."""


@dataclass(frozen=True)
class Made:
    """The end of a run on a node."""

    path: Path
    """Its folder where it was ordered."""
    status: int
    """The exit status of its command."""
    seconds: float
    errors: str
    """The end of what it wrote to standard error."""
    node: str
    """The node's identifier."""
    folder: Path | None
    """Its folder on the node; None if that is the one where it was ordered."""
    files: tuple[tuple[str, int], ...] = ()
    """Name and bytes of each of its files, if they have to be fetched."""


@cache
def source_digest() -> str:
    """The sha256 (hex) of this program's source: two nodes with one digest compute the same."""
    digest = hashlib.sha256()
    for package in ("bfedrec", "consensus"):
        for path in sorted((ROOT / package).rglob("*.py")):
            content = path.read_bytes()
            digest.update(f"{path.relative_to(ROOT).as_posix()} {len(content)}\n".encode())
            digest.update(content)
    return digest.hexdigest()


def check_source(expected: str) -> None:
    """Raise `RunError` if this node has other source than the one where work was ordered."""
    if source_digest() != expected:
        raise RunError(
            f"{os.uname().nodename}: its bfedrec is another than here (source "
            f"{source_digest()[:8]}, not {expected[:8]}): install the same on all nodes"
        )


def lacking(configs: Sequence[str], here: Path, data: str) -> list[str]:
    """A line for each of these configs, given as text, whose data this node has not at hand."""
    told = []
    with _surroundings(here, data):
        for config in configs:
            settings = parse(config, "config").data
            try:
                if not at_hand(settings):
                    told.append(f"{settings.dataset} is not at hand (bfedrec data prepare)")
            except DataError as error:
                told.append(str(error))
    return told


def call(unit: Unit, source: str, here: Path, data: str) -> Any:
    """The result of a unit, with all plugins loaded; raises what its function raises."""
    check_source(source)
    load_plugins()
    with _surroundings(here, data):
        return unit.call()


# -- runs ------------------------------------------------------------------------------------------


def make_run(order: Order, node: str) -> Made:
    """Make a run, or what is left of it, in this process."""
    began = time.monotonic()
    shared = (order.path.parent / order.mark).is_file()
    folder = order.path if shared else _own_folder(order)
    with tempfile.TemporaryFile() as kept:
        with io.TextIOWrapper(os.fdopen(os.dup(kept.fileno()), "wb"), errors="replace") as errors:
            try:
                check_source(order.source)
                status = _command(order, folder, errors)
            except RunError as error:
                status = _told(error, errors)
            except Exception:
                traceback.print_exc(file=errors)
                status = 1
        kept.seek(max(0, kept.seek(0, os.SEEK_END) - MOST_ERRORS))
        told = kept.read().decode(errors="replace")
    seconds = time.monotonic() - began
    if shared:
        return Made(order.path, status, seconds, told, node, None)
    files = tuple(
        (path.relative_to(folder).as_posix(), path.stat().st_size)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    )
    return Made(order.path, status, seconds, told, node, folder, files)


def read_part(path: Path, offset: int) -> bytes:
    """At most `PART_BYTES` of a file, from an offset."""
    with path.open("rb") as file:
        file.seek(offset)
        return file.read(PART_BYTES)


def drop(folder: Path) -> None:
    """Delete a run's folder of this node's own, and its config beside it."""
    shutil.rmtree(folder, ignore_errors=True)
    _config_of(folder).unlink(missing_ok=True)


def _own_folder(order: Order) -> Path:
    """The folder of a run on a node that does not see where it was ordered; made if need be."""
    key = repr((order.client, str(order.path), order.config, order.source))
    name = hashlib.sha256(key.encode()).hexdigest()[:16]
    folder = Path(tempfile.gettempdir()) / f"bfedrec-{os.getuid()}" / name
    folder.mkdir(parents=True, exist_ok=True)
    folder.parent.chmod(0o700)
    return folder


def _config_of(folder: Path) -> Path:
    """The config's file of a run in a folder of this node's own: a run's folder takes no others."""
    return folder.with_name(f"{folder.name}.yaml")


def _command(order: Order, folder: Path, errors: IO[str]) -> int:
    """Make a run by the command line, as in a process of its own; returns the exit status."""
    ends = time.monotonic() + PATIENCE
    while held(folder) and time.monotonic() < ends:
        time.sleep(0.2)
    with tempfile.TemporaryDirectory(prefix="bfedrec-") as place:
        config = Path(place) / "config.yaml"
        write_text(config, order.config)
        words = ["run", str(config), "--out", str(folder), "--resume"]
        # Named and not imported, like a command that is started: the command line knows engines.
        main = importlib.import_module("bfedrec.cli.main").main
        with (
            _surroundings(order.here, order.data),
            _program(order.words),
            open(os.devnull, "w", encoding="utf-8") as nothing,
            redirect_stdout(nothing),
            redirect_stderr(errors),
        ):
            return int(main(words))


@contextmanager
def _surroundings(here: Path, data: str) -> Iterator[None]:
    """A context in the folder where work was ordered, and with its data sets, where this node has
    that folder and no data sets of its own."""
    before = Path.cwd()
    lent = data if DATA not in os.environ and Path(data).is_dir() else ""
    with suppress(OSError):
        os.chdir(here)
    if lent:
        os.environ[DATA] = lent
    try:
        yield
    finally:
        if lent:
            del os.environ[DATA]
        os.chdir(before)


@contextmanager
def _program(words: Sequence[str]) -> Iterator[None]:
    """A context in which this process has the command line of a program of ours, whose handling of
    signals ends with it."""
    before, handler = sys.argv, signal.getsignal(signal.SIGTERM)
    sys.argv = ["__main__.py", *words]
    try:
        yield
    finally:
        sys.argv = before
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, handler)


def _told(error: Exception, errors: IO[str]) -> int:
    """Write an error as the command line does; returns the exit status of bad input."""
    print(error, file=errors)
    return 2
