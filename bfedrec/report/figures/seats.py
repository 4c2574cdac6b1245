"""Seats and stake of misbehaving servers over heights, where stake moves: a line a behaviour."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import chain, pairwise
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bfedrec.report.artefact import Experiment, Runs
from bfedrec.report.registry import register_figure
from bfedrec.report.style import GREY, Row, Rows, styled
from bfedrec.runs.figures import Figures, count

CONFIG = Path("experiments/incentives/seats.yaml")
BEHAVIOURS = (
    "equivocate_candidates",
    "equivocate_votes",
    "false_locks",
    "idle",
    "abstain",
    "late_votes",
    "silent",
    "withhold",
    "gaussian+invert_votes",
    "starve",
    "frame",
)
"""Behaviours of the third: the first ones leave evidence, the next are absent, more or less, and
what the last ones do wrong is in no block."""
PANELS = (
    ("seats_share", "share of the seats that decided"),
    ("stake_share", "share of all servers' stake"),
)
BAR = 0.1
"""A share of the seats that is drawn as a line."""
LAST = 50
"""The number of heights whose seats are those that a behaviour ends with."""


def experiments() -> tuple[Experiment, ...]:
    """The sweeps of the figure: over the behaviours, and absent servers with twice the leak."""
    groups = ",".join(f"{name}:1/3" for name in BEHAVIOURS)
    faster = ("servers.malicious=idle:1/3", "ledger.incentives.leak=0.02")
    return (
        Experiment(CONFIG, (f"servers.malicious={groups}",), "0"),
        Experiment(CONFIG, faster, "0"),
    )


def behaviour_of(runs: Runs) -> str:
    """The behaviours of a setting's malicious servers, and a leak that is not the default."""
    groups = [group["behaviour"] for group in runs.config.servers.malicious]
    told = " and ".join("+".join(map(str, group)) for group in groups if isinstance(group, list))
    leak = runs.config.ledger.incentives.leak
    usual = type(runs.config.ledger.incentives).model_fields["leak"].default
    return told if leak == usual else f"{told}, leak {100 * leak:g} %"


def rows(*parts: Sequence[Runs]) -> list[Row]:
    """The figure's data, of the settings by their behaviours (`shares`)."""
    return shares(chain.from_iterable(parts), "behaviour", behaviour_of)


def shares(settings: Iterable[Runs], column: str, name: Callable[[Runs], str]) -> list[Row]:
    """A row for each setting, by its ``name`` in a ``column``, and each evaluated height: means
    over the seeds of the malicious servers' share of the seats since the row before, of their share
    of the stake, and of the pieces of evidence in blocks so far; and the number of seeds that came
    so far."""
    found = []
    for runs in settings:
        by_height: dict[int, list[tuple[float, float, int]]] = {}
        for run in runs.by_seed.values():
            for height, *point in _points(run.metrics):
                by_height.setdefault(height, []).append((point[0], point[1], int(point[2])))
        for height, points in sorted(by_height.items()):
            means = [sum(values) / len(points) for values in zip(*points, strict=True)]
            found.append(
                {
                    column: name(runs),
                    "height": height,
                    "seeds": len(points),
                    "seats_share": means[0],
                    "stake_share": means[1],
                    "evidence": means[2],
                }
            )
    return found


def _points(metrics: Sequence[Figures]) -> list[tuple[int, float, float, int]]:
    """(height, share of the seats since the line before, share of the stake, evidence) of every
    line with seats."""
    start: Figures = {"seats": 0, "seats_malicious": 0}
    lines = [start, *(line for line in metrics if "seats" in line and count(line, "seats"))]
    return [
        (
            count(line, "height"),
            (count(line, "seats_malicious") - count(before, "seats_malicious"))
            / (count(line, "seats") - count(before, "seats")),
            count(line, "stake_malicious") / max(1, count(line, "stake_servers")),
            count(line, "stake_slashed"),
        )
        for before, line in pairwise(lines)
    ]


def draw(data: Rows) -> Figure:
    """The shares, with the number of behaviours that end below the bar."""
    found = ends(data)
    below = sum(share < BAR for share in found.values())
    title = f"a third misbehaves: {below} of {len(found)} behaviours end below {BAR:.0%} of seats"
    return drawn(data, "behaviour", title, BAR)


def ends(data: Rows) -> dict[str, float]:
    """By behaviour the mean share of the seats over its last heights. The few seats between two
    rows would tell as much of chance as of the behaviour."""
    found: dict[str, list[float]] = {}
    last = {row["behaviour"]: row["height"] for row in data}
    for row in data:
        if row["height"] > last[row["behaviour"]] - LAST:
            found.setdefault(row["behaviour"], []).append(row["seats_share"])
    return {name: sum(shares) / len(shares) for name, shares in found.items()}


def drawn(data: Rows, column: str, title: str, bar: float) -> Figure:
    """Seats above, with a share that is drawn as a line, and stake below, over the heights: a line
    for each name in a column."""
    names = list(dict.fromkeys(row[column] for row in data))
    with styled():
        figure = Figure(figsize=(7.5, 7.0), layout="constrained")
        panels = figure.subplots(len(PANELS), 1, sharex=True)
        for axes, (name, label) in zip(panels, PANELS, strict=True):
            for place, each in enumerate(names):
                part = [row for row in data if row[column] == each]
                _draw_line(axes, part, name, place, each)
            axes.set_ylabel(label)
            axes.set_ylim(bottom=0.0)
        panels[0].axhline(bar, color=GREY, linewidth=0.8, linestyle=":")
        panels[-1].set_xlabel("height")
        panels[0].legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=7)
        panels[0].set_title(title)
    return figure


def _draw_line(axes: Axes, part: Rows, share: str, place: int, name: str) -> None:
    """One share over the heights, of the rows of one name."""
    heights, values = [row["height"] for row in part], [row[share] for row in part]
    style = ("-", "--", "-.", ":")[place // 7 % 4]
    axes.plot(heights, values, style, color=f"C{place % 7}", linewidth=1.2, label=name)


register_figure(
    "seats",
    "seats and stake of misbehaving servers over heights, where stake moves",
    experiments,
    rows,
    draw,
    place=12,
)
