"""Exposure of the clients: every method and codec against every inference attack, undefended and
defended, from the recorded runs of experiments/privacy."""

from __future__ import annotations

from collections.abc import Sequence

from bfedrec.privacy.inference import MembershipAttack
from bfedrec.privacy.registry import INFERENCES
from bfedrec.report.artefact import Made, Request, Runs, find
from bfedrec.report.paired_users import METRICS
from bfedrec.report.privacy_runs import (
    EPSILON,
    GROUP,
    area,
    defence,
    experiments,
    label,
    mean,
    scored,
    settings_of,
    uplink,
)
from bfedrec.report.registry import register_table
from bfedrec.report.table import MISSING, Cell, Column, Table
from bfedrec.runs.privacy import FIGURE

KB = 1e3


def columns() -> tuple[Column, ...]:
    """The columns; one for each registered attack on membership is among them."""
    attacks = (Column(name, f"{name} AUC", 3) for name in _attacks())
    return (
        Column("config", "config"),
        Column("defence", "defence"),
        Column("method", "method"),
        Column("codec", "codec"),
        Column("seeds", "seeds", 0),
        *attacks,
        Column("inside", "sign AUC, items touched", 3),
        Column("matched", "sign AUC, like popularity", 3),
        *(Column(name, heading, 4) for name, heading in METRICS.items()),
        Column("epsilon", "epsilon", 2),
        Column("up", "KB up, a client and round", 1),
    )


NOTES = (
    "AUC: area under the ROC curve of an attack's scores, a client's interactions against all "
    "items that it never touched; mean over the users that were attacked, then over seeds. 0.5: "
    "nothing is found, 1: all is. docs/privacy.md says what each attack is.",
    "The attacker is an honest-but-curious edge server; popularity is a guess that uses nothing of "
    "the client.",
    "Sign AUC, items touched: among the items that the update moves alone, which is what is left "
    "to hide where masks show the others.",
    "Sign AUC, like popularity: each interaction against other items of like popularity, which is "
    "what an update tells beyond it. Missing in runs recorded before that was measured.",
    "HR and NDCG: test items of MovieLens-1M among 99 others. Epsilon: of a client over all of its "
    "participations, where there is differential privacy.",
)


def _attacks() -> list[str]:
    return [name for name, kind in INFERENCES.items() if issubclass(kind, MembershipAttack)]


def make(request: Request) -> Made:
    """The table; overrides and seeds are those of all runs. Raises `ConfigError`, `RunError`."""
    changed = [one.changed(request.overrides, request.seeds) for one in experiments()]
    found = find(changed, request.records)
    return Made(table(settings_of(found.settings)), found.lacking)


def table(runs: Sequence[Runs]) -> Table:
    """The table, a row for each of the settings."""
    rows = sorted((_row(each) for each in runs), key=lambda row: row["defence"] != "none")
    return Table("exposure", "What clients' updates reveal", columns(), rows, NOTES)


def _row(runs: Runs) -> dict[str, Cell]:
    config = runs.config
    row: dict[str, Cell] = {
        "config": label(config),
        "defence": defence(config),
        "method": f"{config.training.method}, {config.aggregation.rule}",
        "codec": config.compression.kind,
    }
    if not runs.finished:
        return row | {"inside": "stopped" if runs.stopped else MISSING}
    cells = {name: area(runs, name) for name in _attacks()}
    cells |= {"inside": mean(runs, f"{FIGURE}sign_auc_touched"), "epsilon": mean(runs, EPSILON)}
    cells["matched"] = mean(runs, f"{FIGURE}sign_auc_matched")
    cells |= {name: scored(runs, name) for name in METRICS}
    row |= {key: None if found is None else found.mean for key, found in cells.items()}
    sent = uplink(runs)
    return row | {"up": None if sent is None else sent / KB, "seeds": len(runs.finished)}


register_table(
    "exposure",
    "every method and codec against every attack on its clients' privacy",
    make,
    experiments,
    place=8,
    group=GROUP,
)
