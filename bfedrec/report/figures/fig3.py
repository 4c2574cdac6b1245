"""Fig. 3 of the paper: what is learnt over the rounds, with and without malicious servers, under
both protocols; a run that stopped is drawn as far as it came, and says why."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bfedrec.evaluation.intervals import Interval, t_interval
from bfedrec.evaluation.metrics import compared
from bfedrec.report import rq3
from bfedrec.report.artefact import Runs
from bfedrec.report.registry import register_figure
from bfedrec.report.style import BLUE, ORANGE, Row, Rows, label_ends, styled
from bfedrec.runs.figures import Figures, count
from bfedrec.sweeps.recorded import Recorded
from consensus.protocols.registry import protocol_named


def rows(settings: Sequence[Runs]) -> list[Row]:
    """The figure's data: for every setting and evaluated round the means over the seeds that came
    so far, with 95 % intervals where there are several; then what the test items gave, or where the
    run stopped."""
    found = []
    first = next(iter(compared()))
    for runs in settings:
        k = runs.config.evaluation.k
        heights = sorted(
            {count(line, "height") for run in runs.by_seed.values() for line in run.metrics}
        )
        for height in heights:
            lines = [
                line
                for run in runs.by_seed.values()
                for line in run.metrics
                if line["height"] == height and f"{first}@{k}" in line
            ]
            if lines:
                found.append(_row(runs, "validation", height, lines))
        if runs.finished:
            ends = [run.summary for run in runs.finished]
            found.append(_row(runs, "test", count(ends[0], "rounds"), ends))
        for run in runs.stopped:
            found.append(_stop(runs, run))
    return found


def _row(runs: Runs, what: str, height: int, values: Sequence[Figures], because: str = "") -> Row:
    k = runs.config.evaluation.k
    row: Row = {
        "protocol": runs.protocol,
        "malicious": runs.malicious,
        "servers": runs.config.servers.count,
        "k": k,
        "what": what,
        "round": height,
        "seeds": len(values),
    }
    for name in compared():
        row |= _named(name, t_interval([float(one[f"{name}@{k}"]) for one in values]))
    return row | {"because": because}


def _named(name: str, found: Interval) -> dict[str, float | None]:
    return {name: found.mean, f"{name}_low": found.low, f"{name}_high": found.high}


def _stop(runs: Runs, run: Recorded) -> Row:
    """The end of a stopped run: its last score, the rounds it played, and the reason."""
    last, stop = run.metrics[-1], run.stop
    found = _row(runs, stop.outcome, count(last, "height"), [last], stop.because)
    return found | {"round": stop.rounds}


def draw(data: Rows) -> Figure:
    """A row for each protocol, HR and NDCG beside each other; 0 malicious servers and more."""
    protocols = list(dict.fromkeys(row["protocol"] for row in data))
    with styled():
        figure = Figure(figsize=(9.4, 0.6 + 2.7 * len(protocols)), layout="constrained")
        grid = figure.subplots(
            len(protocols), len(compared()), sharex=True, sharey="col", squeeze=False
        )
        for axes, protocol in zip(grid, protocols, strict=True):
            of_it = [row for row in data if row["protocol"] == protocol]
            for axis, name in zip(axes, compared(), strict=True):
                _draw_metric(axis, of_it, name)
            axes[0].set_title(f"{protocol_named(protocol).title}: {finding(of_it)}")
        for axis in grid[-1]:
            axis.set_xlabel("round")
            axis.set_ylim(bottom=0.0)
            axis.set_xlim(left=0.0)
        for axes in grid:
            for axis, metric in zip(axes, compared().values(), strict=True):
                axis.set_ylabel(f"{metric.label}@{data[0]['k']}, validation items")
    return figure


def finding(data: Rows) -> str:
    """The result of a protocol's runs in words: the test scores, or the round it stopped in."""
    honest = [row for row in data if row["malicious"] == 0]
    attacked = [row for row in data if row["malicious"] > 0]
    stops = [row for row in attacked if row["what"] in ("stalled", "forked")]
    k = data[0]["k"]
    test = {row["malicious"] > 0: row for row in data if row["what"] == "test"}
    if stops:
        heights = sorted({row["round"] + 1 for row in stops})
        where = ", ".join(map(str, heights))
        text = f"{stops[0]['what']} at height {where} before malicious servers"
        return text if test.get(True) is None else f"{text} in {len(stops)} of the runs"
    if len(test) == 2:
        name, metric = next(iter(compared().items()))
        change = test[True][name] - test[False][name]
        return (
            f"malicious servers change {metric.label}@{k} on test items by {change:+.4f} to "
            f"{test[True][name]:.4f}"
        )
    return "honest servers" if honest else "malicious servers"


def _draw_metric(axes: Axes, data: Rows, name: str) -> None:
    labels = []
    for malicious in sorted({row["malicious"] for row in data}):
        of_it = [row for row in data if row["malicious"] == malicious]
        curve = [row for row in of_it if row["what"] == "validation"]
        colour, dashes = (BLUE, "-") if malicious == 0 else (ORANGE, "--")
        if not curve:
            continue
        rounds = [row["round"] for row in curve]
        values = [row[name] for row in curve]
        axes.plot(rounds, values, color=colour, linestyle=dashes)
        if all(row[f"{name}_low"] is not None for row in curve):
            low, high = ([row[f"{name}_{end}"] for row in curve] for end in ("low", "high"))
            axes.fill_between(rounds, low, high, color=colour, alpha=0.2, linewidth=0)
        who = "all honest" if malicious == 0 else f"{malicious} of {of_it[0]['servers']} malicious"
        stops = [row for row in of_it if row["what"] in ("stalled", "forked")]
        if not stops:
            labels.append((rounds[-1], values[-1], f"{who}\n{values[-1]:.3f}", colour))
        for row in stops:
            axes.plot(row["round"], row[name], "X", color=colour, markersize=9, clip_on=False)
        if stops and name == next(iter(compared())):
            because = stops[0]["because"].partition("): ")[2] or stops[0]["because"]
            words = f"{who}: {stops[0]['what']} at height {stops[0]['round'] + 1}: {because}"
            axes.annotate(
                textwrap.fill(words, 44),
                (stops[0]["round"], stops[0][name]),
                xytext=(0.12, 0.08),
                textcoords="axes fraction",
                color=colour,
                fontsize=8,
                arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 0.8},
            )
    top = max((row[name] for row in data), default=1.0)
    label_ends(axes, labels, 0.17 * top)


register_figure(
    "fig3",
    "HR and NDCG over the rounds, with and without a third of the servers malicious",
    lambda: (rq3.FIG3,),
    rows,
    draw,
    place=2,
    group=rq3.GROUP,
)
