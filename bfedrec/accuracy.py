"""Accuracy against bytes, the figure that the paper lacks: HR and NDCG over all megabytes that
clients fetched and sent, a line for each method over its transmitted sizes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from bfedrec.artefacts import Experiment, Runs
from bfedrec.figure_style import BLUE, GREEN, GREY, ORANGE, PURPLE, SKY, Rows, label_ends, styled
from bfedrec.intervals import Interval, t_interval
from bfedrec.table3 import COMPRESSORS, CONFIG, SIZES

FEDMF, FEDREC = Path("experiments/fedmf.yaml"), Path("experiments/fedrec.yaml")
MB = 1e6
LOOKS = ((BLUE, "o"), (ORANGE, "s"), (GREEN, "^"), (PURPLE, "D"), (GREY, "v"), (SKY, "P"))


@dataclass(frozen=True)
class Method:
    """A line of the figure."""

    label: str
    experiment: Experiment
    """Its runs at `SIZES`, in their order."""


_SIZES = ",".join(map(str, SIZES))
METHODS = (
    Method("BFedRec", Experiment(CONFIG, (f"model.rank={_SIZES}",), "0-2")),
    Method("FedMF", Experiment(FEDMF, (f"model.dimension={_SIZES}",), "0-2")),
    Method("FedRec", Experiment(FEDREC, (f"model.dimension={_SIZES}",), "0-2")),
    *(
        Method(
            label,
            Experiment(
                COMPRESSORS, (f"compression.kind={kind}", f"compression.size={_SIZES}"), "0-2"
            ),
        )
        for label, kind in (("random", "random"), ("top-K", "top_k"), ("SVD", "svd"))
    ),
)


def experiments() -> tuple[Experiment, ...]:
    """Those of the methods, in their order."""
    return tuple(method.experiment for method in METHODS)


def rows(*settings: Sequence[Runs]) -> list[dict[str, Any]]:
    """The figure's data, a row for each method and size: means over the seeds that finished, with
    95 % t intervals; test items."""
    found = []
    for method, of_it in zip(METHODS, settings, strict=True):
        for size, runs in zip(SIZES, of_it, strict=True):
            ends, k = [run.summary for run in runs.finished], runs.config.evaluation.k
            if not ends:
                continue
            up = _mean(ends, "uplink_bytes")
            row: dict[str, Any] = {"method": method.label, "size": size, "k": k, "seeds": len(ends)}
            for account in ("broadcast", "catch_up"):
                row[f"mb_{account}"] = (up + _mean(ends, f"downlink_bytes_{account}")) / MB
            for name in ("hr", "ndcg"):
                row |= _named(name, t_interval([float(end[f"{name}@{k}"]) for end in ends]))
            found.append(row)
    return found


def _mean(ends: Sequence[dict[str, Any]], name: str) -> float:
    return float(sum(end[name] for end in ends)) / len(ends)


def _named(name: str, found: Interval) -> dict[str, float | None]:
    return {name: found.mean, f"{name}_low": found.low, f"{name}_high": found.high}


def draw(data: Rows) -> Figure:
    """HR and NDCG beside each other, over megabytes on a logarithmic scale."""
    with styled():
        figure = Figure(figsize=(9.4, 3.9), layout="constrained")
        for axes, name in zip(figure.subplots(1, 2, sharex=True), ("hr", "ndcg"), strict=True):
            _draw_metric(axes, data, name)
            axes.set_title(f"{name.upper()}@{data[0]['k']}, test items")
            axes.set_xlabel("MB of all clients, up and down")
            axes.set_xscale("log")
            axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
        figure.axes[0].plot([], [], color=GREY, label="one model a round fetched")
        figure.axes[0].plot([], [], color=GREY, linestyle=":", label="catching up")
        figure.axes[0].legend(loc="lower right")
        figure.suptitle("transmitted sizes beside the points", x=0.01, ha="left")
    return figure


def _draw_metric(axes: Axes, data: Rows, name: str) -> None:
    labels = []
    for place, method in enumerate(dict.fromkeys(row["method"] for row in data)):
        of_it = [row for row in data if row["method"] == method]
        colour, mark = LOOKS[place % len(LOOKS)]
        values = [row[name] for row in of_it]
        for account, dashes in (("broadcast", "-"), ("catch_up", ":")):
            megabytes = [row[f"mb_{account}"] for row in of_it]
            axes.plot(megabytes, values, mark, color=colour, linestyle=dashes, markersize=4.5)
            for x, row in zip(megabytes, of_it, strict=True):
                if row[f"{name}_low"] is not None:
                    ends = (row[f"{name}_low"], row[f"{name}_high"])
                    axes.plot((x, x), ends, color=colour, linewidth=1.0)
        for row in of_it:
            axes.annotate(
                str(row["size"]), (row["mb_broadcast"], row[name]), xytext=(0, 6),
                textcoords="offset points", color=colour, fontsize=8, ha="center",
            )  # fmt: skip
        labels.append((of_it[-1]["mb_catch_up"], values[-1], method, colour))
    span = max(row[name] for row in data) - min(row[name] for row in data)
    label_ends(axes, labels, 0.05 * span)
