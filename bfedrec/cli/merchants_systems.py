"""`bfedrec merchants systems`: compare the committee ledger with the contract, and record it."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from bfedrec.config.yaml_core import COMMAND_LINE, ConfigError
from bfedrec.runs.folder import write_text

OUT = Path("results/merchants/systems.json")
MOST_MERCHANTS = 50
"""The registry takes more, but all servers would sit in the committee."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("--merchants", default="3,4,7", metavar="N,...", help="default: 3,4,7")
    parser.add_argument("--rounds", type=int, default=3, help="of each case (default: 3)")
    parser.add_argument("--events", type=int, default=3_000, help="of each shop (default: 3000)")
    parser.add_argument("--epochs", type=int, default=20, help="of each round (default: 20)")
    parser.add_argument("--seed", type=int, default=0, help="default: 0")
    parser.add_argument(
        "--out", type=Path, default=OUT, metavar="FILE", help=f"the record (default: {OUT})"
    )
    parser.set_defaults(handler=systems_command)


def systems_command(parsed: argparse.Namespace) -> int:
    """Play all cases, write the record, and return 0; a line on standard error for each case.
    Raises `ConfigError` for values that make no sense."""
    counts = _counts(parsed.merchants)
    if not 2 <= parsed.rounds <= 1_000 or parsed.seed < 0:
        raise ConfigError(f"{COMMAND_LINE}: rounds are 2 to 1,000, and a seed is at least 0")
    from bfedrec.merchants.settings import StepSettings
    from bfedrec.merchants.systems.comparison import compare
    from bfedrec.merchants.systems.record import to_json

    def tell(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    try:
        settings = StepSettings(epochs=parsed.epochs)
        found = compare(counts, parsed.rounds, parsed.events, settings, parsed.seed, tell)
    except ValueError as error:
        raise ConfigError(f"{COMMAND_LINE}: {error}") from None
    parsed.out.parent.mkdir(parents=True, exist_ok=True)
    write_text(parsed.out, to_json(found))
    print(f"{parsed.out}: shown by `bfedrec table systems`")
    return 0


def _counts(text: str) -> list[int]:
    words = text.split(",")
    if not all(word.isascii() and word.isdigit() and len(word) < 4 for word in words):
        raise ConfigError(f"{COMMAND_LINE}: --merchants {text!r:.40}: expected numbers as 3,4,7")
    counts = list(dict.fromkeys(map(int, words)))
    if not all(2 <= count <= MOST_MERCHANTS for count in counts):
        raise ConfigError(f"{COMMAND_LINE}: merchants are 2 to {MOST_MERCHANTS}")
    return counts
