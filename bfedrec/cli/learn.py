"""`bfedrec learn`: the rounds of a run without its ledger, to a summary, curves and ranks."""

from __future__ import annotations

import argparse

from bfedrec.cli.run import add_run, make_command


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `bfedrec learn`."""
    parser.description = (
        "Play a run's rounds as honest servers without delay would decide them. Options of "
        "servers, committee, ledger, links and faults have no effect; malicious clients act as in "
        "a run."
    )
    parser.epilog = "The options of an experiment are those of `bfedrec run --help`."
    add_run(parser, "results/learnt")
    parser.set_defaults(handler=lambda parsed: make_command(parsed, ledger=False))
