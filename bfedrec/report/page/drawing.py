"""Drawings for a page: SVG elements of the same bytes for the same data, in the page's colours.

Matplotlib writes them under its own defaults, whatever a user's matplotlibrc says. Texts are paths,
so that no font is needed. Colours become variables of the page's style sheet, which has light and
dark ones; identifiers get a prefix, so that several drawings stand in one document.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from bfedrec.evaluation.intervals import Interval
from bfedrec.report.curves import draw_bytes, draw_quality, draw_time, per_round
from bfedrec.report.style import (
    AMBER,
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    SKY,
    STYLE,
    WIDTH,
)
from bfedrec.runs.figures import Figures, count

INK, GRID = "#010203", "#e4e4e4"
"""The colours of text and of grid lines as they are drawn."""
COLOURS: Final[Mapping[str, str]] = {
    INK: "currentColor",
    GRID: "var(--line)",
    GREY: "var(--soft)",
    BLUE: "var(--blue)",
    ORANGE: "var(--orange)",
    GREEN: "var(--green)",
    PURPLE: "var(--purple)",
    AMBER: "var(--amber)",
    SKY: "var(--sky)",
}
"""The page's colour of each colour that is drawn."""
SERIES: Final = (BLUE, ORANGE, GREEN, PURPLE, AMBER, SKY)
MOST_SERIES: Final = len(SERIES)
LABEL_LETTERS: Final = 44
WIDE: Final = 8.0
"""Inches across, of 72 units each."""
_LOOK: Final[Any] = {
    **STYLE,
    "svg.fonttype": "path",
    "text.parse_math": False,  # a dollar in a name is a dollar
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "grid.color": GRID,
    "axes.facecolor": "none",
}


@contextmanager
def _looking() -> Iterator[None]:
    with matplotlib.rc_context(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a letter that the font lacks is drawn as a box
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_LOOK)
        yield


def course(lines: Sequence[Figures], name: str) -> str:
    """The metrics over the rounds and, for a run with a chain, the attempts, time and bytes of a
    round."""
    with _looking():
        chained = "simulated_seconds" in lines[-1]
        figure = Figure(figsize=(WIDE, 8.2 if chained else 3.4))
        if chained:
            figure.subplots_adjust(left=0.1, right=0.98, top=0.98, bottom=0.06, hspace=0.12)
            quality, attempts, clock, traffic = figure.subplots(
                4, 1, sharex=True, height_ratios=(2, 1, 1, 1.2)
            )
            figure.align_ylabels()
            _draw_attempts(attempts, lines)
            draw_time(clock, lines)
            draw_bytes(traffic, lines)
            traffic.set_xlabel("round")
        else:
            figure.subplots_adjust(left=0.1, right=0.98, top=0.96, bottom=0.14)
            quality = figure.subplots()
            quality.set_xlabel("round" if "uplink_payload_bytes" in lines[-1] else "epoch")
        draw_quality(quality, lines)
        return _svg(figure, name)


def _draw_attempts(axes: Axes, lines: Sequence[Figures]) -> None:
    edges, values = per_round(lines, "attempts")
    axes.stairs(values, edges, baseline=None, color=PURPLE, linewidth=WIDTH)
    axes.set_ylabel("attempts a round")
    axes.set_ylim(bottom=0.0, top=1.1 * max(values, default=1.0))


def spread(
    curves: Sequence[tuple[str, Sequence[tuple[int, Interval]]]], metric: str, name: str
) -> str:
    """Mean over seeds and interval of a metric over the rounds, a line for each setting."""
    with _looking():
        figure = Figure(figsize=(WIDE, 3.8))
        figure.subplots_adjust(left=0.1, right=0.98, top=0.97, bottom=0.13)
        axes = figure.subplots()
        for (label, points), color in zip(curves, SERIES, strict=False):
            rounds = [height for height, _ in points]
            axes.plot(rounds, [each.mean for _, each in points], color=color, label=_cut(label))
            lows = [each.mean if each.low is None else each.low for _, each in points]
            highs = [each.mean if each.high is None else each.high for _, each in points]
            axes.fill_between(rounds, lows, highs, color=color, alpha=0.18, linewidth=0)
        axes.set_xlabel("round")
        axes.set_ylabel(f"{metric}, validation items")
        axes.set_ylim(bottom=0.0)
        axes.legend(loc="lower right")
        return _svg(figure, name)


def dots(rows: Sequence[tuple[str, Interval]], metric: str, name: str) -> str:
    """A metric's mean and interval for each setting, one below the other."""
    with _looking():
        figure = Figure(figsize=(WIDE, 0.9 + 0.3 * len(rows)))
        bottom = 0.55 / figure.get_figheight()
        figure.subplots_adjust(left=0.42, right=0.97, top=0.98, bottom=bottom)
        axes = figure.subplots()
        for place, (_, found) in enumerate(rows):
            if found.low is not None and found.high is not None:
                axes.plot([found.low, found.high], [place, place], color=BLUE, linewidth=WIDTH)
            axes.plot([found.mean], [place], color=BLUE, marker="o", markersize=5)
        axes.set_yticks(range(len(rows)), [_cut(label) for label, _ in rows])
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.xaxis.set_major_locator(MaxNLocator(6))
        axes.set_xlabel(metric)
        return _svg(figure, name)


def interval_curve(
    runs: Sequence[Sequence[Figures]], key: str, interval: Callable[[Sequence[float]], Interval]
) -> list[tuple[int, Interval]]:
    """The interval over runs of a figure at each height that all of them have."""
    by_height: dict[int, list[float]] = {}
    for lines in runs:
        for line in lines:
            value = line.get(key)
            if isinstance(value, int | float):
                by_height.setdefault(count(line, "height"), []).append(float(value))
    return [
        (height, interval(values))
        for height, values in sorted(by_height.items())
        if len(values) == len(runs)
    ]


def _cut(label: str) -> str:
    return label if len(label) <= LABEL_LETTERS else f"{label[: LABEL_LETTERS - 1]}…"


def _svg(figure: Figure, name: str) -> str:
    """The drawing as an element whose identifiers start with ``name``, and whose caption has the
    identifier NAME-caption."""
    file = io.BytesIO()
    nothing = {"Date": None, "Creator": None, "Format": None, "Type": None}
    figure.savefig(file, format="svg", transparent=True, metadata=nothing)
    text = file.getvalue().decode()
    text = text[text.index("<svg") :]
    text = re.sub(r"<!--.*?-->|<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = re.sub(r'(href="|url\()#', rf"\1#{name}-", text)
    for drawn, shown in COLOURS.items():
        text = text.replace(drawn.lower(), shown)
    head = re.search(r'<svg[^>]*?viewBox="([^"]+)"[^>]*>', text)
    assert head is not None
    view, rest = head[1], text[head.end() :]
    links = "http://www.w3.org/1999/xlink"
    named = f'role="img" aria-labelledby="{name}-caption"'
    opening = f'<svg viewBox="{view}" {named} xmlns:xlink="{links}">'
    rest = re.sub(r"\n\s*", "\n", rest)
    return opening + rest.strip()
