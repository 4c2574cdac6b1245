"""`bfedrec table`: a table of published figures beside ours, as Markdown, CSV and LaTeX."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from bfedrec.cli.status import CHECK_FAILED, NOT_RECORDED
from bfedrec.report import registry
from bfedrec.report.artefact import Request, add_request
from bfedrec.report.registry import TableKind
from bfedrec.report.table import FORMATS, write

TABLES = Path("results/tables")


def table_command(parsed: argparse.Namespace) -> int:
    """Make a table, a group of them or all, or list the tables; return the exit status.

    A table with missing cells is written all the same; the status then says that runs are not
    recorded, as for `figure`. Of several tables the first status that is not 0 is returned.
    """
    known = registry.tables()
    if parsed.name is None:
        for name, kind in known.items():
            print(f"{name:<12} {kind.shows}")
        return 0
    kinds = registry.choose("table", parsed.name, known)
    return next(filter(None, [_make(kind, parsed) for kind in kinds]), 0)


def _make(kind: TableKind, parsed: argparse.Namespace) -> int:
    """Write and print one table, and tell what is missing or wrong; return the status."""
    request = Request(tuple(parsed.overrides), parsed.seeds, parsed.records)
    made = kind.make(request)
    paths = write(made.table, parsed.out)
    print(FORMATS[parsed.format][1](made.table), end="")
    for path in paths:
        print(path, file=sys.stderr)
    for told in (made.lacking, made.wrong):
        if told:
            print(f"{kind.name}: {told}", file=sys.stderr)
    if made.lacking and kind.experiments():
        print(f"All at once, resumable: {request.make(kind.name)}", file=sys.stderr)
    return NOT_RECORDED if made.lacking else CHECK_FAILED if made.wrong else 0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `bfedrec table`."""
    add_request(parser, registry.words_for(registry.tables()), TABLES)
    parser.add_argument(
        "--format",
        choices=list(FORMATS),
        default="markdown",
        help="what is printed; all are written",
    )
    parser.set_defaults(handler=table_command)
