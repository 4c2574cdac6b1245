"""`bfedrec figure`: a figure from recorded runs, as PDF and PNG with its data as CSV."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure

from bfedrec.config.yaml_core import ConfigError
from bfedrec.report import registry as rq3
from bfedrec.report.artefact import Experiment, Request, add_request, find
from bfedrec.report.figures import accuracy, fig2
from bfedrec.report.figures import committees as rq3_committees
from bfedrec.report.figures import cost as rq3_cost
from bfedrec.report.figures import fig3 as rq3_learning
from bfedrec.report.figures import recovery as rq3_recovery
from bfedrec.report.figures import third as rq3_third
from bfedrec.report.style import Rows, write
from bfedrec.report.tables import table3

FIGURES = Path("results/figures")
NOT_RECORDED = 2


@dataclass(frozen=True)
class Kind:
    """A figure that can be made."""

    shows: str
    experiments: Callable[[], Sequence[Experiment]]
    rows: Callable[..., Rows]
    """Function that computes the figure's data from each experiment's runs."""
    draw: Callable[[Rows], Figure]
    of_some: bool = False
    """True if the figure can be drawn from a part of its runs while others are missing."""


KINDS = {
    "fig2": Kind(
        "communication minutes of the compressors over the transmitted sizes, the paper's and ours",
        table3.experiments,
        fig2.rows,
        fig2.draw,
        of_some=True,
    ),
    "fig3": Kind(
        "HR and NDCG over the rounds, with and without a third of the servers malicious",
        lambda: (rq3.FIG3,),
        rq3_learning.rows,
        rq3_learning.draw,
    ),
    "cost": Kind(
        "attempts, time and bytes per block; blocked and captured committees against theory",
        lambda: (rq3.FIG3, rq3.COMMITTEES),
        rq3_cost.rows,
        rq3_cost.draw,
    ),
    "committees": Kind(
        "attempts and captured blocks over committee size and malicious share: a heat map",
        lambda: (rq3.COMMITTEES,),
        rq3_committees.rows,
        rq3_committees.draw,
    ),
    "third": Kind(
        "what a block takes below, at and above a third of malicious servers",
        lambda: (rq3.THIRD,),
        rq3_third.rows,
        rq3_third.draw,
    ),
    "recovery": Kind(
        "how long the ledger takes to recover after each fault",
        lambda: (rq3.RECOVERY,),
        rq3_recovery.rows,
        rq3_recovery.draw,
    ),
    "accuracy": Kind(
        "HR and NDCG over all bytes of the clients, a line for each method over its sizes",
        accuracy.experiments,
        accuracy.rows,
        accuracy.draw,
        of_some=True,
    ),
}


def figure_command(parsed: argparse.Namespace) -> int:
    """Make a figure, or list the figures; return the exit status."""
    if parsed.name is None:
        for name, kind in KINDS.items():
            print(f"{name:<12} {kind.shows}")
        return 0
    if parsed.name not in KINDS:
        known = ", ".join(KINDS)
        raise ConfigError(f"command line: figure {parsed.name!r}: not one of {known}")
    request = Request(tuple(parsed.overrides), parsed.seeds, parsed.records)
    lacking = make(parsed.name, request, parsed.out)
    if lacking:
        print(f"{parsed.name}: {lacking}", file=sys.stderr)
        print(f"All at once, resumable: {request.make(parsed.name)}", file=sys.stderr)
    return NOT_RECORDED if lacking else 0


def make(name: str, request: Request, folder: Path) -> str:
    """Draw a figure from recorded runs, write it to a folder and print its paths.

    Returns a text about missing runs, as `Found.lacking`; if there are any, the figure is drawn
    only if it can be drawn from a part. Raises `ConfigError`, `RunError`.
    """
    kind = KINDS[name]
    experiments = [one.changed(request.overrides, request.seeds) for one in kind.experiments()]
    found = find(experiments, request.records)
    if found.lacking and not kind.of_some:
        return found.lacking
    rows = kind.rows(*found.settings)
    if rows:
        for path in write(kind.draw(rows), rows, folder, name):
            print(path)
    return found.lacking


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `bfedrec figure`."""
    add_request(parser, KINDS, FIGURES)
