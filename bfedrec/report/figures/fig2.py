"""The paper's Fig. 2: communication minutes of the compressors over the transmitted sizes, as they
are published and as we count them; and, where runs are recorded, what the simulated clock, of runs
that train alike, and catching up make of them.

What is counted stands in `bfedrec.report.tables.table3`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from bfedrec.report.artefact import Runs
from bfedrec.report.published import Printed
from bfedrec.report.registry import register_figure
from bfedrec.report.style import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PALE,
    PURPLE,
    Row,
    Rows,
    label_ends,
    styled,
)
from bfedrec.report.tables import table3

LOOKS = {
    "BFedRec": (BLUE, "o"),
    "sparsification": (GREEN, "^"),
    "SVD": (PURPLE, "D"),
    "top-K": (ORANGE, "s"),
}
NOTES = {"SVD": (9, -3)}
"""The offset of a difference's text from the point of ours, in points; other texts are below it."""
STEP = 0.19
"""The distance between two methods' columns, in units of that between two sizes."""
NOTABLE = 0.05
"""The share by which minutes have to differ, to be noted beside a point or not to be cheapest."""
DRAWN = ("paper", "message", "payload")
RECORDED = ("recorded", "catch_up", "clock")


def rows(*settings: Sequence[Runs]) -> list[Row]:
    """The figure's data, a row for each method and size, in minutes; what is not recorded is None.
    Raises `ConfigError`, as `bfedrec.report.tables.table3.cells`."""
    found = []
    for row in table3.cells(*settings):
        paper = row["paper"]
        assert isinstance(paper, Printed)
        one = {
            "method": row["method"],
            "size": row["size"],
            "paper": float(paper.value),
            "payload": row["ours"],
            "message": row["message"],
        }
        found.append(one | {key: row[key] if _known(row, key) else None for key in RECORDED})
    return found


def _known(row: Mapping[str, Any], key: str) -> bool:
    return isinstance(row[key], float)


def draw(data: Rows) -> Figure:
    """The published minutes beside ours by message, and the recorded ones, on one logarithmic
    scale."""
    with styled():
        figure = Figure(figsize=(10.2, 4.5), layout="constrained")
        published, recorded = figure.subplots(1, 2, sharey=True, width_ratios=(1.75, 1.0))
        _draw_published(published, data)
        _draw_recorded(recorded, data)
        published.set_ylabel("minutes of all rounds")
        published.set_yscale("log")
        published.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        published.yaxis.set_minor_locator(NullLocator())
        published.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
        drawn = [row[key] for row in data for key in (*DRAWN, *RECORDED) if row[key] is not None]
        published.set_ylim(bottom=0.7 * min(drawn))
        figure.suptitle(finding(data), x=0.01, ha="left")
    return figure


def finding(data: Rows) -> str:
    """The cheapest method, and the published rows that ours contradict, in words."""
    sizes = sorted({row["size"] for row in data})
    told = []
    for key, who in (("paper", "as published"), ("message", "by encoded message")):
        least = {size: min(row[key] for row in data if row["size"] == size) for size in sizes}
        dearer = {row["method"] for row in data if row[key] > (1.0 + NOTABLE) * least[row["size"]]}
        alike = [method for method in LOOKS if method not in dearer]
        told.append(f"{who}: {_listed(alike) or 'now this one, now that'}")
    off = {row["method"] for row in data if abs(_off(row)) >= NOTABLE}
    differ = _listed([method for method in LOOKS if method in off]) or "none"
    return (
        f"Cheapest {'; '.join(told)}\nPublished rows that do not follow from what is sent: {differ}"
    )


def _listed(names: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


def _off(row: Mapping[str, Any]) -> float:
    return float(row["message"] / row["paper"] - 1.0)


def _draw_published(axes: Axes, data: Rows) -> None:
    """A column for each method at each size, from what is published to what we count."""
    sizes = sorted({row["size"] for row in data})
    for place, (method, (colour, mark)) in enumerate(LOOKS.items()):
        of_it = sorted((r for r in data if r["method"] == method), key=lambda row: row["size"])
        columns = [sizes.index(row["size"]) + STEP * (place - 1.5) for row in of_it]
        for x, row in zip(columns, of_it, strict=True):
            axes.plot((x, x), (row["paper"], row["message"]), color=colour, linewidth=1.2)
            if abs(_off(row)) >= NOTABLE:
                axes.annotate(
                    f"{100 * _off(row):+.0f} %".replace("-", "\N{MINUS SIGN}"),
                    (x, row["message"]), xytext=NOTES.get(method, (0, -12)),
                    textcoords="offset points", color=colour, fontsize=7.5,
                    ha="left" if method in NOTES else "center",
                )  # fmt: skip
        axes.plot(
            columns, [row["paper"] for row in of_it], mark, color=colour,
            markerfacecolor="white", markersize=7,
        )  # fmt: skip
        axes.plot(columns, [row["message"] for row in of_it], mark, color=colour, markersize=4)
        axes.plot(columns, [row["payload"] for row in of_it], "_", color=colour, markersize=12)
        highest = max(of_it[0]["paper"], of_it[0]["message"])
        axes.annotate(
            method, (columns[0], highest), xytext=(0, 9), textcoords="offset points",
            color=colour, rotation=90, ha="center", va="bottom",
        )  # fmt: skip
    axes.plot([], [], "o", color=GREY, markerfacecolor="white", markersize=7, label="published")
    axes.plot([], [], "o", color=GREY, markersize=4, label="ours, by encoded message")
    axes.plot([], [], "_", color=GREY, markersize=12, label="ours, by payload")
    axes.legend(loc="upper left", bbox_to_anchor=(0.2, 1.0))
    axes.set_xticks(range(len(sizes)), [str(size) for size in sizes])
    axes.grid(visible=False, axis="x")
    axes.set_title("transfers of a participant of every round")
    axes.set_xlabel("transmitted size; beside a point, ours against the published")


def _label_ends(axes: Axes, labels: Sequence[tuple[float, float, str, str]]) -> None:
    """Label lines like `label_ends`, on a logarithmic scale: each at least 25 % above the one
    below."""
    below = 0.0
    for x, y, text, colour in sorted(labels, key=lambda label: label[1]):
        below = max(y, 1.25 * below)
        label_ends(axes, [(x, below, text, colour)], 0.0)


def _draw_recorded(axes: Axes, data: Rows) -> None:
    """Draw the minutes that recorded runs took, over the sizes."""
    sizes = sorted({row["size"] for row in data})
    labels = []
    for method, (colour, mark) in LOOKS.items():
        for key, dashes in (("catch_up", ":"), ("clock", "-")):
            there = [row for row in data if row["method"] == method and row[key] is not None]
            there.sort(key=lambda row: row["size"])
            x = [sizes.index(row["size"]) for row in there]
            axes.plot(
                x, [row[key] for row in there], mark, color=colour, linestyle=dashes, markersize=4
            )
            if there and key == "clock":
                labels.append((float(x[-1]), there[-1][key], method, colour))
    _label_ends(axes, labels)
    if labels:
        axes.plot([], [], color=GREY, label="the clock: transfers, training, votes, blocks")
        axes.plot([], [], color=GREY, linestyle=":", label="transfers of who catches up")
        axes.legend(loc="lower right")
    else:
        axes.text(0.5, 0.5, "no runs recorded", transform=axes.transAxes, ha="center", color=PALE)
    axes.set_xlim(-0.3, len(sizes) - 0.7)
    axes.set_xticks(range(len(sizes)), [str(size) for size in sizes])
    axes.set_title("recorded runs; clocks of equal training")
    axes.set_xlabel("transmitted size")


register_figure(
    "fig2",
    "communication minutes of the compressors over the transmitted sizes, the paper's and ours",
    table3.experiments,
    rows,
    draw,
    of_some=True,
    place=1,
)
