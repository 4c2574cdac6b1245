"""`bfedrec merchants sign`: the headers of a request to a merchants' function, for curl."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Final

from bfedrec.config.yaml_core import COMMAND_LINE, ConfigError
from consensus.storage.regular import read_regular

MOST_KEY: Final = 4096
MOST_BODY: Final = 2**30
FUNCTIONS: Final = ("store", "register", "collect", "aggregate")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument(
        "--key", type=Path, required=True, metavar="FILE", help="key.json, or a key in hexadecimal"
    )
    parser.add_argument("--function", choices=FUNCTIONS, required=True)
    parser.add_argument("--body", type=Path, required=True, metavar="FILE", help="what is sent")
    parser.add_argument(
        "--agreement", type=Path, required=True, metavar="FILE", help="the merchants' agreement"
    )
    chain = parser.add_mutually_exclusive_group(required=True)
    chain.add_argument("--chain", metavar="URL", help="a node of the chain, asked for its number")
    chain.add_argument("--chain-id", type=int, metavar="N", help="the chain's number")
    parser.set_defaults(handler=sign_command)


def sign_command(parsed: argparse.Namespace) -> int:
    """Print one header a line, as `curl -H @FILE` reads them; return 0."""
    from bfedrec.merchants.functions.guard import BINARY, JSON
    from bfedrec.merchants.functions.signing import request_of
    from bfedrec.merchants.rounds.agreement import Agreement
    from consensus.ethereum.accounts import from_key
    from consensus.ethereum.errors import EthereumError
    from consensus.ethereum.node import Node

    try:
        agreement = Agreement.load(parsed.agreement)
        account = from_key(_key(parsed.key))
        chain_id = parsed.chain_id if parsed.chain is None else Node(parsed.chain).chain_id
        body = read_regular(parsed.body, MOST_BODY)
    except (ValueError, EthereumError) as error:
        raise ConfigError(f"{COMMAND_LINE}: {error}") from None
    request = request_of(parsed.function, agreement.registry, chain_id, time.time_ns(), body)
    kind = BINARY if parsed.function in ("store", "register") else JSON
    for name, value in {**request.signed(account), "Content-Type": kind}.items():
        print(f"{name}: {value}")
    return 0


def _key(path: Path) -> str:
    """The key in a file. Raises ValueError, which does not show it."""
    text = read_regular(path, MOST_KEY).decode("ascii", "replace").strip()
    if not text.startswith("{"):
        return text
    try:
        return str(json.loads(text)["key"])
    except (ValueError, KeyError, TypeError, RecursionError):
        raise ValueError(f"{path}: not a file of a key") from None
