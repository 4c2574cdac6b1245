"""Figures of recorded runs."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from bfedrec.evaluation.metrics import METRICS, compared
from bfedrec.plaintext import plain
from bfedrec.report.style import (
    AMBER,
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    SKY,
    WIDTH,
    save,
    styled,
)
from bfedrec.runs.figures import Figures, count, number
from bfedrec.runs.folder import RunError, read_metrics

BYTE_SERIES = (
    ("uplink_bytes", "uplink", BLUE, "-"),
    ("downlink_bytes_broadcast", "downlink (broadcast)", ORANGE, "--"),
    ("downlink_bytes_catch_up", "downlink (catch up)", PURPLE, "-."),
    ("gossip_bytes", "between servers", GREEN, ":"),
)
MIB = 2**20
MARKS = ((BLUE, "o"), (ORANGE, "s"), (PURPLE, "^"), (GREEN, "v"), (AMBER, "D"), (SKY, "P"))
"""Colour and marker of each metric's line, over again where there are more."""


def curves(run: Path, out: Path | None = None) -> Path:
    """Draw a run's curves (`drawn`) into RUN/curves.png, or `out` (.png, .pdf, .svg); return the
    path. Raises `RunError` for a run that was never evaluated."""
    path = run / "curves.png" if out is None else out
    with styled():
        save(drawn(run), path)
    return path


def drawn(run: Path) -> Figure:
    """A run's curves from its metrics.jsonl: what was learnt, and what it cost per round.

    Above, the metrics on the validation items over the rounds; below, simulated time and bytes of
    a round, each averaged since the evaluation before. A run without a chain has the first alone,
    over its epochs or rounds. To be called within `styled`. Raises `RunError` for a run that was
    never evaluated.
    """
    lines = read_metrics(run)
    if not lines:
        raise RunError(f"{run}: no evaluated rounds to draw")
    if "simulated_seconds" in lines[-1]:
        figure = Figure(figsize=(7.2, 7.0))
        # Fixed margins, and a fixed place of title and labels: to compute them, all is drawn twice
        # more or half once more, which is half of what a short run takes.
        figure.subplots_adjust(left=0.12, right=0.98, top=0.95, bottom=0.07, hspace=0.1)
        quality, clock, traffic = figure.subplots(3, 1, sharex=True, height_ratios=(2, 1, 1))
        for axes in (quality, clock, traffic):
            axes.yaxis.set_label_coords(-0.095, 0.5)
        draw_time(clock, lines)
        draw_bytes(traffic, lines)
        traffic.set_xlabel("round")
    else:
        figure = Figure(figsize=(7.2, 3.5))
        figure.subplots_adjust(left=0.12, right=0.98, top=0.9, bottom=0.14)
        quality = figure.subplots()
        quality.set_xlabel("round" if "uplink_payload_bytes" in lines[-1] else "epoch")
    draw_quality(quality, lines)
    # A name is no formula, whatever signs it has, and bytes that are not UTF-8 have no letters.
    quality.set_title(plain(run.resolve().name), y=1.0, parse_math=False)
    return figure


def draw_quality(axes: Axes, lines: Sequence[Figures]) -> None:
    """Draw the metrics on the validation items over the heights of these lines."""
    papers = compared()
    others = [name for name in METRICS if name not in papers]
    keys = [
        next((key for key in lines[-1] if key.startswith(f"{name}@")), None)
        for name in (*papers, "er", *others)
    ]
    if None in keys[: len(papers)]:  # the run trained on the validation items as well
        axes.text(0.5, 0.5, "no validation items", transform=axes.transAxes, ha="center")
        return
    for key, (color, marker) in zip(keys, cycle(MARKS), strict=False):
        if key is None:
            continue  # no item is anybody's target, or the metric is younger than the run
        values = [number(line, key) for line in lines]
        axes.plot(
            [count(line, "height") for line in lines],
            values,
            color=color,
            marker=marker,
            markersize=3.5,
            markevery=max(1, len(values) // 20),
            label=f"{key.upper()}  {values[-1]:.3f}",
        )
    axes.set_ylabel("validation items")
    axes.set_ylim(bottom=0.0)
    axes.legend(loc="lower right")


def draw_time(axes: Axes, lines: Sequence[Figures]) -> None:
    """Draw the simulated seconds of a round."""
    edges, seconds = per_round(lines, "simulated_seconds")
    axes.stairs(seconds, edges, baseline=None, color=GREY, linewidth=WIDTH)
    axes.set_ylabel("simulated s a round")
    axes.set_ylim(bottom=0.0, top=1.1 * max(seconds))


def draw_bytes(axes: Axes, lines: Sequence[Figures]) -> None:
    """Draw the mebibytes of a round by kind."""
    for key, label, color, dashes in BYTE_SERIES:
        edges, values = per_round(lines, key)
        if any(values):
            axes.stairs(
                [value / MIB for value in values],
                edges,
                baseline=None,
                color=color,
                linestyle=dashes,
                linewidth=WIDTH,
                label=label,
            )
    axes.set_ylabel("MiB a round")
    if axes.patches:
        axes.set_yscale("log")
        low, high = axes.get_ylim()
        axes.set_ylim(low / 1.5, high * 1.5)
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.legend(loc="center right", ncols=2)


def per_round(lines: Sequence[Figures], key: str) -> tuple[list[int], list[float]]:
    """The mean increase per round of a running total, between one line's height and the next's.

    Heights that bound the stretches, from 0 on, and one value for each stretch; a line of height 0,
    as a run that decided none ends with, ends no stretch.
    """
    edges, values, total = [0], [], 0.0
    for line in lines:
        height = count(line, "height")
        if height == edges[-1]:
            continue
        values.append((number(line, key) - total) / (height - edges[-1]))
        edges.append(height)
        total = number(line, key)
    return edges, values
