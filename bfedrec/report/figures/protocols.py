"""The consensus protocols side by side: seconds, messages, bytes and view changes of a block over
servers, faults and malicious servers, and HR at equal simulated time.

Every registered protocol takes part: another one needs no change here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import cycle
from pathlib import Path
from textwrap import fill

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bfedrec.report.artefact import Experiment, Runs
from bfedrec.report.curves import MARKS, MIB
from bfedrec.report.figures.recovery import described
from bfedrec.report.registry import register_figure
from bfedrec.report.style import Row, Rows, styled
from bfedrec.runs.figures import Figures, count, number
from consensus.faults.faults import fault_from_node
from consensus.protocols.registry import PROTOCOLS, protocol_named

FOLDER = Path("experiments/protocols")
MEASURES: tuple[tuple[str, str, Callable[[Figures], float]], ...] = (
    ("seconds", "simulated seconds", lambda end: number(end, "simulated_seconds")),
    ("messages", "messages said", lambda end: number(end, "gossip_messages")),
    ("mib", "MiB between servers", lambda end: number(end, "gossip_bytes") / MIB),
    ("view_changes", "view changes", lambda end: view_changes(end)),
)
"""Column, label of what it is per block, and its total in a summary."""
AXES: tuple[tuple[str, str, Callable[[Runs], object]], ...] = (
    ("servers", "servers, all on the committee", lambda runs: runs.config.servers.count),
    ("fault", "fault", lambda runs: _fault_of(runs)),
    ("malicious", "malicious servers of 30", lambda runs: runs.malicious),
)
"""The number in which the settings of each experiment differ: its name, label and value."""
LEARNT = "hr@10"
LETTERS = 36
"""Most letters of a fault's name in a line."""


def experiments() -> tuple[Experiment, ...]:
    """The sweeps of the figure, over all protocols that are registered."""
    protocols = f"protocol={','.join(sorted(PROTOCOLS))}"
    return (
        Experiment(
            FOLDER / "servers.yaml", (protocols, f"@{FOLDER / 'servers'}"), "0-2", compact=True
        ),
        Experiment(FOLDER / "faults.yaml", (protocols, "@experiments/faults"), "0", compact=True),
        Experiment(FOLDER / "malicious.yaml", (protocols, "servers.malicious=0,3,6,9"), "0"),
    )


def view_changes(end: Figures) -> float:
    """The views that were left before a block was decided, over all blocks of a run: its failed
    attempts (under `tendermint` its rounds), and the turns that passed in the one that decided."""
    blocks = count(end, "blocks")
    return float(count(end, "attempts") - blocks + count(end, "steps") - blocks)


def rows(*settings: Sequence[Runs]) -> list[Row]:
    """The figure's data, a row for each setting and protocol: means over the blocks of all its
    runs, those that stopped included, and how many stopped; of malicious servers also HR at the
    simulated time at which the first protocol of that setting ended (`equal_seconds`)."""
    found = []
    for (axis, _, of), part in zip(AXES, settings, strict=True):
        for runs in part:
            ends = [run.summary for run in runs.by_seed.values()]
            blocks = sum(count(end, "blocks") for end in ends)
            row: Row = {
                "axis": axis,
                "setting": of(runs),
                "protocol": runs.protocol,
                "seeds": len(ends),
                "stopped": len(runs.stopped),
                "blocks": blocks,
            }
            for name, _, total in MEASURES:
                row[name] = sum(map(total, ends)) / blocks if blocks else None
            row |= _learnt(runs, [other for other in part if of(other) == row["setting"]])
            found.append(row)
    return found


def _fault_of(runs: Runs) -> str:
    return " and ".join(described(fault_from_node(node)) for node in runs.config.faults)


def _learnt(runs: Runs, alike: Sequence[Runs]) -> Row:
    """HR of a setting's first seed at the time at which the first of the ``alike`` ended."""
    lines = [run.metrics for run in runs.by_seed.values()][:1]
    ends = [run.metrics[-1] for other in alike for run in other.finished if run.metrics]
    if not ends or not lines or not lines[0]:
        return {"equal_seconds": None, "hr": None}
    until = min(number(end, "simulated_seconds") for end in ends)
    before = [line for line in lines[0] if _seconds(line) <= until]
    return {"equal_seconds": until, "hr": number(before[-1], LEARNT) if before else None}


def _seconds(line: Figures) -> float:
    return number(line, "simulated_seconds") if "simulated_seconds" in line else 0.0


def draw(data: Rows) -> Figure:
    """A column for each axis, a line of panels for each measure; below, HR at equal time."""
    protocols = list(dict.fromkeys(row["protocol"] for row in data))
    looks = dict(zip(protocols, cycle(MARKS), strict=False))
    with styled():
        figure = Figure(figsize=(11.0, 11.0), layout="constrained")
        panels = figure.subplots(len(MEASURES) + 1, len(AXES), squeeze=False)
        for line, (name, label, _) in zip(panels, MEASURES, strict=False):
            for axes, (axis, _, _) in zip(line, AXES, strict=True):
                part = [row for row in data if row["axis"] == axis]
                _draw_part(axes, part, name, looks)
            line[0].set_ylabel(f"{label} per block")
        for column, (axis, told, _) in enumerate(AXES):
            part = [row for row in data if row["axis"] == axis and row["hr"] is not None]
            last = panels[-1][column]
            _draw_part(last, part, "hr", looks)
            last.set_visible(bool(part))
            _label_lowest([line[column] for line in panels if line[column].get_visible()], told)
        panels[-1][-1].set_ylabel("HR@10 at equal simulated time")
        figure.legend(
            *panels[0][0].get_legend_handles_labels(), loc="outside upper center", ncols=4
        )
    return figure


def _label_lowest(column: Sequence[Axes], told: str) -> None:
    """Leave the names of the settings, which all panels of a column share, to the lowest. Long ones
    stand in the place of the panel below, which there is none of for faults."""
    for axes in column[:-1]:
        axes.tick_params(labelbottom=False)
    lowest = column[-1]
    if any(label.get_rotation() for label in lowest.get_xticklabels()):
        for label in lowest.get_xticklabels():
            label.set_in_layout(False)
    else:
        lowest.set_xlabel(told)


def _draw_part(axes: Axes, data: Rows, name: str, looks: dict[str, tuple[str, str]]) -> None:
    """One measure over one axis, a line for each protocol; hollow where runs stopped."""
    places = {value: place for place, value in enumerate(dict.fromkeys(r["setting"] for r in data))}
    for protocol, (colour, mark) in looks.items():
        known = [row for row in data if row["protocol"] == protocol and row[name] is not None]
        x, y = [places[row["setting"]] for row in known], [row[name] for row in known]
        title = protocol_named(protocol).title if protocol in PROTOCOLS else protocol
        named = any(isinstance(value, str) for value in places)
        axes.plot(x, y, color=colour, label=title, linewidth=0.5 if named else None)
        for place, row in zip(x, known, strict=True):
            filled = "none" if row["stopped"] else colour
            axes.plot(place, row[name], mark, color=colour, markerfacecolor=filled)
    rotated = any(isinstance(value, str) for value in places)
    axes.set_xticks(
        range(len(places)), [fill(str(value), LETTERS) for value in places],
        rotation=90 if rotated else 0, fontsize=6.5 if rotated else 9,
    )  # fmt: skip
    axes.set_ylim(bottom=0.0)


register_figure(
    "protocols",
    "what a block takes under every protocol, over servers, faults and malicious servers",
    experiments,
    rows,
    draw,
    place=8,
)
