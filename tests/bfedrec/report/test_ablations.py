"""The table of ablations: its rows, and what may be said of a change."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from bfedrec.cli.main import main
from bfedrec.config.load import config_hash, load
from bfedrec.report.artefact import Request, Runs
from bfedrec.report.table import MISSING
from bfedrec.report.tables import ablations
from bfedrec.sweeps.recorded import Recorded
from tests.bfedrec.report.test_artefact_tables import recorded
from tests.conftest import ROOT

BYTES = {
    "uplink_bytes": 3_000_000,
    "downlink_bytes_broadcast": 2_000_000,
    "downlink_bytes_catch_up": 9_000_000,
    "simulated_seconds": 90.0,
}
RANKS = np.random.default_rng(0).integers(0, 20, 400)


def runs(
    folder: Path, name: str, shifts: list[int], *overrides: str, of: NDArray[np.int64] = RANKS
) -> Runs:
    """A run of each seed whose test items all rank so much lower than the reference's."""
    found = [
        recorded(folder, seed, np.clip(of + shift, 0, 99).tolist(), *overrides)
        for seed, shift in enumerate(shifts)
    ]
    made = {run.config.seed: replace(run, summary=run.summary | BYTES) for run in found}
    return Runs((f"@experiments/ablations/{name}.yaml",), made)


def test_a_verdict_takes_the_users_and_every_seed(tmp_path: Path) -> None:
    reference = runs(tmp_path, "", [0] * 12)
    changes = [
        runs(tmp_path, "basis-worse", [3, 3, 3], "model.basis=svd", "name=x"),
        runs(tmp_path, "basis-better", [-3, -2, -3], "model.basis=fixed"),
        runs(tmp_path, "epochs-one_seed", [4] * 11 + [-1], "training.local_epochs=4"),
        runs(tmp_path, "epochs-same", [0, 0, 0], "training.user_epochs=2", "clients.spread=1.5"),
    ]
    base, *rows = ablations.table(reference, changes).rows
    assert (base["part"], base["change"], base["seeds"]) == ("reference", "ml-1m-per-item.yaml", 12)
    assert "hr_verdict" not in base
    assert [row["part"] for row in rows] == ["basis", "basis", "epochs", "epochs"]
    assert [row["change"] for row in rows] == [
        "model.basis=svd",
        "model.basis=fixed",
        "training.local_epochs=4",
        "training.user_epochs=2 clients.spread=1.5",
    ]
    once = ablations.table(runs(tmp_path, "", [0]), [runs(tmp_path, "basis-once", [9], "seed=0")])
    assert once.rows[1]["hr_verdict"] == "open"
    for metric in ("hr", "ndcg"):
        verdicts = [row[f"{metric}_verdict"] for row in rows]
        assert verdicts == ["worse", "better", "level", "level"]
        for row in rows:
            interval = row[f"{metric}_interval"]
            assert interval.mean == pytest.approx(row[f"{metric}_difference"])  # type: ignore[union-attr]
            assert row[f"{metric}_difference"] == pytest.approx(row[metric] - base[metric])  # type: ignore[operator]
    # By the interval alone the third row would be worse: eleven of twelve seeds are.
    assert rows[2]["hr_interval"].high < 0.0  # type: ignore[union-attr,operator]
    assert [rows[0][key] for key in ("up", "broadcast", "catch_up", "minutes")] == [3, 2, 9, 1.5]


def test_many_comparisons_take_more_than_one(tmp_path: Path) -> None:
    """Six of 400 users lose their hit and nobody gains one: p is near 0.01 by itself."""
    lost = np.where(np.arange(400) < 6, 50, 0)
    reference = runs(tmp_path, "", [0, 0], of=np.zeros(400, np.int64))
    changes = [runs(tmp_path, f"basis-{n}", [0, 0], f"model.rank={n}", of=lost) for n in (1, 2, 3)]
    alone = ablations.table(reference, changes[:1]).rows[1]
    among = ablations.table(reference, changes).rows[1]
    assert (alone["hr_verdict"], among["hr_verdict"]) == ("worse", "level")
    assert alone["hr_interval"] == among["hr_interval"]


def test_what_is_missing_stopped_or_without_ranks_is_told(tmp_path: Path) -> None:
    reference = runs(tmp_path, "", [0, 0])
    bare = runs(tmp_path, "basis-svd", [3, 3], "model.basis=svd")
    for seed, run in bare.by_seed.items():
        bare.by_seed[seed] = replace(run, source=tmp_path)
    config = load(None, ["clients.dropout=0.5"])
    halted = Runs(("@dropout-half.yaml",), {0: Recorded(tmp_path, config, {"stopped": "stalled"})})
    nothing = Runs(("@epochs-none.yaml",), {}, load(None, ["training.local_epochs=7"]))
    rows = ablations.table(reference, [bare, halted, nothing]).rows[1:]
    assert rows[0]["hr_verdict"] == "open"
    assert rows[0]["hr_difference"] < 0.0  # type: ignore[operator]
    assert "hr_interval" not in rows[0]
    assert (rows[1]["change"], rows[1]["hr"]) == ("clients.dropout=0.5", "stopped")
    assert (rows[2]["change"], rows[2]["hr"]) == ("training.local_epochs=7", MISSING)


def test_every_file_is_one_change(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(ROOT)
    made = ablations.make(Request(records=tmp_path))
    files = sorted(Path("experiments/ablations").glob("*.yaml"))
    changes = [str(row["change"]) for row in made.table.rows[1:]]
    assert len(changes) == len(files) == len(set(changes))
    assert all(changes)
    assert len(made.lacking.splitlines()) == 1 + 10 + 1 + 1 + 2
    for words in ("model.basis=svd", "aggregation.rule=samples", "training.user_epochs=0"):
        assert words in changes
    assert "clients.dropout=0.2 committee.update_quota=0.8" in changes
    tuned = load("experiments/ablations.yaml", [f"@{files[1]}"])
    assert files[1].stem == "aggregation-samples_tuned"
    assert config_hash(tuned) == config_hash(load("experiments/ml-1m.yaml"))


def test_the_command_names_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    assert main(["table", "ablations", "--from", str(tmp_path), "--out", str(tmp_path)]) == 2
    told = capsys.readouterr()
    assert "| basis | model.basis=svd |  | missing |" in told.out
    for one in ablations.experiments():
        assert f"  {one.command(tmp_path)}" in told.err.splitlines()
