"""The command line: `bfedrec run | sweep | table | figure | make | audit | data | chain | ...`.

Exit status: 0 done; 1 a check failed; 2 bad usage, config or data, reported in one line on standard
error; 130 interrupted, and the run can be resumed. Commands import their modules when they run, so
that help is quick.
"""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from bfedrec.plugins import PluginError, load_plugins

if TYPE_CHECKING:
    from bfedrec.config.schema import Config
    from bfedrec.runs.figures import Figures
    from bfedrec.runs.folder import RunFolder

CHECK_FAILED, BAD_INPUT, INTERRUPTED = 1, 2, 130
CONFIG_HELP = "the experiment: a YAML file"
OVERRIDE_HELP = (
    "an option changed, as model.rank=4; the value is YAML. @FILE: the options of another YAML file"
)


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
    failures = load_plugins().failures
    for failure in failures:
        print(f"bfedrec: {failure}", file=sys.stderr)
    try:
        parsed = _parse(sys.argv[1:] if arguments is None else arguments)
        if failures and parsed.handler not in (_doctor, _version):
            return BAD_INPUT  # a part that is missing, or half there, may change what is meant
        signal.signal(signal.SIGTERM, _interrupt)  # as Ctrl-C: undone cleanly, resumable
        status: int = parsed.handler(parsed)
        sys.stdout.flush()
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # whoever read our output has left
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return INTERRUPTED
    except SystemExit as leaving:  # the parser's, after help or an error
        return int(leaving.code or 0)
    except Exception as error:
        status = _status_of(error)
        print(f"bfedrec: {' '.join(str(error).split())}", file=sys.stderr)
    return status


def _interrupt(number: int, frame: object) -> NoReturn:
    raise KeyboardInterrupt


def _status_of(error: Exception) -> int:
    """The exit status of an expected error; an unexpected one is raised again, with its
    traceback."""
    from bfedrec.config.yaml_core import ConfigError
    from bfedrec.runs.folder import RunError
    from bfedrec.runs.state import StateError

    if isinstance(error, (ConfigError, PluginError, RunError, StateError, OSError)):
        return BAD_INPUT

    from bfedrec.data.interactions import DataError
    from bfedrec.evaluation.metrics import NotFinite
    from bfedrec.learning.upload import (
        Diverged,  # slow to load, so only where the error may be one of these
    )
    from consensus.simulation.results import Forked, Stalled
    from consensus.storage.content import StoreError

    if isinstance(error, (DataError, StoreError)):
        return BAD_INPUT
    if isinstance(error, (Diverged, Forked, NotFinite, Stalled)):
        return CHECK_FAILED
    raise error


# --- the commands ---------------------------------------------------------------------------------


def _run(parsed: argparse.Namespace) -> int:
    from bfedrec.config.load import load
    from bfedrec.runs.folder import RunFolder, finished, read_summary

    config = load(parsed.config, parsed.overrides)
    with RunFolder.open(config, parsed.out, parsed.resume) as folder:
        if finished(folder.path):
            print(f"{folder.path}: finished already")
            _print_summary(read_summary(folder.path))
            return 0
        from bfedrec.report.curves import curves

        try:
            summary = _play(config, folder, parsed.resume)
        except KeyboardInterrupt:
            words = ["bfedrec", "run", str(parsed.config), *parsed.overrides]
            words += ["--out", str(folder.path), "--resume"]
            folder.log("interrupted")
            print(f"interrupted; continue with: {shlex.join(words)}", file=sys.stderr)
            return INTERRUPTED
        except Exception as error:
            folder.log(f"failed: {error}")
            raise
        folder.write_summary(summary)
        curves(folder.path)
        print(f"{folder.path}: done")
        _print_summary(summary)
    return 0


def _play(config: Config, folder: RunFolder, resume: bool) -> Figures:
    from bfedrec.runs.progress import Progress

    if config.method == "federated":
        from bfedrec.runs import simulation

        with Progress(config.rounds, folder.log) as progress:
            return simulation.run(config, folder, resume, progress)
    from bfedrec.baselines import centralised

    with Progress(centralised.epochs(config), folder.log, unit="epoch") as progress:
        return centralised.run(config, folder, resume, progress)


def _print_summary(summary: Figures) -> None:
    for name, value in summary.items():
        text = f"{value:,.4f}" if isinstance(value, float) else value
        print(f"  {name:<28} {f'{text:,}' if isinstance(text, int) else text}")


def _sweep(parsed: argparse.Namespace) -> int:
    from bfedrec.cli.sweep import sweep_command

    return sweep_command(parsed)


def _table(parsed: argparse.Namespace) -> int:
    from bfedrec.cli.table import table_command

    return table_command(parsed)


def _figure(parsed: argparse.Namespace) -> int:
    from bfedrec.cli.figure import figure_command

    return figure_command(parsed)


def _make(parsed: argparse.Namespace) -> int:
    from bfedrec.cli.make import make_command

    return make_command(parsed)


def _audit(parsed: argparse.Namespace) -> int:
    from bfedrec.cli.audit import audit_command

    return audit_command(parsed.run)


def _behaviours(parsed: argparse.Namespace) -> int:
    from bfedrec.cli.behaviours import behaviours_command

    return behaviours_command(parsed)


def _doctor(parsed: argparse.Namespace) -> int:
    from bfedrec.cli.doctor import doctor_command

    return doctor_command(parsed.save)


def _version(parsed: argparse.Namespace) -> int:
    from bfedrec.runs.manifest import versions

    for name, version in versions().items():
        print(f"{name} {version or 'not installed'}")
    return 0


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
    parser = _Parser(prog="bfedrec", description="Simulate blockchain-assisted federated learning.")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_run(commands)
    _add_sweep(commands)
    _add_table(commands, command == "table")
    _add_figure(commands, command == "figure")
    _add_make(commands, command == "make")
    audit = commands.add_parser("audit", help="re-verify a run's chain from its bytes")
    audit.add_argument("run", metavar="RUN", type=Path, help="a run folder, or a chain.sqlite")
    audit.set_defaults(handler=_audit)
    _add_data(commands, command == "data")
    _add_chain(commands, command == "chain")
    _add_torture(commands, command == "torture")
    _add_behaviours(commands, command == "behaviours")
    doctor = commands.add_parser(
        "doctor",
        help="what is installed, reachable and usable",
        description="Looks for an IPFS node at the multiaddr in IPFS_API (default: "
        "/ip4/127.0.0.1/tcp/5001) and measures adding and fetching 15 KB, 1 MB and 16 MB.",
    )
    doctor.add_argument(
        "--save",
        metavar="FILE.yaml",
        type=Path,
        help="write the node's measured costs, for: bfedrec run CONFIG @FILE.yaml",
    )
    doctor.set_defaults(handler=_doctor)
    version = commands.add_parser("version", help="versions of the program and its libraries")
    version.set_defaults(handler=_version)
    return parser


def _options_help() -> str:
    from bfedrec.config.help import help_text

    return f"options of an experiment, in CONFIG or as KEY=VALUE:\n\n{help_text()}"


def _add_run(commands: Any) -> None:
    run = commands.add_parser("run", help="run an experiment", ending=_options_help)
    run.add_argument("config", metavar="CONFIG", type=Path, help=CONFIG_HELP)
    run.add_argument("overrides", metavar="KEY=VALUE", nargs="*", default=[], help=OVERRIDE_HELP)
    run.add_argument("--out", type=Path, help="run folder (default: results/runs/NAME-HASH-sSEED)")
    run.add_argument("--resume", action="store_true", help="continue an interrupted run")
    run.set_defaults(handler=_run)


def _add_sweep(commands: Any) -> None:
    sweep = commands.add_parser(
        "sweep",
        help="run an experiment at many settings and seeds",
        epilog="The options of an experiment are those of `bfedrec run --help`.",
    )
    sweep.add_argument("config", metavar="CONFIG", type=Path, help=CONFIG_HELP)
    sweep.add_argument(
        "overrides",
        metavar="KEY=A,B,C",
        nargs="*",
        default=[],
        help="values an option takes in turn; several keys make a grid. @FOLDER: the options of "
        "each YAML file in it in turn",
    )
    sweep.add_argument("--seeds", default="0-4", help="as 0-4 or 0,3,7 (default: 0-4)")
    sweep.add_argument("--jobs", type=int, default=1, help="runs at a time (default: 1)")
    sweep.add_argument("--out", type=Path, help="folder for the runs and the sweep's table")
    sweep.add_argument(
        "--record",
        type=Path,
        metavar="DIR",
        help="keep the table and every run's config, manifest, metrics and summary in a folder "
        "below this one, named after the sweep; runs of other seeds join those recorded there",
    )
    sweep.add_argument(
        "--compact",
        action="store_true",
        help="record all runs in one file instead, a line each (for many small ones)",
    )
    sweep.set_defaults(handler=_sweep)


def _add_table(commands: Any, chosen: bool) -> None:
    table = commands.add_parser("table", help="published figures beside ours, from recorded runs")
    table.set_defaults(handler=_table)
    if chosen:
        from bfedrec.cli.table import add_arguments

        add_arguments(table)


def _add_figure(commands: Any, chosen: bool) -> None:
    figure = commands.add_parser("figure", help="a figure from recorded runs, with its data")
    figure.set_defaults(handler=_figure)
    if chosen:
        from bfedrec.cli.figure import add_arguments

        add_arguments(figure)


def _add_make(commands: Any, chosen: bool) -> None:
    make = commands.add_parser(
        "make", help="make all tables and figures, or some, and the runs that they lack"
    )
    make.set_defaults(handler=_make)
    if chosen:
        from bfedrec.cli.make import add_arguments

        add_arguments(make)


def _add_data(commands: Any, chosen: bool) -> None:
    data = commands.add_parser("data", help="the data sets: list, prepare, check")
    if chosen:
        from bfedrec.cli.data import add_parsers

        add_parsers(data)


def _add_torture(commands: Any, chosen: bool) -> None:
    torture = commands.add_parser(
        "torture", help="seeded scenarios of faults and attacks, every invariant checked"
    )
    if chosen:
        from bfedrec.cli.torture import add_arguments, torture_command

        add_arguments(torture)
        torture.set_defaults(handler=torture_command)


def _add_behaviours(commands: Any, chosen: bool) -> None:
    behaviours = commands.add_parser("behaviours", help="the behaviours of malicious servers")
    behaviours.set_defaults(handler=_behaviours)
    if chosen:
        from bfedrec.cli.behaviours import add_arguments

        add_arguments(behaviours)


def _add_chain(commands: Any, chosen: bool) -> None:
    chain = commands.add_parser("chain", help="a run's chain as a CAR file: export, import")
    if chosen:
        from bfedrec.cli.chain import add_parsers

        add_parsers(chain)
