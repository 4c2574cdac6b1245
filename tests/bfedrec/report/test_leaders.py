"""The table of the published leaders: its rows, what they say of themselves, what is missing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bfedrec.cli.main import main
from bfedrec.config.load import load
from bfedrec.report.artefact import Request, Runs
from bfedrec.report.published import Printed
from bfedrec.report.table import MISSING, Row
from bfedrec.report.tables import leaders
from bfedrec.sweeps.recorded import Recorded
from tests.bfedrec.report.test_artefact_tables import recorded
from tests.conftest import ROOT

STEPS = len(leaders.STEPS)


def found(folder: Path, config: str, hits: int) -> Runs:
    """Two runs in which so many of 100 users' test items come first, of 10 clients and 5 rounds."""
    made = {}
    for seed in (0, 1):
        run = recorded(folder, seed, [0] * hits + [50] * (100 - hits), "clients.per_round=10")
        made[seed] = replace(run, summary={**run.summary, "uplink_bytes": 150_000, "rounds": 5})
    return Runs((), made, load(config, ["clients.per_round=10"]))


def rows_of(folder: Path, hits: list[int]) -> list[Row]:
    experiments = leaders.experiments()
    runs = [
        found(folder, str(ROOT / one.config), count)
        for one, count in zip(experiments, hits, strict=True)
    ]
    return list(leaders.table(runs).rows)


def test_each_change_is_due_to_what_changed(tmp_path: Path) -> None:
    rows = rows_of(tmp_path, [70, 60, 55, *[50] * 6, 68, 66, 64])
    first = rows[: STEPS + 2]
    assert [row["method"] for row in first] == ["PFedRec"] * 5
    assert [row.get("due") for row in first] == [
        None,
        "reproduction",
        "protocol",
        "bytes",
        "method",
    ]
    assert [row["hr"] for row in first][1:] == pytest.approx([0.7, 0.6, 0.55, 0.64])
    published = first[0]["hr"]
    assert isinstance(published, Printed)
    changes = [0.7 - float(published.value), -0.1, -0.05, 0.09]
    assert [row["hr_change"] for row in first[1:]] == pytest.approx(changes)
    assert [row["ndcg_change"] for row in first[2:]] == pytest.approx(changes[1:])
    assert all(row["up"] == 3.0 for row in first[1:])
    assert all(row["seeds"] == 2 for row in first[1:])
    own = rows[-2:]
    assert [(row["method"], row["hr"]) for row in own] == [("BFedRec", 0.68), ("BFedRec", 0.66)]
    assert own[1]["hr_change"] == pytest.approx(-0.02)
    fedrap = [row for row in rows if row["method"] == "FedRAP"]
    assert fedrap[0]["hr"] is None
    assert "hr_change" not in fedrap[1], "a change from nothing"
    assert "due" not in fedrap[1]


def test_a_row_that_is_not_honest_says_so(tmp_path: Path) -> None:
    """What a row says of itself follows from its runs' options."""
    rows = [row for row in rows_of(tmp_path, [50] * 12) if row["protocol"] != "published"]
    experiments = list(leaders.experiments())
    by_leader = [experiments[n * STEPS : (n + 1) * STEPS] for n in range(len(leaders.LEADERS))]
    of_row = [one for steps in by_leader for one in (*steps, leaders.BEST)]
    of_row += experiments[-3:-1]
    for row, experiment in zip(rows, of_row, strict=True):
        config = load(ROOT / experiment.config, experiment.grid)
        honest = config.training.negatives_exclude == "train" and config.evaluation.select != "test"
        assert (row["honest"] == "yes") == honest
        assert ("not honest" in str(row["honest"])) != honest


def test_the_leaders_have_one_protocol() -> None:
    """Splits, clients, rounds and ledger are those of ml-1m.yaml; the honest rows are the
    defaults."""
    ours = load(ROOT / "experiments/ml-1m.yaml")
    for name in leaders.LEADERS:
        config = load(ROOT / f"experiments/leaders/{name}.yaml")
        assert config.training.method == config.name == name
        for part in ("data", "clients", "servers", "committee", "ledger", "costs", "rounds"):
            assert getattr(config, part) == getattr(ours, part), part
        assert config.compression.kind == "dense"
        small = load(ROOT / f"experiments/leaders/{name}.yaml", leaders.AT_SIZE_4)
        assert small.compression.size == 4


def test_the_command_names_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    assert main(["table", "leaders", "--from", str(tmp_path), "--out", str(tmp_path)]) == 2
    told = capsys.readouterr()
    assert f"| PFedRec | as published | {leaders.NOT_HONEST} | missing |" in told.out
    for one in leaders.experiments():
        assert f"  {one.command(tmp_path)}" in told.err.splitlines()
    made = leaders.make(Request(records=tmp_path, seeds="0"))
    assert made.lacking.startswith("12 of 12 runs")


def test_a_stopped_run_is_no_figure(tmp_path: Path) -> None:
    config = load(None, [])
    halted = Runs((), {0: Recorded(tmp_path, config, {"stopped": "stalled"})}, config)
    rows = leaders.table([halted] * 11 + [Runs((), {}, config)]).rows
    assert rows[1]["hr"] == "stopped"
    assert rows[STEPS + 1]["hr"] == MISSING
