"""`bfedrec figure`: a figure from recorded runs, as PDF and PNG with its data as CSV."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure

from bfedrec import accuracy, rq3, rq3_committees, rq3_cost, rq3_learning, rq3_recovery, rq3_third
from bfedrec.artefacts import RECORDED, Experiment, NotRecorded, Runs, recorded_runs
from bfedrec.config import ConfigError
from bfedrec.figure_style import Rows, write

FIGURES = Path("results/figures")
NOT_RECORDED = 2


@dataclass(frozen=True)
class Kind:
    """One of the figures there are."""

    shows: str
    experiments: tuple[Experiment, ...]
    rows: Callable[..., Rows]
    """Its data, from each experiment's runs."""
    draw: Callable[[Rows], Figure]


KINDS = {
    "fig3": Kind(
        "HR and NDCG over the rounds, with and without a third of the servers malicious",
        (rq3.FIG3,),
        rq3_learning.rows,
        rq3_learning.draw,
    ),
    "cost": Kind(
        "attempts, time and bytes per block; blocked and captured committees against theory",
        (rq3.FIG3, rq3.COMMITTEES),
        rq3_cost.rows,
        rq3_cost.draw,
    ),
    "committees": Kind(
        "attempts and captured blocks over committee size and malicious share: a heat map",
        (rq3.COMMITTEES,),
        rq3_committees.rows,
        rq3_committees.draw,
    ),
    "third": Kind(
        "what a block takes below, at and above a third of malicious servers",
        (rq3.THIRD,),
        rq3_third.rows,
        rq3_third.draw,
    ),
    "recovery": Kind(
        "how long the ledger takes to recover after each fault",
        (rq3.RECOVERY,),
        rq3_recovery.rows,
        rq3_recovery.draw,
    ),
    "accuracy": Kind(
        "HR and NDCG over all bytes of the clients, a line for each method over its sizes",
        accuracy.experiments(),
        accuracy.rows,
        accuracy.draw,
    ),
}


def figure_command(parsed: argparse.Namespace) -> int:
    """Make a figure, or list those there are; returns the exit status."""
    if parsed.name is None:
        for name, kind in KINDS.items():
            print(f"{name:<12} {kind.shows}")
        return 0
    if parsed.name not in KINDS:
        known = ", ".join(KINDS)
        raise ConfigError(f"command line: figure {parsed.name!r}: not one of {known}")
    kind = KINDS[parsed.name]
    experiments = [each.changed(parsed.overrides, parsed.seeds) for each in kind.experiments]
    try:
        runs: Sequence[list[Runs]] = recorded_runs(experiments, parsed.records)
    except NotRecorded as error:
        print(f"{parsed.name}: {error}", file=sys.stderr)
        return NOT_RECORDED
    rows = kind.rows(*runs)
    for path in write(kind.draw(rows), rows, parsed.out, parsed.name):
        print(path)
    return 0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What `bfedrec figure` understands."""
    parser.add_argument("name", metavar="NAME", nargs="?", help=f"one of {', '.join(KINDS)}")
    parser.add_argument(
        "overrides",
        metavar="KEY=VALUE",
        nargs="*",
        default=[],
        help="options changed in the experiment, whose runs are then others",
    )
    parser.add_argument("--seeds", help="of the experiment's runs, as 0-4 or 0,3,7")
    parser.add_argument(
        "--from",
        dest="records",
        type=Path,
        default=RECORDED,
        metavar="DIR",
        help=f"where runs were recorded (default: {RECORDED})",
    )
    parser.add_argument(
        "--out", type=Path, default=FIGURES, metavar="DIR", help=f"default: {FIGURES}"
    )
