"""`bfedrec serve [RUNS]`: the runs of a folder as pages in a browser."""

from __future__ import annotations

import argparse
import sys
from contextlib import suppress
from pathlib import Path

from bfedrec.config.yaml_core import COMMAND_LINE, ConfigError
from bfedrec.runs.folder import RUNS


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
    from bfedrec.web.explorer.serving import explorer_of

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
