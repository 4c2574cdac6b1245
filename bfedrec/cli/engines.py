"""The options of commands that make many units of work: how many at a time, and where."""

from __future__ import annotations

import argparse

from bfedrec.sweeps.registry import ENGINES

DEFAULT = "processes"
"""The engine of a command that is told of none."""


def add_engine(parser: argparse.ArgumentParser, units: str, usual: str = "1") -> None:
    """Add --jobs and --engine; `units` are the things that are made, `usual` their number at a time
    in words."""
    parser.add_argument(
        "--jobs",
        metavar="J",
        type=int,
        help=f"{units} at a time (default: {usual}; on a cluster one per processor)",
    )
    listed = "; ".join(f"{name}: {kind.meaning}" for name, kind in ENGINES.items())
    parser.add_argument(
        "--engine",
        metavar="NAME[://ADDRESS]",
        default=DEFAULT,
        help=f"where the {units} are made (default: {DEFAULT}). {listed}",
    )
