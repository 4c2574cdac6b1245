"""`bfedrec merchants quality`: compare methods on generated shops, and record what came out."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from bfedrec.files import write_text
from bfedrec.sweeps.sweep import parse_seeds

OUT = Path("results/merchants/quality.json")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("--seeds", default="0-4", help="of the markets (default: 0-4)")
    parser.add_argument(
        "--out", type=Path, default=OUT, metavar="FILE", help=f"the record (default: {OUT})"
    )
    parser.set_defaults(handler=quality_command)


def quality_command(parsed: argparse.Namespace) -> int:
    """Compare, write the record, and return 0; a line on standard error for each method."""
    from bfedrec.merchants.comparison import compare
    from bfedrec.merchants.record import to_json

    def tell(method: str, number: int, count: int) -> None:
        if number == count:
            print(f"{method}: {count} settings at each seed", file=sys.stderr, flush=True)

    found = compare(parse_seeds(parsed.seeds), tell)
    parsed.out.parent.mkdir(parents=True, exist_ok=True)
    write_text(parsed.out, to_json(found))
    print(f"{parsed.out}: shown by `bfedrec table merchants`")
    return 0
