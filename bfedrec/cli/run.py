"""`bfedrec run`: one experiment, from its config to its summary and curves."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from bfedrec.cli.status import INTERRUPTED

if TYPE_CHECKING:
    from collections.abc import Callable

    from bfedrec.config.schema import Config
    from bfedrec.runs.figures import Figures
    from bfedrec.runs.folder import RunFolder

    Play = Callable[[Config, RunFolder, bool], Figures]
    """Plays a config in a folder, resuming or not; returns the summary."""

CONFIG_HELP = "the experiment: a YAML file"
OVERRIDE_HELP = (
    "an option changed, as model.rank=4; the value is YAML. @FILE: the options of another YAML file"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `bfedrec run`."""
    add_run(parser, "results/runs")
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
    return make(parsed, _play)


def make(parsed: argparse.Namespace, play: Play, ledger: bool = True) -> int:
    """Open the folder of a run, `play` in it, draw its curves and print its summary; returns the
    exit status. `ledger`: as for `RunFolder.open`."""
    from bfedrec.config.load import load
    from bfedrec.config.yaml_core import ConfigError
    from bfedrec.runs.folder import RunFolder, finished, read_summary

    config = load(parsed.config, parsed.overrides)
    if parsed.profile and config.method != "federated":
        raise ConfigError(f"command line: --profile: method {config.method} plays no rounds")
    with RunFolder.open(config, parsed.out, parsed.resume, ledger) as folder:
        if finished(folder.path):
            print(f"{folder.path}: finished already")
            _print_end(folder, read_summary(folder.path))
            return 0
        from bfedrec.report.curves import curves

        try:
            summary = (_profiled(play) if parsed.profile else play)(config, folder, parsed.resume)
        except KeyboardInterrupt:
            words = ["bfedrec", parsed.command, str(parsed.config), *parsed.overrides]
            words += ["--out", str(folder.path), "--resume"]
            words += ["--profile"] if parsed.profile else []
            folder.log("interrupted")
            print(f"interrupted; continue with: {shlex.join(words)}", file=sys.stderr)
            return INTERRUPTED
        except Exception as error:
            folder.log(f"failed: {error}")
            raise
        folder.write_summary(summary)
        curves(folder.path)
        print(f"{folder.path}: done")
        _print_end(folder, summary)
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


def _profiled(play: Play) -> Play:
    """`play`, whose summary also tells the times of its parts."""

    def profiled(config: Config, folder: RunFolder, resume: bool) -> Figures:
        from bfedrec.runs.profiling import Profile

        with Profile() as profile:
            summary = play(config, folder, resume)
        return {**summary, **profile.figures()}

    return profiled


def _print_end(folder: RunFolder, summary: Figures) -> None:
    """Print the summary and, of a run with a chain, the command that verifies it. The head in it is
    what to note elsewhere, as all in the folder can be edited."""
    from bfedrec.runs.figures import PROFILE

    for name, value in summary.items():
        if name.startswith(PROFILE):
            continue
        text = f"{value:,.4f}" if isinstance(value, float) else value
        print(f"  {name:<28} {f'{text:,}' if isinstance(text, int) else text}")
    if any(name.startswith(PROFILE) for name in summary):
        from bfedrec.cli.profiles import print_profile

        print_profile(summary)
    if "head" in summary and folder.chain_path.exists():
        words = ["bfedrec", "audit", str(folder.path), "--head", str(summary["head"])]
        print(f"verify it with: {shlex.join(words)}")
