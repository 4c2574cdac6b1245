"""The command line: `bfedrec run | sweep | tune | table | figure | make | audit | data | ...`.

Each command is a module of its name in this room, which adds its arguments and sets the function
that handles them. Only the module of the command that is asked for is imported.
`bfedrec.cli.status` has the exit statuses.
"""

from __future__ import annotations

import argparse
import io
import os
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib import import_module
from typing import Any, NoReturn

from bfedrec.cli.run import options_help
from bfedrec.cli.status import BAD_INPUT, CHECK_FAILED, INTERRUPTED
from bfedrec.plugins import PluginError, load_plugins

COMMANDS = {
    "run": "run an experiment",
    "learn": "the rounds of an experiment without its ledger",
    "sweep": "run an experiment at many settings and seeds",
    "recommend": "each user's list of items, from a finished run",
    "tune": "search options for the best validation score, and record what it cost",
    "table": "published figures beside ours, from recorded runs",
    "figure": "a figure from recorded runs, with its data",
    "make": "make all tables and figures, or some, and the runs that they lack",
    "report": "a run or a sweep as one HTML file",
    "rocrate": "RO-Crate metadata of a run, for archives and catalogues",
    "serve": "runs, chains and recommendations as pages in a browser",
    "show": "what a run, or a block of its chain, is",
    "privacy": "attacks on what clients' updates reveal, from what a party holds",
    "audit": "re-verify a run's chain from its bytes",
    "data": "the data sets: list, prepare, check",
    "chain": "a run's chain as a CAR file: export, import",
    "merchants": "shop events, and what merchants learn from them together",
    "torture": "seeded scenarios of faults and attacks, every invariant checked",
    "behaviours": "the behaviours of malicious servers",
    "doctor": "what is installed, reachable and usable",
    "version": "versions of the program and its libraries",
}
"""The commands in the order of the help, with a line about each; the module of each is its name."""
WITHOUT_PLUGINS = ("doctor", "version")
"""The commands that go on where a plugin cannot be loaded."""


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, and whose help may end with a text made on demand."""

    def __init__(self, *args: Any, ending: Callable[[], str] | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._ending = ending

    def format_help(self) -> str:
        ending = f"\n{self._ending()}\n" if self._ending else ""
        return super().format_help() + ending

    def error(self, message: str) -> NoReturn:
        self.exit(BAD_INPUT, f"{self.prog}: {message} (see {self.prog} --help)\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status."""
    _open_streams()
    try:
        status = _status(arguments)
        sys.stdout.flush()
        return status
    except KeyboardInterrupt:
        status = INTERRUPTED
        _tell("interrupted")
    except BrokenPipeError:  # whoever read our output has left
        status = INTERRUPTED
    except Exception as error:
        status = _status_of(error)
        told = "not enough memory: " if isinstance(error, MemoryError) else ""
        _tell(f"bfedrec: {told}{' '.join(str(error).split())}")
    _give_up_streams()
    return status


def _status(arguments: Sequence[str] | None) -> int:
    """Run a command and return its exit status; or raise the error that ends it."""
    failures = load_plugins().failures
    for failure in failures:
        _tell(f"bfedrec: {failure}")
    try:
        parsed = _parse(sys.argv[1:] if arguments is None else arguments)
        if failures and parsed.command not in WITHOUT_PLUGINS:
            return BAD_INPUT  # a part that is missing, or half there, may change what is meant
        signal.signal(signal.SIGTERM, _interrupt)  # as Ctrl-C: undone cleanly, resumable
        status: int = parsed.handler(parsed)
    except SystemExit as leaving:  # the parser's, after help or an error
        return int(leaving.code or 0)
    return status


def _interrupt(number: int, frame: object) -> NoReturn:
    raise KeyboardInterrupt


def _status_of(error: Exception) -> int:
    """The exit status of an expected error; an unexpected one is raised again, with its
    traceback."""
    from bfedrec.config.yaml_core import ConfigError

    if isinstance(error, (ConfigError, MemoryError, OSError, PluginError)):
        return BAD_INPUT

    # Slow to load, so only where the error may be one of these.
    from bfedrec.data.interactions import DataError
    from bfedrec.evaluation.metrics import NotFinite
    from bfedrec.learning.upload import Diverged
    from bfedrec.parts import PartError
    from bfedrec.runs.figures import BadFigure
    from bfedrec.runs.folder import RunError
    from bfedrec.runs.state import StateError
    from consensus.simulation.results import Forked, Stalled
    from consensus.storage.content import StoreError

    if isinstance(error, (BadFigure, DataError, PartError, RunError, StateError, StoreError)):
        return BAD_INPUT
    if isinstance(error, (Diverged, Forked, NotFinite, Stalled)):
        return CHECK_FAILED
    raise error


# --- the output -----------------------------------------------------------------------------------


def _open_streams() -> None:
    """Have both streams of output, and on each whatever text there is.

    A program is started without one by `>&-`. A name of a file may be no text, and be printed after
    a check that passed.
    """
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - open until the program ends
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="backslashreplace")


def _tell(line: str) -> None:
    """Print a line on standard error, if anybody reads it: the exit status is the same."""
    with suppress(OSError):
        print(line, file=sys.stderr, flush=True)


def _give_up_streams() -> None:
    """Drop what a stream cannot take: Python tries again at its end, and has a status for that."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


# --- the parser -----------------------------------------------------------------------------------


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    words = list(arguments)
    parser = _parser(words[0] if words else "")
    # argparse wants all overrides in one row; a person writes them before and after options.
    parsed, rest = parser.parse_known_args(words)
    if rest and (not hasattr(parsed, "overrides") or any(word.startswith("-") for word in rest)):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    if rest:
        parsed.overrides = [word for word in words if word in {*parsed.overrides, *rest}]
    return parsed


def _parser(command: str) -> _Parser:
    """The parser of all commands, with the arguments of one."""
    parser = _Parser(prog="bfedrec", description="Simulate blockchain-assisted federated learning.")
    commands = parser.add_subparsers(
        title="commands", metavar="COMMAND", required=True, dest="command"
    )
    for name, told in COMMANDS.items():
        ending = options_help if name == "run" else None
        its_own = commands.add_parser(name, help=told, ending=ending)
        if name == command:
            import_module(f"bfedrec.cli.{name}").add_arguments(its_own)
    return parser
