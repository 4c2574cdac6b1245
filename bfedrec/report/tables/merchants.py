"""Recommendations of merchants alone, together and with pooled data, on generated events; recorded
by `bfedrec merchants quality`."""

from __future__ import annotations

from pathlib import Path

from bfedrec.evaluation.intervals import Interval, t_interval
from bfedrec.merchants.record import LABELS, MOST_BYTES, Comparison, from_json
from bfedrec.report.artefact import RECORDED, Made, Request
from bfedrec.report.registry import register_table
from bfedrec.report.table import MISSING, Cell, Column, Table
from bfedrec.runs.folder import read_text
from bfedrec.sweeps.sweep import parse_seeds

OWN = Path("results/merchants/quality.json")
"""The record of this repository; of another folder of records it is merchants/quality.json."""
METRICS = {"hr@10": "HR@10", "ndcg@10": "NDCG@10"}
BASE = "alone"
"""The method to which differences are taken."""

COLUMNS = (
    Column("method", "method"),
    *(
        column
        for key, heading in METRICS.items()
        for column in (
            Column(key, heading, 4),
            Column(f"{key}_interval", "95 % interval", 4, interval=True),
            Column(f"{key}_difference", "to alone", 4, signed=True),
            Column(f"{key}_difference_interval", "95 % interval", 4, interval=True),
        )
    ),
    Column("settings", "chosen on validation"),
)


def make(request: Request) -> Made:
    """The table of the record; of seeds that are not in it, and for options of experiments, which
    it has none of, it is said so. Raises DataError and `RunError` for a damaged record."""
    own = request.records == RECORDED
    path = OWN if own else request.records / "merchants" / "quality.json"
    wanted = parse_seeds(request.seeds) if request.seeds else None
    command = f"  bfedrec merchants quality --seeds {request.seeds or '0-4'}"
    command += "" if own else f" --out {path}"
    try:
        found = from_json(read_text(path, MOST_BYTES), str(path))
    except FileNotFoundError:
        rows: list[dict[str, Cell]] = [{"method": LABELS[BASE], next(iter(METRICS)): MISSING}]
        table = Table("merchants", "Merchants' recommendations", COLUMNS, rows)
        return Made(table, f"{path} is not there; it is made by:\n{command}")
    lacking = ""
    if wanted is not None and set(wanted) - set(found.seeds):
        lacking = f"{path} has only seeds {', '.join(map(str, found.seeds))}; others by:\n{command}"
    if request.overrides:
        lacking = f"options of experiments do not apply: {' '.join(request.overrides)}"
    chosen = [found.seeds.index(seed) for seed in wanted or found.seeds if seed in found.seeds]
    return Made(table_of(found, chosen), lacking, _wrong(found, chosen))


def table_of(found: Comparison, chosen: list[int]) -> Table:
    """The table of the seeds at these places."""
    rows: list[dict[str, Cell]] = []
    for name, label in LABELS.items():
        row: dict[str, Cell] = {"method": label}
        for key in METRICS if chosen else ():
            ours, more = _interval(found, name, key, chosen), _difference(found, name, key, chosen)
            row |= {key: ours.mean, f"{key}_interval": ours}
            if name != BASE:
                row |= {f"{key}_difference": more.mean, f"{key}_difference_interval": more}
        settings = found.methods[name].settings
        if settings is not None:
            row["settings"] = (
                f"step {settings.step:g}, L2 {settings.l2:g}, {settings.negatives} negatives"
            )
        rows.append(row)
    return Table("merchants", "Merchants' recommendations", COLUMNS, rows, _notes(found, chosen))


def _interval(found: Comparison, name: str, key: str, chosen: list[int]) -> Interval:
    values = found.methods[name].test[key]
    return t_interval([values[place] for place in chosen])


def _difference(found: Comparison, name: str, key: str, chosen: list[int]) -> Interval:
    ours, theirs = found.methods[name].test[key], found.methods[BASE].test[key]
    return t_interval([ours[place] - theirs[place] for place in chosen])


def _wrong(found: Comparison, chosen: list[int]) -> str:
    """A line if pooled data are not above a merchant alone, by the interval of the difference."""
    told = []
    for key, heading in METRICS.items() if len(chosen) > 1 else ():
        low = _difference(found, "pooled", key, chosen).low
        if low is None or low <= 0.0:
            told.append(heading)
    return f"pooled data are not above a merchant alone in {' and '.join(told)}" if told else ""


def _notes(found: Comparison, chosen: list[int]) -> list[str]:
    market = found.market
    notes = [
        f"{market.shops} generated shops with {found.events:,} events each, {market.customers:,} "
        f"customers and {market.products:,} products, each at a shop with probability "
        f"{market.customer_share:g} and {market.product_share:g}; seeds "
        f"{', '.join(str(found.seeds[place]) for place in chosen)}. On other data, differences "
        "may be others.",
        "Each user's latest product, ranked among all products of the shop that the user never had "
        "to do with; ties count against the model. Student's interval over seeds; differences are "
        "paired by seed.",
        "Averaged once: all start from the same factors, which the report does not say of its own; "
        "the mean of models with different beginnings means nothing.",
        "Settings: of a grid, those with the greatest NDCG@10 on validation products; all methods "
        "train the same number of epochs in total.",
    ]
    for loss in found.losses:
        kind = "without negatives, as in the report" if not loss.negatives else "with negatives"
        notes.append(
            f"Mean squared error after the last epoch {kind} ({loss.negatives} a pair): training "
            f"{loss.training:.4f}, test {loss.test:.4f}; of a constant "
            f"{loss.constant_training:.4f} and {loss.constant_test:.4f}."
        )
    return notes


register_table(
    "merchants", "what merchants' recommendations gain together, on generated events", make, place=5
)
