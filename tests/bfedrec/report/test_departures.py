"""The table of departures from the paper: its lines, and the gain of each departure."""

from __future__ import annotations

from pathlib import Path

import pytest

from bfedrec.cli.main import main
from bfedrec.config.load import config_hash, differences, load
from bfedrec.report.artefact import Runs
from bfedrec.report.table import MISSING
from bfedrec.report.tables import ablations, departures
from tests.bfedrec.report.test_ablations import runs
from tests.conftest import ROOT

FILES = {
    name: sorted(Path("experiments/departures", name).glob("*.yaml")) for name in departures.ROWS
}


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def lines(own: Runs, *undone: Runs) -> list[dict[str, object]]:
    """The lines of the first row; the others are of a row without departures."""
    others = [(own, []) for _ in list(departures.ROWS)[1:]]
    rows = departures.table([(own, undone), *others]).rows
    return [dict(row) for row in rows[: 1 + len(undone)]]


def test_a_departure_gains_what_is_lost_without_it(tmp_path: Path) -> None:
    own = runs(tmp_path, "", [0, 0])
    itself, basis, passes, steps = lines(
        own,
        runs(tmp_path, "two_steps", [0, 0], "training.user_step=3.0"),
        runs(tmp_path, "passes", [-3, -3], "training.user_epochs=5"),
        runs(tmp_path, "basis", [3, 3], "model.basis=svd"),
    )
    assert (itself["row"], itself["change"], itself["seeds"]) == ("BFedRec", "ml-1m.yaml", 2)
    assert "hr_gain" not in itself
    assert [each["change"] for each in (basis, passes, steps)] == [
        "model.basis=svd",
        "training.user_epochs=5",
        "training.user_step=3.0",
    ]
    assert basis["theirs"] == departures.DEPARTURES["basis"].theirs
    for metric in ("hr", "ndcg"):
        verdicts = [each[f"{metric}_verdict"] for each in (basis, passes, steps)]
        assert verdicts == ["gains", "costs", "level"]
        for each in (basis, passes, steps):
            gain, interval = each[f"{metric}_gain"], each[f"{metric}_interval"]
            assert gain == pytest.approx(itself[metric] - each[metric])  # type: ignore[operator]
            assert interval.mean == pytest.approx(gain)  # type: ignore[attr-defined]
            assert interval.low <= gain <= interval.high  # type: ignore[attr-defined]
        assert basis[f"{metric}_interval"].low > 0.0 > passes[f"{metric}_interval"].high  # type: ignore[attr-defined]


def test_what_is_missing_or_of_other_data_is_told(tmp_path: Path) -> None:
    own = runs(tmp_path, "", [0, 0])
    nothing = Runs(("@x/basis.yaml",), {}, load(None, ["model.basis=svd"]))
    other = runs(tmp_path, "validation", [1, 1], "data.validation=train")
    _, basis, validation = lines(own, other, nothing)
    assert (basis["hr"], basis.get("hr_gain"), basis.get("hr_verdict")) == (MISSING, None, None)
    assert validation["hr_verdict"] == "open"
    assert validation["hr_gain"] > 0.0  # type: ignore[operator]
    assert not isinstance(validation.get("hr_interval"), float)
    assert "hr_interval" not in validation


def test_every_file_undoes_a_departure_that_the_table_words() -> None:
    assert {path.stem for files in FILES.values() for path in files} == set(departures.DEPARTURES)
    for name, files in FILES.items():
        row = load(f"experiments/{name}.yaml")
        for path in files:
            undone = load(f"experiments/{name}.yaml", [f"@{path}"])
            assert set(differences(row, undone)) - set(ablations.UNTOLD), path


def test_a_row_departs_in_all_that_its_files_undo_and_in_nothing_else() -> None:
    """Each difference from Algorithm 1 to the letter in what the paper fixes has a file."""
    literal = load("experiments/ml-1m-literal.yaml")
    assert config_hash(literal) == config_hash(
        load("experiments/ml-1m.yaml", ["@experiments/departures/ml-1m/all.yaml"])
    )
    fixed = {
        "aggregation.rule": "aggregation",
        "model.basis": "basis",
        "training.user_epochs": "passes",
        "training.item_gradient": "item_gradient",
        "training.final_step": "falling_step",
        "compression.kind": "numbers",
        "training.loss": "loss",
    }
    for name, files in FILES.items():
        differ = differences(load(f"experiments/{name}.yaml"), literal)
        departs = {file for key, file in fixed.items() if key in differ}
        told = {path.stem for path in files} & set(fixed.values())
        assert departs == told, name


def test_the_command_names_what_is_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["table", "departures", "--from", str(tmp_path), "--out", str(tmp_path)]) == 2
    told = capsys.readouterr()
    assert "| B from Q: singular vectors | model.basis=svd |  | missing |" in told.out
    for one in departures.experiments():
        assert f"  {one.command(tmp_path)}" in told.err.splitlines()
