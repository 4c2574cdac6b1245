"""The portal as a program, on loopback, for as long as it is not ended.

    python -m bfedrec.web.portal --market DIR --port 8080

Its first line on standard output is its URL. DIR is a folder as `bfedrec merchants demo` makes it:
`agreement.json`, `settings.json`, `accounts.json` and the workspaces `merchants/NAME/`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from bfedrec.connections import listen, server
from bfedrec.web.accounts import AccountError
from bfedrec.web.portal.app import application
from bfedrec.web.portal.market import UNUSABLE, Market
from bfedrec.web.portal.state import Portal

BAD_INPUT: Final = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT; exit status 0, or 2 for what cannot be begun."""
    parser = argparse.ArgumentParser(prog="python -m bfedrec.web.portal", description=__doc__)
    parser.add_argument("--market", type=Path, required=True, help="the merchants' folder")
    parser.add_argument("--port", type=int, default=0, help="port on 127.0.0.1; 0 for a free one")
    parser.add_argument(
        "--origin",
        type=_origin,
        help="where browsers find it if a proxy on this machine passes requests on, as "
        "https://shops.example",
    )
    options = parser.parse_args(arguments)
    try:
        listening = listen(options.port)
        port = listening.getsockname()[1]
        market = Market(options.market)
        portal = Portal(market, options.market, port, options.origin or "")
        portal.accounts.all()
    except (*UNUSABLE, AccountError, OSError, OverflowError) as error:
        print(" ".join(str(error).split()), file=sys.stderr)
        return BAD_INPUT
    market.resume()
    print(options.origin or f"http://127.0.0.1:{port}", flush=True)  # it listens already
    server(application(portal), behind_proxy=bool(options.origin)).run(sockets=[listening])
    market.close()
    return 0


def _origin(text: str) -> str:
    parts = urlsplit(text)
    if (
        parts.scheme not in ("http", "https")
        or not parts.netloc
        or text.rstrip("/") != (f"{parts.scheme}://{parts.netloc}")
    ):
        raise argparse.ArgumentTypeError(f"{text!a:.80} is no origin as https://shops.example")
    return text.rstrip("/").lower()


if __name__ == "__main__":
    sys.exit(main())
