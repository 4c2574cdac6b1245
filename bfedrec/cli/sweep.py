"""`bfedrec sweep`: make the runs of a sweep, and print their results as a table."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.table import Table

from bfedrec.cli.engines import add_engine
from bfedrec.cli.run import CONFIG_HELP
from bfedrec.cli.status import INTERRUPTED
from bfedrec.config.yaml_core import COMMAND_LINE, ConfigError
from bfedrec.evaluation.metrics import FULL, METRICS
from bfedrec.screen import screen
from bfedrec.sweeps import sweep as sweeps
from bfedrec.sweeps.recorded import place_of, record
from bfedrec.sweeps.registry import engine_of
from bfedrec.sweeps.sweep import Row


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `bfedrec sweep`."""
    parser.epilog = "The options of an experiment are those of `bfedrec run --help`."
    parser.add_argument("config", metavar="CONFIG", type=Path, help=CONFIG_HELP)
    parser.add_argument(
        "overrides",
        metavar="KEY=A,B,C",
        nargs="*",
        default=[],
        help="values an option takes in turn; several keys make a grid. @FOLDER: the options of "
        "each YAML file in it in turn",
    )
    parser.add_argument("--seeds", default="0-4", help="as 0-4 or 0,3,7 (default: 0-4)")
    add_engine(parser, "runs")
    parser.add_argument("--out", type=Path, help="folder for the runs and the sweep's table")
    parser.add_argument(
        "--record",
        type=Path,
        metavar="DIR",
        help="keep the table and every run's config, manifest, metrics and summary in a folder "
        "below this one, named after the sweep; runs of other seeds join those recorded there",
    )
    parser.add_argument(
        "--compact",
        action="store_true",
        help="with --record: all runs in one file instead, a line each (for many small ones)",
    )
    parser.set_defaults(handler=sweep_command)


def sweep_command(parsed: argparse.Namespace) -> int:
    """Make a sweep's runs, print its table and record it; returns the exit status."""
    if parsed.compact and parsed.record is None:
        raise ConfigError(f"{COMMAND_LINE}: --compact: expected --record DIR beside it")
    engine = engine_of(parsed.engine, parsed.jobs)
    seeds = sweeps.parse_seeds(parsed.seeds)
    sweep = sweeps.plan(parsed.config, parsed.overrides, seeds, parsed.out)
    if parsed.record is not None:
        place_of(sweep, parsed.record)  # is it free? Better asked before the runs than after
    try:
        with engine:
            status = sweeps.run(sweep, engine, lambda line: print(line, flush=True))
    except KeyboardInterrupt:
        print("interrupted; the same command continues the sweep", file=sys.stderr)
        return INTERRUPTED
    rows = sweeps.collect(sweep)
    sweeps.write(sweep, rows)
    _print_table(rows)
    for row in rows:
        for seed, stop in row.stops.items():
            print(f"{row.setting.label} seed={seed}: {sweeps.stop_text(stop)}")
    print(f"{sweep.folder / 'sweep.csv'}")
    if parsed.record is not None:
        print(f"recorded in {record(sweep, parsed.record, parsed.compact)}")
    return status


def _print_table(rows: Sequence[Row]) -> None:
    metrics = [f"{prefix}{name}@" for prefix in ("", FULL) for name in METRICS]
    shown = (*metrics, "simulated_seconds")
    names = [
        name
        for name in dict.fromkeys(name for row in rows for name in row.figures)
        if name.startswith(shown)
    ]
    table = Table(title="mean over seeds ± 95 % t-interval", box=SIMPLE_HEAD)
    for heading in ("setting", "seeds", *names):
        table.add_column(heading, justify="left" if heading == "setting" else "right")
    for row in rows:
        cells = []
        for name in names:
            found = row.figures.get(name)
            digits = 4 if "@" in name else 1
            text = "-" if found is None else f"{found.mean:,.{digits}f}"
            if found is not None and found.half_width is not None:
                text += f" ± {found.half_width:,.{digits}f}"
            cells.append(text)
        table.add_row(row.setting.label, str(len(row.seeds)), *cells)
    screen(200).print(table)
