"""`bfedrec merchants demo`: the whole merchants' system on this machine, by one command."""

from __future__ import annotations

import argparse
import importlib.util
import json
import secrets
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bfedrec.cli.status import CHECK_FAILED
from bfedrec.config.yaml_core import COMMAND_LINE, ConfigError

if TYPE_CHECKING:
    from bfedrec.merchants.demo.demo import Demo, Parts
    from bfedrec.merchants.demo.folder import Plan

PASSWORD_BYTES: Final = 12
LOOK_SECONDS: Final = 0.5
NEEDED: Final = {
    "web3": "merchants",
    "functions_framework": "merchants",
    "starlette": "web",
    "argon2": "web",
}
"""Packages without which nothing can begin, and the extra that brings each."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument(
        "--rounds", type=int, default=2, help="closed rounds to come to (default: 2)"
    )
    parser.add_argument(
        "--exit", action="store_true", help="end after the rounds, with a summary as JSON"
    )
    parser.add_argument("--seed", type=int, default=0, help="default: 0")
    parser.add_argument(
        "--dir", type=Path, metavar="DIR", help="kept, and gone on with (default: one for once)"
    )
    parser.add_argument("--shops", type=int, default=3, help="generated merchants (default: 3)")
    parser.add_argument(
        "--count", type=int, default=10_000, help="generated events of each (default: 10,000)"
    )
    parser.add_argument(
        "--events", type=Path, metavar="DIR", help="files of events, one a merchant, by name"
    )
    parser.add_argument("--epochs", type=int, default=100, help="of each round (default: 100)")
    parser.add_argument("--ethereum", metavar="URL", help="a node, instead of the embedded chain")
    parser.add_argument(
        "--keys",
        type=Path,
        metavar="FILE",
        help="keys on that chain, one a line: the operator's, then the merchants' (default: "
        "accounts of the seed, which anyone can spend from)",
    )
    parser.add_argument("--store", choices=("embedded", "ipfs"), default="embedded")
    parser.add_argument(
        "--api", metavar="MULTIADDR", default="/ip4/127.0.0.1/tcp/5001", help="of the IPFS node"
    )
    parser.add_argument("--port", type=int, default=0, help="of the portal (default: a free one)")
    parser.set_defaults(handler=demo_command)


def demo_command(parsed: argparse.Namespace) -> int:
    """Start all, play the rounds, and serve until Ctrl-C; return 0.

    With ``--exit`` the summary is printed instead, and 1 returned where the record is not right.
    """
    _check_packages()
    from bfedrec.merchants.demo.demo import FAILURES, Demo
    from bfedrec.merchants.demo.folder import locked
    from bfedrec.merchants.demo.processes import Processes

    plan, parts = _asked(parsed)
    try:
        with ExitStack() as stack:
            folder = parsed.dir
            if folder is None:
                folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bfedrec-")))
            stack.enter_context(locked(folder))
            processes = stack.enter_context(Processes(folder / "logs", _tell))
            demo = Demo(folder, plan, parts, processes, _tell)
            demo.start()
            return _run(demo, parsed.rounds, parsed.exit)
    except FAILURES as error:
        raise ConfigError(f"{COMMAND_LINE}: {error}") from None


def _run(demo: Demo, rounds: int, ends: bool) -> int:
    """Play, and print the summary or serve."""
    passwords = {} if ends else _passwords(demo)
    demo.start_portal()
    demo.play(rounds)
    url = demo.processes.url("portal")
    if ends:
        summary = demo.summary()
        print(json.dumps(summary, indent=1), flush=True)
        audited = summary["audit"]
        assert isinstance(audited, dict)
        return 0 if audited["right"] else CHECK_FAILED
    print(f"open {url}")
    for name in demo.plan.names:
        told = f"one-time password {passwords[name]}" if name in passwords else "password as before"
        print(f"  {name}: {told}")
    print("Ctrl-C ends it", flush=True)
    while True:  # until KeyboardInterrupt
        demo.processes.check()
        time.sleep(LOOK_SECONDS)


def _asked(parsed: argparse.Namespace) -> tuple[Plan, Parts]:
    """The plan and parts that the command line asks for. Raises ConfigError."""
    from bfedrec.merchants.demo.demo import Parts
    from bfedrec.merchants.demo.folder import DemoError, Plan
    from bfedrec.merchants.settings import StepSettings

    files: tuple[str, ...] = ()
    if parsed.events is not None:
        if not parsed.events.is_dir():
            raise ConfigError(f"{COMMAND_LINE}: {parsed.events}: no folder of files of events")
        found = sorted(each for each in parsed.events.iterdir() if ".csv" in each.suffixes)
        files = tuple(str(each.absolute()) for each in found)
        if not files:
            raise ConfigError(f"{COMMAND_LINE}: {parsed.events}: holds no file .csv")
    if parsed.keys is not None and parsed.ethereum is None:
        raise ConfigError(f"{COMMAND_LINE}: --keys is of a chain that --ethereum names")
    if not 1 <= parsed.rounds <= 10_000 or not 0 <= parsed.port < 65_536:
        raise ConfigError(f"{COMMAND_LINE}: rounds are 1 to 10,000, and a port is 0 to 65,535")
    try:
        plan = Plan(
            seed=parsed.seed,
            shops=len(files) or parsed.shops,
            events=parsed.count,
            files=files,
            chain="ethereum" if parsed.ethereum else "embedded",
            store=parsed.store,
            settings=StepSettings(epochs=parsed.epochs),
        )
    except (DemoError, ValueError) as error:
        raise ConfigError(f"{COMMAND_LINE}: {error}") from None
    store = f"ipfs:{parsed.api}" if parsed.store == "ipfs" else ""
    return plan, Parts(parsed.ethereum or "", parsed.keys, store, parsed.port)


def _passwords(demo: Demo) -> dict[str, str]:
    """New one-time passwords of the merchants that have no account yet."""
    from bfedrec.web.accounts import Accounts, create

    place = demo.folder / "accounts.json"
    known = Accounts(place).all()
    made = {}
    for name in demo.plan.names:
        if name not in known:
            made[name] = secrets.token_urlsafe(PASSWORD_BYTES)
            create(place, name, made[name])
    return made


def _check_packages() -> None:
    """Raise ConfigError where a package is missing that the demo needs."""
    for package, extra in NEEDED.items():
        if importlib.util.find_spec(package) is None:
            raise ConfigError(f"this needs {package}: pip install 'bfedrec[{extra}]'")


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
