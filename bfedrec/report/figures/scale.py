"""The cost of a round, in processor time and memory, over the numbers of clients, items and
servers, with the exponents of fitted power laws."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, StrMethodFormatter

from bfedrec.config.schema import Config
from bfedrec.report.artefact import Experiment, Runs
from bfedrec.report.registry import register_figure
from bfedrec.report.style import BLUE, ORANGE, PALE, Row, Rows, styled
from bfedrec.runs.figures import number

FOLDER = Path("experiments/scale")
EXPERIMENTS = (
    Experiment(FOLDER / "clients.yaml", (f"@{FOLDER / 'clients'}",), "0", compact=True),
    Experiment(
        FOLDER / "items.yaml", ("data.generated.items=1000,10000,100000",), "0", compact=True
    ),
    Experiment(FOLDER / "servers.yaml", ("servers.count=20,60,200,600",), "0", compact=True),
)
AXES: tuple[tuple[str, Callable[[Config], int]], ...] = (
    ("clients", lambda config: config.data.generated.clients),
    ("items", lambda config: config.data.generated.items),
    ("servers", lambda config: config.servers.count),
)
"""The number in which the settings of each experiment differ: its name, and its value in a
config."""
MEASURES = (
    ("processor_seconds", "round_processor_seconds", "processor seconds a round", BLUE, "o"),
    ("memory_mib", "round_memory_mib", "MiB of memory", ORANGE, "s"),
)
"""Column, figure of a summary, label, colour and marker of what is drawn."""
BAR = 1.1
"""Greatest exponent that is meant for clients and for servers."""


def rows(*experiments: Sequence[Runs]) -> list[Row]:
    """The figure's data: for each axis and number the medians over the seeds, and the exponents of
    the axis (`exponent`), which are the same in all of its rows. Runs of earlier versions, which
    did not measure a round, are left out."""
    found = []
    for (axis, of), settings in zip(AXES, experiments, strict=True):
        part: list[Row] = []
        for runs in settings:
            ends = [run.summary for run in runs.finished if "round_seconds" in run.summary]
            if ends:
                row: Row = {"axis": axis, "number": of(runs.config), "seeds": len(ends)}
                row["seconds"] = median(number(end, "round_seconds") for end in ends)
                for name, key, *_ in MEASURES:
                    row[name] = median(number(end, key) for end in ends)
                part.append(row)
        part.sort(key=lambda row: row["number"])
        for name in ("seconds", *(name for name, *_ in MEASURES)):
            fitted = exponent([(row["number"], row[name]) for row in part])
            for row in part:
                row[f"{name}_exponent"] = fitted
        found += part
    return found


def exponent(points: Sequence[tuple[float, float]]) -> float | None:
    """The exponent b of the power law a x^b that is nearest to the ``points`` (x, y) in their
    logarithms, by least squares; None for fewer than two different x."""
    if len({x for x, _ in points}) < 2:
        return None
    x, y = np.log(np.array(points, np.float64)).T
    deviations = x - math.fsum(x) / len(x)
    return float((deviations * y).sum() / (deviations**2).sum())


def draw(data: Rows) -> Figure:
    """A column for each axis, time above memory, all axes logarithmic; a slope of one in grey."""
    with styled():
        figure = Figure(figsize=(9.4, 5.0), layout="constrained")
        axes = figure.subplots(len(MEASURES), len(AXES), sharex="col", squeeze=False)
        for line, (name, _, label, colour, mark) in zip(axes, MEASURES, strict=True):
            for axis, (what, _) in zip(line, AXES, strict=True):
                part = [row for row in data if row["axis"] == what]
                _draw_part(axis, part, name, colour, mark)
            line[0].set_ylabel(label)
        for axis, (what, _) in zip(axes[-1], AXES, strict=True):
            axis.set_xlabel(what)
        figure.suptitle(finding(data), x=0.01, ha="left")
    return figure


def _draw_part(axis: Axes, part: Rows, name: str, colour: str, mark: str) -> None:
    axis.set(xscale="log", yscale="log")
    for each in (axis.xaxis, axis.yaxis):  # else labels between the powers overlap
        each.set_major_formatter(StrMethodFormatter("{x:,.9g}"))
        each.set_minor_formatter(NullFormatter())
    if not part:
        return
    x, y = [row["number"] for row in part], [row[name] for row in part]
    axis.plot(x, [y[0] * each / x[0] for each in x], color=PALE, linewidth=0.8, linestyle=":")
    axis.plot(x, y, color=colour, marker=mark)
    fitted = part[0][f"{name}_exponent"]
    if fitted is not None:
        axis.set_title(f"exponent {round(fitted, 2) + 0.0:.2f}")
    axis.set_ylim(min(y) / 4, max(y) * 4)


def finding(data: Rows) -> str:
    """The finding, for the title: the axes on which the time of a round grows faster than meant."""
    time = f"{MEASURES[0][0]}_exponent"
    steep = [
        f"{what} ({part[0][time]:.2f})"
        for what in ("clients", "servers")
        if (part := [row for row in data if row["axis"] == what and row[time] is not None])
        and part[0][time] > BAR
    ]
    if steep:
        return f"a round grows faster than by the power {BAR} of {' and '.join(steep)}"
    return f"a round grows by no more than the power {BAR} of clients and servers"


register_figure(
    "scale",
    "seconds and memory of a round over clients, items and servers, with fitted exponents",
    lambda: EXPERIMENTS,
    rows,
    draw,
    of_some=True,
    place=10,
)
