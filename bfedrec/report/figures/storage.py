"""The report's Figure 7: the time of a put and of a get by the size of what is stored, on the
embedded store, an IPFS node and an S3 server; recorded by `bfedrec merchants storage`."""

from __future__ import annotations

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bfedrec.evaluation.intervals import Interval
from bfedrec.merchants.storage.record import ACTS, MB, MOST_BYTES, Benchmark, from_json
from bfedrec.merchants.storage.statistics import growth, median_interval
from bfedrec.report.artefact import RECORDED, Request
from bfedrec.report.registry import register_record_figure
from bfedrec.report.style import BLUE, GREEN, ORANGE, Row, Rows, styled
from bfedrec.runs.folder import read_text

OWN = Path("results/merchants/storage.json")
"""The record of this repository; of another folder of records it is merchants/storage.json."""
LOOKS = {
    "embedded": ("embedded store", BLUE, "o", "-"),
    "ipfs": ("IPFS node", ORANGE, "s", "--"),
    "s3": ("S3 server", GREEN, "^", "-."),
}
"""Label, colour, marker and dashes of each store's line."""
MS = 1_000.0


def source(request: Request) -> tuple[list[Row], str]:
    """The figure's data from the record, and what is lacking. Raises DataError and `RunError` for a
    damaged record."""
    own = request.records == RECORDED
    path = OWN if own else request.records / "merchants" / "storage.json"
    command = "  bfedrec merchants storage --api MULTIADDR" + ("" if own else f" --out {path}")
    try:
        found = from_json(read_text(path, MOST_BYTES), str(path))
    except FileNotFoundError:
        return [], f"{path} is not there; it is made by:\n{command}"
    ignored = [*request.overrides, *([f"--seeds {request.seeds}"] if request.seeds else [])]
    lacking = [f"{name} was not measured ({why})" for name, why in found.absent.items()]
    lacking += [f"options of experiments do not apply: {' '.join(ignored)}"] if ignored else []
    return rows(found), "; ".join(lacking)


def rows(found: Benchmark) -> list[Row]:
    """For every store, act and size the median of the repetitions in ms with its 95 % interval; and
    for every store and act the growth in ms for each MB."""
    data = []
    for name, times in found.stores.items():
        for act in ACTS:
            by_size = times.of(act)
            for size, seconds in by_size.items():
                data.append(_row(name, times.about, act, size, median_interval(seconds)))
            more = growth(by_size)
            if more is not None:
                data.append(_row(name, times.about, act, None, more))
    return data


def _row(name: str, about: str, act: str, size: int | None, found: Interval) -> Row:
    """A line of the data; ``size`` is None for the growth."""
    return {
        "store": name,
        "about": about,
        "act": act,
        "what": "ms" if size is not None else "ms per MB",
        "bytes": size,
        "repetitions": found.n,
        "median": found.mean * MS,
        "low": None if found.low is None else found.low * MS,
        "high": None if found.high is None else found.high * MS,
    }


def draw(data: Rows) -> Figure:
    """Put and get beside each other, both axes logarithmic; the growth stands beside each name."""
    with styled():
        figure = Figure(figsize=(9.4, 4.0), layout="constrained")
        axes = figure.subplots(1, len(ACTS), sharex=True, sharey=True)
        for axis, act in zip(axes, ACTS, strict=True):
            of_it = [row for row in data if row["act"] == act]
            for name in dict.fromkeys(row["store"] for row in of_it):
                _draw_store(axis, [row for row in of_it if row["store"] == name])
            axis.set(xscale="log", yscale="log", xlabel="MB", title=act)
            axis.legend(loc="upper left", title="median, 95 % interval; growth", fontsize=8)
        axes[0].set_ylabel("ms")
    return figure


def _draw_store(axis: Axes, data: Rows) -> None:
    name = data[0]["store"]
    label, colour, marker, dashes = LOOKS.get(name, (name, "black", "x", ":"))
    more = [row for row in data if row["bytes"] is None]
    if more:
        label += f", {more[0]['median']:.3g} ms/MB"
        if more[0]["low"] is not None:
            label += f" ({more[0]['low']:.3g} to {more[0]['high']:.3g})"
    points = sorted((row for row in data if row["bytes"]), key=lambda row: row["bytes"])
    sizes = [row["bytes"] / MB for row in points]
    axis.plot(
        sizes,
        [row["median"] for row in points],
        color=colour,
        marker=marker,
        linestyle=dashes,
        label=label,
    )
    if all(row["low"] is not None for row in points):
        low, high = ([row[end] for row in points] for end in ("low", "high"))
        axis.fill_between(sizes, low, high, color=colour, alpha=0.2, linewidth=0)


register_record_figure(
    "storage",
    "put and get by size: embedded store, IPFS node, S3 (the report's Figure 7)",
    source,
    draw,
    place=9,
)
