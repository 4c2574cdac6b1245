"""`bfedrec run`: one experiment, from its config to its summary and curves."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from bfedrec.cli.status import INTERRUPTED

if TYPE_CHECKING:
    from bfedrec.runs.figures import Figures

CONFIG_HELP = "the experiment: a YAML file"
OVERRIDE_HELP = (
    "an option changed, as model.rank=4; the value is YAML. @FILE: the options of another YAML file"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `bfedrec run`."""
    add_run(parser, "results/runs")
    parser.add_argument(
        "--trace",
        action="store_true",
        help="also write every message between servers to messages.parquet in the run's folder",
    )
    parser.set_defaults(handler=run_command)


def add_run(parser: argparse.ArgumentParser, runs: str) -> None:
    """Add the arguments of a command that makes a run, whose folder is by default in `runs`."""
    parser.add_argument("config", metavar="CONFIG", type=Path, help=CONFIG_HELP)
    parser.add_argument("overrides", metavar="KEY=VALUE", nargs="*", default=[], help=OVERRIDE_HELP)
    parser.add_argument("--out", type=Path, help=f"run folder (default: {runs}/NAME-HASH-sSEED)")
    parser.add_argument("--resume", action="store_true", help="continue an interrupted run")
    parser.add_argument(
        "--profile",
        action="store_true",
        help="tell the real time by part at the end, and in the summary",
    )


def options_help() -> str:
    """The options of an experiment, which `bfedrec run --help` ends with."""
    from bfedrec.config.help import help_text

    return f"options of an experiment, in CONFIG or as KEY=VALUE:\n\n{help_text()}"


def run_command(parsed: argparse.Namespace) -> int:
    """Make a run, or what is left of it, and print its summary; returns the exit status."""
    return make_command(parsed, trace=parsed.trace)


def make_command(parsed: argparse.Namespace, ledger: bool = True, trace: bool = False) -> int:
    """Make a run and print its summary; returns the exit status. ``ledger``, ``trace``: as for
    `bfedrec.api.making.make`."""
    from bfedrec.api.making import Interrupted, make
    from bfedrec.config.load import load
    from bfedrec.runs.progress import Progress

    config = load(parsed.config, parsed.overrides)
    try:
        made = make(
            config,
            parsed.out,
            lambda rounds, log, unit: Progress(rounds, log, unit=unit),
            parsed.resume,
            ledger,
            parsed.profile,
            trace,
        )
    except Interrupted as stopped:
        words = ["bfedrec", parsed.command, str(parsed.config), *parsed.overrides]
        words += ["--out", str(stopped.path), "--resume"]
        words += ["--profile"] if parsed.profile else []
        words += ["--trace"] if trace else []
        print(f"interrupted; continue with: {shlex.join(words)}", file=sys.stderr)
        return INTERRUPTED
    print(f"{made.path}: {'finished already' if made.before else 'done'}")
    _print_end(made.path, made.summary)
    for line in made.unlogged:
        print(f"{line}; with --resume it is tried again", file=sys.stderr)
    return 0


def _print_end(path: Path, summary: Figures) -> None:
    """Print the summary and, of a run with a chain, the command that verifies it. The head in it is
    what to note elsewhere, as all in the folder can be edited."""
    from bfedrec.runs.figures import PROFILE
    from bfedrec.runs.folder import CHAIN

    for name, value in summary.items():
        if name.startswith(PROFILE):
            continue
        text = f"{value:,.4f}" if isinstance(value, float) else value
        print(f"  {name:<28} {f'{text:,}' if isinstance(text, int) else text}")
    if any(name.startswith(PROFILE) for name in summary):
        from bfedrec.cli.profiles import print_profile

        print_profile(summary)
    if "head" in summary and (path / CHAIN).exists():
        words = ["bfedrec", "audit", str(path), "--head", str(summary["head"])]
        print(f"verify it with: {shlex.join(words)}")
