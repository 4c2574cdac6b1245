"""The costs that the paper leaves out: committees, simulated time and bytes for a block, and the
frequency of committees that malicious servers block or capture, beside the theory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bfedrec.evaluation.intervals import t_interval
from bfedrec.report import rq3
from bfedrec.report.artefact import Runs
from bfedrec.report.committee_theory import expected
from bfedrec.report.curves import per_round
from bfedrec.report.registry import register_figure
from bfedrec.report.style import BLUE, GREY, ORANGE, Row, Rows, styled
from bfedrec.runs.figures import Figures, count, number
from consensus.ledger.capture_odds import frequency_interval
from consensus.protocols.registry import protocol_named

CONFIDENCE = 0.99
MIB = 2**20
COSTS = (
    ("attempts", "attempts per block", 1.0),
    ("rebuilt_committees", "rebuilt committees per block", 1.0),
    ("simulated_seconds", "simulated seconds per block", 1.0),
    ("gossip_bytes", "MiB between servers per block", 1.0 / MIB),
)
FREQUENCIES = ("blocked_committees", "captured_committees")


def rows(learning: Sequence[Runs], committees: Sequence[Runs]) -> list[Row]:
    """The figure's data. Costs are means over the blocks of the ``learning`` runs, with 99 % t
    intervals from the means of the stretches between evaluations (none where a run stopped early);
    frequencies are of the runs among both with as large a malicious share whose committees are
    drawn as theory has it, with exact 99 % intervals."""
    found = [row for runs in learning for row in _costs(runs)]
    attacked = [runs for runs in learning if runs.malicious and _foreseen(runs)]
    shares = {runs.malicious / runs.config.servers.count for runs in attacked}
    for runs in [*attacked, *committees]:
        if runs.malicious / runs.config.servers.count in shares:
            found += _frequencies(runs)
    return found


def _foreseen(runs: Runs) -> bool:
    """True if its protocol draws committees as theory has it (`expected`)."""
    return protocol_named(runs.protocol).committees_foreseen


def _row(runs: Runs, measure: str, **values: Any) -> Row:
    config = runs.config
    return {
        "experiment": config.name,
        "protocol": config.protocol,
        "malicious": runs.malicious,
        "servers": config.servers.count,
        "committee": config.committee.size,
        "measure": measure,
        "n": 0,
        "value": None,
        "low": None,
        "high": None,
        "expected": None,
        "stopped_at_height": None,
    } | values


def _costs(runs: Runs) -> list[Row]:
    config, found = runs.config, []
    theory = expected(
        config.servers.count, runs.malicious, config.committee.size, config.committee.max_step
    )
    stops = [run.stop.height for run in runs.stopped]
    for key, name, unit in COSTS:
        values = [
            value * unit
            for run in runs.by_seed.values()
            for value in per_round([line for line in run.metrics if line["height"]], key)[1]
        ]
        blocks = sum(count(run.summary, "blocks") for run in runs.by_seed.values())
        row = _row(runs, name, n=blocks, stopped_at_height=min(stops, default=None))
        if values:
            of_all = sum(_total(run.metrics, key) for run in runs.by_seed.values()) * unit / blocks
            spread = t_interval(values, CONFIDENCE).half_width
            row["value"] = of_all
            if spread is not None and not stops:  # of a few blocks there is too little to say
                row |= {"low": of_all - spread, "high": of_all + spread}
        if key == "attempts" and _foreseen(runs):
            row["expected"] = theory.attempts
        found.append(row)
    return found


def _total(metrics: Sequence[Figures], key: str) -> float:
    return number(metrics[-1], key) if metrics and metrics[-1]["height"] else 0.0


def _frequencies(runs: Runs) -> list[Row]:
    config = runs.config
    theory = expected(
        config.servers.count, runs.malicious, config.committee.size, config.committee.max_step
    )
    ends = [run.summary for run in runs.by_seed.values()]
    draws = sum(count(end, "committees") for end in ends)
    found = []
    for key, exact in zip(FREQUENCIES, (theory.blocked, theory.captured), strict=True):
        hits = sum(count(end, key) for end in ends)
        row = _row(runs, key.replace("_", " "), n=draws, expected=exact)
        if draws:
            low, high = frequency_interval(hits, draws, CONFIDENCE)
            row |= {"value": hits / draws, "low": low, "high": high}
        found.append(row)
    return found


# -- drawing --------------------------------------------------------------------------------------


def draw(data: Rows) -> Figure:
    """Above, the costs per setting; below, the frequencies per committee size."""
    with styled():
        figure = Figure(figsize=(9.4, 6.0), layout="constrained")
        halves: Any = figure.subfigures(2, 1, height_ratios=(1, 1.15))
        above, below = halves
        measures = [name for key, name, _ in COSTS if key != "rebuilt_committees"]
        costs = above.subplots(1, 3, sharey=True)
        for axes, measure in zip(costs, measures, strict=True):
            _draw_costs(axes, [row for row in data if row["measure"] == measure])
            axes.set_title(measure + (" (|: by theory)" if "attempts" in measure else ""))
        for axes, key in zip(below.subplots(1, 2), FREQUENCIES, strict=True):
            name = key.replace("_", " ")
            _draw_frequencies(axes, [row for row in data if row["measure"] == name])
            axes.set_title(f"{name}: {agreement(data, name)}")
            axes.set_ylabel("share of all committees")
    return figure


def agreement(data: Rows, measure: str) -> str:
    """The number of intervals that hold the value of the theory, in words."""
    known = [row for row in data if row["measure"] == measure and row["value"] is not None]
    held = sum(row["low"] <= row["expected"] <= row["high"] for row in known)
    return f"theory within {held} of {len(known)} intervals (99 %)"


def _draw_costs(axes: Axes, data: Rows) -> None:
    names = []
    for place, row in enumerate(reversed(data)):
        who = f"{row['malicious']} of {row['servers']} malicious" if row["malicious"] else "honest"
        stop = row["stopped_at_height"]
        until = f"\nuntil it stopped at height {stop}" if stop else ""
        names.append(f"{row['protocol']}, {who}{until}")
        colour = ORANGE if row["malicious"] else BLUE
        value = row["value"]
        if row["expected"] is not None:
            axes.plot(row["expected"], place, "|", color=GREY, markersize=16, markeredgewidth=1.2)
        if value is None:
            axes.text(0.0, place, " no block", color=colour, va="center")
            continue
        if row["low"] is not None:
            axes.plot((row["low"], row["high"]), (place, place), color=colour)
        axes.plot(value, place, "X" if stop else "o", color=colour)
        axes.annotate(
            f"{value:.2f}", (value, place), xytext=(0, 8), textcoords="offset points",
            color=colour, ha="center", fontsize=8,
        )  # fmt: skip
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(-0.6, len(names) - 0.3)
    most = max((row["high"] or row["value"] or 0.0 for row in data), default=1.0)
    axes.set_xlim(0.0, 1.15 * max(most, 1.0))
    axes.grid(axis="y", visible=False)


def _draw_frequencies(axes: Axes, data: Rows) -> None:
    sizes = sorted({row["committee"] for row in data})
    exact = {row["committee"]: row["expected"] for row in data}
    places = {size: place for place, size in enumerate(sizes)}
    axes.plot(
        range(len(sizes)), [exact[size] for size in sizes], "_", color=GREY, markersize=22,
        markeredgewidth=1.6, label="theory (hypergeometric)",
    )  # fmt: skip
    names = list(dict.fromkeys(row["experiment"] for row in data))
    for row in data:
        if row["value"] is None:
            continue
        colour = (BLUE, ORANGE)[names.index(row["experiment"]) % 2]
        shift = 0.13 * (2 * names.index(row["experiment"]) - len(names) + 1)
        x = places[row["committee"]] + shift
        axes.plot((x, x), (row["low"], row["high"]), color=colour)
        axes.plot(x, row["value"], "o", color=colour, markersize=4)
    for place, name in enumerate(names):
        axes.plot(
            [], [], "-o", color=(BLUE, ORANGE)[place % 2], markersize=4, label=f"runs of {name}"
        )
    axes.set_xticks(range(len(sizes)), [str(size) for size in sizes])
    axes.set_xlabel(f"seats of the committee, of {data[0]['servers']} servers")
    axes.set_ylim(bottom=0.0)
    axes.legend(loc="best")


register_figure(
    "cost",
    "attempts, time and bytes per block; blocked and captured committees against theory",
    lambda: (rq3.FIG3, rq3.COMMITTEES),
    rows,
    draw,
    place=3,
    group=rq3.GROUP,
)
