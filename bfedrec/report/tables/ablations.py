"""The ablations: what one change at a time does to MovieLens-1M at size 4, each
item the mean over the clients that trained on it, from recorded runs.

Every file of experiments/ablations is a row; what of it differs from the reference is its change.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bfedrec.config.load import differences
from bfedrec.evaluation.statistics import Estimate, holm
from bfedrec.report.artefact import Experiment, Made, Request, Runs, find
from bfedrec.report.budgets import budget_notes
from bfedrec.report.paired_users import METRICS, K, compare_users
from bfedrec.report.registry import register_table
from bfedrec.report.table import MISSING, Cell, Column, Table
from bfedrec.runs.figures import number
from bfedrec.section import flatten

REFERENCE = Experiment(Path("experiments/ml-1m-per-item.yaml"), (), "0-1")
CHANGES = Experiment(Path("experiments/ablations.yaml"), ("@experiments/ablations",), "0-1")
UNTOLD = ("name", "seed")
"""In what every row may differ from the reference."""
ALPHA = 0.05
MB = 1e6

COLUMNS = (
    Column("part", "part"),
    Column("change", "change"),
    Column("seeds", "seeds", 0),
    *(
        column
        for key, heading in METRICS.items()
        for column in (
            Column(key, heading, 4),
            Column(f"{key}_difference", "difference", 4, signed=True),
            Column(f"{key}_interval", "95 % interval", 4, interval=True),
            Column(f"{key}_verdict", "verdict"),
        )
    ),
    Column("up", "MB up", 0),
    Column("broadcast", "MB down: one model a round", 0),
    Column("catch_up", "MB down: catching up", 0),
    Column("minutes", "simulated minutes", 1),
)
NOTES = (
    "Test items of MovieLens-1M, means over seeds; the difference is to the reference. Interval: "
    "over seeds and users, crossed random effects, users paired; Student's t with Satterthwaite's "
    "degrees of freedom. Two seeds tell little of other seeds.",
    f"Verdict: better or worse where p < {ALPHA}, two-sided and corrected for all comparisons of "
    "this table (Holm), and every seed by itself says so, too; else level; open with one seed, or "
    "without ranks.",
    "MB of all clients in all rounds. What comes down is counted both ways in every run; the clock "
    "is charged one model a round but for clients.downlink=catch_up.",
    "Catching up changes what blocks hold, and with their beacons the bases that are drawn: in "
    "accuracy it differs by chance alone. Nothing is tuned for a change, but for weights N_u/N in "
    "a row of their own.",
)


def experiments() -> tuple[Experiment, ...]:
    """The reference, and all changes."""
    return (REFERENCE, CHANGES)


def make(request: Request) -> Made:
    """The table; overrides and seeds are those of all runs. Raises `ConfigError`, `RunError`."""
    changed = [one.changed(request.overrides, request.seeds) for one in experiments()]
    found = find(changed, request.records)
    tuned = budget_notes([REFERENCE.config])
    return Made(table(found.settings[0][0], found.settings[1], tuned), found.lacking)


def table(reference: Runs, changes: Sequence[Runs], tuned: Sequence[str] = ()) -> Table:
    """The table of these changes, each with its runs, and with notes on the reference's tuning."""
    rows = [{"part": "reference", "change": REFERENCE.config.name, **_measured(reference)}]
    pairs: dict[tuple[int, str], Estimate] = {}
    for place, runs in enumerate(changes):
        name = Path(runs.overrides[-1].removeprefix("@")).stem
        rows.append(
            {"part": name.partition("-")[0], "change": _change(reference, runs), **_measured(runs)}
        )
        for metric in METRICS:
            pair = compare_users((runs, False), (reference, False), metric)
            if pair is not None:
                pairs[place, metric] = pair
            if runs.finished and reference.finished:
                means = [_mean(one, f"{metric}@{K}") for one in (runs, reference)]
                rows[-1][f"{metric}_difference"] = means[0] - means[1]
                rows[-1][f"{metric}_verdict"] = "open"
    corrected = holm([pair.p for pair in pairs.values()])
    for ((place, metric), pair), p in zip(pairs.items(), corrected, strict=True):
        rows[place + 1] |= {
            f"{metric}_interval": pair.interval(),
            f"{metric}_verdict": _verdict(changes[place], reference, metric, p),
        }
    return Table(
        "ablations", "Ablations on MovieLens-1M at size 4", COLUMNS, rows, [*NOTES, *tuned]
    )


def _change(reference: Runs, runs: Runs) -> str:
    """The options by which a row's config differs from the reference's, as typed in a command."""
    values = flatten(runs.config)
    keys = [key for key in differences(runs.config, reference.config) if key not in UNTOLD]
    return " ".join(f"{key}={_text(values[key])}" for key in keys)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _measured(runs: Runs) -> dict[str, Cell]:
    if not runs.finished:
        return {next(iter(METRICS)): "stopped" if runs.stopped else MISSING}
    return {
        "seeds": len(runs.finished),
        **{metric: _mean(runs, f"{metric}@{K}") for metric in METRICS},
        "up": _mean(runs, "uplink_bytes") / MB,
        "broadcast": _mean(runs, "downlink_bytes_broadcast") / MB,
        "catch_up": _mean(runs, "downlink_bytes_catch_up") / MB,
        "minutes": _mean(runs, "simulated_seconds") / 60.0,
    }


def _mean(runs: Runs, name: str) -> float:
    return sum(number(run.summary, name) for run in runs.finished) / len(runs.finished)


def _verdict(runs: Runs, reference: Runs, metric: str, p: float) -> str:
    """`better` or `worse` where users and every seed agree, else `level`; `open` for one seed."""
    by_seed = [
        float(run.summary[f"{metric}@{K}"]) - float(other.summary[f"{metric}@{K}"])
        for seed, run in runs.by_seed.items()
        if (other := reference.by_seed.get(seed)) and not (run.stopped or other.stopped)
    ]
    if len(by_seed) < 2:
        return "open"
    if p < ALPHA and min(by_seed) > 0.0:
        return "better"
    return "worse" if p < ALPHA and max(by_seed) < 0.0 else "level"


register_table(
    "ablations",
    "what one change at a time does to MovieLens-1M at size 4",
    make,
    experiments,
    place=4,
)
