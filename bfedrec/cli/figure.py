"""`bfedrec figure`: a figure from recorded runs, as PDF and PNG with its data as CSV."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from bfedrec.cli.status import NOT_RECORDED
from bfedrec.report import registry
from bfedrec.report.artefact import Request, add_request
from bfedrec.report.drawing import draw
from bfedrec.report.registry import FigureKind
from bfedrec.report.style import write

FIGURES = Path("results/figures")


def figure_command(parsed: argparse.Namespace) -> int:
    """Make a figure, a group of them or all, or list the figures; return the exit status."""
    known = registry.figures()
    if parsed.name is None:
        for name, kind in known.items():
            print(f"{name:<12} {kind.shows}")
        return 0
    request = Request(tuple(parsed.overrides), parsed.seeds, parsed.records)
    status = 0
    for kind in registry.choose("figure", parsed.name, known):
        lacking = make(kind, request, parsed.out)
        if lacking:
            print(f"{kind.name}: {lacking}", file=sys.stderr)
            if kind.source is None:
                print(f"All at once, resumable: {request.make(kind.name)}", file=sys.stderr)
            status = NOT_RECORDED
    return status


def make(kind: FigureKind, request: Request, folder: Path) -> str:
    """Draw a figure from recorded runs, write it to a folder and print its paths.

    Returns a text about missing runs, as `Found.lacking`; if there are any, the figure is drawn
    only if it can be drawn from a part. Raises `ConfigError`, `DataError`, `RunError`.
    """
    drawn = draw(kind, request)
    if drawn.figure is not None:
        for path in write(drawn.figure, drawn.rows, folder, kind.name):
            print(path)
    return drawn.lacking


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `bfedrec figure`."""
    add_request(parser, registry.words_for(registry.figures()), FIGURES)
    parser.set_defaults(handler=figure_command)
