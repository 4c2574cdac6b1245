"""`bfedrec behaviours`: what malicious servers can do, or all of it as the values of a sweep."""

from __future__ import annotations

import inspect
from argparse import ArgumentParser, Namespace

from bfedrec.config.servers import PAPERS_ATTACK
from consensus.adversary.behaviour import BEHAVIOURS, strategies


def add_arguments(parser: ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument(
        "--share",
        metavar="SHARE",
        help="print the values of `bfedrec sweep CONFIG servers.malicious=...` that compare the "
        "behaviours of this share of the servers, as 1/3: the paper's attack, then each behaviour",
    )
    parser.set_defaults(handler=behaviours_command)


def behaviours_command(parsed: Namespace) -> int:
    """Print a line for each registered behaviour, or the values of a sweep."""
    if parsed.share is not None:
        compared = ["+".join(PAPERS_ATTACK), *strategies()]
        print(",".join(f"{names}:{parsed.share}" for names in compared))
        return 0
    for name, kind in sorted(BEHAVIOURS.items()):
        text = " ".join((inspect.getdoc(kind) or "").split("\n\n")[0].split())
        print(f"{name:<24} {text}")
    return 0
