"""`bfedrec make`: make the runs that tables and figures lack, then the tables and figures."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from bfedrec.cli import figure
from bfedrec.cli.engines import add_engine
from bfedrec.cli.status import CHECK_FAILED, INTERRUPTED, NOT_RECORDED
from bfedrec.report import registry
from bfedrec.report.artefact import RECORDED, Request
from bfedrec.report.missing_runs import make_missing
from bfedrec.report.registry import FigureKind, TableKind
from bfedrec.report.table import write
from bfedrec.sweeps.registry import engine_of

RESULTS = Path("results")
Kind = TableKind | FigureKind


def make_command(parsed: argparse.Namespace) -> int:
    """Make what is missing, record it, and write the artefacts; returns the exit status."""
    engine = engine_of(parsed.engine, parsed.jobs)
    kinds, overrides = _chosen(parsed.overrides)
    request = Request(tuple(overrides), parsed.seeds, parsed.records)
    experiments = [
        one.changed(request.overrides, request.seeds)
        for kind in kinds
        for one in kind.experiments()
    ]
    try:
        with engine:
            status = make_missing(
                experiments, request.records, engine, lambda line: print(line, flush=True)
            )
        told = [_write(kind, request, parsed.out) for kind in kinds]
    except KeyboardInterrupt:
        print("interrupted; the same command goes on", file=sys.stderr)
        return INTERRUPTED
    return status or next(filter(None, told), 0)


def _known() -> dict[str, Kind]:
    """The tables, and then the figures, by name."""
    return {**registry.tables(), **registry.figures()}


def _chosen(words: Sequence[str]) -> tuple[list[Kind], list[str]]:
    """The artefacts named alone or by group (all, if none is), and the changed options."""
    known = _known()
    names = [word for word in words if "=" not in word and not word.startswith("@")]
    kinds = [kind for name in names for kind in registry.choose("make", name, known)]
    chosen = {kind.name: kind for kind in kinds} or known
    return list(chosen.values()), [word for word in words if word not in names]


def _write(kind: Kind, request: Request, out: Path) -> int:
    """Write an artefact from recorded runs, and report missing ones; return the status."""
    if isinstance(kind, FigureKind):
        lacking, wrong = figure.make(kind, request, out / "figures"), ""
    else:
        made = kind.make(request)
        lacking, wrong = made.lacking, made.wrong
        for path in write(made.table, out / "tables"):
            print(path)
    for text in filter(None, (lacking, wrong)):
        print(f"{kind.name}: {text}", file=sys.stderr)
    return NOT_RECORDED if lacking else CHECK_FAILED if wrong else 0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `bfedrec make`."""
    known = ", ".join(registry.words_for(_known()))
    parser.add_argument(
        "overrides",
        metavar="NAME|KEY=VALUE",
        nargs="*",
        default=[],
        help=f"which tables and figures ({known}; default: all), and options changed in all "
        "their experiments, whose runs are then others",
    )
    parser.add_argument("--seeds", help="of the experiments' runs, as 0-4 or 0,3,7")
    add_engine(parser, "runs")
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
    parser.set_defaults(handler=make_command)
