"""The look of every figure, and the writing of one: PDF, PNG, and beside them its data as CSV."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bfedrec.files import whole_file

# Okabe and Ito's palette, told apart with any colour vision; markers and dashes tell apart in grey.
BLUE, ORANGE, GREEN, PURPLE = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
SKY, AMBER, BLACK = "#56B4E9", "#E69F00", "#000000"
RED = "#882255"
GREY, PALE = "#4d4d4d", "#9a9a9a"
HEAT = "cividis"
"""A colour map that is read alike with any colour vision, and in grey."""
WIDTH = 1.8
STYLE: Any = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "figure.titlesize": 11,
    "legend.frameon": False,
    "lines.linewidth": WIDTH,
    "pdf.fonttype": 42,  # embed text as text
    "svg.hashsalt": "bfedrec",  # else each file has other names inside
}
UNDATED: dict[str, dict[str, str | None]] = {
    ".png": {"Software": None},
    ".pdf": {"CreationDate": None},
    ".svg": {"Date": None},
}
"""No date in a file: the same data give the same bytes."""

Row = dict[str, Any]
"""A line of a figure's CSV. Each figure has columns of its own: its `rows` writes them, its `draw`
reads them."""
Rows = Sequence[Mapping[str, Any]]
"""A figure's data: what is drawn is read from these, and so is its CSV."""


def save(figure: Figure, path: Path) -> None:
    """Write a figure in the format that the path's ending names, whole or not at all."""
    with whole_file(path) as file:
        form = path.suffix.removeprefix(".") or "png"
        figure.savefig(file, format=form, dpi=160, metadata=UNDATED.get(path.suffix))


def styled() -> Any:
    """The style as a context manager: text takes it when it is made."""
    return matplotlib.rc_context(STYLE)


def write(figure: Figure, rows: Rows, folder: Path, name: str) -> list[Path]:
    """Write FOLDER/NAME.pdf, .png and .csv; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{name}{ending}" for ending in (".pdf", ".png", ".csv")]
    with styled():
        for path in paths[:2]:
            save(figure, path)
    write_csv(paths[2], rows)
    return paths


def write_csv(path: Path, rows: Rows) -> None:
    """Write rows under the names of the first one's values; None is an empty cell."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def label_ends(axes: Axes, labels: Sequence[tuple[float, float, str, str]], gap: float) -> None:
    """Write (x, y, text, colour) right of each line's end, at least ``gap`` of y apart: from the
    highest down, for above it stands the title."""
    above = float("inf")
    for x, y, text, colour in sorted(labels, key=lambda label: -label[1]):
        place = min(y, above - gap)
        axes.annotate(
            text,
            (x, place),
            xytext=(4, 0),
            textcoords="offset points",
            color=colour,
            va="center",
            annotation_clip=False,
        )
        above = place
