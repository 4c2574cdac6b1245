"""The published leaders under one protocol: how much of a lead is method, bytes or protocol.

A leader's rows go from its published figure to our best method at our bytes, one change at a time.
What is lost or won from one row to the next is due to what changed: the reproduction, the protocol,
the bytes, the method.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bfedrec.evaluation.intervals import t_interval
from bfedrec.report import published
from bfedrec.report.artefact import Experiment, Made, Request, Runs, find
from bfedrec.report.paired_users import METRICS, K
from bfedrec.report.registry import register_table
from bfedrec.report.table import MISSING, Cell, Column, Table
from bfedrec.runs.figures import number

DATA = "ml-1m"
SEEDS = "0-2"
KB = 1e3
AS_PUBLISHED = (
    "training.negatives_exclude=all",
    "evaluation.select=test",
    "data.validation=train",
)
"""The options that together are the protocol of the published figures."""
AT_SIZE_4 = (
    "compression.kind=quantised",
    "compression.size=4",
    "model.dimension=28",
    "model.rank=28",
)
"""The options that bring a leader's message to the bytes of size 4: 28 numbers of 4 bits."""
NOT_HONEST = "not honest: told of held-out items, round chosen on test items"
PUBLISHED = "not by our rules: held-out items kept out of the negatives"
HONEST = "yes"


@dataclass(frozen=True)
class Step:
    """A row of a leader that has runs."""

    protocol: str
    honest: str
    due: str
    """The reason of its difference from the row above."""
    overrides: tuple[str, ...] = ()


STEPS = (
    Step("as published", NOT_HONEST, "reproduction", AS_PUBLISHED),
    Step("ours", HONEST, "protocol"),
    Step("ours, at size 4", HONEST, "bytes", AT_SIZE_4),
)
LEADERS = {"pfedrec": "PFedRec", "fedncf": "FedNCF", "fedrap": "FedRAP"}
"""The methods that are re-implemented: a config in experiments/leaders of each."""
OTHERS = {"cofedrec": "CoFedRec"}
"""Leaders of which there is the published figure alone."""
BEST = Experiment(Path("experiments/ml-1m-ials.yaml"), (), SEEDS)
"""Our best order-blind method at size 4, under the honest protocol."""
PAPERS = Experiment(Path("experiments/ml-1m.yaml"), (), SEEDS)
"""BFedRec at size 4, which draws negatives as the leaders do."""

COLUMNS = (
    Column("method", "method"),
    Column("protocol", "protocol"),
    Column("honest", "honest"),
    *(
        column
        for key, heading in METRICS.items()
        for column in (
            Column(key, heading, 4),
            Column(f"{key}_interval", "95 % interval", 4, interval=True),
            Column(f"{key}_change", "from the row above", 4, signed=True),
        )
    ),
    Column("due", "due to"),
    Column("up", "KB up, a client and round", 1),
    Column("seeds", "seeds", 0),
)
NOTES = (
    f"HR and NDCG at {K} of the test items of MovieLens-1M among 99 sampled items that the user "
    "never touched, 1,000 rounds of 60 clients through the ledger; interval: Student's over seeds.",
    f"As published: {' '.join(AS_PUBLISHED)}. Held-out items are never drawn as negatives, so that "
    "the model is told which items may be test items, and the reported round is the one with the "
    "best figure of the test items. Neither is honest, and the row says so. The validation item is "
    "trained on.",
    "Ours: negatives are whatever the client did not train on, the last round is reported, and the "
    "validation item is held out and not trained on.",
    f"Size 4: {' '.join(AT_SIZE_4)}.",
    "Published figures are of their papers' own splits, rounds and clients (PFedRec, FedRAP: 100 "
    "rounds of all clients), and second-hand: PFedRec (Zhang et al., IJCAI 2023), FedNCF "
    "(Perifanis and Efraimidis, 2022) as others compare it, CoFedRec (He et al., WWW 2024). Of "
    "FedRAP (Li et al., ICLR 2024) no figure at this K is known to us.",
    "FedRAP keeps a private view of rank one here, a number an item, where the paper's is dense "
    "(N x d); its row under the published protocol shows what a private number an item makes of "
    "negatives that never hold a held-out item.",
    "Settings of the leaders were chosen on validation items, in one to three trials of 300 rounds "
    "(experiments/leaders has their figures): far fewer than ours.",
)


def experiments() -> tuple[Experiment, ...]:
    """The runs of the rows: of each leader by its steps, then our own."""
    leaders = [_experiment(name, step) for name in LEADERS for step in STEPS]
    return (*leaders, _as_published(PAPERS), PAPERS, BEST)


def _experiment(name: str, step: Step) -> Experiment:
    return Experiment(Path(f"experiments/leaders/{name}.yaml"), step.overrides, SEEDS)


def _as_published(experiment: Experiment) -> Experiment:
    return experiment.changed(AS_PUBLISHED, None)


def make(request: Request) -> Made:
    """The table; overrides and seeds are those of all runs. Raises `ConfigError`, `RunError`."""
    changed = [one.changed(request.overrides, request.seeds) for one in experiments()]
    found = find(changed, request.records)
    return Made(table([settings[0] for settings in found.settings]), found.lacking)


def table(runs: Sequence[Runs]) -> Table:
    """The table, with the runs of `experiments` in their order."""
    *leaders, papers_as_published, papers, best = runs
    rows: list[dict[str, Cell]] = []
    for number_of, (key, name) in enumerate(LEADERS.items()):
        rows.append(_published(key, name))
        for step, of_it in zip(STEPS, leaders[number_of * len(STEPS) :], strict=False):
            rows.append(_row(name, step, of_it, rows[-1]))
        step = Step("BFedRec, implicit ALS, at size 4", HONEST, "method")
        rows.append(_row(name, step, best, rows[-1]))
    for key, name in OTHERS.items():
        rows.append(_published(key, name))
    rows.append(_row("BFedRec", STEPS[0], papers_as_published, {}))
    rows.append(_row("BFedRec", STEPS[1], papers, rows[-1]))
    return Table("leaders", "The published leaders under one protocol", COLUMNS, rows, NOTES)


def _published(key: str, name: str) -> dict[str, Cell]:
    figures = published.scores("leaders.table", DATA, key)
    cells: dict[str, Cell] = {metric: figures.get(metric) for metric in METRICS}
    return {"method": name, "protocol": "published", "honest": PUBLISHED, **cells}


def _row(name: str, step: Step, runs: Runs, above: dict[str, Cell]) -> dict[str, Cell]:
    """The cells of a row, with its change from the row ``above``, if both have a figure."""
    row: dict[str, Cell] = {"method": name, "protocol": step.protocol, "honest": step.honest}
    if not runs.finished:
        return row | {next(iter(METRICS)): "stopped" if runs.stopped else MISSING}
    for metric in METRICS:
        ours = t_interval([number(run.summary, f"{metric}@{K}") for run in runs.finished])
        row |= {metric: ours.mean, f"{metric}_interval": ours}
        before = _value(above.get(metric))
        if before is not None:
            row |= {f"{metric}_change": ours.mean - before, "due": step.due}
    return row | {"up": _up(runs), "seeds": len(runs.finished)}


def _value(cell: Cell) -> float | None:
    if isinstance(cell, published.Printed):
        return float(cell.value)
    return cell if isinstance(cell, float) else None


def _up(runs: Runs) -> float:
    """Kilobytes that a client sends in a round, its signed record included."""
    clients = runs.config.clients.present
    sent = [
        number(run.summary, "uplink_bytes") / (number(run.summary, "rounds") * clients)
        for run in runs.finished
    ]
    return sum(sent) / len(sent) / KB


register_table(
    "leaders",
    "the published leaders under one protocol: what is method, bytes or protocol",
    make,
    experiments,
    place=5,
)
