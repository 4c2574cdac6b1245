"""`bfedrec serve [RUNS]`: the runs of a folder as pages in a browser."""

from __future__ import annotations

import argparse
import ipaddress
import socket
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from bfedrec.config.yaml_core import COMMAND_LINE, ConfigError
from bfedrec.runs.folder import RUNS

if TYPE_CHECKING:
    from bfedrec.web.explorer.state import Explorer

LOCAL = ("127.0.0.1", "localhost", "[::1]")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `bfedrec serve`."""
    parser.add_argument(
        "runs",
        metavar="RUNS",
        type=Path,
        nargs="?",
        default=RUNS,
        help=f"a folder with runs and sweeps, one run, or a trace of `bfedrec torture --trace` "
        f"(default: {RUNS})",
    )
    parser.add_argument("--port", metavar="N", type=int, default=0, help="0, the default: any free")
    parser.add_argument(
        "--host",
        metavar="ADDRESS",
        default="127.0.0.1",
        help="an address of this machine (default: 127.0.0.1, seen from this machine alone). There "
        "is no log-in: whoever reaches another address reads all runs of the folder",
    )
    parser.add_argument(
        "--gateway",
        metavar="URL",
        default="",
        help="an IPFS gateway to link content to, as http://127.0.0.1:8080",
    )
    parser.add_argument("--open", action="store_true", help="open a browser")
    parser.set_defaults(handler=serve_command)


def serve_command(parsed: argparse.Namespace) -> int:
    """Serve until Ctrl-C or SIGTERM; the first line on standard output is the URL."""
    explorer = explorer_of(parsed.runs, parsed.gateway, parsed.host)
    from bfedrec.connections import listen, server
    from bfedrec.web.explorer.ahead import prepare
    from bfedrec.web.explorer.app import application

    try:
        listening = listen(parsed.port, parsed.host)
    except (OSError, OverflowError) as error:
        told = f"--host {parsed.host} --port {parsed.port}: {error}"
        raise ConfigError(f"{COMMAND_LINE}: {told}") from None
    name = f"[{parsed.host}]" if ":" in parsed.host else parsed.host
    url = f"http://{name}:{listening.getsockname()[1]}"
    print(url, flush=True)  # it listens already
    print(f"{parsed.runs}: end with Ctrl-C", file=sys.stderr)
    if parsed.open:
        import webbrowser

        webbrowser.open(url)
    prepare(explorer)
    with suppress(KeyboardInterrupt):  # the ordinary end
        server(application(explorer)).run(sockets=[listening])
    return 0


def explorer_of(runs: Path, gateway: str = "", host: str = "127.0.0.1") -> Explorer:
    """The explorer of a folder of runs, of one run or sweep, or of a trace.

    Raises ConfigError for a path that does not exist, a gateway that is no URL, and where the
    packages of the pages are not installed.
    """
    try:
        from bfedrec.web.explorer.state import Explorer
    except ModuleNotFoundError as error:
        raise ConfigError(f"pages need {error.name}: pip install 'bfedrec[web]'") from None
    from bfedrec.explorer.catalogue import OF_A_RUN, OF_A_SWEEP
    from bfedrec.explorer.places import Places

    if gateway and not gateway.startswith(("http://", "https://")):
        raise ConfigError(f"{COMMAND_LINE}: --gateway {gateway!a}: not as http://127.0.0.1:8080")
    try:
        runs = runs.resolve(strict=True)
    except (OSError, ValueError):
        raise ConfigError(
            f"{COMMAND_LINE}: {runs}: there is no such folder; "
            "`bfedrec run experiments/quickstart.yaml` makes a run"
        ) from None
    gateway = gateway.rstrip("/")
    hosts = tuple(dict.fromkeys([*LOCAL, *_names(host)]))
    if runs.is_file():
        return Explorer(Places(runs.parent, single=True), runs, gateway, hosts)
    single = any((runs / name).exists() for name in (*OF_A_RUN, *OF_A_SWEEP))
    return Explorer(Places(runs, single), None, gateway, hosts)


def _names(host: str) -> list[str]:
    """The names under which a server on an address is found."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return [host.lower()]
    if not address.is_unspecified:
        return [f"[{address}]" if address.version == 6 else str(address)]
    name, found = socket.gethostname().lower(), list[object]()
    with suppress(OSError):  # a machine may have a name that nobody knows
        found = [entry[4][0] for entry in socket.getaddrinfo(name, None)]
    return [name, *(f"[{each}]" if ":" in str(each) else str(each) for each in found)]
