"""The commands `bfedrec data list | prepare | check`; each prints and returns the exit status.

Unusable data or options raise DataError or ConfigError, one line each.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bfedrec.config import load as config
from bfedrec.data import prepare as data
from bfedrec.data.catalogue import DATA_SETS, CatalogueEntry, Counts, load_catalogue
from bfedrec.data.sanity import sanity, split_facts
from bfedrec.data.sets.file import FormatFile
from bfedrec.data.settings import DataSettings
from bfedrec.plaintext import plain
from bfedrec.screen import screen

HEAD = (
    "# The data sets that come with the package: official source, terms, files with their digests,",
    "# and the counts that a preparation must give. Written by `bfedrec data list --toml` from the",
    "# classes in bfedrec/data, which are what is used.",
)
LONGEST = 400
"""Letters of a line about a file."""
COLUMNS = ("users", "items", "interactions", "sparsity %")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Give `parser` the subcommands; each sets `handler`, a function of the parsed arguments."""
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    listing = commands.add_parser("list", help="the data sets, their terms, and what is at hand")
    listing.add_argument(
        "--toml",
        action="store_true",
        help="their whole records, for datasets/catalogue.toml",
    )
    listing.set_defaults(handler=list_command)
    for name, handler, text in (
        ("prepare", prepare_command, "read a data set, split it, and keep the result"),
        (
            "check",
            check_command,
            "compare a data set's counts with the published ones, or report on a file of your own",
        ),
    ):
        command = commands.add_parser(name, help=text, description=text.capitalize() + ".")
        command.add_argument(
            "name", metavar="NAME", help="a name that `bfedrec data list` shows, or a file"
        )
        command.add_argument(
            "overrides", nargs="*", metavar="data.KEY=VALUE", help="options of the data section"
        )
        command.add_argument(
            "--from",
            dest="source",
            type=Path,
            metavar="PATH",
            help="the official archive, its extracted files, or a folder of data sets "
            "(default: $BFEDREC_DATA, else a download)",
        )
        command.set_defaults(handler=handler)


def list_command(arguments: argparse.Namespace, cache: Path | None = None) -> int:
    """Print every data set with its published counts, its terms of use and whether it is
    available."""
    table = Table(box=None, pad_edge=False)
    table.add_column("name")
    for column in COLUMNS:
        table.add_column(column, justify="right")
    table.add_column("at hand", overflow="fold")
    catalogue = load_catalogue()
    if arguments.toml:
        print(_toml(catalogue), end="")
        return 0
    for name, entry in catalogue.items():
        try:
            place = data.at_hand(DataSettings.model_validate({"dataset": name}), cache)
        except data.DataError as error:
            place = str(error)
        table.add_row(name, *_cells(entry.published), place or "no: would be downloaded")
    for name, kind in DATA_SETS.items():
        if name not in catalogue:
            table.add_row(name, "", "", "", "", kind.summary())
    console = _console()
    console.print(table)
    for name, entry in catalogue.items():
        console.print(f"\n{name}: {entry.title}, {entry.homepage}")
        console.print(f"  licence: {entry.licence}\n  cite: {entry.citation}")
    return 0


def _toml(catalogue: dict[str, CatalogueEntry]) -> str:
    """The records as TOML; what is at its default is left out."""
    lines = list(HEAD)
    for name, entry in catalogue.items():
        lines += _table(name, entry.model_dump(exclude_defaults=True))
    return "\n".join(lines) + "\n"


def _table(name: str, record: Mapping[str, Any]) -> Iterator[str]:
    """The lines of a TOML table: plain values and counts, then the tables within it."""
    inner = {key: value for key, value in record.items() if isinstance(value, dict)}
    counts = {key: value for key, value in inner.items() if "users" in value}
    plain = {key: value for key, value in record.items() if key not in inner}
    if plain or counts:
        yield from ("", f"[{name}]")
    yield from (f"{key} = {_value(value)}" for key, value in {**plain, **counts}.items())
    for key, value in inner.items():
        if key not in counts:
            yield from _table(f"{name}.{key}", value)


def _value(value: Any) -> str:
    """A value on one line, as TOML has it."""
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{key} = {_value(each)}' for key, each in value.items())} }}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_value, value))}]"
    return json.dumps(value, ensure_ascii=False)


def prepare_command(arguments: argparse.Namespace, cache: Path | None = None) -> int:
    """Prepare one data set and print its counts."""
    settings = _settings(arguments)
    start = time.perf_counter()
    dataset = data.prepare(settings, arguments.source, cache)
    seconds = time.perf_counter() - start
    console = _console()
    _print_counts(console, settings, dataset.statistics)
    _print_split(console, dataset)
    console.print(f"ready in {seconds:.1f} s")
    return 0


def check_command(arguments: argparse.Namespace, cache: Path | None = None) -> int:
    """Print the published counts beside ours; return 1 if ours differ from the expected ones.

    Of a file in a known format, print a report on its rows first, and the options that read it.
    """
    settings = _settings(arguments)
    if isinstance(settings.source, FormatFile):
        _print_sanity(_console(), settings.source)
    dataset = data.prepare(settings, arguments.source, cache)
    console = _console()
    wrong = _print_counts(console, settings, dataset.statistics)
    _print_split(console, dataset)
    for column in wrong:
        console.print(f"MISMATCH: {settings.dataset}: {column} differ from the expected count")
    return 1 if wrong else 0


def _settings(arguments: argparse.Namespace) -> DataSettings:
    name, source = arguments.name, arguments.source
    if name not in DATA_SETS and Path(name).is_file():
        name, source = "file", Path(name)
    overrides = [f"data.dataset={name}", *arguments.overrides]
    if name in ("csv", "file") and source is not None:
        overrides.append(f"data.{name}.path={json.dumps(str(source))}")
    return config.load(None, overrides).data


def _print_sanity(console: Console, source: FormatFile) -> None:
    """Print the facts of a file's rows, and what is odd about them."""
    file = source.files(None).by_role["interactions"]
    kind = source.kind_of(file)
    report = sanity(source.rows(file))
    console.print(f"{file}: format {kind.name}: {kind.meaning}", markup=False)
    for name, value in report.facts.items():
        console.print(f"  {name}: {plain(value, LONGEST)}", markup=False)
    for warning in report.warnings:
        console.print(f"  WARNING: {plain(warning, LONGEST)}", markup=False)


def _print_counts(
    console: Console, settings: DataSettings, statistics: data.DatasetStatistics
) -> list[str]:
    """Print the counts; return the columns in which ours are not the expected ones."""
    ours = Counts(
        users=statistics.users,
        items=statistics.items,
        interactions=statistics.interactions,
        sparsity=round(statistics.sparsity, 2),
    )
    table = Table(box=None, pad_edge=False)
    table.add_column(settings.dataset)
    for column in COLUMNS:
        table.add_column(column, justify="right")
    entry: CatalogueEntry | None = load_catalogue().get(settings.dataset)
    wrong: list[str] = []
    if entry is None:
        table.add_row("ours (nothing is published)", *_cells(ours))
    else:
        expected, note = entry.expected(statistics.layout, settings.variant)
        table.add_row(f"{entry.published_in} (published)", *_cells(entry.published))
        if expected != entry.published:
            table.add_row(f"expected here: {note}", *_cells(expected))
        table.add_row(f"ours ({statistics.layout} files)", *_cells(ours))
        table.add_row("ours - published", *_differences(ours, entry.published))
        if settings.split == "leave_one_out":  # the temporal one leaves users and items out
            wrong = [
                column
                for column, a, b in zip(COLUMNS, _values(ours), _values(expected), strict=True)
                if a != b
            ]
    console.print(table)
    return wrong


def _print_split(console: Console, dataset: data.Dataset) -> None:
    statistics = dataset.statistics
    if statistics.held_out_from is not None:
        console.print(
            f"temporal split: trained on before {statistics.held_out_from:.16g}, tested from "
            f"{statistics.tested_from:.16g} on"
        )
    for name, value in split_facts(dataset).items():
        if value:
            console.print(f"{name}: {value:,}")
    share = 100 * statistics.ordered_interactions / max(len(dataset.indices), 1)
    console.print(
        f"order known: {statistics.ordered_interactions:,} training interactions ({share:.1f} %) "
        f"of {statistics.ordered_users:,} users"
    )
    console.print(f"digest: {dataset.digest}")


def _values(counts: Counts) -> tuple[float, ...]:
    return counts.users, counts.items, counts.interactions, counts.sparsity


def _cells(counts: Counts) -> list[str]:
    users, items, interactions, sparsity = _values(counts)
    return [f"{users:,}", f"{items:,}", f"{interactions:,}", f"{sparsity:.2f}"]


def _differences(ours: Counts, published: Counts) -> list[str]:
    pairs = list(zip(_values(ours), _values(published), strict=True))
    return [f"{a - b:+,}" if a != b else "0" for a, b in pairs[:3]] + [
        f"{pairs[3][0] - pairs[3][1]:+.2f}"
    ]


def _console() -> Console:
    return screen(200, highlight=False, soft_wrap=True)
