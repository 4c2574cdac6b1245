"""`bfedrec make`: make the runs that tables and figures lack, then the tables and figures."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from bfedrec.cli import figure as figure_command
from bfedrec.cli import table as table_command
from bfedrec.cli.figure import NOT_RECORDED
from bfedrec.cli.sweep import INTERRUPTED
from bfedrec.cli.table import CHECK_FAILED
from bfedrec.config.yaml_core import ConfigError
from bfedrec.report.artefact import RECORDED, Experiment, Request
from bfedrec.report.missing_runs import make_missing
from bfedrec.report.table import write

RESULTS = Path("results")


def make_command(parsed: argparse.Namespace) -> int:
    """Make what is missing, record it, and write the artefacts; returns the exit status."""
    if parsed.jobs < 1:
        raise ConfigError(f"command line: --jobs {parsed.jobs}: expected int >= 1")
    names, overrides = _names(parsed.overrides)
    request = Request(tuple(overrides), parsed.seeds, parsed.records)
    experiments = [
        one.changed(request.overrides, request.seeds) for name in names for one in _of(name)
    ]
    try:
        status = make_missing(
            experiments, request.records, parsed.jobs, lambda line: print(line, flush=True)
        )
        told = [_write(name, request, parsed.out) for name in names]
    except KeyboardInterrupt:
        print("interrupted; the same command goes on", file=sys.stderr)
        return INTERRUPTED
    return status or next(filter(None, told), 0)


def _names(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """The named artefacts (all, if none is named), and the changed options."""
    known = [*table_command.KINDS, *figure_command.KINDS]
    names = [word for word in words if "=" not in word and not word.startswith("@")]
    for name in names:
        if name not in known:
            raise ConfigError(f"command line: make {name!r}: not one of {', '.join(known)}")
    return list(dict.fromkeys(names)) or known, [word for word in words if word not in names]


def _of(name: str) -> Sequence[Experiment]:
    tables, figures = table_command.KINDS, figure_command.KINDS
    return tables[name].experiments() if name in tables else figures[name].experiments()


def _write(name: str, request: Request, out: Path) -> int:
    """Write an artefact from recorded runs, and report missing ones; return the status."""
    if name in figure_command.KINDS:
        lacking, wrong = figure_command.make(name, request, out / "figures"), ""
    else:
        made = table_command.KINDS[name].make(request)
        lacking, wrong = made.lacking, made.wrong
        for path in write(made.table, out / "tables"):
            print(path)
    for text in filter(None, (lacking, wrong)):
        print(f"{name}: {text}", file=sys.stderr)
    return NOT_RECORDED if lacking else CHECK_FAILED if wrong else 0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `bfedrec make`."""
    known = ", ".join([*table_command.KINDS, *figure_command.KINDS])
    parser.add_argument(
        "overrides",
        metavar="NAME|KEY=VALUE",
        nargs="*",
        default=[],
        help=f"which tables and figures (default: all of {known}), and options changed in all "
        "their experiments, whose runs are then others",
    )
    parser.add_argument("--seeds", help="of the experiments' runs, as 0-4 or 0,3,7")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time (default: 1)")
    parser.add_argument(
        "--record",
        dest="records",
        type=Path,
        default=RECORDED,
        metavar="DIR",
        help=f"where runs are recorded, and looked for (default: {RECORDED})",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=RESULTS,
        metavar="DIR",
        help=f"where tables/ and figures/ go (default: {RESULTS})",
    )
