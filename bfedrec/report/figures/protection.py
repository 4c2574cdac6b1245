"""Protection and its price: HR against the greatest area under the curve that an attack reaches,
and against epsilon, a point for each defence and strength of experiments/privacy."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from bfedrec.report.artefact import Runs
from bfedrec.report.privacy_runs import (
    EPSILON,
    GROUP,
    defence,
    experiments,
    label,
    mean,
    scored,
    settings_of,
    uplink,
    worst,
)
from bfedrec.report.registry import register_figure
from bfedrec.report.style import AMBER, BLUE, GREEN, GREY, ORANGE, PURPLE, Row, Rows, styled

EQUAL = 1.25
"""Greatest ratio of a point's bytes to those of the undefended runs at which it is drawn filled."""
LOOKS = ((BLUE, "o"), (ORANGE, "s"), (GREEN, "^"), (PURPLE, "D"), (AMBER, "v"))
"""By defence, in the order of the data; the same in both axes."""


def rows(*found: Sequence[Runs]) -> list[Row]:
    """The figure's data, a row for each setting that is recorded and attacked: means over seeds
    with 95 % t intervals; bytes beside those of the undefended setting that sends least."""
    made = [row for runs in settings_of(found) if (row := _row(runs)) is not None]
    plain = [row["bytes"] for row in made if row["defence"] == "none"]
    for row in made:
        row["bytes_ratio"] = row["bytes"] / min(plain) if plain else None
    return made


def _row(runs: Runs) -> Row | None:
    hr, reached, sent = scored(runs, "hr"), worst(runs), uplink(runs)
    if hr is None or reached is None or sent is None:
        return None
    attack, area = reached
    epsilon = mean(runs, EPSILON)
    return {
        "config": label(runs.config),
        "defence": defence(runs.config),
        "seeds": hr.n,
        "hr": hr.mean,
        "hr_low": hr.low,
        "hr_high": hr.high,
        "attack": attack,
        "auc": area.mean,
        "auc_low": area.low,
        "auc_high": area.high,
        "epsilon": None if epsilon is None else epsilon.mean,
        "bytes": sent,
    }


def draw(data: Rows) -> Figure:
    """HR over the area under the curve, and beside it over epsilon where a point has one."""
    private = [row for row in data if row["epsilon"] is not None]
    kinds = list(dict.fromkeys(row["defence"] for row in data))
    with styled():
        figure = Figure(figsize=(9.4 if private else 5.6, 4.2), layout="constrained")
        axes = figure.subplots(1, 2 if private else 1, squeeze=False, sharey=True)[0]
        _draw(axes[0], data, "auc", kinds)
        axes[0].set(xlabel="area under the curve of the best attack (0.5: nothing is found)")
        axes[0].set_ylabel("HR@10, test items")
        axes[0].axvline(0.5, color=GREY, linewidth=0.8)
        if private:
            _draw(axes[1], private, "epsilon", kinds)
            found = [row["epsilon"] for row in private]
            axes[1].set(xlabel="epsilon of a client over all rounds", xscale="log")
            axes[1].set_xlim(min(found) / 2, max(found) * 2)  # also where all have the same
            axes[1].xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
            axes[1].xaxis.set_minor_locator(NullLocator())
            axes[1].xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes[0].legend()
        figure.suptitle(
            f"hollow: more than {EQUAL} times the bytes of the least undefended", x=0.01, ha="left"
        )
    return figure


def _draw(axes: Axes, data: Rows, over: str, kinds: Sequence[str]) -> None:
    """The points over the column ``over``, with their intervals and names; ``kinds``: of defences,
    in the order of `LOOKS`."""
    for row in data:
        colour, mark = LOOKS[kinds.index(row["defence"]) % len(LOOKS)]
        if row["hr_low"] is not None:
            axes.plot((row[over],) * 2, (row["hr_low"], row["hr_high"]), color=colour, linewidth=1)
        if over == "auc" and row["auc_low"] is not None:
            axes.plot(
                (row["auc_low"], row["auc_high"]), (row["hr"],) * 2, color=colour, linewidth=1
            )
        equal = row["bytes_ratio"] is None or row["bytes_ratio"] <= EQUAL
        axes.plot(
            row[over], row["hr"], mark, color=colour, markerfacecolor=colour if equal else "white"
        )
        axes.annotate(
            row["config"], (row[over], row["hr"]), xytext=(4, 4), textcoords="offset points",
            fontsize=7, color=colour, ha="right" if over == "auc" and row[over] > 0.75 else "left",
        )  # fmt: skip
    for number, kind in enumerate(kinds):
        colour, mark = LOOKS[number % len(LOOKS)]
        axes.plot([], [], mark, color=colour, label=kind)


register_figure(
    "protection",
    "HR against what attacks find, and against epsilon, a point for each defence and strength",
    experiments,
    rows,
    draw,
    of_some=True,
    place=11,
    group=GROUP,
)
