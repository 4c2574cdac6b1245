"""Table I: what the data sets count, beside the published counts, and whether preparing them came
to what their files must give."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from bfedrec.config.load import load
from bfedrec.data import prepare as data
from bfedrec.data.catalogue import Counts, load_catalogue
from bfedrec.report.artefact import Made, Request
from bfedrec.report.published import Printed
from bfedrec.report.registry import register_table
from bfedrec.report.table import MISSING, Cell, Column, Table

DATA = ("ml-1m", "pinterest", "lfm-2k")
FIGURES = {
    "users": "users",
    "items": "items",
    "interactions": "interactions",
    "sparsity": "sparsity, %",
}
COLUMNS = (
    Column("data", "data"),
    Column("figure", "figure"),
    Column("paper", "paper", 2),
    Column("ours", "ours", 2),
    Column("difference", "difference", 2, signed=True),
    Column("verdict", "verdict"),
    Column("expected", "to be expected", 2),
    Column("check", "check"),
)
NOTES = (
    "Verdict: `equal` to the published count, or which way ours differs. Check: against what these "
    "files must give (datasets/catalogue.toml), which for a part of a data set is less.",
)


def make(request: Request) -> Made:
    """The table, of data at hand: nothing is downloaded. Overrides are options of the data section.
    Raises `ConfigError`, and `DataError` for files that are damaged."""
    rows: list[dict[str, Cell]] = []
    notes, absent, wrong = list(NOTES), [], []
    for name in DATA:
        settings = load(None, [*request.overrides, f"data.dataset={name}"]).data
        entry = load_catalogue()[name]
        notes += [
            f"{name} with `data.variant={variant}`: {other.note} "
            f"({other.expected.interactions:,} interactions)."
            for variant, other in entry.variants.items()
            if settings.variant != variant
        ]
        if not data.at_hand(settings):
            absent.append(f"  bfedrec data prepare {name}")
            rows += _rows(name, entry.published)
            continue
        counted = data.prepare(settings, download=False).statistics
        expected, note = entry.expected(counted.layout, settings.variant)
        if note:
            notes.append(f"{name}: {note}.")
        ours = Counts(
            users=counted.users,
            items=counted.items,
            interactions=counted.interactions,
            sparsity=round(counted.sparsity, 2),
        )
        rows += _rows(name, entry.published, ours, expected)
        wrong += [f"  {name}: {row['figure']}" for row in rows[-4:] if row["check"] != "ok"]
    return Made(
        Table("table1", "Table I: the data", COLUMNS, rows, notes),
        _told("data sets are not at hand; set BFEDREC_DATA, or:", absent),
        _told("counts are not what the files must give:", wrong),
    )


def _rows(
    name: str, paper: Counts, ours: Counts | None = None, expected: Counts | None = None
) -> list[dict[str, Cell]]:
    rows: list[dict[str, Cell]] = []
    for key, heading in FIGURES.items():
        printed = getattr(paper, key)
        row: dict[str, Cell] = {"data": name, "figure": heading, "paper": _printed(printed)}
        if ours is None or expected is None:
            row["ours"] = MISSING
        else:
            found, due = getattr(ours, key), getattr(expected, key)
            more = found - printed if isinstance(found, int) else round(found - printed, 2)
            row |= {"ours": found, "difference": more, "expected": due}
            row["verdict"] = "equal" if not more else "more" if more > 0 else "fewer"
            row["check"] = "ok" if found == due else "wrong"
        rows.append(row)
    return rows


def _printed(value: Any) -> Printed:
    return Printed(Decimal(value) if isinstance(value, int) else Decimal(f"{value:.2f}"))


def _told(what: str, lines: list[str]) -> str:
    return "\n".join([f"{len(lines)} {what}", *lines]) if lines else ""


register_table(
    "table1", "the data sets' counts, and whether they are what they should be", make, place=1
)
