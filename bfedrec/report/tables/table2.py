"""Table II: HR@10 and NDCG@10 of every method and data set, from recorded runs.

Intervals and leads are over seeds and users at once (`bfedrec.evaluation.statistics`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bfedrec.evaluation.intervals import t_interval
from bfedrec.evaluation.metrics import FULL, ordered_name
from bfedrec.evaluation.statistics import Estimate, holm
from bfedrec.report import published
from bfedrec.report.artefact import Experiment, Made, Request, Runs, find
from bfedrec.report.budgets import budget_notes
from bfedrec.report.paired_users import METRICS, K, compare_users, mean_score
from bfedrec.report.registry import register_table
from bfedrec.report.table import MISSING, Cell, Column, Table, compare, compared


@dataclass(frozen=True)
class Entry:
    """A method on a data set."""

    data: str
    method: str
    experiment: Experiment
    published: tuple[str, str, str] | None = None
    """The place of its figures in published.toml: collection, data set, method."""
    ordered: bool = False
    """True for the figures of users who are scored with recency."""


def _entry(
    data: str,
    method: str,
    config: str,
    published: tuple[str, str] | None = None,
    seeds: str = "0-4",
) -> Entry:
    """``published``: data set and method, as published.toml names them in the paper's Table II."""
    experiment = Experiment(Path(f"experiments/{config}.yaml"), (), seeds)
    return Entry(data, method, experiment, ("bfedrec.table2", *published) if published else None)


def _all(data: str, name: str, federated_seeds: str = "0-4", paper: bool = True) -> Iterator[Entry]:
    """BFedRec, FedMF and FedRec of its transmitted size, and the centralised methods on a data set
    other than MovieLens-1M; the paper has those that are trained, if any."""
    for method, config, key, seeds in (
        ("BFedRec, per item", name, "bfedrec", "0-4"),
        ("FedMF", f"fedmf-{name}", "fedmf", federated_seeds),
        ("FedRec", f"fedrec-{name}", "fedrec", federated_seeds),
        ("GMF", f"baselines/gmf-{name}", "gmf", "0-4"),
        ("BPR", f"baselines/bpr-{name}", "bpr", "0-4"),
        ("item-kNN", f"baselines/item_knn-{name}", None, "0"),
        ("popularity", f"baselines/popularity-{name}", None, "0"),
    ):
        yield _entry(data, method, config, (name, key) if paper and key else None, seeds)


IALS = "implicit ALS"
"""The method with which all others of a data set are compared a second time."""
TRAINED = "ML-1M, validation item trained on"


def _ials(data: str, config: str, *overrides: str, method: str = IALS) -> Entry:
    experiment = Experiment(Path(f"experiments/{config}.yaml"), overrides, "0-4")
    return Entry(data, method, experiment)


def _by_order(entry: Entry) -> Entry:
    return replace(entry, method=f"{entry.method}, by order", ordered=True)


def _trained() -> Iterator[Entry]:
    """The methods that are trained, with the validation item given back for training."""
    given = "data.validation=train"
    yield _ials(TRAINED, "ml-1m-ials", given)
    yield _by_order(_ials(TRAINED, "ml-1m-ials", given))
    for method, config in (
        ("BFedRec", "ml-1m"),
        ("BFedRec, per item", "ml-1m-per-item"),
        ("BFedRec, quantised", "ml-1m-quantised"),
        ("FedMF", "fedmf"),
        ("FedRec", "fedrec"),
        ("GMF", "baselines/gmf"),
        ("BPR", "baselines/bpr"),
    ):
        yield _ials(TRAINED, config, given, method=method)


ENTRIES: tuple[Entry, ...] = (
    _entry("ML-1M", "BFedRec", "ml-1m", ("ml-1m", "bfedrec")),
    _entry("ML-1M", "Algorithm 1 to the letter", "ml-1m-literal", ("ml-1m", "bfedrec")),
    _entry("ML-1M", "BFedRec, per item", "ml-1m-per-item"),
    _entry("ML-1M", "BFedRec, quantised", "ml-1m-quantised"),
    _ials("ML-1M", "ml-1m-ials"),
    _by_order(_ials("ML-1M", "ml-1m-ials")),
    _by_order(_ials("ML-1M", "ml-1m-ials-ordered", method=f"{IALS}, tuned by order")),
    _ials("ML-1M", "ml-1m-ials-full", method=f"{IALS}, tuned by full ranking"),
    _ials("ML-1M", "ml-1m-ials-size-1", method=f"{IALS}, a quarter of the bytes"),
    _ials("ML-1M", "ml-1m-ials-malicious", method=f"{IALS}, a third of the servers malicious"),
    _ials("ML-1M", "ml-1m-ials-push", method=f"{IALS}, multi-Krum, a client in twenty pushing"),
    _entry("ML-1M", "FedMF", "fedmf", ("ml-1m", "fedmf")),
    _entry("ML-1M", "FedRec", "fedrec", ("ml-1m", "fedrec")),
    _entry("ML-1M", "GMF", "baselines/gmf", ("ml-1m", "gmf")),
    _entry("ML-1M", "BPR", "baselines/bpr", ("ml-1m", "bpr")),
    _entry("ML-1M", "item-kNN", "baselines/item_knn", seeds="0"),
    _entry("ML-1M", "popularity", "baselines/popularity", seeds="0"),
    *_trained(),
    *_all("Pinterest", "pinterest", federated_seeds="0"),
    _ials("Pinterest", "pinterest-ials"),
    *_all("LFM-2K rows", "lfm-2k"),
    *_all("LFM-2K distinct", "lfm-2k-distinct", paper=False),
    _ials("LFM-2K distinct", "lfm-2k-distinct-ials"),
)
"""The rows; of each data set the first is what the others are compared with."""

OTHERS = {"ML-1M": ("ml-1m", 4), "Pinterest": ("pinterest", 1)}
"""Of which data sets, and at which transmitted size, others' figures stand in the notes."""

COLUMNS = (
    Column("data", "data"),
    Column("method", "method"),
    Column("metric", "metric"),
    *compared(4),
    Column("seeds", "seeds", 0),
    Column("full", "full ranking", 4),
    Column("lead", "lead", 4, signed=True),
    Column("lead_interval", "95 % interval of the lead", 4, interval=True),
    Column("p", "p (Holm)", 4, probability=True),
    Column("ials_lead", f"lead of {IALS}", 4, signed=True),
    Column("ials_lead_interval", "95 % interval of that lead", 4, interval=True),
    Column("ials_p", "p of that lead (Holm)", 4, probability=True),
)
NOTES = (
    "BFedRec weights updates by sample counts, N_u/N, as the paper does; Algorithm 1 to the letter "
    "also takes B from Q, sums a client's gradient where BFedRec averages it, has no pass on p_u "
    "alone, and one step. Rows that say per item, "
    "quantised, FedMF and FedRec take for each item the mean over the clients that trained on it; "
    "of Pinterest and LFM-2K only that is recorded. What each departure from the paper does: "
    "bfedrec table departures.",
    f"Rows of {IALS} have the bytes of size 4 both ways (15 an item), or of size 1 (4) where they "
    "say so and on Pinterest, and the plain mean. By order: the client also weighs its own items "
    "by recency when it recommends, where the data know the order; this is another problem than "
    "that of all other rows, and compares with order-aware methods alone. Tuned by order, or by "
    "full ranking: the weights of its training are chosen by these figures of validation items. "
    "In the latter what is like a user's own items also adds to an item's score, by the public Q "
    "alone (evaluation.neighbours), as it could in others.",
    f"{TRAINED}: settings as chosen without it, then trained with all but the test item, as NCF's "
    "protocol has it; all other rows hold the validation item out of training, too.",
    f"HR and NDCG at {K} of the test items, leave-one-out, among 99 sampled items that the user "
    "never touched; ties count against the model. Full ranking: among all such items.",
    "Interval: over seeds and users, crossed random effects, Student's t with Satterthwaite's "
    "degrees of freedom. Verdict: whether it lies above, below or level with all that is rounded "
    "to the paper's figure; open with one seed.",
    "Lead: what the data set's first method has over this one; its interval and p by the same "
    "model, users paired and seeds independent; a method's only seed counts as if others gave the "
    "same. p is two-sided, corrected for all comparisons of this table (Holm). The second lead is "
    f"that of {IALS} likewise.",
    "Pinterest may be a part of the paper's users (table1 says). LFM-2K rows, as published, counts "
    "an artist once per tag, so that most users' test artist is also among their training rows; "
    "distinct is without that leak.",
    "FedRec is for ratings: here a client's are its positives (1) and drawn negatives (0); a "
    "virtual one is their mean in the first tenth of the rounds, and what it predicts later.",
    "The paper's text quotes the ML-1M cells as Pinterest's. item-kNN and popularity draw nothing: "
    "one seed is all there is.",
)


def make(request: Request) -> Made:
    """The table; overrides and seeds are those of all runs. Raises `ConfigError`, `RunError`."""
    changed = [one.changed(request.overrides, request.seeds) for one in experiments()]
    found = find(changed, request.records)
    # An override with several values would be several runs of an entry: the table has the first's.
    tuned = budget_notes(one.config for one in experiments())
    return Made(table(ENTRIES, [settings[0] for settings in found.settings], tuned), found.lacking)


def experiments() -> tuple[Experiment, ...]:
    """The experiments of the entries, in their order."""
    return tuple(entry.experiment for entry in ENTRIES)


def table(entries: Sequence[Entry], runs: Sequence[Runs], tuned: Sequence[str] = ()) -> Table:
    """The table of these entries, each with its runs, and with notes on their tuning."""
    rows = []
    leads = _leads(entries, runs)
    for entry, of_it in zip(entries, runs, strict=True):
        for metric, heading in METRICS.items():
            row: dict[str, Cell] = {"data": entry.data, "method": entry.method, "metric": heading}
            row |= _cells(entry, of_it, metric)
            row |= leads.get((entry.data, entry.method, metric), {})
            rows.append(row)
    others = [by_others(data, *of_it) for data, of_it in OTHERS.items()]
    return Table("table2", "Table II: accuracy", COLUMNS, rows, [*NOTES, *tuned, *others])


def by_others(label: str, data: str, size: int) -> str:
    """The figures that others have published for a data set, in words: federated at a transmitted
    size, and centralised."""
    federated = {method: each[size] for method, each in published.by_size(data).items()}
    told = [
        ", ".join(
            f"{published.NAMES[name]} {' / '.join(str(one[metric]) for metric in METRICS)}"
            for name, one in of.items()
        )
        for of in (federated, published.centralised(data))
    ]
    return (
        f"{label}, HR / NDCG by others: at size {size} (Nguyen et al., 2024, read off figures) "
        f"{told[0]}; centralised (Ferrari Dacrema et al.; GMF: guoyang9/NCF) {told[1]}."
    )


def _cells(entry: Entry, runs: Runs, metric: str) -> dict[str, Cell]:
    paper = published.scores(*entry.published).get(metric) if entry.published else None
    ours, full = mean_score(runs, metric, entry.ordered), _full_ranking(entry, runs, metric)
    cells = compare(paper, ours)
    if ours is not None:
        cells |= {"seeds": ours.n, "full": MISSING if full is None else full}
    return cells


def _full_ranking(entry: Entry, runs: Runs, metric: str) -> float | None:
    """The mean over seeds of a metric among all items; None where no run has it."""
    name = f"{FULL}{metric}@{K}"
    if entry.ordered:
        name = ordered_name(name)
    values = [float(run.summary[name]) for run in runs.finished if name in run.summary]
    return t_interval(values).mean if values else None


# -- user by user ---------------------------------------------------------------------------------

Place = tuple[str, str, str]
"""Data set, method and metric."""


def _leads(entries: Sequence[Entry], runs: Sequence[Runs]) -> Mapping[Place, dict[str, Cell]]:
    """The leads of the first method of each data set, and of implicit ALS, over every other one
    that left ranks, corrected together."""
    first: dict[str, int] = {}
    ials: dict[str, int] = {}
    for number, entry in enumerate(entries):
        first.setdefault(entry.data, number)
        if entry.method == IALS:
            ials[entry.data] = number
    pairs: dict[tuple[str, Place], Estimate] = {}
    for number, entry in enumerate(entries):
        leader, other = first[entry.data], ials.get(entry.data)
        for column, reference in (("", leader), ("ials_", other)):
            # Where the two references meet, or are the same, one comparison is enough.
            twice = number == leader if column else reference == other
            if reference is None or reference == number or twice:
                continue
            one, another = ((runs[place], entries[place].ordered) for place in (reference, number))
            for metric in METRICS:
                pair = compare_users(one, another, metric)
                if pair is not None:
                    pairs[column, (entry.data, entry.method, metric)] = pair
    corrected = holm([pair.p for pair in pairs.values()])
    leads: dict[Place, dict[str, Cell]] = {}
    for ((column, place), pair), p in zip(pairs.items(), corrected, strict=True):
        leads.setdefault(place, {}).update(
            {
                f"{column}lead": pair.mean,
                f"{column}lead_interval": pair.interval(),
                f"{column}p": p,
            }
        )
    return leads


register_table(
    "table2", "HR@10 and NDCG@10 of every method and data set", make, experiments, place=2
)
