"""Below, at and above a third: what a block takes as the number of malicious servers grows, with a
committee of some and with one of all servers."""

from __future__ import annotations

from collections.abc import Sequence
from math import isinf

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bfedrec.evaluation.intervals import t_interval
from bfedrec.report import rq3
from bfedrec.report.artefact import Runs
from bfedrec.report.committee_theory import expected
from bfedrec.report.registry import register_figure
from bfedrec.report.style import BLUE, GREY, ORANGE, PALE, Row, Rows, styled
from bfedrec.runs.figures import count, number

COLOURS = (BLUE, ORANGE)
MARKS = ("o", "s")
PANELS = (
    ("seconds", "simulated seconds per block"),
    ("attempts", "attempts per block"),
    ("captured", "captured blocks (% of all)"),
)


def rows(settings: Sequence[Runs]) -> list[Row]:
    """The figure's data, a row for each setting: means over the seeds that finished, with 95 % t
    intervals; and how many stalled, and after how many blocks on average."""
    found = []
    for runs in settings:
        config = runs.config
        ends = [run.summary for run in runs.finished]
        row: Row = {
            "committee": config.committee.size,
            "servers": config.servers.count,
            "malicious": runs.malicious,
            "seeds": len(runs.by_seed),
            "stalled": len(runs.stopped),
            "blocks_before_stall": None,
        }
        if runs.stopped:
            blocks = [count(run.summary, "blocks") for run in runs.stopped]
            row["blocks_before_stall"] = sum(blocks) / len(blocks)
        theory = expected(
            config.servers.count, runs.malicious, config.committee.size, config.committee.max_step
        )
        for name, key, factor in (
            ("seconds", "simulated_seconds", 1.0),
            ("attempts", "attempts", 1.0),
            ("captured", "captured_blocks", 100.0),
        ):
            values = [factor * number(end, key) / count(end, "blocks") for end in ends]
            interval = t_interval(values) if values else None
            row[name] = interval and interval.mean
            row[f"{name}_low"] = interval and interval.low
            row[f"{name}_high"] = interval and interval.high
        row["attempts_expected"] = None if isinf(theory.attempts) else theory.attempts
        row["captured_expected"] = 100.0 * theory.captured_blocks
        found.append(row)
    return found


def draw(data: Rows) -> Figure:
    """Time, attempts and captured blocks, over the number of malicious servers."""
    sizes = sorted({row["committee"] for row in data})
    with styled():
        figure = Figure(figsize=(10.2, 3.9), layout="constrained")
        panels = figure.subplots(1, len(PANELS))
        for axes, (name, title) in zip(panels, PANELS, strict=True):
            _draw_panel(axes, data, sizes, name)
            axes.set_title(title)
            axes.set_xlabel(f"malicious servers, of {data[0]['servers']}")
        panels[0].legend(loc="upper left")
        panels[1].legend(loc="upper left")
        figure.suptitle(finding(data), x=0.01, ha="left")
    return figure


def finding(data: Rows) -> str:
    """The settings in which runs stall, in words."""
    parts = []
    for size in sorted({row["committee"] for row in data}):
        stalls = [row["malicious"] for row in data if row["committee"] == size and row["stalled"]]
        every = size == data[0]["servers"]
        name = "a committee of all servers" if every else f"committees of {size}"
        parts.append(f"{name} stalls from {min(stalls)} on" if stalls else f"{name} never stalls")
        if not every:
            parts[-1] = parts[-1].replace("stalls", "stall")
    return "; ".join(parts)


def _draw_panel(axes: Axes, data: Rows, sizes: Sequence[int], name: str) -> None:
    third = data[0]["servers"] / 3
    axes.axvline(third, color=PALE, linewidth=1.0, linestyle=":")
    axes.annotate(
        "a third", (third, 1.0), xycoords=("data", "axes fraction"), xytext=(-3, -4),
        textcoords="offset points", color=GREY, fontsize=8, ha="right", va="top", rotation=90,
    )  # fmt: skip
    for place, size in enumerate(sizes):
        of_it = sorted((r for r in data if r["committee"] == size), key=lambda r: r["malicious"])
        colour, mark = COLOURS[place % 2], MARKS[place % 2]
        known = [row for row in of_it if row[name] is not None]
        x, y = [row["malicious"] for row in known], [row[name] for row in known]
        who = f"committee of {size}" + (" (all)" if size == data[0]["servers"] else "")
        axes.plot(x, y, marker=mark, markersize=4, color=colour, label=who)
        for row in known:
            low, high = row[f"{name}_low"], row[f"{name}_high"]
            if low is not None:
                axes.plot((row["malicious"],) * 2, (low, high), color=colour)
        stalled = [row["malicious"] for row in of_it if row["stalled"]]
        height = 0.80 - 0.12 * place
        axes.plot(
            stalled, [height] * len(stalled), "X", color=colour, markersize=7,
            transform=axes.get_xaxis_transform(), clip_on=False,
        )  # fmt: skip
        if stalled and name == "seconds":
            axes.annotate(
                "stalls", (stalled[-1], height), xycoords=("data", "axes fraction"),
                xytext=(0, 7), textcoords="offset points", color=colour, fontsize=8, ha="center",
            )  # fmt: skip
        key = f"{name}_expected"
        theory = [row for row in of_it if row.get(key) is not None]
        if name == "attempts":
            theory = [row for row in theory if row[key] <= 30.0]
        if theory:
            label = "by theory" if place == 0 else None
            axes.plot(
                [row["malicious"] for row in theory], [row[key] for row in theory],
                color=GREY, linestyle="--", linewidth=1.0, label=label,
            )  # fmt: skip
    axes.set_ylim(bottom=0.0)


register_figure(
    "third",
    "what a block takes below, at and above a third of malicious servers",
    lambda: (rq3.THIRD,),
    rows,
    draw,
    place=5,
    group=rq3.GROUP,
)
