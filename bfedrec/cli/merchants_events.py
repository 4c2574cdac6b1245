"""`bfedrec merchants events generate | inspect | cut`: files of shop events in REES46's format."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from bfedrec.config.yaml_core import COMMAND_LINE, ConfigError
from bfedrec.merchants.events import EventReader, Reading, Selection
from bfedrec.merchants.lines import COLUMNS, EVENT_TYPES
from bfedrec.merchants.market import MarketSettings, market_of
from bfedrec.merchants.shards import Shard
from bfedrec.streams import Streams

SHOWN = 10
"""Bad rows that are printed; all are counted."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the commands below `bfedrec merchants events`."""
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    made = commands.add_parser("generate", help="write a file of events for each generated shop")
    made.add_argument("--out", type=Path, required=True, metavar="DIR", help="shop-0.csv, ...")
    made.add_argument("--events", type=int, default=10_000, help="of each shop (default: 10,000)")
    defaults = MarketSettings()
    for name in ("shops", "customers", "products"):
        value = getattr(defaults, name)
        made.add_argument(f"--{name}", type=int, default=value, help=f"default: {value}")
    made.add_argument("--seed", type=int, default=0, help="default: 0")
    made.set_defaults(handler=generate_command)
    for name, handler, told in (
        ("inspect", inspect_command, "count a file's events, and tell its bad rows"),
        ("cut", cut_command, "write some of a file's events, as they stand, to another file"),
    ):
        command = commands.add_parser(name, help=told)
        command.add_argument("file", type=Path, metavar="FILE", help="plain, .gz or .zip")
        if name == "cut":
            command.add_argument("--out", type=Path, required=True, metavar="FILE")
        _add_selection(command)
        command.set_defaults(handler=handler)


def _add_selection(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--since", metavar="TIME", help="from 2019-10-01 or 2019-10-01T12:00 on")
    parser.add_argument("--until", metavar="TIME", help="before this time (UTC)")
    parser.add_argument(
        "--category", default="", metavar="CODE", help="electronics, and all below it"
    )
    parser.add_argument("--count", type=int, metavar="N", help="at most, the first in the file")
    parser.add_argument(
        "--shard",
        metavar="RULE:K/N",
        help="those of merchant K of N, by a hash of the user or of the main category: user:0/3",
    )
    parser.add_argument("--key", default="", help="of the shard's hash (default: none)")
    parser.add_argument(
        "--bad", type=Path, metavar="FILE", help="write every bad row's line and problem here"
    )


def _selection(parsed: argparse.Namespace) -> Selection:
    try:
        shard = Shard.parse(parsed.shard, parsed.key.encode()) if parsed.shard else None
        return Selection(
            since=None if parsed.since is None else datetime.fromisoformat(parsed.since),
            until=None if parsed.until is None else datetime.fromisoformat(parsed.until),
            category=parsed.category,
            count=parsed.count,
            shard=shard,
        )
    except ValueError as error:
        raise ConfigError(f"{COMMAND_LINE}: {error}") from None


def generate_command(parsed: argparse.Namespace) -> int:
    """Write DIR/shop-K.csv for each shop; return 0. Raises `ConfigError` for sizes that make no
    market."""
    from bfedrec.merchants.generator import shop_events, write_events

    try:
        if parsed.seed < 0:
            raise ValueError(f"seed must be at least 0, not {parsed.seed}")
        streams = Streams(parsed.seed)
        sizes = MarketSettings(parsed.shops, parsed.customers, parsed.products)
        market = market_of(sizes, streams)
        parsed.out.mkdir(parents=True, exist_ok=True)
        for shop in range(market.shops):
            events = shop_events(market, shop, parsed.events, streams)
            path = parsed.out / f"shop-{shop}.csv"
            with path.open("wb") as file:
                write_events(file, market, shop, events, streams)
            print(f"{path}: {len(events.times):,} events, {path.stat().st_size:,} bytes")
    except ValueError as error:
        raise ConfigError(f"{COMMAND_LINE}: {error}") from None
    return 0


def inspect_command(parsed: argparse.Namespace) -> int:
    """Print counts of a file and its bad rows; return 0."""
    with _reader(parsed) as reader:
        _inspect(parsed.file, reader)
    _tell_bad(reader.reading)
    return 0


@contextmanager
def _reader(parsed: argparse.Namespace) -> Iterator[EventReader]:
    """The reader of the file that is asked for, which within the context writes all bad rows where
    they are wanted."""
    selection = _selection(parsed)
    if parsed.bad is None:
        yield EventReader(parsed.file, selection)
        return
    with parsed.bad.open("x", encoding="ascii") as bad:
        yield EventReader(parsed.file, selection, tell=lambda row: print(row, file=bad))


def _inspect(path: Path, reader: EventReader) -> None:
    kinds: Counter[str] = Counter()
    first, last = None, None
    start = time.perf_counter()
    for chunk in reader:
        kinds.update(chunk.frame["event_type"].tolist())
        low, high = chunk.frame["event_time"].min(), chunk.frame["event_time"].max()
        first = low if first is None else min(first, low)
        last = high if last is None else max(last, high)
    seconds = time.perf_counter() - start
    events = reader.reading.events
    print(f"{path}: {events:,} events of {reader.reading.rows:,} rows in {seconds:.1f} s")
    if events:
        for name in EVENT_TYPES:
            print(f"  {name:<8} {kinds[name]:>12,}  {100 * kinds[name] / events:6.2f} %")
        print(f"  from {first} to {last} UTC")


def cut_command(parsed: argparse.Namespace) -> int:
    """Write the selected lines to a new file, whole or not at all; return 0.

    Raises `ConfigError` if the file exists already or nothing is selected.
    """
    if parsed.out.exists():
        raise ConfigError(f"{parsed.out}: exists already; remove it first")
    beside = parsed.out.with_name(f".{parsed.out.name}.part")
    try:
        with _reader(parsed) as reader, beside.open("wb") as file:
            file.write((",".join(COLUMNS) + "\n").encode())
            for chunk in reader:
                file.write(chunk.text)
            file.flush()
            os.fsync(file.fileno())
        if not reader.reading.events:
            raise ConfigError(f"{parsed.file}: no event is selected")
        beside.replace(parsed.out)
    finally:
        beside.unlink(missing_ok=True)
    print(f"{parsed.out}: {reader.reading.events:,} events of {reader.reading.rows:,} rows")
    _tell_bad(reader.reading)
    return 0


def _tell_bad(reading: Reading) -> None:
    """Tell the bad rows on standard error."""
    if not reading.bad_rows:
        return
    kinds = ", ".join(f"{kind} {count:,}" for kind, count in reading.bad.most_common())
    print(f"{reading.bad_rows:,} bad rows ({kinds}):", file=sys.stderr)
    for row in reading.first_bad[:SHOWN]:
        print(f"  {row}", file=sys.stderr)
    if reading.bad_rows > SHOWN:
        print(f"  and {reading.bad_rows - SHOWN:,} more", file=sys.stderr)
