"""The table model and its three forms, and the command."""

from __future__ import annotations

import csv
import io
from decimal import Decimal
from pathlib import Path

import pytest

from bfedrec.cli.main import main
from bfedrec.evaluation.intervals import Interval, t_interval
from bfedrec.report.artefact import Made
from bfedrec.report.published import Printed
from bfedrec.report.registry import TABLES, register_table, tables
from bfedrec.report.table import (
    FORMATS,
    MISSING,
    Column,
    Table,
    as_csv,
    compare,
    compared,
    latex,
    markdown,
    shown,
    write,
)

PAPER = Printed(Decimal("0.60"))
COLUMNS = (Column("data", "data"), Column("method", "method"), *compared(4))


def table() -> Table:
    rows = [
        {"data": "a_1", "method": "50 %", **compare(PAPER, t_interval([0.66, 0.65, 0.67]))},
        {"data": "a_1", "method": "x|y", **compare(None, t_interval([0.5]))},
        {"data": "b", "method": "z", **compare(PAPER, None)},
    ]
    return Table("some", "Some & all", COLUMNS, rows, ["Nothing costs $1."])


def test_a_measured_figure_is_compared_with_a_published_one() -> None:
    cells = compare(PAPER, t_interval([0.66, 0.65, 0.67]))
    assert cells["difference"] == pytest.approx(0.06)
    assert cells["verdict"] == "above"
    assert compare(PAPER, t_interval([0.66]))["verdict"] == "open"
    assert "verdict" not in compare(None, t_interval([0.66, 0.67]))
    assert compare(PAPER, None) == {"paper": PAPER, "ours": MISSING}


@pytest.mark.parametrize(
    ("cell", "column", "text"),
    [
        (None, Column("x", "x", 2), ""),
        (MISSING, Column("x", "x", 2), "missing"),
        (PAPER, Column("x", "x", 4), "0.60"),
        (Printed(Decimal(1000209)), Column("x", "x", 2), "1,000,209"),
        (0.66437, Column("x", "x", 4), "0.6644"),
        (1600, Column("x", "x", 2), "1,600"),
        (0.01, Column("x", "x", 2, signed=True), "+0.01"),
        (-0.004, Column("x", "x", 2, signed=True), "0.00"),
        (0, Column("x", "x", 2, signed=True), "0"),
        (-17686, Column("x", "x", 2, signed=True), "-17,686"),
        (Interval(5, 0.5, 0.4, 0.6), Column("x", "x", 2, interval=True), "0.40 to 0.60"),
        (t_interval([0.5]), Column("x", "x", 2, interval=True), ""),
        (0.0123, Column("p", "p", 4, probability=True), "0.0123"),
        (1.0, Column("p", "p", 4, probability=True), "1.0000"),
        (0.00099, Column("p", "p", 4, probability=True), "1e-03"),
        (3.4e-12, Column("p", "p", 4, probability=True), "3e-12"),
        (9e-17, Column("p", "p", 4, probability=True), "< 1e-16"),
        (0.0, Column("p", "p", 4, probability=True), "< 1e-16"),
    ],
)
def test_cells_as_a_person_reads_them(cell: object, column: Column, text: str) -> None:
    assert shown(cell, column) == text  # type: ignore[arg-type]


def test_as_markdown() -> None:
    lines = markdown(table()).splitlines()
    assert lines[0] == "**Some & all**"
    assert lines[2].startswith("| data | method | paper | ours |")
    assert lines[3] == "| --- | --- | ---: | ---: | ---: | ---: | --- |"
    assert lines[4] == "| a_1 | 50 % | 0.60 | 0.6600 | +0.0600 | 0.6352 to 0.6848 | above |"
    assert lines[5] == "| a_1 | x\\|y |  | 0.5000 |  |  |  |"
    assert lines[6] == "| b | z | 0.60 | missing |  |  |  |"
    assert lines[-1] == "- Nothing costs $1."


def test_as_csv_with_all_digits() -> None:
    rows = list(csv.DictReader(io.StringIO(as_csv(table()))))
    assert rows[0]["paper"] == "0.60"
    assert float(rows[0]["ours"]) == t_interval([0.66, 0.65, 0.67]).mean
    assert float(rows[0]["interval_low"]) == t_interval([0.66, 0.65, 0.67]).low
    assert (rows[1]["interval_low"], rows[1]["verdict"]) == ("", "")
    assert rows[2]["ours"] == "missing"


def test_an_interval_needs_a_column_that_says_so() -> None:
    wrong = Table("w", "w", (Column("x", "x", 2),), [{"x": Interval(2, 0.5, 0.4, 0.6)}])
    with pytest.raises(TypeError, match="column x holds an interval"):
        as_csv(wrong)


def test_as_latex() -> None:
    text = latex(table())
    assert r"\caption{Some \& all}" in text
    assert r"\begin{tabular}{llrrrrl}" in text
    assert text.count(r"\midrule") == 2  # below the heading, and between two groups
    assert r"a\_1 & 50 \% & 0.60 & 0.6600 & +0.0600 & 0.6352 to 0.6848 & above \\" in text
    assert "\n & x|y &" in text  # its group is named above
    assert r"Nothing costs \$1." in text
    below = Table("w", "w", (Column("x", "x", 2, signed=True),), [{"x": -0.5}])
    assert "$-$0.50" in latex(below)
    least = Table("w", "w", (Column("p", "p", 4, probability=True),), [{"p": 0.0}])
    assert r"\textless{} 1e-16 \\" in latex(least)  # "<" alone is another letter in text


def test_a_table_is_written_in_every_form(tmp_path: Path) -> None:
    paths = write(table(), tmp_path / "new" / "folder")
    assert [path.name for path in paths] == ["some.md", "some.csv", "some.tex"]
    assert [path.read_text() for path in paths] == [made(table()) for _, made in FORMATS.values()]


# --- the command ---------------------------------------------------------------------------------


def test_the_command_lists_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["table"]) == 0
    told = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in told] == list(tables())
    assert main(["table", "table4"]) == 2
    assert "'table4': not one of table1, " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("lacking", "wrong", "status"),
    [("", "", 0), ("2 of 3 runs are not recorded", "", 2), ("", "it is not so", 1)],
)
def test_the_command_prints_writes_and_says_what_is_missing(
    lacking: str,
    wrong: str,
    status: int,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    made = Made(table(), lacking, wrong)
    with TABLES.restored():
        register_table("some", "nothing", lambda request: made)
        assert main(["table", "some", "--out", str(tmp_path), "--format", "csv"]) == status
    told = capsys.readouterr()
    assert told.out == as_csv(table())
    assert (tmp_path / "some.tex").exists()
    assert f"some: {lacking or wrong}" in told.err or not status
