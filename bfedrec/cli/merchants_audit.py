"""`bfedrec merchants audit`: recompute all rounds from the chain and the store."""

from __future__ import annotations

import argparse
from pathlib import Path

from bfedrec.cli.status import CHECK_FAILED
from bfedrec.config.yaml_core import COMMAND_LINE, ConfigError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("agreement", type=Path, metavar="AGREEMENT", help="agreement.json")
    parser.add_argument("--ethereum", required=True, metavar="URL", help="a node's JSON-RPC")
    parser.add_argument(
        "--store", required=True, metavar="SPEC", help="file:PATH, or ipfs:/ip4/HOST/tcp/PORT"
    )
    parser.set_defaults(handler=audit_command)


def audit_command(parsed: argparse.Namespace) -> int:
    """Print what was checked and what is wrong; return 0, or CHECK_FAILED where anything is.

    Raises `ConfigError` for an agreement, a node or a store that cannot be used.
    """
    from bfedrec.merchants.rounds.agreement import Agreement
    from bfedrec.merchants.rounds.audit import audit
    from bfedrec.merchants.rounds.stores import open_store
    from consensus.encoding.cid import cid_text
    from consensus.ethereum.errors import EthereumError
    from consensus.ethereum.node import Node
    from consensus.ethereum.registry import Registry
    from consensus.storage.content import StoreError

    try:
        agreement = Agreement.load(parsed.agreement)
        registry = Registry(Node(parsed.ethereum), agreement.registry, agreement.since)
        with open_store(parsed.store) as store:
            found = audit(registry, store, agreement)
    except (EthereumError, StoreError, OSError, ValueError) as error:
        raise ConfigError(f"{COMMAND_LINE}: {error}") from None
    for each in found.aggregates:
        told = each.problem or "as recomputed"
        print(f"round {each.number}: {cid_text(each.model.cid)}, {each.votes} votes: {told}")
    for each in found.refused:
        print(f"round {each.number}: {each.merchant}'s model is not used: {each.problem}")
    checked = f"{found.rounds} rounds, {len(found.models)} models"
    if found.problems:
        print(f"{checked}: {len(found.problems)} differences")
        return CHECK_FAILED
    print(f"{checked}: all as the chain says")
    return 0
