"""`bfedrec merchants COMMAND`: the merchants' system.

Each command below is a module of its own beside this one.
"""

from __future__ import annotations

import argparse

from bfedrec.cli import (
    merchants_audit,
    merchants_demo,
    merchants_events,
    merchants_quality,
    merchants_sign,
    merchants_storage,
    merchants_systems,
    merchants_train,
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the commands below `bfedrec merchants`."""
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, module, told in (
        ("events", merchants_events, "shop events: generate, inspect, cut"),
        ("train", merchants_train, "train merchants on files of events, and average"),
        (
            "demo",
            merchants_demo,
            "the whole system on this machine: chain, store, functions, portal",
        ),
        ("sign", merchants_sign, "the headers of a request to a merchants' function, for curl"),
        ("audit", merchants_audit, "recompute all rounds from the chain and the store"),
        ("quality", merchants_quality, "compare merchants alone, together and pooled"),
        ("storage", merchants_storage, "measure put and get: embedded, IPFS, S3"),
        ("systems", merchants_systems, "compare the ledger with the contract, with liars"),
    ):
        module.add_arguments(commands.add_parser(name, help=told))
