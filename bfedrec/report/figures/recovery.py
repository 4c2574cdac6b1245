"""The time that the ledger takes to recover from each fault: until the next block, and until the
last server has the newest one."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bfedrec.evaluation.intervals import t_interval
from bfedrec.report import rq3
from bfedrec.report.artefact import Runs
from bfedrec.report.registry import register_figure
from bfedrec.report.style import BLUE, GREY, ORANGE, PALE, Row, Rows, styled
from bfedrec.runs.figures import count, number
from consensus.faults.faults import fault_from_node
from consensus.faults.kinds import Fault

MEASURES = (
    ("next_block", "seconds_to_next_block", "next block", BLUE, "o"),
    ("level", "seconds_until_level", "all servers level", ORANGE, "s"),
)


def rows(settings: Sequence[Runs]) -> list[Row]:
    """The figure's data, a row for each setting in the order of its recovery: means over the seeds
    with 95 % t intervals, the least and the most."""
    found = []
    for runs in settings:
        ends = [run.summary for run in runs.by_seed.values()]
        faults = [fault_from_node(node) for node in runs.config.faults]
        first, last = min(f.from_ for f in faults), max(f.until for f in faults)
        row: Row = {
            "fault": " and ".join(described(fault) for fault in faults),
            "seeds": len(ends),
            "stalled": len(runs.stopped),
            "fault_seconds": last - first,
            "blocks_while_faulty": sum(
                count(end, "blocks_while_faulty") for end in ends if "blocks_while_faulty" in end
            )
            / len(ends),
        }
        for name, key, *_ in MEASURES:
            values = [number(end, key) for end in ends if key in end]
            interval = t_interval(values) if values else None
            row |= {
                name: interval and interval.mean,
                f"{name}_low": interval and interval.low,
                f"{name}_high": interval and interval.high,
                f"{name}_least": min(values, default=None),
                f"{name}_most": max(values, default=None),
            }
        found.append(row)
    return sorted(found, key=lambda row: (row["level"] is None, row["level"]))


def described(fault: Fault) -> str:
    """A fault in a few words."""
    options = vars(fault)
    value = options[fault.MAIN]
    if fault.NAME == "skew" and value == 0.0:
        return "no fault"
    who = options.get("servers", 1.0)
    text = fault.NAME.replace("_", " ")
    amounts = {
        "partition": lambda: f"{text}, {_share(value)} split off",
        "eclipse": lambda: f"{text} of {_share(value)}",
        "crash": lambda: f"{text} of {_share(value)}",
        "churn": lambda: f"{text}, a crash every {1 / value:g} s",
        "delay": lambda: f"{text} of {value:g} s",
        "skew": lambda: f"clocks {value:+g} s",
        "slow": lambda: f"{value:g} times slower",
        "bandwidth": lambda: f"{text} x {value:g}",
    }
    text = amounts.get(fault.NAME, lambda: f"{text} of {_share(value)}")()
    if options.get("one_way"):
        text += ", one way"
    if fault.MAIN != "servers" and fault.NAME != "partition" and who != 1.0:
        text += f" ({_share(who)} of the servers)" if isinstance(who, float) else ""
    return text


def _share(value: Any) -> str:
    if not isinstance(value, float):
        return f"{len(value)} servers" if value and isinstance(value[0], int) else "groups"
    return "a third" if abs(value - 1 / 3) < 1e-9 else f"{100 * value:g} %"


def draw(data: Rows) -> Figure:
    """Seconds to the next block and until all are level, a row for each fault; blocks meanwhile."""
    usual = next((row for row in data if row["fault"] == "no fault"), None)
    with styled():
        figure = Figure(figsize=(9.4, 1.3 + 0.34 * len(data)), layout="constrained")
        recovery, meanwhile = figure.subplots(1, 2, sharey=True, width_ratios=(2.2, 1))
        _draw_recovery(recovery, data)
        recovery.set_title(slowest(data))
        recovery.set_xlabel(f"simulated seconds: mean and range of {data[0]['seeds']} seeds")
        places = range(len(data))
        blocks = [row["blocks_while_faulty"] for row in data]
        meanwhile.barh(places, blocks, color=PALE, height=0.6)
        for place, count in zip(places, blocks, strict=True):
            meanwhile.annotate(
                f"{count:.0f}" if count >= 9.5 or count == int(count) else f"{count:.1f}",
                (count, place), xytext=(3, 0), textcoords="offset points", va="center", color=GREY,
            )  # fmt: skip
        meanwhile.set_title(f"in the {data[0]['fault_seconds']:g} s before")
        meanwhile.set_xlabel("blocks, mean")
        meanwhile.grid(axis="y", visible=False)
        recovery.set_yticks(places, [textwrap.fill(row["fault"], 36) for row in data])
        if usual is not None and usual["level"] is not None:
            recovery.get_yticklabels()[data.index(usual)].set_fontweight("bold")
    return figure


def slowest(data: Rows) -> str:
    """The finding, for the title."""
    known = [row for row in data if row["level"] is not None]
    if len(known) < len(data):
        return f"after the fault: {len(data) - len(known)} of {len(data)} did not recover"
    return f"after the fault: level again within {known[-1]['level']:.0f} s on average"


def _draw_recovery(axes: Axes, data: Rows) -> None:
    for index, (name, _, label, colour, mark) in enumerate(MEASURES):
        shift = 0.14 - 0.28 * index
        for place, row in enumerate(data):
            if row[name] is None:
                axes.text(
                    0.0, place + shift, f" never: {label}", color=colour, va="center", fontsize=8
                )
                continue
            span = (row[f"{name}_least"], row[f"{name}_most"])
            axes.plot(span, (place + shift,) * 2, color=colour, linewidth=1.2)
            axes.plot(row[name], place + shift, mark, color=colour, markersize=4.5)
        axes.plot([], [], mark, color=colour, markersize=4.5, label=label)
    axes.set_xlim(left=0.0)
    axes.legend(loc="lower right")


register_figure(
    "recovery",
    "how long the ledger takes to recover after each fault",
    lambda: (rq3.RECOVERY,),
    rows,
    draw,
    place=6,
    group=rq3.GROUP,
)
