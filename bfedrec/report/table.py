"""The parts of every table, and the writing of one: as Markdown, CSV and LaTeX (booktabs).

A table's rows are its cells: each says what is measured, the published figure, ours, the
difference, the interval and the verdict.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bfedrec.evaluation.intervals import Interval
from bfedrec.files import write_text
from bfedrec.report.published import Printed, verdict

MISSING: Final = "missing"
"""The cell of what no run has been recorded for."""
LEAST_P: Final = 1e-16
"""Least p-value that is shown as a number: farther out a tail is the model's alone."""

Cell = str | int | float | Printed | Interval | None
"""None is an empty cell: there is nothing to say."""
Row = Mapping[str, Cell]


@dataclass(frozen=True)
class Column:
    """A column: its key in the rows, its heading and its format."""

    key: str
    heading: str
    digits: int | None = None
    """Decimals of its numbers (integers have none); None for words."""
    signed: bool = False
    interval: bool = False
    probability: bool = False
    """True for p-values: below 0.001 they are shown as powers of ten, below `LEAST_P` as less."""


@dataclass(frozen=True)
class Table:
    """A table: its columns and its rows."""

    name: str
    title: str
    columns: Sequence[Column]
    """The first one's words group the rows."""
    rows: Sequence[Row]
    notes: Sequence[str] = ()


def compared(digits: int) -> tuple[Column, ...]:
    """The columns of a measured figure with so many decimals beside a published one."""
    return (
        Column("paper", "paper", digits),
        Column("ours", "ours", digits),
        Column("difference", "difference", digits, signed=True),
        Column("interval", "95 % interval", digits, interval=True),
        Column("verdict", "verdict"),
    )


def compare(paper: Printed | None, ours: Interval | None) -> dict[str, Cell]:
    """The cells of these columns; what has no run is `MISSING`."""
    if ours is None:
        return {"paper": paper, "ours": MISSING}
    cells: dict[str, Cell] = {"paper": paper, "ours": ours.mean, "interval": ours}
    if paper is not None:
        cells |= {"difference": ours.mean - float(paper.value), "verdict": verdict(ours, paper)}
    return cells


# -- as text --------------------------------------------------------------------------------------


def shown(cell: Cell, column: Column) -> str:
    """A cell as a person reads it."""
    if cell is None:
        return ""
    if isinstance(cell, str):
        return cell
    if isinstance(cell, Printed):
        return f"{cell.value:,}"
    if isinstance(cell, Interval):
        if cell.low is None or cell.high is None:
            return ""
        return f"{_number(cell.low, column)} to {_number(cell.high, column)}"
    return _number(cell, column)


def _number(value: float, column: Column) -> str:
    if column.probability and value < 1e-3:
        return f"{value:.0e}" if value >= LEAST_P else f"< {LEAST_P:.0e}"
    digits = 0 if isinstance(value, int) else column.digits or 0
    text = f"{value:{'+' if column.signed else ''},.{digits}f}"
    return text if any(letter in text for letter in "123456789") else text.lstrip("+-")


def markdown(table: Table) -> str:
    """The table with its title and notes."""
    lines = [[column.heading for column in table.columns]]
    lines.append(["---" if column.digits is None else "---:" for column in table.columns])
    lines += [[shown(row.get(one.key), one) for one in table.columns] for row in table.rows]
    text = [
        f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines
    ]
    notes = [f"- {note}" for note in table.notes]
    return "\n".join([f"**{table.title}**", "", *text, *([""] if notes else []), *notes, ""])


def as_csv(table: Table) -> str:
    """The rows with all digits; an interval is two columns, its bounds."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow([name for column in table.columns for name in _csv_names(column)])
    for row in table.rows:
        writer.writerow([cell for one in table.columns for cell in _csv(row.get(one.key), one)])
    return file.getvalue()


def _csv_names(column: Column) -> list[str]:
    key = column.key
    return [f"{key}_low", f"{key}_high"] if column.interval else [key]


def _csv(cell: Cell, column: Column) -> list[str | int | float | None]:
    if column.interval:
        return [cell.low, cell.high] if isinstance(cell, Interval) else [None, None]
    if isinstance(cell, Interval):
        raise TypeError(f"column {column.key} holds an interval and does not say so")
    return [str(cell) if isinstance(cell, Printed) else cell]


def latex(table: Table) -> str:
    """A `table` environment for the booktabs package, a rule between the groups."""
    columns = "".join("l" if column.digits is None else "r" for column in table.columns)
    lines = [
        r"\begin{table}[t]",
        r"\centering",
        rf"\caption{{{_escaped(table.title)}}}",
        rf"\label{{tab:{table.name}}}",
        rf"\begin{{tabular}}{{{columns}}}",
        r"\toprule",
        _latex_line([_escaped(column.heading) for column in table.columns]),
        r"\midrule",
    ]
    group: Cell = None
    for place, row in enumerate(table.rows):
        cells = [_latex_cell(row.get(column.key), column) for column in table.columns]
        if place and row.get(table.columns[0].key) == group:
            cells[0] = ""  # said above
        elif place:
            lines.append(r"\midrule")
        group = row.get(table.columns[0].key)
        lines.append(_latex_line(cells))
    lines += [r"\bottomrule", r"\end{tabular}"]
    if table.notes:
        notes = r" \\ ".join(map(_escaped, table.notes))
        lines += [r"\par\smallskip", rf"\begin{{minipage}}{{\linewidth}}\footnotesize {notes}"]
        lines.append(r"\end{minipage}")
    return "\n".join([*lines, r"\end{table}", ""])


def _latex_line(cells: Sequence[str]) -> str:
    return " & ".join(cells) + r" \\"


def _latex_cell(cell: Cell, column: Column) -> str:
    text = _escaped(shown(cell, column))
    return f"$-${text[1:]}" if text.startswith("-") and text != "-" else text


_SPECIAL = {letter: rf"\{letter}" for letter in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
}


def _escaped(text: str) -> str:
    return "".join(_SPECIAL.get(letter, letter) for letter in text)


# -- as files -------------------------------------------------------------------------------------

FORMATS: Mapping[str, tuple[str, Callable[[Table], str]]] = {
    "markdown": (".md", markdown),
    "csv": (".csv", as_csv),
    "latex": (".tex", latex),
}
"""By name: the ending of a file, and what makes its text."""


def write(table: Table, folder: Path) -> list[Path]:
    """Write FOLDER/NAME.md, .csv and .tex; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for ending, text_of in FORMATS.values():
        paths.append(folder / f"{table.name}{ending}")
        write_text(paths[-1], text_of(table))
    return paths
