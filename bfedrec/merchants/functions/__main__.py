"""One function as a program on loopback, for as long as it is not ended.

    python -m bfedrec.merchants.functions --target store --port 8081

Its first line on standard output is its URL. Its settings are environment variables
(`bfedrec.merchants.functions.site`). `functions-framework --target store --source FILE` serves the
same on all interfaces, behind something that bounds connections and headers.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from functions_framework.aio import create_asgi_app

from bfedrec.connections import listen, server
from bfedrec.merchants.functions.client import NAMES
from bfedrec.merchants.functions.site import VARIABLES

CONNECTIONS: Final = 64
"""Connections at once; of more, each is answered with 503."""
BAD_INPUT: Final = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT; exit status 0, or 2 for what cannot be begun."""
    parser = argparse.ArgumentParser(
        prog="python -m bfedrec.merchants.functions", description=__doc__
    )
    parser.add_argument("--target", choices=NAMES, required=True, help="the function")
    parser.add_argument("--port", type=int, default=0, help="port on 127.0.0.1; 0 for a free one")
    options = parser.parse_args(arguments)
    missing = [name for name in VARIABLES if not os.environ.get(name)]
    if missing:
        print(f"the environment variable {missing[0]} is not set", file=sys.stderr)
        return BAD_INPUT
    app = create_asgi_app(options.target, str(Path(__file__).with_name(f"{options.target}.py")))
    try:
        listening = listen(options.port)
    except (OSError, OverflowError) as error:
        print(f"port {options.port}: {error}", file=sys.stderr)
        return BAD_INPUT
    print(f"http://127.0.0.1:{listening.getsockname()[1]}", flush=True)  # it listens already
    server(app, CONNECTIONS).run(sockets=[listening])
    return 0


if __name__ == "__main__":
    sys.exit(main())
