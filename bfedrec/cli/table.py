"""`bfedrec table`: a table of published figures beside ours, as Markdown, CSV and LaTeX."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bfedrec.cli.figure import NOT_RECORDED
from bfedrec.config.yaml_core import ConfigError
from bfedrec.report.artefact import Experiment, Made, Request, add_request
from bfedrec.report.table import FORMATS, write
from bfedrec.report.tables import ablations, table1, table2, table3

TABLES = Path("results/tables")
CHECK_FAILED = 1


@dataclass(frozen=True)
class Kind:
    """A table that can be made."""

    shows: str
    make: Callable[[Request], Made]
    experiments: Callable[[], Sequence[Experiment]] = tuple
    """The experiments whose runs the table shows."""


KINDS = {
    "table1": Kind("the data sets' counts, and whether they are what they should be", table1.make),
    "table2": Kind(
        "HR@10 and NDCG@10 of every method and data set", table2.make, table2.experiments
    ),
    "table3": Kind(
        "communication minutes of the compressors, by payload and message",
        table3.make,
        table3.experiments,
    ),
    "ablations": Kind(
        "what one change at a time does to MovieLens-1M at size 4",
        ablations.make,
        ablations.experiments,
    ),
}


def table_command(parsed: argparse.Namespace) -> int:
    """Make a table, or list the tables; return the exit status.

    A table with missing cells is written all the same; the status then says that runs are not
    recorded, as for `figure`.
    """
    if parsed.name is None:
        for name, kind in KINDS.items():
            print(f"{name:<12} {kind.shows}")
        return 0
    if parsed.name not in KINDS:
        known = ", ".join(KINDS)
        raise ConfigError(f"command line: table {parsed.name!r}: not one of {known}")
    request = Request(tuple(parsed.overrides), parsed.seeds, parsed.records)
    made = KINDS[parsed.name].make(request)
    paths = write(made.table, parsed.out)
    print(FORMATS[parsed.format][1](made.table), end="")
    for path in paths:
        print(path, file=sys.stderr)
    for told in (made.lacking, made.wrong):
        if told:
            print(f"{parsed.name}: {told}", file=sys.stderr)
    if made.lacking and KINDS[parsed.name].experiments():
        print(f"All at once, resumable: {request.make(parsed.name)}", file=sys.stderr)
    return NOT_RECORDED if made.lacking else CHECK_FAILED if made.wrong else 0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `bfedrec table`."""
    add_request(parser, KINDS, TABLES)
    parser.add_argument(
        "--format",
        choices=list(FORMATS),
        default="markdown",
        help="what is printed; all are written",
    )
