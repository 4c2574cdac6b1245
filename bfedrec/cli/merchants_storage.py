"""`bfedrec merchants storage`: times of put and get on three stores, recorded."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from bfedrec.config.yaml_core import COMMAND_LINE, ConfigError
from bfedrec.runs.folder import write_text

if TYPE_CHECKING:
    from bfedrec.merchants.storage.places import Place

OUT = Path("results/merchants/storage.json")
REPETITIONS = 15


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument(
        "--api",
        metavar="MULTIADDR",
        help="of an IPFS node, as /ip4/127.0.0.1/tcp/5001; without it no node is measured",
    )
    parser.add_argument(
        "--s3",
        metavar="URL",
        help="of an S3 server, with credentials from the environment (AWS_ACCESS_KEY_ID, "
        "AWS_SECRET_ACCESS_KEY); without it SeaweedFS is started on loopback",
    )
    parser.add_argument(
        "--repetitions",
        type=int,
        default=REPETITIONS,
        help=f"of each size; intervals need 6 (default: {REPETITIONS})",
    )
    parser.add_argument(
        "--most-mb", type=float, default=64.0, help="largest size in MB (default: 64)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the order (default: 0)")
    parser.add_argument(
        "--out", type=Path, default=OUT, metavar="FILE", help=f"the record (default: {OUT})"
    )
    parser.set_defaults(handler=storage_command)


def storage_command(parsed: argparse.Namespace) -> int:
    """Measure, write the record, and return 0; progress and stores that are left out on standard
    error. Raises `ConfigError` for values that make no sense, and where no store can be had."""
    from bfedrec.merchants.storage.measuring import SIZES, measure
    from bfedrec.merchants.storage.record import MB, to_json

    if not 1 <= parsed.repetitions <= 10_000 or parsed.seed < 0:
        raise ConfigError(f"{COMMAND_LINE}: repetitions are 1 to 10,000, a seed is at least 0")
    if not SIZES[0] / MB <= parsed.most_mb <= SIZES[-1] / MB:
        raise ConfigError(f"{COMMAND_LINE}: --most-mb is {SIZES[0] / MB:g} to {SIZES[-1] / MB:g}")
    sizes = [size for size in SIZES if size <= parsed.most_mb * MB]
    with ExitStack() as held:
        folder = Path(held.enter_context(tempfile.TemporaryDirectory(prefix="bfedrec-storage-")))
        places, absent = _places(parsed, folder, held)
        try:
            found = measure(places, absent, parsed.repetitions, sizes, parsed.seed, _tell)
        except ValueError as error:
            raise ConfigError(f"{COMMAND_LINE}: {error}") from None
    parsed.out.parent.mkdir(parents=True, exist_ok=True)
    write_text(parsed.out, to_json(found))
    print(f"{parsed.out}: drawn by `bfedrec figure storage`")
    return 0


def _places(
    parsed: argparse.Namespace, folder: Path, held: ExitStack
) -> tuple[dict[str, Place], dict[str, str]]:
    """The stores that can be had, open for as long as ``held`` is, and why others cannot."""
    from bfedrec.merchants.storage.places import S3, Embedded, Ipfs
    from bfedrec.merchants.storage.seaweed import Seaweed
    from consensus.storage.content import StoreError

    def started() -> Place:
        return held.enter_context(Seaweed(folder / "s3")).connect()

    openers: dict[str, Callable[[], Place]] = {
        "embedded": lambda: Embedded(folder / "store.sqlite"),
        "ipfs": lambda: Ipfs(parsed.api),
        "s3": (lambda: S3(parsed.s3, None, None)) if parsed.s3 else started,
    }
    places: dict[str, Place] = {}
    absent: dict[str, str] = {}
    for name, opener in openers.items():
        if name == "ipfs" and not parsed.api:
            absent[name] = "no node was named (--api)"
        else:
            try:
                places[name] = opener()
                held.callback(places[name].close)
            except StoreError as error:
                absent[name] = str(error)
        _tell(f"{name}: {places[name].about if name in places else f'left out: {absent[name]}'}")
    return places, absent


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
