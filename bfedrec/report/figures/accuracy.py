"""Accuracy against bytes, the figure that the paper lacks: HR and NDCG over all megabytes that
clients fetched and sent, a line for each method over its transmitted sizes; and what others have
published, at the bytes of its sizes or, centralised, without any."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from bfedrec.config.schema import Config
from bfedrec.data.catalogue import load_catalogue
from bfedrec.evaluation.intervals import Interval, t_interval
from bfedrec.evaluation.metrics import compared
from bfedrec.report import published
from bfedrec.report.artefact import Experiment, Runs
from bfedrec.report.registry import register_figure
from bfedrec.report.style import (
    AMBER,
    BLACK,
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PALE,
    PURPLE,
    RED,
    SKY,
    WIDTH,
    Row,
    Rows,
    styled,
)
from bfedrec.report.tables.table3 import COMPRESSORS, CONFIG, FLOAT_BYTES, SIZES
from bfedrec.runs.figures import Figures, number

PER_ITEM = Path("experiments/ml-1m-per-item.yaml")
QUANTISED = Path("experiments/ml-1m-quantised.yaml")
IALS, IALS_1 = Path("experiments/ml-1m-ials.yaml"), Path("experiments/ml-1m-ials-size-1.yaml")
FEDMF, FEDREC = Path("experiments/fedmf.yaml"), Path("experiments/fedrec.yaml")
MB, GB = 1e6, 1e9
LOOKS = {
    "BFedRec": (BLUE, "o"),
    "per item": (BLACK, "X"),
    "quantised": (AMBER, "*"),
    "implicit ALS": (RED, "p"),
    "FedMF": (ORANGE, "s"),
    "FedRec": (SKY, "P"),
    "random": (GREEN, "^"),
    "top-K": (PURPLE, "D"),
    "SVD": (GREY, "v"),
}
LIKE = {"colr": "BFedRec", "fedmf": "FedMF", "topk": "top-K", "svd": "SVD"}
"""The method of ours that is like a published one, by the key of the latter."""
RECORDED, OTHERS, ALL_DATA = "recorded", "published by others", "centralised, published by others"
"""The sources of a row."""
KEY: Mapping[str, Any] = {
    "one model a round fetched": {},
    "catching up": {"linestyle": ":", "linewidth": 1.2},
    "published by others (Nguyen et al., 2024)": {
        "marker": "o", "markerfacecolor": "white", "linewidth": 0.6,
    },
    "centralised, published by others": {"linestyle": "--", "linewidth": 0.8},
}  # fmt: skip
NEAR = 0.025
"""Centralised figures that are no farther apart, as a share of the axis, have one label."""


@dataclass(frozen=True)
class Method:
    """A line of the figure, or a part of one: methods of one label are one line."""

    label: str
    experiment: Experiment
    """Its runs at ``sizes``, in their order."""
    sizes: tuple[int, ...] = SIZES
    """The transmitted sizes, ascending."""


_SIZES = ",".join(map(str, SIZES))
METHODS = (
    Method("BFedRec", Experiment(CONFIG, (f"model.rank={_SIZES}",), "0-2")),
    Method("per item", Experiment(PER_ITEM, (f"model.rank={_SIZES}",), "0-2")),
    Method("quantised", Experiment(QUANTISED, ("@experiments/quantised",))),
    Method("implicit ALS", Experiment(IALS_1), (1,)),
    Method("implicit ALS", Experiment(IALS), (4,)),
    Method("FedMF", Experiment(FEDMF, (f"model.dimension={_SIZES}",))),
    Method("FedRec", Experiment(FEDREC, (f"model.dimension={_SIZES}",))),
    *(
        Method(
            label,
            Experiment(COMPRESSORS, (f"compression.kind={kind}", f"compression.size={_SIZES}")),
        )
        for label, kind in (("random", "random"), ("top-K", "top_k"), ("SVD", "svd"))
    ),
)


def experiments() -> tuple[Experiment, ...]:
    """The experiments of the methods, in their order."""
    return tuple(method.experiment for method in METHODS)


def rows(*settings: Sequence[Runs]) -> list[Row]:
    """The figure's data, a row for each method and size: means over the seeds that finished, with
    95 % t intervals; test items. Below them what others have published of the data set; nothing
    where no run is recorded."""
    found: list[Row] = []
    for method, of_it in zip(METHODS, settings, strict=True):
        for size, runs in zip(method.sizes, of_it, strict=True):
            ends, k = [run.summary for run in runs.finished], runs.config.evaluation.k
            if not ends:
                continue
            up = _mean(ends, "uplink_bytes")
            row: Row = {"source": RECORDED, "method": method.label, "size": size}
            row |= {"k": k, "seeds": len(ends)}
            for account in ("broadcast", "catch_up"):
                row[f"mb_{account}"] = (up + _mean(ends, f"downlink_bytes_{account}")) / MB
            for name in compared():
                row |= _named(name, t_interval([float(end[f"{name}@{k}"]) for end in ends]))
            found.append(row)
    return [*found, *_published(settings[0][0].config, found[0])] if found else []


def _published(config: Config, like: Mapping[str, Any]) -> Iterator[Row]:
    """Rows with the columns of another, ``like``. A message has s N numbers, and there are as many
    messages as in our runs."""
    data, nothing = config.data.dataset, dict.fromkeys(like)
    messages = 2 * config.clients.present * config.rounds
    for method, sizes in published.by_size(data).items():
        numbers = load_catalogue()[data].published.items * messages
        for size, scores in sizes.items():
            values = {name: float(printed.value) for name, printed in scores.items()}
            row = {"source": OTHERS, "method": method, "size": size, "k": 10}
            yield nothing | row | {"mb_broadcast": FLOAT_BYTES * size * numbers / MB} | values
    for method, scores in published.centralised(data).items():
        values = {name: float(printed.value) for name, printed in scores.items()}
        yield nothing | {"source": ALL_DATA, "method": method, "k": 10} | values


def _mean(ends: Sequence[Figures], name: str) -> float:
    return sum(number(end, name) for end in ends) / len(ends)


def _named(name: str, found: Interval) -> dict[str, float | None]:
    return {name: found.mean, f"{name}_low": found.low, f"{name}_high": found.high}


def draw(data: Rows) -> Figure:
    """HR and NDCG beside each other, over megabytes on a logarithmic scale."""
    with styled():
        figure = Figure(figsize=(10.2, 4.8), layout="constrained")
        grid = figure.subplots(1, len(compared()), sharex=True, squeeze=False)[0]
        for axes, (name, metric) in zip(grid, compared().items(), strict=True):
            axes.set_xscale("log")
            _draw_metric(axes, data, name)
            axes.set_title(f"{metric.label}@{data[0]['k']}, test items")
            axes.set_xlabel("GB of all clients, up and down")
            axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
            axes.xaxis.set_minor_locator(NullLocator())
            axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value * MB / GB:g}"))
        for label, style in KEY.items():
            figure.axes[0].plot([], [], label=label, color=GREY, **style)
        figure.legend(loc="outside lower left", ncols=len(KEY))
        _name_methods(figure, data)
        sizes = sorted({row["size"] for row in data if row["source"] == RECORDED})
        told = f"transmitted sizes {', '.join(map(str, sizes))} from left to right"
        if any(row["source"] == OTHERS for row in data):
            told += "; hollow: what others have published, up to size 32, at s N numbers a message"
        figure.suptitle(told, x=0.01, ha="left")
    return figure


def _name_methods(figure: Figure, data: Rows) -> None:
    """Beside the axes, from the best HR down."""
    best: dict[str, float] = {}
    for row in data:
        if row["source"] == RECORDED:
            best[row["method"]] = max(best.get(row["method"], 0.0), row["hr"])
    names = sorted(best, key=lambda method: -best[method])
    handles = [
        Line2D([], [], color=LOOKS[name][0], marker=LOOKS[name][1], linewidth=WIDTH, label=name)
        for name in names
    ]
    figure.legend(handles=handles, loc="outside right center")


def _draw_metric(axes: Axes, data: Rows, name: str) -> None:
    _draw_published(axes, data, name)
    recorded = [row for row in data if row["source"] == RECORDED]
    for method in dict.fromkeys(row["method"] for row in recorded):
        of_it = [row for row in recorded if row["method"] == method]
        colour, mark = LOOKS[method]
        values = [row[name] for row in of_it]
        for account, dashes, width in (("broadcast", "-", WIDTH), ("catch_up", ":", 1.2)):
            megabytes = [row[f"mb_{account}"] for row in of_it]
            axes.plot(
                megabytes, values, mark, color=colour, linestyle=dashes, linewidth=width,
                markersize=3 * width**0.5,
            )  # fmt: skip
            for x, row in zip(megabytes, of_it, strict=True):
                if row[f"{name}_low"] is not None:
                    ends = (row[f"{name}_low"], row[f"{name}_high"])
                    axes.plot((x, x), ends, color=colour, linewidth=1.0)


def _span(data: Rows, name: str) -> float:
    values = [row[name] for row in data]
    return float(max(values) - min(values))


def _draw_published(axes: Axes, data: Rows, name: str) -> None:
    """Hollow, in the colour and form of our method that they are alike; a line across for what is
    trained on all data at once."""
    for method in dict.fromkeys(row["method"] for row in data if row["source"] == OTHERS):
        of_it = [r for r in data if r["source"] == OTHERS and r["method"] == method]
        colour, mark = LOOKS[LIKE[method]]
        axes.plot(
            [row["mb_broadcast"] for row in of_it], [row[name] for row in of_it], mark,
            color=colour, markerfacecolor="white", markersize=4.5, linestyle="-", linewidth=0.5,
        )  # fmt: skip
        if published.NAMES[method] != LIKE[method]:
            least = min(of_it, key=lambda row: row["size"])
            axes.annotate(
                published.NAMES[method], (least["mb_broadcast"], least[name]), xytext=(0, -11),
                textcoords="offset points", color=colour, fontsize=8, ha="center",
            )  # fmt: skip
    places: dict[float, list[str]] = {}
    for row in sorted((r for r in data if r["source"] == ALL_DATA), key=lambda row: -row[name]):
        axes.axhline(row[name], color=PALE, linewidth=0.8, linestyle="--", zorder=0)
        last = min(places, default=float("inf"))
        place = last if last - row[name] < NEAR * _span(data, name) else row[name]
        places.setdefault(place, []).append(published.NAMES[row["method"]])
    for place, names in places.items():
        axes.annotate(
            ", ".join(names), (0.0, place), xycoords=("axes fraction", "data"), xytext=(2, 2),
            textcoords="offset points", color=GREY, fontsize=8,
        )  # fmt: skip


register_figure(
    "accuracy",
    "HR and NDCG over all bytes of the clients, a line for each method over its sizes",
    experiments,
    rows,
    draw,
    of_some=True,
    place=7,
)
