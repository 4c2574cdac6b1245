"""`bfedrec learn`: the rounds of a run without its ledger, to a summary, curves and ranks."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from bfedrec.cli.run import add_run, make

if TYPE_CHECKING:
    from bfedrec.config.schema import Config
    from bfedrec.runs.figures import Figures
    from bfedrec.runs.folder import RunFolder


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `bfedrec learn`."""
    parser.description = (
        "Play a run's rounds as honest servers without delay would decide them. Options of "
        "servers, committee, ledger, links and faults have no effect; malicious clients act as in "
        "a run."
    )
    parser.epilog = "The options of an experiment are those of `bfedrec run --help`."
    add_run(parser, "results/learnt")
    parser.set_defaults(handler=lambda parsed: make(parsed, _play, ledger=False))


def _play(config: Config, folder: RunFolder, resume: bool) -> Figures:
    from bfedrec.config.yaml_core import ConfigError
    from bfedrec.runs.progress import Progress

    if config.method != "federated":
        raise ConfigError(
            f"method: {config.method}: has no ledger to leave out: use bfedrec run, which trains it"
        )
    from bfedrec.runs import learning

    with Progress(config.rounds, folder.log, unit="round") as progress:
        return learning.run(config, folder, resume, progress)
