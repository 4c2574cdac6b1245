"""The departures: the gain or cost of each thing that our rows of MovieLens-1M do otherwise than
the paper, from recorded runs.

Every file of experiments/departures/ROW undoes one departure of experiments/ROW.yaml, or all.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bfedrec.evaluation.intervals import Interval
from bfedrec.report.artefact import Experiment, Made, Request, Runs, find
from bfedrec.report.paired_users import METRICS
from bfedrec.report.registry import register_table
from bfedrec.report.table import Cell, Column, Table
from bfedrec.report.tables import ablations

SEEDS = "0-1"
ROWS: Final[Mapping[str, str]] = {
    "ml-1m": "BFedRec",
    "ml-1m-per-item": "BFedRec, per item",
    "ml-1m-quantised": "BFedRec, quantised",
}
"""The rows of table2 that are taken apart, by the names of their configs."""


@dataclass(frozen=True)
class Departure:
    """A thing that we do otherwise than the paper, in words."""

    ours: str
    theirs: str


DEPARTURES: Final[Mapping[str, Departure]] = {
    "aggregation": Departure("mean over the clients that trained on an item", "weights N_u/N"),
    "basis": Departure("B drawn from each height's beacon", "B from Q: singular vectors"),
    "passes": Departure("passes on p_u alone come first", "none"),
    "item_gradient": Departure(
        "A_u moves along the mean over a client's interactions", "along their sum (equation 2)"
    ),
    "falling_step": Departure("steps fall over the rounds", "one step in all rounds"),
    "two_steps": Departure("a step for items, another for users", "one step eta"),
    "numbers": Departure("28 rows of 4 bits", "4 rows of 32 bits"),
    "loss": Departure("sampled softmax", "cross-entropy of every sample"),
    "validation": Departure("an item held out to choose settings", "it is trained on"),
    "all": Departure("all of them", "Algorithm 1 to the letter, tuned for it"),
}
"""By the names of the files that undo them, in the order of the table."""

VERDICTS: Final[Mapping[str, str]] = {"worse": "gains", "better": "costs"}
"""Verdicts on a departure by those on what undoes it; others are the same for both."""

COLUMNS = (
    Column("row", "row"),
    Column("ours", "ours"),
    Column("theirs", "the paper"),
    Column("change", "options that undo it"),
    Column("seeds", "seeds", 0),
    *(
        column
        for key, heading in METRICS.items()
        for column in (
            Column(key, heading, 4),
            Column(f"{key}_gain", "gain by the departure", 4, signed=True),
            Column(f"{key}_interval", "95 % interval", 4, interval=True),
            Column(f"{key}_verdict", "verdict"),
        )
    ),
)
NOTES = (
    "Test items of MovieLens-1M, means over seeds. A row's first line is the row itself, as in "
    "table2 but for the number of seeds; each of the others undoes one departure alone, with steps "
    "untuned for it unless the options say them. Gain: the row itself less that line.",
    f"Verdict: gains or costs where p < {ablations.ALPHA}, two-sided and corrected for all "
    "comparisons with the same row (Holm), and every seed by itself says so, too; else level; open "
    "with one seed, without ranks, or where the data differ, as with the validation item.",
    "One step: both on the loss summed over a batch. A_u moves by item_step sqrt(r/d) along the "
    "sum, p_u by user_step along the mean: user_step is then batch_size item_step sqrt(r/d), with "
    "columns of B of our length, sqrt(d/r). The paper does not say how long they are. Where A_u "
    "moves along the mean over a client's interactions, that is divided by their mean number.",
    "What leaves training as it is has no line: ties count against the model and full ranking "
    "stands beside, both only in the evaluation; protocol bft in place of Algorithm 2 aggregates "
    "the same updates; what a client that was away has to fetch is counted beside one model a "
    "round. FedMF and FedRec depart likewise: mean by item, passes, falling steps.",
    "What the paper leaves open is no departure: batches, negatives, L2, initial factors, and the "
    "sizes of steps, chosen on validation items (experiments/README.md).",
)


def experiments() -> tuple[Experiment, ...]:
    """For each row its own runs, and then those that undo its departures."""
    return tuple(
        one
        for name in ROWS
        for one in (
            Experiment(Path(f"experiments/{name}.yaml"), (), SEEDS),
            Experiment(
                Path(f"experiments/{name}.yaml"), (f"@experiments/departures/{name}",), SEEDS
            ),
        )
    )


def make(request: Request) -> Made:
    """The table; overrides and seeds are those of all runs. Raises `ConfigError`, `RunError`."""
    changed = [one.changed(request.overrides, request.seeds) for one in experiments()]
    found = find(changed, request.records)
    pairs = zip(found.settings[::2], found.settings[1::2], strict=True)
    return Made(table([(own[0], undone) for own, undone in pairs]), found.lacking)


def table(rows: Sequence[tuple[Runs, Sequence[Runs]]]) -> Table:
    """The table of the rows of `ROWS`, each with its own runs and those that undo departures."""
    lines = [
        line
        for (name, label), (own, undone) in zip(ROWS.items(), rows, strict=True)
        for line in _lines(name, label, own, undone)
    ]
    title = "Departures from the paper on MovieLens-1M, and what each does"
    return Table("departures", title, COLUMNS, lines, NOTES)


def _lines(name: str, label: str, own: Runs, undone: Sequence[Runs]) -> Iterator[dict[str, Cell]]:
    """The lines of one row, in the order of `DEPARTURES`."""
    itself, *others = ablations.table(own, undone).rows
    yield {**itself, "row": label, "change": f"{name}.yaml"}
    by_name = {str(line["part"]): line for line in others}
    for key, departure in DEPARTURES.items():
        if key in by_name:
            told = {"row": label, "ours": departure.ours, "theirs": departure.theirs}
            yield {**by_name[key], **told, **_gains(by_name[key])}


def _gains(line: Mapping[str, Cell]) -> dict[str, Cell]:
    """The gain of a departure by each metric, from the line of an ablation that undoes it."""
    cells: dict[str, Cell] = {}
    for metric in METRICS:
        lost, interval = line.get(f"{metric}_difference"), line.get(f"{metric}_interval")
        if isinstance(lost, float):
            verdict = str(line[f"{metric}_verdict"])
            cells[f"{metric}_gain"] = -lost
            cells[f"{metric}_verdict"] = VERDICTS.get(verdict, verdict)
        if isinstance(interval, Interval) and interval.low is not None:
            assert interval.high is not None
            turned = Interval(interval.n, -interval.mean, -interval.high, -interval.low)
            cells[f"{metric}_interval"] = turned
    return cells


register_table(
    "departures",
    "what each departure of our rows from the paper gains or costs on MovieLens-1M",
    make,
    experiments,
    place=5,
)
