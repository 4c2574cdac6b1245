"""Methods of other libraries beside ours, as peers on the same splits: robust rules of byzfl, and
the centralised factorisations of implicit."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bfedrec.report.artefact import Experiment, Made, Request, Runs, find
from bfedrec.report.paired_users import METRICS, K, compare_users, mean_score
from bfedrec.report.registry import register_table
from bfedrec.report.table import MISSING, Cell, Column, Table

RULES = {
    "median": "byzfl_median",
    "trimmed_mean": "byzfl_trimmed_mean",
    "krum": "byzfl_krum",
    "geometric_median": "byzfl_geometric_median",
    "clip": "byzfl_centered_clipping",
}
"""Our rules, each with its peer."""
SWEEP = Experiment(
    Path("experiments/peers/rules.yaml"),
    ("aggregation.rule=" + ",".join(name for pair in RULES.items() for name in pair),),
    "0",
)
CENTRALISED = (
    ("BPR", "baselines/bpr", "implicit's BPR", "peers/bpr"),
    ("BFedRec, implicit ALS", "ml-1m-ials", "implicit's ALS", "peers/als"),
)
"""Our methods and their peers, each with its config."""

COLUMNS = (
    Column("kind", "kind"),
    Column("ours", "ours"),
    Column("theirs", "theirs"),
    Column("metric", "metric"),
    Column("our_score", "our score", 4),
    Column("our_interval", "95 % interval", 4, interval=True),
    Column("their_score", "their score", 4),
    Column("their_interval", "95 % interval of theirs", 4, interval=True),
    Column("lead", "our lead", 4, signed=True),
    Column("lead_interval", "95 % interval of the lead", 4, interval=True),
    Column("seeds", "seeds", 0),
)
NOTES = (
    f"HR and NDCG at {K} of the test items of MovieLens-1M among 99 sampled items that the user "
    "never touched. Intervals: over seeds and users, as in Table II; the lead's of users paired "
    "and seeds independent.",
    "Rules: 100 rounds of 60 honest clients with one seed, so that a row tells what a rule costs, "
    "not what it withstands. Ours go item by item, over the clients that touched it; byzfl's take "
    "an update for one vector, zeros included, and its medians are 0 wherever most clients touched "
    "nothing. On updates that touch every item the two give the same numbers (tests): what a row "
    "shows is that difference, but for centered clipping, which is clip in its first of 8 steps.",
    "All data: both see all training data at once, but for BFedRec's implicit ALS, which is "
    "trained on clients, through the ledger. implicit's settings are ours in its terms (ALS) or "
    "untuned (BPR), and ours were tuned; its BPR draws negatives by their popularity.",
)


def experiments() -> tuple[Experiment, ...]:
    """The sweep of the rules, then of each centralised pair ours and the peer."""
    configs = [config for _, ours, _, theirs in CENTRALISED for config in (ours, theirs)]
    return (SWEEP, *(Experiment(Path(f"experiments/{name}.yaml"), (), "0-4") for name in configs))


def make(request: Request) -> Made:
    """The table; overrides and seeds are those of all runs. Raises `ConfigError`, `RunError`."""
    changed = [one.changed(request.overrides, request.seeds) for one in experiments()]
    found = find(changed, request.records)
    return Made(table([runs for settings in found.settings for runs in settings]), found.lacking)


def table(runs: Sequence[Runs]) -> Table:
    """The table, with the runs of `experiments` in their order, those of the rules as in `RULES`,
    each rule before its peer."""
    pairs = [("rule", *names) for names in RULES.items()]
    pairs += [("all data", ours, theirs) for ours, _, theirs, _ in CENTRALISED]
    rows = [
        _row(names, metric, runs[2 * place], runs[2 * place + 1])
        for place, names in enumerate(pairs)
        for metric in METRICS
    ]
    return Table("peers", "Methods of other libraries beside ours", COLUMNS, rows, NOTES)


def _row(names: tuple[str, str, str], metric: str, ours: Runs, theirs: Runs) -> dict[str, Cell]:
    """The cells of a pair (its kind, our name, theirs) by a metric."""
    row: dict[str, Cell] = dict(zip(("kind", "ours", "theirs"), names, strict=True))
    row["metric"] = METRICS[metric]
    for whose, runs in (("our", ours), ("their", theirs)):
        score = mean_score(runs, metric)
        if score is None:
            row[f"{whose}_score"] = MISSING
        else:
            row |= {f"{whose}_score": score.mean, f"{whose}_interval": score, "seeds": score.n}
    lead = compare_users((ours, False), (theirs, False), metric)
    if lead is not None:
        row |= {"lead": lead.mean, "lead_interval": lead.interval()}
    return row


register_table(
    "peers",
    "robust rules of byzfl and factorisations of implicit beside ours",
    make,
    experiments,
    place=9,
)
